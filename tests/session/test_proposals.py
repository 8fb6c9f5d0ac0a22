"""Ops that are set aside: who decides, what a crash leaves, and what a damaged file says."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.coordination.reservations import Coordination, HeldError
from muse.core.line import frame
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import ConflictError, CorruptionError, MuseError, NotFoundError, StorageError
from muse.history.repository import Repository
from muse.session import decisions
from muse.session.guarded_log import GuardedLog, Request
from muse.session.policy import Policy
from muse.session.receipt import Receipt
from muse.testing import DiskModelStorage, FailingStorage, Fault

ROOT = "/repo"
NOW = "2026-02-02T02:40:00+00:00"
DOMAIN = "a-domain-without-plugin"
POLICY = Policy("propose", "propose")
OP_ID = str(uuid.uuid4())
DRAFT = {"op_id": OP_ID, "domain": DOMAIN, "domain_op": {"op": "replace", "address": "a"}}


@contextlib.contextmanager
def opened(storage: Storage, root: str = ROOT) -> Iterator[GuardedLog]:
    with OpLog(root, "jam", storage=storage) as log:
        coordination = Coordination(root, storage=storage, now=lambda: 1_770_000_000.0)
        yield GuardedLog(Repository.open(root, storage), log, policy=POLICY, coordination=coordination)


@pytest.fixture
def disk() -> DiskModelStorage:
    """A repository in which ada holds the address "a"; all of it durable."""
    disk = DiskModelStorage()
    disk.make_directory(ROOT)
    disk.sync_directory("/")
    Repository.init(ROOT, now=NOW, storage=disk, any_domain=True)
    with opened(disk) as guarded:
        guarded.coordination.reserve("ada", ["a"], branch="main")
        guarded.append([{**DRAFT, "op_id": str(uuid.uuid4())}], actor_id="ada", durability="disk")
    disk.power_cut(0)
    return disk


@pytest.fixture
def guarded(disk: DiskModelStorage) -> Iterator[GuardedLog]:
    with opened(disk) as guarded:
        yield guarded


def propose(guarded: GuardedLog) -> Receipt:
    [receipt] = guarded.append([DRAFT], actor_id="bob")
    return receipt


def times_in_log(storage: Storage, op_id: str = OP_ID) -> int:
    with OpLog(ROOT, "jam", storage=storage) as log:
        return [entry["op_id"] for entry in log.entries(salvage=True)].count(op_id)


def proposals_path(root: str = ROOT) -> str:
    return layout.proposals_file(root, "jam")


# -- deciding ------------------------------------------------------------------------------------


def test_a_proposal_waits_for_the_holder_who_accepts_it_under_its_op_id(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    receipt = propose(guarded)
    assert (receipt.status, receipt.kind, receipt.lamport_ts) == ("proposed", "held", None)
    [proposal] = guarded.proposals()
    assert (proposal.proposal_id, proposal.entry["actor_id"], proposal.kind) == (OP_ID, "bob", "held")
    for other in ("bob", "eve"):
        with pytest.raises(HeldError, match="ada holds a"):
            guarded.accept(OP_ID, actor_id=other)
    with pytest.raises(HeldError):
        guarded.reject(OP_ID, actor_id="eve")
    assert times_in_log(disk) == 0
    accepted = guarded.accept(OP_ID, actor_id="ada")
    assert (accepted.status, accepted.op_id) == ("stored", OP_ID)
    assert guarded.proposals() == []
    [settled] = guarded.proposals(settled=True)
    assert (settled.state, settled.decided_by) == ("accepted", "ada")
    assert times_in_log(disk) == 1


def test_proposals_are_read_in_pages_of_a_bounded_size(guarded: GuardedLog) -> None:
    def sent(number: int, size: int) -> str:
        op = {"op": "insert", "address": "a", "n": number, "pad": "x" * size}
        [receipt] = guarded.append([{"domain": "sketch", "domain_op": op}], actor_id="bob")
        assert receipt.status == "proposed"
        return receipt.op_id

    ids = [sent(number, 400_000 if number % 4 == 0 else 10) for number in range(20)]
    guarded.accept(ids[3], actor_id="ada")
    guarded.reject(ids[7], actor_id="ada")

    def read(*, settled: bool, at_most: int) -> tuple[list[str], list[int]]:
        found: list[str] = []
        sizes: list[int] = []
        after: str | None = ""
        while after is not None:
            page, after = guarded.proposals_after(after, settled=settled, at_most=at_most)
            found += [one.proposal_id for one in page]
            sizes.append(len(page))
        return found, sizes

    assert read(settled=True, at_most=1000) == (ids, [8, 8, 4])  # two large ones are in a mebibyte
    assert read(settled=True, at_most=3)[0] == ids
    still_open = [one for one in ids if one not in {ids[3], ids[7]}]
    assert read(settled=False, at_most=1) == (still_open, [int(one in still_open) for one in ids])
    with pytest.raises(NotFoundError):
        guarded.proposals_after("nothing")


def test_the_room_for_proposals_counts_the_parents_they_are_given(
    guarded: GuardedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"domain": DOMAIN, "domain_op": {"op": "replace", "address": "b"}, "parent_op_ids": []}
    for number in range(100):
        guarded.append([alone], actor_id=f"actor-{number}")
    monkeypatch.setattr(decisions, "MOST_OPEN_BYTES_OF_ONE", 3_000)
    [receipt] = guarded.append([DRAFT], actor_id="bob")
    assert (receipt.status, receipt.kind) == ("refused", "full")
    request = Request("bob", [{**DRAFT, "parent_op_ids": []}])
    assert guarded.append_requests([request])[0][0].status == "proposed"
    assert 0 < request.bytes_set_aside < 3_000


def test_a_decision_may_be_made_again_and_not_the_other_way(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    propose(guarded)
    first = guarded.accept(OP_ID, actor_id="ada")
    again = guarded.accept(OP_ID, actor_id="ada")
    assert (again.status, again.position) == ("known", first.position)
    with pytest.raises(ConflictError, match="was accepted"):
        guarded.reject(OP_ID, actor_id="ada")
    other = str(uuid.uuid4())
    guarded.append([{**DRAFT, "op_id": other}], actor_id="bob")
    rejected = guarded.reject(other, actor_id="ada", reason="not in this key")
    assert guarded.reject(other, actor_id="ada", reason="changed my mind") == rejected
    with pytest.raises(ConflictError, match="was rejected by ada"):
        guarded.accept(other, actor_id="ada")
    assert (times_in_log(disk), times_in_log(disk, other)) == (1, 0)


def test_a_retry_of_a_proposed_op_says_what_became_of_it(guarded: GuardedLog) -> None:
    assert propose(guarded).status == propose(guarded).status == "proposed"
    assert len(guarded.proposals()) == 1
    [other] = guarded.append([{**DRAFT, "domain_op": {"address": "b"}}], actor_id="bob")
    assert (other.status, other.kind) == ("refused", "conflict")
    guarded.accept(OP_ID, actor_id="ada")
    assert propose(guarded).status == "known"
    entry = make_op_entry("bob", DOMAIN, {"address": "a"}, 3)
    guarded.append([entry], actor_id="bob")
    guarded.reject(entry["op_id"], actor_id="ada", reason="no")
    [receipt] = guarded.append([entry], actor_id="bob")
    assert (receipt.status, receipt.kind, receipt.reason) == ("refused", "rejected", "ada rejected it: no")


def test_a_draft_is_stamped_when_it_is_accepted_and_an_entry_keeps_its_stamp(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    propose(guarded)
    entry = make_op_entry("bob", DOMAIN, {"address": "a"}, 2)
    guarded.append([entry], actor_id="bob")
    with OpLog(ROOT, "jam", storage=disk) as log:
        later = log.record("ada", DOMAIN, {"address": "a"})
    assert (guarded.accept(OP_ID, actor_id="ada").lamport_ts or 0) > later["lamport_ts"]
    assert guarded.accept(entry["op_id"], actor_id="ada").lamport_ts == 2
    with OpLog(ROOT, "jam", storage=disk) as log:
        assert entry in log.read_all()


def test_where_nobody_holds_the_address_anyone_decides_and_an_author_may_always_take_it_back(
    guarded: GuardedLog,
) -> None:
    propose(guarded)
    assert guarded.reject(OP_ID, actor_id="bob", reason="a slip").decided_by == "bob"
    entry = make_op_entry("bob", DOMAIN, {"address": "a"}, 3)
    guarded.append([entry], actor_id="bob")
    [reservation] = guarded.coordination.reservations()
    guarded.coordination.release(reservation.reservation_id, "ada")
    assert guarded.accept(entry["op_id"], actor_id="bob").status == "stored"


def test_a_proposal_nobody_made_is_not_found(guarded: GuardedLog) -> None:
    for decide in (guarded.accept, guarded.reject):
        with pytest.raises(NotFoundError, match="muse session proposals jam"):
            decide(OP_ID, actor_id="ada")


def test_a_proposal_whose_op_came_into_the_log_by_another_way_is_open_no_longer(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    entry = make_op_entry("bob", DOMAIN, {"address": "a"}, 3)
    guarded.append([entry], actor_id="bob")
    with OpLog(ROOT, "jam", storage=disk) as log:
        log.append(entry)
    assert guarded.proposals() == []
    assert [one.state for one in guarded.proposals(settled=True)] == ["accepted"]
    assert guarded.accept(entry["op_id"], actor_id="ada").status == "known"
    with pytest.raises(ConflictError):
        guarded.reject(entry["op_id"], actor_id="ada")


def test_an_op_id_that_came_to_be_another_ops_is_not_accepted(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    propose(guarded)
    entry = make_op_entry("eve", DOMAIN, {"address": "else"}, 3)
    with OpLog(ROOT, "jam", storage=disk) as log:
        log.append({**entry, "op_id": OP_ID})
    with pytest.raises(ConflictError, match="another op with its id; reject it"):
        guarded.accept(OP_ID, actor_id="ada")
    assert [one.state for one in guarded.proposals()] == ["open"]
    assert guarded.reject(OP_ID, actor_id="ada").state == "rejected"
    assert guarded.proposals() == []


def test_two_processes_see_each_others_proposals_and_decisions(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    with opened(disk) as other:
        propose(guarded)
        assert [one.proposal_id for one in other.proposals()] == [OP_ID]
        other.reject(OP_ID, actor_id="ada")
        assert guarded.proposals() == []
        assert propose(guarded).kind == "rejected"


# -- faults --------------------------------------------------------------------------------------


def prepared() -> DiskModelStorage:
    disk = DiskModelStorage()
    disk.make_directory(ROOT)
    disk.sync_directory("/")
    Repository.init(ROOT, now=NOW, storage=disk, any_domain=True)
    with opened(disk) as guarded:
        guarded.coordination.reserve("ada", ["a"], branch="main")
    disk.power_cut(0)
    return disk


@pytest.mark.parametrize(
    ("fault", "seed"), [("crash", None), ("crash", 0), ("crash", 2), ("short", None), ("sync", None)]
)
@pytest.mark.parametrize("decision", ["accept", "reject"])
def test_a_fault_at_any_call_loses_no_proposal_and_no_decision(
    fault: Fault, seed: int | None, decision: str
) -> None:
    """A power cut follows each crash, by the seeds. Done again, it converges."""
    stages = set()
    for fails_at in range(1, 500):
        disk = prepared()
        storage = FailingStorage(fails_at, fault, inner=disk)
        done = 0
        with contextlib.suppress(MuseError), opened(storage) as guarded:
            assert propose(guarded).status == "proposed"
            done = 1
            decide(guarded, decision)
            done = 2
        stages.add(done)
        if seed is not None:
            disk.power_cut(seed)
        check_after_fault(disk, done, decision)
        if not storage.failed:
            break
    assert stages == {0, 1, 2}


def decide(guarded: GuardedLog, decision: str) -> None:
    if decision == "accept":
        guarded.accept(OP_ID, actor_id="ada")
    else:
        guarded.reject(OP_ID, actor_id="ada")


def check_after_fault(disk: DiskModelStorage, done: int, decision: str) -> None:
    final = "accepted" if decision == "accept" else "rejected"
    with opened(disk) as guarded:
        found = {one.proposal_id: one for one in guarded.proposals(settled=True)}
        assert set(found) <= {OP_ID}
        if done:
            assert found[OP_ID].state in ({"open", final} if done == 1 else {final})
        assert times_in_log(disk) == (bool(found) and found[OP_ID].state == "accepted")
        # As its author and its holder would: send it again, decide again.
        propose(guarded)
        decide(guarded, decision)
        [settled] = guarded.proposals(settled=True)
        assert settled.state == final
    assert times_in_log(disk) == (decision == "accept")


def test_a_proposal_whose_sync_failed_is_written_anew_before_it_is_acknowledged(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    disk.fail_syncs()
    with pytest.raises(StorageError):
        propose(guarded)
    assert propose(guarded).status == "proposed"
    disk.power_cut(0)
    with opened(disk) as after:
        assert [one.proposal_id for one in after.proposals()] == [OP_ID]


def test_a_torn_line_is_passed_over_and_the_next_one_starts_clean(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    propose(guarded)
    whole = disk.read_bytes(proposals_path())
    disk.write_atomically(proposals_path(), whole + whole[: len(whole) // 2])
    with opened(disk) as other:
        assert len(other.proposals()) == 1
        other.reject(OP_ID, actor_id="ada")
    lines = disk.read_bytes(proposals_path()).splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["open", "rejected"]


def test_a_flipped_bit_anywhere_in_the_proposals_is_named(disk: DiskModelStorage) -> None:
    with opened(disk) as guarded:
        propose(guarded)
        guarded.append([{**DRAFT, "op_id": str(uuid.uuid4())}], actor_id="bob")
    whole = disk.read_bytes(proposals_path())
    one_line = whole[: whole.index(b"\n") + 1]
    for place in range(len(one_line)):
        changed = bytearray(one_line if place % 2 else whole)
        changed[place] ^= 1 << place % 7
        disk.write_atomically(proposals_path(), bytes(changed))
        with (
            opened(disk) as guarded,
            pytest.raises(CorruptionError, match=r"proposals\.jsonl is damaged in line 1"),
        ):
            guarded.proposals()
    changed = bytearray(whole)
    changed[-30:-10] = bytes(20)  # as a power cut leaves a line whose bytes did not get to the disk
    disk.write_atomically(proposals_path(), bytes(changed))
    with opened(disk) as guarded:
        assert [one.proposal_id for one in guarded.proposals()] == [OP_ID]


def test_a_line_that_is_whole_and_no_proposal_is_named(guarded: GuardedLog, disk: DiskModelStorage) -> None:
    propose(guarded)
    whole = disk.read_bytes(proposals_path())
    line = frame(b'{"proposal_id":"x","state":"withdrawn","actor_id":"bob","at":""}')
    disk.write_atomically(proposals_path(), whole + line)
    with opened(disk) as other, pytest.raises(CorruptionError, match="no proposal in line 2"):
        other.proposals()


def test_proposals_that_became_fewer_under_an_open_handle_are_noticed(
    guarded: GuardedLog, disk: DiskModelStorage
) -> None:
    propose(guarded)
    disk.write_atomically(proposals_path(), b"")
    with pytest.raises(CorruptionError, match="became shorter"):
        guarded.proposals()


def test_each_line_of_the_file_is_json_with_a_crc(tmp_path: Path) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW, any_domain=True)
    with OpLog(root, "jam") as log:
        guarded = GuardedLog(Repository.open(root), log, policy=POLICY)
        guarded.coordination.reserve("ada", ["a"], branch="main")
        propose(guarded)
        guarded.reject(OP_ID, actor_id="ada", reason="no")
    with open(proposals_path(root), encoding="utf-8") as file:
        first, second = [json.loads(line) for line in file]
    keys = ["proposal_id", "state", "actor_id", "at", "reason", "kind", "run_id", "entry", "crc"]
    assert list(first) == list(second) == keys
    assert first["entry"]["domain_op"] == DRAFT["domain_op"]
    decided: Any = (second["state"], second["actor_id"], second["reason"], second["entry"])
    assert decided == ("rejected", "ada", "no", None)
