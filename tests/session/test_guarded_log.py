"""A session behind its policy: receipts, reservations that are enforced, stale reads."""

import contextlib
import json
import random
import threading
import uuid
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.coordination.reservations import Coordination, HeldError
from muse.core.address import MOST_STEPS, addresses_of, touch
from muse.core.blocks import Link
from muse.core.content_id import sha256_hex
from muse.core.entry import MAX_LAMPORT
from muse.core.file.log_reader import LogReader
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.errors import ConflictError, CorruptionError, StorageError, UsageError
from muse.history.repository import Repository
from muse.plugins.code.file_ids import INDEX
from muse.session import decisions
from muse.session.decisions import STAMPS_AHEAD
from muse.session.file_names import MOST_MOVES, FileNames
from muse.session.guarded_log import GuardedLog, Request
from muse.session.live import LiveSession
from muse.session.policy import Policy, read_policy, write_policy
from muse.session.receipt import Receipt
from muse.session.stale_reads import Touches
from muse.session.text_replica import CodeReplica
from muse.testing import FailingStorage, InMemoryStorage
from tests.samples.waiting import wait_until

NOW = "2026-02-02T02:40:00+00:00"
START = 1_770_000_000.0
DOMAIN = "a-domain-without-plugin"
REFUSE = Policy(reservations="refuse")
PROPOSE = Policy(reservations="propose")


class Clock:
    def __init__(self) -> None:
        self.seconds = START

    def __call__(self) -> float:
        return self.seconds


class Scene:
    """A repository with one session, as one process has it open."""

    def __init__(self, root: Path, policy: Policy | None = None) -> None:
        self.root = root
        self.clock = Clock()
        self.repository, _ = Repository.init(str(root), now=NOW, any_domain=True)
        self.log = OpLog(root, "jam")
        self.coordination = Coordination(str(root), now=self.clock)
        self.guarded = GuardedLog(self.repository, self.log, policy=policy, coordination=self.coordination)

    def append(
        self, actor: str, *addresses: str, seen: dict[str, int] | None = None, **more: str
    ) -> list[Receipt]:
        return self.guarded.append(
            [draft(address, **more) for address in addresses], actor_id=actor, seen_frontier=seen
        )

    def one(self, actor: str, address: str, seen: dict[str, int] | None = None, **more: str) -> Receipt:
        [receipt] = self.append(actor, address, seen=seen, **more)
        return receipt

    def op_ids(self) -> list[str]:
        return [entry["op_id"] for entry in self.log.entries()]


def draft(address: str, **more: str) -> dict[str, Any]:
    return {"domain": DOMAIN, "domain_op": {"op": "replace", "address": address}, **more}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# -- receipts ------------------------------------------------------------------------------------


def test_a_receipt_says_where_the_op_stands_and_from_where_to_read_on(scene: Scene) -> None:
    first, second = scene.append("ada", "a", "b")
    assert [first.status, second.status] == ["stored", "stored"]
    assert (first.position, first.next_position) == (0, second.position)
    assert second.next_position is not None
    assert [entry["op_id"] for entry in scene.log.entries(since=first.next_position or -1)] == [second.op_id]
    assert list(scene.log.entries(since=second.next_position)) == []
    [entry, _] = scene.log.entries()
    assert (entry["actor_id"], entry["lamport_ts"]) == ("ada", first.lamport_ts)


def test_a_retry_of_a_draft_or_an_entry_makes_no_second_op(scene: Scene) -> None:
    entry = make_op_entry("ada", DOMAIN, {"op": "replace", "address": "a"}, 7)
    sent = [draft("a", op_id=str(uuid.uuid4())), entry]
    stored = scene.guarded.append(sent, actor_id="ada")
    again = GuardedLog(scene.repository, OpLog(scene.root, "jam")).append(sent, actor_id="ada")
    assert [receipt.status for receipt in again] == ["known", "known"]
    for one, other in zip(stored, again, strict=True):
        assert (one.lamport_ts, one.position, one.next_position) == (
            other.lamport_ts,
            other.position,
            other.next_position,
        )
    assert len(scene.op_ids()) == 2
    assert stored[1].lamport_ts == 7


def test_a_stamp_far_ahead_of_the_session_is_refused_however_many_come_at_once(scene: Scene) -> None:
    def append(*stamps: int) -> list[str]:
        entries = [make_op_entry("eve", DOMAIN, {"op": "replace", "address": "a"}, stamp) for stamp in stamps]
        return [receipt.status for receipt in scene.guarded.append(entries, actor_id="eve")]

    assert append(MAX_LAMPORT, 1 << 32, STAMPS_AHEAD + 4) == ["refused"] * 3
    assert append(STAMPS_AHEAD + 1) == ["stored"]
    steps = range(1, 1001)
    assert append(*(step * STAMPS_AHEAD for step in steps)).count("stored") == 2
    assert scene.log.cut().lamport_ts <= 3 * STAMPS_AHEAD
    offline = range(scene.log.cut().lamport_ts + 1, scene.log.cut().lamport_ts + 5_001)
    assert append(*offline) == ["stored"] * 5_000


