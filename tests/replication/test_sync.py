"""Two replicas brought together: what each holds then, whatever stood in the way."""

import contextlib
import hashlib
import json
import multiprocessing
import random
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from muse.core.entry import MAX_LAMPORT, OpEntry
from muse.core.file.log_reader import LogReader
from muse.core.file.session_file import SessionFile
from muse.core.line import encode_line, frame
from muse.core.op_log import MergeResult, OpLog, list_sessions, make_op_entry
from muse.disk.storage import LOCAL
from muse.errors import NotFoundError, UsageError
from muse.replication import local_peer as peer_module
from muse.replication import log_items
from muse.replication.counting_peer import CountingPeer
from muse.replication.local_peer import LocalPeer
from muse.replication.log_items import read_items
from muse.replication.peer import Batch, Peer
from muse.replication.reconcile import ProtocolError, pack_item, pack_items
from muse.replication.sync import SessionSync, sync_session, sync_sessions
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session
from tests.samples.folding_storage import FoldingStorage
from tests.samples.replicas import (
    DOMAIN,
    commit,
    cut_at_every_message,
    log_of,
    make_origin,
    make_replica,
    sync,
    write,
)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first = make_origin(tmp_path / "first")
    return first, make_replica(first, tmp_path / "second")


Two = tuple[Path, Path]


def ops_file(root: Path, session_id: str = "jam") -> Path:
    return root / ".muse/op_log" / session_id / "ops.jsonl"


def test_both_sides_hold_the_ops_of_both_in_one_order(two: Two) -> None:
    first, second = two
    ours, theirs = write(first, "jam", 1, 2, 3), write(second, "jam", 4, 5, actor="bob")
    assert sync(first, second) == {"jam": SessionSync("jam", sent=3, received=2)}
    assert log_of(first) == log_of(second)
    assert {entry["op_id"] for entry in log_of(first)} == {*ours, *theirs}


def test_a_second_run_moves_nothing(two: Two) -> None:
    write(two[0], "jam", 1)
    write(two[1], "jam", 2)
    sync(*two)
    before = ops_file(two[0]).read_bytes(), ops_file(two[1]).read_bytes()
    assert sync(*two) == {"jam": SessionSync("jam")}
    assert (ops_file(two[0]).read_bytes(), ops_file(two[1]).read_bytes()) == before


def test_a_session_that_one_side_has_is_made_on_the_other(two: Two) -> None:
    write(two[0], "ours", 1)
    write(two[1], "theirs", 2, 3)
    outcomes = sync(*two)
    assert outcomes == {"ours": SessionSync("ours", sent=1), "theirs": SessionSync("theirs", received=2)}
    for root in two:
        assert list_sessions(root) == ["ours", "theirs"]


def test_only_the_sessions_that_are_named_are_brought_together(two: Two) -> None:
    write(two[0], "one", 1)
    write(two[0], "two", 2)
    sync(*two, "two")
    assert list_sessions(two[1]) == ["two"]
    with pytest.raises(NotFoundError, match="neither side has a session 'three'"):
        sync(*two, "three")


def test_unrelated_repositories_are_not_mixed(two: Two, tmp_path: Path) -> None:
    write(two[0], "jam", 1)
    other = make_origin(tmp_path / "other")
    with pytest.raises(UsageError, match="unrelated"):
        sync(two[0], other)
    assert list_sessions(other) == []


def test_an_op_with_two_bodies_is_a_conflict_each_time_and_changes_nothing(two: Two) -> None:
    entry = make_op_entry("ada", DOMAIN, {"n": 1}, 1)
    for root, number in zip(two, (1, 2), strict=True):
        with OpLog(root, "jam") as log:
            log.append({**entry, "domain_op": {"n": number}})  # type: ignore[typeddict-item]
    write(two[0], "jam", 3)
    before = ops_file(two[0]).read_bytes()
    outcome = sync(*two)["jam"]
    assert (outcome.conflicts, outcome.sent, outcome.received) == (1, 1, 0)
    assert [reason.op_id for reason in outcome.reasons] == [entry["op_id"]]
    assert not outcome.is_sound
    assert ops_file(two[0]).read_bytes() == before
    assert sync(*two)["jam"].conflicts == 1