def test_an_op_that_names_a_file_by_its_id_touches_it_wherever_it_is(scene: Scene) -> None:
    write_policy(str(scene.root), "jam", Policy(reservations="refuse"))
    file_id, other = uuid.uuid4().hex, uuid.uuid4().hex
    made = {"op": "insert", "position": None}

    def status(actor: str, op: dict[str, Any]) -> str:
        [receipt] = scene.guarded.append([{"domain": DOMAIN, "domain_op": op}], actor_id=actor)
        return receipt.status

    assert status("ada", {**made, "address": "held.py", "file_id": file_id}) == "stored"
    assert status("ada", {**made, "address": "free.py", "file_id": other}) == "stored"
    reservation = scene.coordination.reserve("ada", ["held.py"], branch="main")
    edit = {"op": "replace", "file_id": file_id}
    for address in ("held.py", "HELD.PY", "held%2Epy", "free.py", "x"):
        assert status("bob", {**edit, "address": address}) == "refused"
        moving = {**edit, "op": "move", "address": address, "to_address": "stolen.py"}
        assert status("bob", moving) == "refused"
        assert status("bob", {"op": "patch", "address": "x", "child_ops": [moving]}) == "refused"
    assert (
        status("bob", {"op": "move", "address": "x", "to_address": "held.py", "file_id": other}) == "refused"
    )
    assert status("bob", {**edit, "address": "free.py", "file_id": other}) == "stored"
    assert status("ada", {**edit, "op": "move", "address": "held.py", "to_address": "moved.py"}) == "stored"
    scene.coordination.release(reservation.reservation_id, "ada")
    assert status("bob", {**edit, "address": "x"}) == "stored"
    scene.coordination.reserve("ada", ["moved.py"], branch="main")
    assert status("bob", {**edit, "address": "x"}) == "refused"
    # What an actor only says of a file of others takes that from nobody.
    scene.coordination.reserve("eve", ["eve.py"], branch="main")
    assert status("eve", {**made, "address": "eve.py", "file_id": other}) == "stored"
    assert status("eve", {**made, "position": 0, "address": "eve.py", "file_id": other}) == "stored"
    assert status("bob", {**edit, "address": "free.py", "file_id": other}) == "stored"


def test_a_file_that_another_session_made_is_guarded_by_its_id_after_a_commit(scene: Scene) -> None:
    with LiveSession(scene.root, "first") as first:
        made = CodeReplica(first, first.log, "ada").create("held.py", "text\n")
        first.commit("made")
    write_policy(str(scene.root), "jam", REFUSE)
    scene.coordination.reserve("ada", ["held.py"], branch="main")
    file_id = cast("Any", made["domain_op"])["file_id"]
    for file in (file_id, "7" * 32):  # the other one is of no file that anybody knows
        op = {
            "op": "move",
            "address": "x.py",
            "to_address": "stolen.py",
            "from_position": 0,
            "to_position": 0,
        }
        sent = [{"domain": "code", "domain_op": {**op, "file_id": file}}]
        assert [one.status for one in scene.guarded.append(sent, actor_id="bob")] == ["refused"]
        assert [one.status for one in scene.guarded.append(sent, actor_id="ada")] == ["stored"]


def test_a_file_is_known_to_the_ops_that_come_with_the_one_that_makes_it(scene: Scene) -> None:
    write_policy(str(scene.root), "jam", REFUSE)
    scene.coordination.reserve("ada", ["held.py"], branch="main")
    digest, file_id = "1" * 64, "8" * 32
    made = {"op": "insert", "position": None, "file_id": file_id, "content_id": digest, "address": "free.py"}
    move = {"op": "move", "from_position": 0, "to_position": 0, "file_id": file_id, "address": "x.py"}
    ops = [made, {**move, "to_address": "other.py"}, {**move, "to_address": "held.py"}]
    receipts = scene.guarded.append([{"domain": "code", "domain_op": op} for op in ops], actor_id="bob")
    assert [one.status for one in receipts] == ["stored", "stored", "refused"]


def test_a_file_of_the_last_commit_is_known_by_its_id(scene: Scene) -> None:
    digest = "1" * 64
    made, tree_id, second_id = "2" * 32, sha256_hex(f"held.py\0{digest}".encode()), "3" * 64
    placements = {
        made: ((1, "ada", ""), "wanted.py", "shown.py"),
        second_id: ((1, "ada", ""), "gone.py", None),
    }
    state = {INDEX: orjson.dumps(placements)}
    names = FileNames(scene.log, lambda: ("commit", lambda: ({"held.py": digest, "other.py": digest}, state)))
    names.catch_up()

    def touched(file_id: str, domain: str = "code", **more: Any) -> tuple[str, ...]:
        op = {"op": "replace", "address": "x", "file_id": file_id, **more}
        return names.addresses_of(entry(op, domain))

    assert touched(tree_id) == ("held.py", "x")
    assert touched(made) == ("shown.py", "wanted.py", "x")
    assert touched(second_id) == ("gone.py", "x")
    # A file that nobody knows may be anywhere, unless its id shows where it is, or is made just now.
    assert touched("4" * 64) == ("", "x")
    assert touched("4" * 64, "sketch") == ("x",)
    of_x = sha256_hex(f"x\0{digest}".encode())
    assert touched(of_x, base=digest) == ("x",)
    assert touched(of_x, base=digest, address="y") == ("", "y")
    assert touched("4" * 32, op="insert", position=None) == ("x",)


def entry(op: dict[str, Any], domain: str) -> OpEntry:
    return {
        "op_id": str(uuid.uuid4()),
        "actor_id": "bob",
        "lamport_ts": 1,
        "parent_op_ids": [],
        "domain": domain,
        "domain_op": cast("Any", op),
        "created_at": "",
        "intent_id": "",
        "reservation_id": "",
    }


def test_a_file_is_known_by_the_id_that_a_raw_op_or_an_op_on_the_tree_gave_it(scene: Scene) -> None:
    digest = "1" * 64
    names = FileNames(scene.log, lambda: ("", lambda: ({}, {})))
    raw = scene.log.record("ada", "code", {"op": "insert", "address": "raw.py", "position": None})
    move = {"op": "move", "address": "raw.py", "to_address": "moved.py"}
    scene.log.record("ada", "code", move)
    of_tree = sha256_hex(f"tree.py\0{digest}".encode())
    again = sha256_hex(f"{of_tree}\0{digest}".encode())  # it was removed, and came back from outside
    scene.log.record(
        "ada",
        "code",
        {"op": "move", "address": "tree.py", "file_id": again, "base": digest, "to_address": "new.py"},
    )
    names.catch_up()
    edit = {"op": "replace", "address": "x"}
    made = raw["op_id"].replace("-", "")
    assert names.addresses_of(entry({**edit, "file_id": made}, "code")) == ("moved.py", "raw.py", "x")
    assert names.addresses_of(entry({**edit, "file_id": again}, "code")) == ("new.py", "tree.py", "x")


def test_however_often_files_are_moved_their_names_are_bounded(scene: Scene) -> None:
    names = FileNames(scene.log, lambda: ("", lambda: ({}, {})))
    often, chained = "5" * 32, "6" * 32
    for file_id in (often, chained):
        scene.log.record(
            "ada", "code", {"op": "insert", "address": f"{file_id}.py", "file_id": file_id, "position": None}
        )
    for number in range(300):
        scene.log.record(
            "ada", "code", {"op": "move", "address": "x", "file_id": often, "to_address": f"{number}.py"}
        )
    for number, here in enumerate([f"{chained}.py", *(f"at/{number}.py" for number in range(300))]):
        scene.log.record("ada", "code", {"op": "move", "address": here, "to_address": f"at/{number}.py"})
    names.catch_up()
    found = names.addresses_of(entry({"op": "replace", "address": "x", "file_id": often}, "code"))
    assert {f"{often}.py", "299.py", "236.py"} <= set(found)
    assert len(found) == 2 + MOST_MOVES
    assert names.addresses_of(entry({"op": "replace", "address": "x", "file_id": chained}, "code")) == (
        "",
        "x",
    )


def test_receipts_name_a_bounded_part_of_what_others_hold(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "NAMED_AT_ONCE", 45)
    scene.coordination.reserve("ada", [f"a/{number}" for number in range(1_000)], branch="main")
    scene.coordination.reserve("bob", ["a/x"], branch="main")
    receipts = scene.append("eve", *["a"] * 10)
    assert {receipt.kind for receipt in receipts} == {"held"}
    named = [[len(one["addresses"]) for one in receipt.reservations] for receipt in receipts]
    assert named == [[10, 1]] * 5 + [[]] * 5
    assert scene.one("eve", "a").reservations != ()


def test_what_is_wrong_with_one_op_is_said_of_it_and_the_others_are_stored(scene: Scene) -> None:
    known = make_op_entry("ada", DOMAIN, {"address": "a"}, 5)
    scene.log.append(known)
    twice = str(uuid.uuid4())
    wrong: list[tuple[Any, str, str]] = [
        (draft("a") | {"domain_op": {"x": float("nan")}}, "invalid", "domain_op"),
        (draft("a") | {"colour": "red"}, "invalid", "unknown field: colour"),
        (draft("a", intent_id="one\ntwo"), "invalid", "name of one line"),
        ({"domain": DOMAIN}, "invalid", "lacks domain_op"),
        (draft("a") | {"parent_op_ids": 3}, "invalid", "parent_op_ids"),
        (draft("a") | {"lamport_ts": 3}, "invalid", "created_at"),
        ("no op", "invalid", "object"),
        (draft("a", actor_id="bob"), "actor", "ada cannot append as bob"),
        (draft("b", op_id=known["op_id"]), "conflict", "in the log"),
        ({**known, "lamport_ts": 2**52}, "conflict", "in the log"),
        (make_op_entry("ada", DOMAIN, {}, 2**50), "invalid", "ahead of this"),
    ]
    good = [draft("a", op_id=twice), draft("c")]
    sent = [good[0], *(op for op, _, _ in wrong), good[1], draft("b", op_id=twice), draft("a", op_id=twice)]
    receipts = scene.guarded.append(sent, actor_id="ada")
    assert [receipts[0].status, receipts[-3].status] == ["stored", "stored"]
    for receipt, (_, kind, reason) in zip(receipts[1:-3], wrong, strict=True):
        assert (receipt.status, receipt.kind, receipt.position) == ("refused", kind, None)
        assert reason in receipt.reason
    assert (receipts[-2].status, receipts[-2].kind) == ("refused", "conflict")
    assert (receipts[-1].status, receipts[-1].position) == ("known", receipts[0].position)
    assert len(scene.op_ids()) == 3
    assert all(isinstance(receipt.to_json(), dict) for receipt in receipts)


def test_an_op_that_its_domain_refuses_is_refused(scene: Scene) -> None:
    op = {"domain": "music", "domain_op": {"op": "insert", "address": "../x.mid"}}
    [receipt] = scene.guarded.append([op], actor_id="ada")
    assert (receipt.status, receipt.kind) == ("refused", "invalid")


def test_requests_of_several_actors_are_one_step_and_each_gets_its_receipts(scene: Scene) -> None:
    requests = [Request("ada", [draft("a"), draft("b")]), Request("bob", [draft("c")]), Request("eve", [])]
    receipts = scene.guarded.append_requests(requests)
    assert [len(some) for some in receipts] == [2, 1, 0]
    assert [entry["actor_id"] for entry in scene.log.entries()] == ["ada", "ada", "bob"]