def test_an_op_whose_cause_is_nowhere_is_held_until_a_third_replica_brings_it(
    two: Two, tmp_path: Path
) -> None:
    third = make_replica(two[0], tmp_path / "third")
    cause = make_op_entry("ada", DOMAIN, {"n": 1}, 1)
    effect = make_op_entry("bob", DOMAIN, {"n": 2}, 2, parent_op_ids=[cause["op_id"]])
    with OpLog(two[0], "jam") as log:
        log.append(effect)
    with OpLog(third, "jam") as log:
        log.append(cause)
    assert sync(two[1], two[0])["jam"].orphans == 1
    assert log_of(two[1]) == []
    assert sync(two[1], third)["jam"].received == 2
    assert log_of(two[1]) == [cause, effect]


def test_causes_come_before_what_they_caused_in_batches_of_one_entry(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "BATCH_BYTES", 1)
    with OpLog(two[0], "jam") as log:
        last: list[str] = []
        for number in range(20):
            last = [log.record("ada", DOMAIN, {"n": number}, parent_op_ids=last)["op_id"]]
    with LocalPeer(str(two[1])) as here, LocalPeer(str(two[0])) as there:
        peer = CountingPeer(there)
        assert sync_session(here, peer, "jam") == SessionSync("jam", received=20)
    assert peer.traffic.round_trips > 20
    assert log_of(two[0]) == log_of(two[1])


def test_what_is_compared_takes_little_of_the_wire(two: Two) -> None:
    with OpLog(two[0], "jam") as log:
        log.record_many("ada", DOMAIN, [{"n": number} for number in range(3000)])
    sync(*two)
    write(two[0], "jam", 1)
    write(two[1], "jam", 2)
    with LocalPeer(str(two[0])) as here, LocalPeer(str(two[1])) as there:
        peer = CountingPeer(there)
        outcome = sync_session(here, peer, "jam")
    assert (outcome.sent, outcome.received) == (1, 1)
    assert peer.traffic.sent_bytes + peer.traffic.received_bytes < 4000
    assert peer.traffic.round_trips < 10


# -- what is in the way ---------------------------------------------------------------------------


def test_an_archived_session_is_read_and_takes_nothing_and_the_rest_goes_on(two: Two) -> None:
    write(two[0], "jam", 1)
    commit(two[0])
    archive_session(str(two[0]), "jam")
    assert sync(two[1], two[0])["jam"].received == 1
    write(two[1], "jam", 2)
    write(two[1], "other", 3)
    outcomes = sync(two[1], two[0])
    (fault,) = outcomes["jam"].faults
    assert fault.startswith("sending: session 'jam' is archived")
    assert outcomes["other"] == SessionSync("other", sent=1)
    (fault,) = sync(two[0], two[1])["jam"].faults
    assert fault.startswith("receiving: session 'jam' is archived")
    assert [entry["domain_op"] for entry in log_of(two[0])] == [{"n": 1}]


def test_sessions_whose_names_differ_by_case_alone_meet(two: Two) -> None:
    write(two[0], "Jam", 1)
    write(two[1], "jam", 2)
    outcomes = sync(*two)
    assert outcomes == {"Jam": SessionSync("Jam", sent=1), "jam": SessionSync("jam", received=1)}
    for session_id in ("Jam", "jam"):
        assert log_of(two[0], session_id) == log_of(two[1], session_id)


def test_where_a_disk_cannot_hold_sessions_apart_one_is_named_and_the_rest_goes_on(two: Two) -> None:
    write(two[0], "Jam", 1)
    write(two[1], "jam", 2)
    write(two[0], "other", 3)
    with LocalPeer(str(two[0])) as here, LocalPeer(str(two[1]), FoldingStorage()) as there:
        outcomes = {found.session_id: found for found in sync_sessions(here, there, [])}
    assert "by case alone" in outcomes["Jam"].faults[0]
    assert outcomes["other"].sent == 1
    assert [entry["domain_op"] for entry in log_of(two[1], "jam")] == [{"n": 2}]


def test_a_damaged_entry_is_brought_back_by_a_replica_that_has_it(two: Two) -> None:
    write(two[0], "jam", 1, 2, 3)
    sync(*two)
    data = bytearray(ops_file(two[0]).read_bytes())
    data[data.index(b'"n":2') + 4] ^= 1
    ops_file(two[0]).write_bytes(data)
    outcome = sync(*two)["jam"]
    assert (outcome.received, outcome.sent) == (1, 0)
    with OpLog(two[0], "jam") as log:
        assert log.read_all(salvage=True) == log_of(two[1])