def test_an_op_for_whose_parents_much_is_to_be_read_does_not_enter_at_once(scene: Scene) -> None:
    scene.log.record_many("old", DOMAIN, [{"op": "x" * 100}] * 1_000)
    stated, resting = draft("a") | {"parent_op_ids": []}, draft("b")
    scene.guarded.append([stated], actor_id="ada")
    assert scene.guarded.append_at_once([Request("ada", [resting])]) is None
    assert scene.guarded.append_at_once([Request("ada", [stated])]) is not None
    [before] = scene.guarded.append([resting], actor_id="ada")
    answers = scene.guarded.append_at_once([Request("ada", [resting])])
    assert answers is not None
    *_, last = scene.log.entries()
    assert (last["op_id"], last["parent_op_ids"]) == (answers[0][0].op_id, [before.op_id])


def test_ops_that_the_log_does_not_take_let_nothing_be_read_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = scene.append("ada", "a")
    read: list[tuple[int, int]] = []
    links = LogReader.links

    def noted(reader: LogReader, start: int, end: int) -> Iterator[Link]:
        read.append((start, end))
        return links(reader, start, end)

    monkeypatch.setattr(LogReader, "links", noted)
    wrong = draft("a") | {"domain_op": {"x": float("nan")}}
    receipts = scene.guarded.append([draft("b"), wrong, wrong, draft("c"), wrong], actor_id="bob")
    assert [one.status for one in receipts] == ["stored", "refused", "refused", "stored", "refused"]
    assert [start for start, _ in read if start < (first.next_position or 0)] == []
    parents = [entry["parent_op_ids"] for entry in scene.log.entries()]
    assert parents == [[], [first.op_id], [receipts[0].op_id]]


def test_a_position_is_right_though_others_record_at_the_same_time(scene: Scene) -> None:
    stop = threading.Event()

    def record() -> None:
        with OpLog(scene.root, "jam") as other:
            for _ in range(20_000):  # no more: on a busy machine, it could outrun the reader without end
                if stop.is_set():
                    break
                other.record("bob", DOMAIN, {"address": "b"})

    thread = threading.Thread(target=record)
    thread.start()
    try:
        receipts = [receipt for _ in range(100) for receipt in scene.append("ada", "a", "b", "c")]
    finally:
        stop.set()
        thread.join()
    for receipt in receipts:
        assert receipt.position is not None
        assert receipt.next_position is not None
        [entry] = scene.log.entries(since=receipt.position, until=receipt.next_position)
        assert entry["op_id"] == receipt.op_id


def test_a_write_that_fails_acknowledges_nothing_and_a_retry_stores_each_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, REFUSE)
    sent = [draft("a", op_id=str(uuid.uuid4())) for _ in range(3)]
    failures = 0
    for fails_at in range(1, 200):
        storage = FailingStorage(fails_at, "ENOSPC")
        try:
            with OpLog(tmp_path, "jam", storage=storage) as log:
                GuardedLog(Repository.open(str(tmp_path), storage), log, policy=REFUSE).append(
                    sent, actor_id="ada"
                )
        except StorageError:
            failures += 1
        if not storage.failed:
            break
    assert failures > 3
    receipts = scene.guarded.append(sent, actor_id="ada")
    assert sorted(scene.op_ids()) == sorted(receipt.op_id for receipt in receipts)


# -- reservations --------------------------------------------------------------------------------


def test_an_op_on_an_address_that_another_holds_is_refused_and_the_holders_own_goes_in(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, REFUSE)
    reservation = scene.coordination.reserve("ada", ["song.mid"], branch="main")
    for address in ("song.mid", "song.mid/note-1", "./song.mid/", ""):
        receipt = scene.one("bob", address)
        assert (receipt.status, receipt.kind, receipt.lamport_ts) == ("refused", "held", None)
        assert "ada holds song.mid" in receipt.reason
        assert receipt.reservations == (reservation.to_json(),)
    assert scene.one("bob", "song.midi").status == "stored"
    assert scene.one("ada", "song.mid").status == "stored"
    assert scene.one("ada", "song.mid", reservation_id=reservation.reservation_id).status == "stored"
    scene.coordination.release(reservation.reservation_id, "ada")
    assert scene.one("bob", "song.mid").status == "stored"


def test_an_op_that_names_a_long_address_or_a_way_up_does_not_lead_around_a_reservation(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, REFUSE)
    scene.coordination.reserve("ada", ["song.mid"], branch="main")
    for address in ("else/../song.mid", "song.mid/" + "x" * 100_000, "song.mid" + "/x" * 100_000):
        assert scene.one("bob", address, seen={}).kind == "held"


def test_an_inner_op_does_not_lead_around_a_reservation(tmp_path: Path) -> None:
    scene = Scene(tmp_path, REFUSE)
    scene.coordination.reserve("ada", ["song.mid"], branch="main")
    op = {"op": "patch", "address": "other.mid", "child_ops": [{"op": "delete", "address": "song.mid/1"}]}
    [receipt] = scene.guarded.append([{"domain": DOMAIN, "domain_op": op}], actor_id="bob")
    assert receipt.kind == "held"


def test_a_reservation_counts_on_its_branch(tmp_path: Path) -> None:
    scene = Scene(tmp_path, REFUSE)
    scene.coordination.reserve("ada", ["song.mid"], branch="take/2")
    assert scene.one("bob", "song.mid").status == "stored"


def test_where_head_moves_while_the_session_is_open_the_reservations_of_its_branch_count(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, REFUSE)
    scene.coordination.reserve("ada", ["a"], branch="main")
    scene.coordination.reserve("ada", ["b"], branch="take/2")
    assert [scene.one("bob", "a").kind, scene.one("bob", "b").kind] == ["held", ""]
    head = tmp_path / ".muse" / "HEAD"
    head.write_text("ref: refs/heads/take/2\n")
    assert [scene.one("bob", "a").kind, scene.one("bob", "b").kind] == ["", "held"]
    assert {one.reservation.branch for one in scene.guarded.trespasses()} == {"take/2"}
    head.write_text("rubbish")
    with pytest.raises(CorruptionError, match="HEAD"):
        scene.one("bob", "b")


def test_an_advisory_session_stores_the_op_and_tells_of_the_reservation(scene: Scene) -> None:
    assert scene.guarded.policy() == Policy("advisory", "report")
    reservation = scene.coordination.reserve("ada", ["song.mid"], branch="main")
    receipt = scene.one("bob", "song.mid")
    assert (receipt.status, receipt.kind, receipt.reservations) == (
        "stored",
        "held",
        (reservation.to_json(),),
    )
    late = scene.one("bob", "else", reservation_id=reservation.reservation_id)
    assert (late.status, late.kind) == ("stored", "fenced")


def test_a_record_that_cannot_be_read_stops_a_session_that_enforces_and_no_other(scene: Scene) -> None:
    reservation = scene.coordination.reserve("ada", ["a"], branch="main")
    path = scene.root / ".muse" / "coordination" / "reservations" / f"{reservation.reservation_id}.json"
    whole = path.read_bytes()
    path.write_bytes(b"{")
    scene.coordination = Coordination(str(scene.root), now=scene.clock)
    scene.guarded = GuardedLog(scene.repository, scene.log, coordination=scene.coordination)
    assert scene.one("bob", "a").status == "stored"
    write_policy(str(scene.root), "jam", REFUSE)
    for _ in range(2):
        with pytest.raises(CorruptionError, match=reservation.reservation_id):
            scene.one("bob", "a")
    path.write_bytes(whole)
    assert scene.one("bob", "a").kind == "held"


def test_a_session_that_looks_at_no_reservations_says_nothing_of_them(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Policy("off", "off"))
    scene.coordination.reserve("ada", ["song.mid"], branch="main")
    receipt = scene.one("bob", "song.mid", seen={})
    assert (receipt.status, receipt.kind, receipt.reservations, receipt.overlaps) == ("stored", "", (), ())


def test_an_op_on_a_reservation_that_is_over_is_fenced_off_however_late_it_comes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, REFUSE)
    take = scene.coordination.reserve
    expired = take("ada", ["a"], branch="main", ttl_seconds=60).reservation_id
    released = take("ada", ["b"], branch="main").reservation_id
    others = take("bob", ["c"], branch="main").reservation_id
    scene.coordination.release(released, "ada")
    scene.clock.seconds += 100
    replaced = expired
    take("bob", ["a"], branch="main")
    cases = [
        (released, "was released"),
        (others, "is bob's"),
        (str(uuid.uuid4()), "not known"),
        (replaced, "ed"),
    ]
    for reservation_id, reason in cases:
        receipt = scene.one("ada", "elsewhere", reservation_id=reservation_id)
        assert (receipt.status, receipt.kind) == ("refused", "fenced")
        assert reason in receipt.reason
    assert scene.op_ids() == []
    assert scene.one("ada", "a").kind == "held"


def test_a_holder_whose_time_is_up_is_fenced_off_before_anyone_else_gets_the_address(tmp_path: Path) -> None:
    scene = Scene(tmp_path, REFUSE)
    reservation = scene.coordination.reserve("ada", ["a"], branch="main", ttl_seconds=60)
    scene.clock.seconds += 60
    assert "expired at" in scene.one("ada", "a", reservation_id=reservation.reservation_id).reason
    assert scene.one("bob", "a").kind == "held"
    scene.coordination.intend("bob", ["a"], branch="main")


def take_turns(root: str, actor: str, turns: int) -> None:
    """Take the address by force if need be, write on it, and go on writing after it was lost."""
    coordination = Coordination(root)
    with OpLog(root, "jam") as log:
        guarded = GuardedLog(Repository.open(root), log, coordination=coordination)
        while turns:
            try:
                reservation = coordination.reserve(actor, ["song.mid"], branch="main")
            except HeldError as error:
                coordination.release(error.reservation_ids[0], actor, force=True)
                continue
            turns -= 1
            op = draft("song.mid", reservation_id=reservation.reservation_id)
            for _ in range(5):
                guarded.append([op], actor_id=actor)