def test_a_line_that_another_writer_spelled_otherwise_comes_to_rest_as_known(two: Two) -> None:
    write(two[0], "jam", 1, 2)
    sync(*two)
    lines = ops_file(two[1]).read_bytes().splitlines()
    bare = [json.loads(line) for line in lines]
    for line in bare:
        del line["crc"]
    ops_file(two[1]).write_text("".join(json.dumps(line) + "\n" for line in bare))
    assert sync(*two) == {"jam": SessionSync("jam")}
    spaced = [orjson.dumps(line).replace(b'"domain_op":', b'"domain_op": ') for line in bare]
    framed = [frame(line) for line in spaced]
    ops_file(two[1]).write_bytes(b"".join(framed))
    assert sync(*two) == {"jam": SessionSync("jam", known=2)}


@pytest.mark.parametrize("arrives", [False, True])
def test_cut_at_any_message_the_next_run_finishes_it(two: Two, tmp_path: Path, *, arrives: bool) -> None:
    first, second = two
    write(first, "jam", 1, 2)
    write(first, "ours", 3)
    stored = {}
    for root in two:
        with LiveSession(root, "theirs") as session:
            stored[root] = session.repository.objects.put(root.name.encode())
            session.edit("bob", DOMAIN, {"content_id": stored[root]})

    def make(at: int) -> tuple[Path, Any]:
        own = make_replica(first, tmp_path / f"own-{arrives}-{at}")
        other = make_replica(second, tmp_path / f"other-{arrives}-{at}")
        write(own, "jam", 10 + at)
        write(other, "jam", 20 + at)
        roots.append((own, other))

        def action(peer: Peer) -> None:
            with LocalPeer(str(own)) as here:
                list(sync_sessions(here, peer))

        return other, action

    roots: list[tuple[Path, Path]] = []
    cuts = 0
    for was_cut in cut_at_every_message(make, arrives=arrives):
        cuts += was_cut
        own, other = roots[-1]
        assert all(outcome.is_sound for outcome in sync(own, other).values())
        for session_id, count in [("jam", 4), ("ours", 1), ("theirs", 2)]:
            assert log_of(own, session_id) == log_of(other, session_id)
            assert len(log_of(own, session_id)) == count
        for root in (own, other):
            with LocalPeer(str(root)) as replica:
                assert replica.lacks("object", list(stored.values())) == []
        assert sync(own, other)["jam"] == SessionSync("jam")
    assert cuts > 8


def test_an_object_is_there_before_the_op_that_names_it(two: Two) -> None:
    with LiveSession(two[0], "jam") as session:
        object_id = session.repository.objects.put(b"content")
        absent = hashlib.sha256(b"of a note").hexdigest()
        session.edit("ada", DOMAIN, {"content_id": object_id, "note": absent})

    class Watching(LocalPeer):
        def offer(self, session_id: str, lines: bytes) -> MergeResult:
            assert object_id.encode() in lines
            assert self.lacks("object", [object_id]) == []
            return super().offer(session_id, lines)

    with LocalPeer(str(two[0])) as here, Watching(str(two[1])) as there:
        assert sync_session(here, there, "jam").sent == 1


# -- peers that are not what they should be -------------------------------------------------------


class Withholding(LocalPeer):
    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        del session_id, op_ids
        return Batch(0, b"", ())


class Damaging(LocalPeer):
    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        batch = super().entries(session_id, op_ids)
        return Batch(batch.done, batch.lines.replace(b'"n":1', b'"n":7'), ())


class Flooding(LocalPeer):
    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        batch = super().entries(session_id, op_ids)
        return Batch(batch.done, batch.lines * 100_000, ())


class Babbling(LocalPeer):
    def reconcile(self, session_id: str, message: bytes) -> bytes:
        del session_id
        return message + b"and more"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Withholding, "does not hand over"),
        (Damaging, "damaged on their way"),
        (Flooding, "bytes was sent"),
        (Babbling, "the peer sent"),
    ],
)
def test_a_hostile_peer_is_told_off_and_nothing_is_taken_over(
    two: Two, kind: type[LocalPeer], reason: str
) -> None:
    write(two[1], "jam", 1)
    with (
        LocalPeer(str(two[0])) as here,
        kind(str(two[1])) as there,
        pytest.raises(ProtocolError, match=reason),
    ):
        sync_session(here, there, "jam")
    assert list_sessions(two[0]) == []


# -- items ----------------------------------------------------------------------------------------