def test_no_op_of_a_replaced_holder_stands_behind_one_of_its_successor(tmp_path: Path) -> None:
    """Processes that take the address from one another while they write."""
    scene = Scene(tmp_path)
    write_policy(str(tmp_path), "jam", REFUSE)
    context = get_context("spawn")
    arguments = [(str(tmp_path), f"actor-{number}", 25) for number in range(4)]
    processes = [context.Process(target=take_turns, args=some) for some in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    grants = tmp_path / ".muse" / "coordination" / "grants"
    epochs = {
        path.stem: int(path.read_text().split('"epoch": ')[1].split(",")[0]) for path in grants.iterdir()
    }
    written = [epochs[entry["reservation_id"]] for entry in scene.log.entries()]
    assert len(set(written)) > 3
    assert written == sorted(written)


def hold_and_write(root: str, actor: str) -> None:
    """Reserve, renew, write and release, for ever; and write once more when it is over."""
    coordination = Coordination(root)
    with OpLog(root, "jam") as log:
        guarded = GuardedLog(Repository.open(root), log, coordination=coordination)
        while True:
            try:
                reservation = coordination.reserve(actor, ["song.mid"], branch="main", ttl_seconds=1)
                coordination.renew(reservation.reservation_id, actor, ttl_seconds=2)
            except HeldError as error:
                coordination.release(error.reservation_ids[0], actor, force=True)
                continue
            except ConflictError:
                continue  # it took too long
            op = draft("song.mid", reservation_id=reservation.reservation_id)
            guarded.append([op], actor_id=actor)
            coordination.release(reservation.reservation_id, actor, force=True)
            guarded.append([op], actor_id=actor)


def wait_for_ops(log: OpLog, count: int) -> None:
    """Wait until so many more ops are in the log."""
    enough = log.cut().op_count + count
    wait_until(lambda: log.cut().op_count >= enough)


def test_holders_that_are_killed_at_any_moment_leave_one_holder_at_a_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    write_policy(str(tmp_path), "jam", REFUSE)
    context = get_context("spawn")

    def start(number: int) -> Any:
        process = context.Process(target=hold_and_write, args=(str(tmp_path), f"actor-{number}"))
        process.start()
        return process

    processes = [start(number) for number in range(3)]
    dice = random.Random(6)
    try:
        for number in range(3, 12):
            wait_for_ops(scene.log, dice.randrange(1, 10))
            victim = processes.pop(0)
            assert victim.is_alive()
            victim.kill()
            victim.join()
            processes.append(start(number))
        wait_for_ops(scene.log, 10)
    finally:
        for process in processes:
            process.kill()
            process.join()
    records = tmp_path / ".muse" / "coordination"
    made = [path.name for path in (records / "reservations").glob("*.json")]
    epochs = {name[:-5]: json.loads((records / "grants" / name).read_text())["epoch"] for name in made}
    assert len(set(epochs.values())) == len(epochs)
    in_order = [epochs[entry["reservation_id"]] for entry in scene.log.entries()]
    assert len(in_order) > 10
    assert in_order == sorted(set(in_order))
    assert len(Coordination(str(tmp_path)).reservations()) <= 1
    wait_until(lambda: has_reserved(Coordination(str(tmp_path)), "zoe"))
    assert [reservation.actor_id for reservation in Coordination(str(tmp_path)).reservations()] == ["zoe"]


def has_reserved(coordination: Coordination, actor: str) -> bool:
    with contextlib.suppress(HeldError):
        coordination.reserve(actor, ["song.mid"], branch="main")
        return True
    return False


def test_an_address_changes_hands_before_an_append_or_after_it_never_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, REFUSE)
    reservation = scene.coordination.reserve("ada", ["a"], branch="main")
    happened: list[str] = []

    def take_over() -> None:
        other = Coordination(str(tmp_path), now=scene.clock)
        other.release(reservation.reservation_id, "bob", force=True)
        other.reserve("bob", ["a"], branch="main")
        happened.append("released")

    thread = threading.Thread(target=take_over)
    write = scene.log.append_new

    def append_new(entries: list[OpEntry]) -> list[tuple[int, int]]:
        thread.start()
        thread.join(0.5)  # as long as it would take, were it let
        happened.append("written")
        return write(entries)

    monkeypatch.setattr(scene.log, "append_new", append_new)
    assert scene.one("ada", "a", reservation_id=reservation.reservation_id).status == "stored"
    thread.join()
    assert happened == ["written", "released"]
    assert scene.one("ada", "a", reservation_id=reservation.reservation_id).kind == "fenced"


# -- policy --------------------------------------------------------------------------------------


def test_a_change_of_policy_holds_for_the_next_append_of_every_open_handle(scene: Scene) -> None:
    scene.coordination.reserve("ada", ["a"], branch="main")
    assert scene.one("bob", "a").status == "stored"
    write_policy(str(scene.root), "jam", REFUSE)
    assert scene.one("bob", "a").status == "refused"
    write_policy(str(scene.root), "jam", Policy("off"))
    assert scene.one("bob", "a").status == "stored"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema_version":2}',
        '{"schema_version":1,"reservations":"maybe"}',
        '{"schema_version":1,"colour":"red"}',
        '{"schema_version":1,"stale_reads":["off"]}',
    ],
)
def test_a_policy_that_cannot_be_read_lets_nothing_pass(scene: Scene, text: str) -> None:
    write_policy(str(scene.root), "jam", REFUSE)
    path = scene.root / ".muse" / "op_log" / "jam" / "policy.json"
    path.write_text(text)
    with pytest.raises(CorruptionError, match=r"policy\.json"):
        scene.one("bob", "a")
    assert scene.op_ids() == []


def test_a_policy_of_unknown_words_is_refused() -> None:
    with pytest.raises(UsageError, match="off, advisory, refuse, propose"):
        Policy(reservations="always")  # type: ignore[arg-type]


def test_a_session_without_a_policy_has_the_default_one(scene: Scene) -> None:
    assert read_policy(str(scene.root), "jam") == Policy("advisory", "report")


# -- stale reads ---------------------------------------------------------------------------------


def test_the_receipt_names_newer_ops_of_others_on_the_address_and_no_other(scene: Scene) -> None:
    first = scene.one("ada", "song.mid/1")
    scene.one("bob", "song.mid/1")
    scene.one("eve", "elsewhere")
    newer = scene.one("ada", "song.mid/2")
    seen = {"ada": first.lamport_ts or 0}
    receipt = scene.one("bob", "song.mid", seen=seen)
    assert (receipt.status, receipt.kind) == ("stored", "stale")
    assert receipt.overlaps == (
        {"lamport_ts": newer.lamport_ts, "op_id": newer.op_id, "actor_id": "ada", "address": "song.mid/2"},
    )
    assert scene.one("bob", "song.mid/1", seen=seen).overlaps == ()
    assert scene.one("bob", "song.mid", seen={"ada": newer.lamport_ts or 0}).overlaps == ()
    assert scene.one("bob", "song.mid").overlaps == ()


def test_an_op_that_another_process_appended_is_seen_as_newer(scene: Scene) -> None:
    scene.one("bob", "a", seen={})
    with OpLog(scene.root, "jam") as other:
        entry = other.record("ada", DOMAIN, {"address": "a"})
    assert [one["op_id"] for one in scene.one("bob", "a", seen={}).overlaps] == [entry["op_id"]]


@pytest.mark.parametrize("stale_reads", ["report", "propose"])
def test_of_requests_in_one_step_the_later_is_stale_as_it_would_be_alone(
    tmp_path: Path, stale_reads: Any
) -> None:
    scene = Scene(tmp_path, Policy(stale_reads=stale_reads))
    requests = [Request(actor, [draft("a")], seen_frontier={}) for actor in ("ada", "bob")]
    [[first], [second]] = scene.guarded.append_requests(requests)
    assert (first.status, first.overlaps) == ("stored", ())
    assert second.status == ("proposed" if stale_reads == "propose" else "stored")
    assert [one["op_id"] for one in second.overlaps] == [first.op_id]


def test_an_op_of_the_same_step_is_named_with_its_stamp_and_one_without_any_yet_was_read_by_nobody(
    scene: Scene,
) -> None:
    read = make_op_entry("eve", DOMAIN, {"address": "a"}, 5)
    requests = [
        Request("eve", [read]),
        Request("ada", [draft("a"), draft("a/1"), draft("b")]),
        Request("bob", [draft("a"), draft("a")], seen_frontier={"eve": 5, "ada": MAX_LAMPORT}),
        Request("bob", [draft("a/2")], seen_frontier={"eve": 4}),
    ]
    _, [first, second, _], both, [last] = scene.guarded.append_requests(requests)
    newest = {"lamport_ts": second.lamport_ts, "op_id": second.op_id, "actor_id": "ada", "address": "a/1"}
    assert [one.overlaps for one in both] == [(newest,), (newest,)]
    assert [one["op_id"] for one in last.overlaps] == [read["op_id"], first.op_id]
    assert [one["lamport_ts"] for one in last.overlaps] == [5, first.lamport_ts]


def test_an_op_of_the_same_step_that_the_log_does_not_take_is_no_newer_op(scene: Scene) -> None:
    bad = draft("a") | {"domain_op": {"address": "a", "x": float("nan")}}
    requests = [Request("ada", [bad]), Request("bob", [draft("a")], seen_frontier={})]
    [[refused], [stored]] = scene.guarded.append_requests(requests)
    assert (refused.status, refused.kind) == ("refused", "invalid")
    assert (stored.status, stored.kind, stored.reason, stored.overlaps) == ("stored", "", "", ())


def test_in_a_guarded_session_a_stale_op_is_set_aside(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Policy(stale_reads="propose"))
    scene.one("ada", "a")
    receipt = scene.one("bob", "a", seen={})
    assert (receipt.status, receipt.kind, len(receipt.overlaps)) == ("proposed", "stale", 1)
    assert [one.proposal_id for one in scene.guarded.proposals()] == [receipt.op_id]
    assert scene.one("bob", "a", seen={"ada": 1}).status == "stored"


ACTORS = st.sampled_from(["ada", "bob", "eve"])
ADDRESSES = st.sampled_from(["a", "a/1", "a/2", "b", "b/1/x", ""])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(ACTORS, ADDRESSES), max_size=30),
    st.dictionaries(ACTORS, st.integers(0, 30)),
    ACTORS,
    ADDRESSES,
    st.integers(1, 8),
)
def test_no_unread_op_is_missed_and_none_is_named_that_was_read(
    ops: list[tuple[str, str]], seen: dict[str, int], author: str, address: str, held: int
) -> None:
    """However little is held in memory; where all of it is, what is named is exact."""
    storage = InMemoryStorage()
    storage.make_directory("/repo")
    with OpLog("/repo", "jam", storage=storage) as log:
        small, large = Touches(log, touches_held=held), Touches(log)
        for actor, where in ops:
            log.record(actor, DOMAIN, {"address": where})
            small.catch_up()
        large.catch_up()
        entries = {entry["op_id"]: entry for entry in log.entries()}
        unread = [entry for entry in entries.values() if is_unread(entry, author, address, seen)]
        newest = {entry["actor_id"]: entry["op_id"] for entry in unread}
        assert {one.actor_id: one.op_id for one in large.unread([address], author, seen)} == newest
        for one in small.unread([address], author, seen):
            assert is_unread(entries[one.op_id], author, "", seen)
            known = newest.pop(one.actor_id, one.op_id)
            assert one.lamport_ts >= entries[known]["lamport_ts"]
        assert newest == {}