def test_a_log_has_one_item_for_each_entry_however_its_line_is_written(tmp_path: Path) -> None:
    entries = [make_op_entry("ada", DOMAIN, {"n": number, "é": 1.5}, number + 1) for number in range(300)]
    framed = [encode_line(entry) for entry in entries]
    path = ops_file(tmp_path)
    path.parent.mkdir(parents=True)

    def items() -> list[bytes]:
        file = SessionFile(str(tmp_path), "jam", LOCAL)
        try:
            return list(read_items(file))
        finally:
            file.close()

    path.write_bytes(b"".join(framed))
    expected = items()
    assert len(expected) == 300
    random.Random(1).shuffle(framed)
    path.write_bytes(b"".join(framed + framed[:50]) + b'{"op_id":"torn')
    assert items() == expected
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert items() == expected


# -- a ring ---------------------------------------------------------------------------------------


def edit_and_sync(own: str, other: str, actor: str) -> None:
    """Edit, and sync with the next replica of the ring, again and again."""
    for number in range(10):
        with OpLog(own, "jam") as log:
            known = [entry["op_id"] for entry in log.read_all()[-2:]]
            log.record(actor, DOMAIN, {"by": actor, "n": number}, parent_op_ids=known)
            log.record(actor, DOMAIN, {"by": actor, "n": -number})
        sync(Path(own), Path(other))


def test_three_processes_that_sync_in_a_ring_while_they_edit_come_to_one_state(tmp_path: Path) -> None:
    first = make_origin(tmp_path / "0")
    write(first, "jam", 1)
    ring = [first, *(make_replica(first, tmp_path / str(number)) for number in (1, 2))]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=edit_and_sync, args=(str(root), str(ring[(place + 1) % 3]), f"actor-{place}"))
        for place, root in enumerate(ring)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    for place in (0, 1, 0):  # what the last of them wrote last goes round
        assert sync(ring[place], ring[place + 1])["jam"].is_sound
    assert len(log_of(first)) == 61
    assert log_of(ring[0]) == log_of(ring[1]) == log_of(ring[2])
    pending = []
    for root in ring:
        with OpLog(root, "jam") as log:
            pending.append(log.replay_since_checkpoint())
            assert log.orphans.entries() == []
    assert pending[0] == pending[1] == pending[2] == log_of(first)


def test_entries_that_are_together_in_the_log_are_read_together(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = write(two[0], "jam", *range(500))
    ids += write(two[0], "jam", *range(500, 600), actor="bob")
    with LocalPeer(str(two[0])) as peer:
        asked = (ids, ids[::-1], ids[250:400], [*ids[:70], str(uuid.uuid4()), ids[-1]], ids[:3])
        together = [peer.entries("jam", some) for some in asked]
        looked_up: list[int] = []
        line_at = LogReader.line_at

        def noting(reader: LogReader, offset: int) -> tuple[OpEntry, int]:
            looked_up.append(offset)
            return line_at(reader, offset)

        monkeypatch.setattr(LogReader, "line_at", noting)
        assert peer.entries("jam", ids) == together[0]
        assert len(looked_up) < 5
        monkeypatch.setattr(peer_module, "_FEW_OPS", 1_000)
        assert [peer.entries("jam", some) for some in asked] == together
        assert len(looked_up) > 1_000


def test_items_are_the_same_whether_lines_are_scanned_or_looked_at_one_by_one(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(two[0], "jam", *range(300))
    path = ops_file(two[0])
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)

    def items() -> list[bytes]:
        with contextlib.closing(SessionFile(str(two[0]), "jam", LOCAL)) as file:
            return list(read_items(file))

    for data in (
        whole,
        whole + lines[3],
        b"".join(reversed(lines)),
        whole.replace(b'"ada"', b'"eve"', 1),
        b"".join((*lines[:9], lines[9].replace(b'"lamport_ts":', b'"lamport_ts": '), *lines[10:])),
    ):
        path.write_bytes(data)
        found = items()
        with monkeypatch.context() as patch:
            patch.setattr(log_items, "_items", log_items._any_items)
            assert found == items()
        assert len(found) in {299, 300}


def test_items_packed_together_are_those_packed_one_by_one() -> None:
    chance = random.Random(7)
    rows = [
        (chance.randrange(1, MAX_LAMPORT + 1), str(uuid.uuid4()), chance.randrange(1 << 32))
        for _ in range(99)
    ]
    rows += [(1, str(uuid.uuid4()), 0), (MAX_LAMPORT, str(uuid.uuid4()), (1 << 32) - 1)]
    stamps, op_ids, crcs = zip(*rows, strict=True)
    packed = pack_items(stamps, op_ids, [f"{crc:08x}" for crc in crcs])
    assert packed == [pack_item(*row) for row in rows]