def test_an_author_who_read_nothing_costs_no_reading_of_the_log(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    touches = Touches(scene.log, touches_held=10)
    scene.append("ada", *(f"song.mid/{number}" for number in range(100)))
    scene.append("eve", *(f"else.mid/{number}" for number in range(100)))
    touches.catch_up()
    monkeypatch.setattr(scene.log, "scan", lambda *_: pytest.fail("it read the log"))
    assert [one.actor_id for one in touches.unread(["song.mid/1"], "bob", {})] == ["ada"]
    assert [one.actor_id for one in touches.unread(["else.mid"], "bob", {"ada": 100})] == ["eve"]
    assert touches.unread(["else.mid"], "bob", {"eve": 200}) == []


def test_what_is_held_of_touches_is_bounded_by_actors_and_depth_too() -> None:
    storage = InMemoryStorage()
    storage.make_directory("/repo")
    with OpLog("/repo", "jam", storage=storage) as log:
        touches = Touches(log, touches_held=100)
        for number in range(300):
            log.record(f"actor-{number}", DOMAIN, {"address": "a"})
            log.record("ada", DOMAIN, {"address": f"{number}/" + "a/" * 1000})
            touches.catch_up()
            assert len(touches) < 2 * (100 + MOST_STEPS + 1) + 2 * 302
        assert len(touches.unread(["a"], "ada", {})) == 300


def is_unread(entry: OpEntry, author: str, address: str, seen: dict[str, int]) -> bool:
    actor, where = entry["actor_id"], addresses_of(entry["domain_op"])[0]
    return actor != author and touch(where, address) and entry["lamport_ts"] > seen.get(actor, 0)


# -- passing by ----------------------------------------------------------------------------------


def test_ops_that_passed_by_the_guard_are_found_and_nothing_else(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PROPOSE)
    scene.clock.seconds = 0.0
    scene.log.record("bob", DOMAIN, {"address": "elsewhere"})
    reservation = scene.coordination.reserve("ada", ["a"], branch="main", ttl_seconds=60)
    scene.one("ada", "a")
    proposed = scene.one("bob", "a")
    scene.guarded.accept(proposed.op_id, actor_id="ada")
    entry = scene.log.record("bob", DOMAIN, {"address": "a/1"})
    [found] = scene.guarded.trespasses()
    assert (found.entry, found.reservation) == (entry, reservation)


def test_the_limit_of_open_proposals_refuses_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "MOST_OPEN_PROPOSALS", 2)
    scene = Scene(tmp_path, PROPOSE)
    scene.coordination.reserve("ada", ["a"], branch="main")
    receipts = scene.append("bob", "a", "a", "a")
    assert [receipt.status for receipt in receipts] == ["proposed", "proposed", "refused"]
    assert receipts[2].kind == "full"
    scene.guarded.reject(receipts[0].op_id, actor_id="ada")
    assert scene.one("bob", "a").status == "proposed"


@pytest.mark.parametrize(
    ("limit", "value", "of_others"),
    [
        ("MOST_PROPOSALS_OF_ONE", 2, "proposed"),
        ("MOST_PROPOSALS", 2, "refused"),
        ("MOST_PROPOSAL_BYTES_OF_ONE", 4_000, "proposed"),
        ("MOST_PROPOSAL_BYTES", 4_000, "refused"),
    ],
)
def test_decided_proposals_of_one_actor_leave_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, of_others: str
) -> None:
    monkeypatch.setattr(decisions, limit, value)
    scene = Scene(tmp_path, PROPOSE)
    scene.coordination.reserve("ada", ["a"], branch="main")
    op = {"domain": DOMAIN, "domain_op": {"address": "a", "text": "x" * 500}}

    def propose(guarded: GuardedLog, actor: str) -> str:
        [receipt] = guarded.append([op], actor_id=actor)
        if receipt.status == "proposed":
            guarded.reject(receipt.op_id, actor_id=actor, reason="y" * 1_000)
        return receipt.status

    assert [propose(scene.guarded, "bob") for _ in range(3)] == ["proposed", "proposed", "refused"]
    log = OpLog(scene.root, "jam")
    again = GuardedLog(scene.repository, log, policy=PROPOSE, coordination=scene.coordination)
    assert propose(again, "bob") == "refused"
    assert propose(again, "eve") == of_others
    assert len(again.proposals(settled=True)) == 2 + (of_others == "proposed")


def test_the_reason_of_a_decision_is_short(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PROPOSE)
    scene.coordination.reserve("ada", ["a"], branch="main")
    proposed = scene.one("bob", "a")
    with pytest.raises(UsageError, match="at most 4096"):
        scene.guarded.reject(proposed.op_id, actor_id="ada", reason="y" * 4_097)
    assert [one.state for one in scene.guarded.proposals()] == ["open"]


@pytest.mark.parametrize(
    ("limit", "value", "of_others"),
    [
        ("MOST_OPEN_OF_ONE", 2, "proposed"),
        ("MOST_OPEN_BYTES_OF_ONE", 3_000, "proposed"),
        ("MOST_OPEN_BYTES", 3_000, "refused"),
    ],
)
def test_the_open_proposals_of_one_actor_leave_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, of_others: str
) -> None:
    monkeypatch.setattr(decisions, limit, value)
    scene = Scene(tmp_path, PROPOSE)
    scene.coordination.reserve("ada", ["a"], branch="main")

    def propose(actor: str, *sizes: int) -> list[str]:
        ops = [{"domain": DOMAIN, "domain_op": {"address": "a", "text": "x" * size}} for size in sizes]
        return [receipt.status for receipt in scene.guarded.append(ops, actor_id=actor)]

    assert propose("bob", 1_000, 1_000, 1_000) == ["proposed", "proposed", "refused"]
    assert propose("eve", 1_000) == [of_others]
    first = scene.guarded.proposals()[0]
    scene.guarded.accept(first.proposal_id, actor_id="ada")
    log = OpLog(scene.root, "jam")
    again = GuardedLog(scene.repository, log, policy=PROPOSE, coordination=scene.coordination)
    op = {"domain": DOMAIN, "domain_op": {"address": "a"}}
    second = "refused" if limit == "MOST_OPEN_OF_ONE" else "proposed"
    statuses = [receipt.status for receipt in again.append([op, op], actor_id="bob")]
    assert statuses == ["proposed", second]
