"""Two logs become one: what is added, known, held, in conflict and refused, in any order, through faults."""

import json
import multiprocessing
import os
import random
import re
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core import intake as incoming
from muse.core import merge as merge_module
from muse.core import orphan_file as orphan_file_module
from muse.core.entry import DEFAULT_LIMITS, MAX_LAMPORT, OpEntry, total_order
from muse.core.file import log_file, log_reader
from muse.core.file.log_file import LogFile
from muse.core.line import encode_line, frame
from muse.core.op_log import MergeResult, OpLog, list_sessions, make_op_entry
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.domain import CheckingPlugin
from muse.errors import MuseError, UsageError
from muse.plugins.registry import find_plugin
from muse.session.live import LiveSession
from muse.testing import DiskModelStorage, FailingStorage, Fault, InMemoryStorage
from muse.upkeep.archive import archive_session, restore_session
from tests.samples.replicas import (
    DOMAIN,
    commit,
    make_origin,
    make_replica,
    pull_from,
    write,
)

SPAWN = multiprocessing.get_context("spawn")


def entry(number: int, *parents: int, stamp: int = 0, actor: str = "ada", **op: Any) -> OpEntry:
    """An entry with ids that its number gives; its stamp too, unless one is given."""
    made = make_op_entry(
        actor, DOMAIN, {"n": number, **op}, stamp or number, parent_op_ids=list(map(an_id, parents))
    )
    return {**made, "op_id": an_id(number), "created_at": ""}


def an_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def numbers(entries: Iterable[OpEntry]) -> list[int]:
    return [int(one["op_id"][:8], 16) for one in entries]


def opened(storage: Storage, root: str = "/one", session: str = "jam") -> OpLog:
    return OpLog(root, session, storage=storage)


def raw(entries: Iterable[OpEntry]) -> bytes:
    return b"".join(map(encode_line, entries))


@pytest.fixture
def logs(tmp_path: Path) -> Callable[[str], OpLog]:
    return lambda name: OpLog(tmp_path / name, "jam")


Logs = Callable[[str], OpLog]


def ops_file(root: Path) -> Path:
    return root / ".muse/op_log/jam/ops.jsonl"


def held_file(root: Path) -> Path:
    return root / ".muse/op_log/jam/held.jsonl"


def source(tmp_path: Path, data: bytes) -> LogFile:
    path = tmp_path / "source.jsonl"
    path.write_bytes(data)
    return LogFile(str(path), LOCAL)


# -- union ---------------------------------------------------------------------------------------


def test_a_merge_counts_what_is_new_and_what_is_known_and_the_clock_goes_on_above_both(logs: Logs) -> None:
    with logs("one") as one, logs("other") as other:
        shared = one.record("ada", DOMAIN, {"n": 1})
        other.append(shared)
        theirs = [other.record("bob", DOMAIN, {"n": number}) for number in range(5)]
        assert one.merge(other) == MergeResult(added=5, known=1)
        assert one.read_all() == other.read_all() == [shared, *theirs]
        assert one.record("ada", DOMAIN, {})["lamport_ts"] == theirs[-1]["lamport_ts"] + 1


def test_a_merge_is_idempotent_commutative_and_associative(logs: Logs) -> None:
    parts = [[entry(1), entry(2, 1)], [entry(3, 2), entry(1)], [entry(4, 3), entry(5, 99)]]
    seen = []
    for number, order in enumerate(([0, 1, 2], [2, 1, 0], [1, 0, 2, 1, 1], [0, 2, 0, 1])):
        with logs(str(number)) as log:
            for part in order:
                log.merge(parts[part])
            before = ops_file(Path(log._directory.root)).read_bytes()
            for part in order:
                assert log.merge(parts[part]).added == 0
            assert ops_file(Path(log._directory.root)).read_bytes() == before
            seen.append((log.read_all(), log.orphans.entries(), log.replay_since_checkpoint()))
    assert numbers(seen[0][0]) == [1, 2, 3, 4]
    assert numbers(seen[0][1]) == [5]
    assert all(one == seen[0] for one in seen)
    with logs("left") as left, logs("right") as right:  # (a + b) + c, a + (b + c)
        left.merge(parts[0])
        left.merge(parts[1])
        left.merge(parts[2])
        right.merge(parts[1])
        right.merge(parts[2])
        right.merge(left)
        assert (right.read_all(), numbers(right.orphans.entries())) == (left.read_all(), [5])


def test_another_body_under_a_known_id_is_a_conflict_that_changes_nothing(logs: Logs) -> None:
    with logs("one") as log:
        log.merge([entry(1), entry(2)])
        result = log.merge([entry(1, x=1), entry(2), entry(3)])
        assert (result.added, result.known, result.conflicts) == (1, 1, 1)
        assert (result.reasons[0].op_id, result.reasons[0].reason) == (
            an_id(1),
            "the log has this op id with another body",
        )
        assert log.read_all() == [entry(1), entry(2), entry(3)]


def test_of_two_bodies_in_one_source_the_first_counts(logs: Logs, tmp_path: Path) -> None:
    both = [entry(1), entry(1, x=1), entry(1), entry(2)]
    for name, other in (("list", both), ("log", source(tmp_path, raw(both)))):
        with logs(name) as log:
            result = log.merge(other)
            assert (result.added, result.known, result.conflicts) == (2, 1, 1)
            assert log.read_all() == [entry(1), entry(2)]


def test_a_line_with_more_keys_is_the_same_entry(logs: Logs, tmp_path: Path) -> None:
    plain = encode_line(entry(1))
    later = frame(plain[: plain.rindex(b',"crc"')] + b',"later":1}')
    with logs("one") as log:
        assert log.merge(source(tmp_path, later + plain)) == MergeResult(added=1, known=1)
        assert log.merge(source(tmp_path, later)) == MergeResult(known=1)
        assert ops_file(tmp_path / "one").read_bytes() == plain


OWN_LINES = {
    "glued to a fragment": encode_line(entry(9))[:100] + encode_line(entry(2)),
    "of another tool": json.dumps(entry(2)).encode() + b"\n",
    "of another tool, CRLF": json.dumps(entry(2), separators=(",", ":")).encode() + b"\r\n",
    "twice": encode_line(entry(2)) * 2,
    "twice, and then as another": encode_line(entry(2)) * 2 + encode_line(entry(2, x=1)),
}


@pytest.mark.parametrize("kind", OWN_LINES)
def test_an_op_that_the_log_has_on_whatever_line_is_known(logs: Logs, tmp_path: Path, kind: str) -> None:
    with logs("one") as log:
        log.append(entry(1))
        with ops_file(tmp_path / "one").open("ab") as file:
            file.write(OWN_LINES[kind] + encode_line(entry(3)))
        before = ops_file(tmp_path / "one").read_bytes()
        assert log.merge([entry(1), entry(2), entry(3)]) == MergeResult(known=3)
        assert ops_file(tmp_path / "one").read_bytes() == before


@pytest.mark.parametrize("kind", ["plain", "foreign", "glued", "noise"])
def test_runs_that_both_logs_hold_are_known_line_by_line(
    logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Among them what is new, what is in conflict, and what is no entry."""
    monkeypatch.setattr(log_file, "BLOCK_BYTES", 2000)
    one, two = [entry(number) for number in range(1, 60)], [entry(number) for number in range(30, 90)]
    line = {
        "plain": encode_line(entry(99)),
        "foreign": json.dumps(entry(99)).encode() + b"\n",
        "glued": encode_line(entry(98))[:50] + encode_line(entry(99)),
        "noise": b"noise\n" + encode_line(entry(99)),
    }[kind]
    two[4] = {**two[4], "created_at": "another"}
    with logs("one") as log:
        log.append_many(one[:39])
        with ops_file(tmp_path / "one").open("ab") as file:
            file.write(line)
        log.append_many(one[39:])
        result = log.merge(source(tmp_path, raw(two[:10]) + line + raw(two[10:]) + b"nothing\n"))
        refused = 2 if kind == "noise" else 1
        assert (result.added, result.known, result.conflicts, result.refused) == (30, 30, 1, refused)
        assert an_id(34) in [reason.op_id for reason in result.reasons]
        assert numbers(log.read_all(salvage=True)) == [*range(1, 90), 99]
        again = log.merge(source(tmp_path, raw(two)))
        assert (again.added, again.known, again.conflicts, again.refused) == (0, 59, 1, 0)
        assert log.cut().op_count == 90


def test_an_op_whose_line_is_damaged_here_is_brought_again_once(logs: Logs, tmp_path: Path) -> None:
    with logs("one") as log:
        log.merge([entry(1), entry(2), entry(3)])
        data = ops_file(tmp_path / "one").read_bytes()
        ops_file(tmp_path / "one").write_bytes(data.replace(b'"n":2', b'"n":7'))
        assert log.merge([entry(1), entry(2), entry(3)]) == MergeResult(added=1, known=2)
        assert log.merge([entry(1), entry(2), entry(3)]) == MergeResult(known=3)
        assert log.read_all(salvage=True) == [entry(1), entry(2), entry(3)]


# -- held ----------------------------------------------------------------------------------------


def test_an_entry_whose_parent_is_not_here_is_held_over_restarts_until_a_merge_brings_it(logs: Logs) -> None:
    with logs("one") as log:
        assert log.merge([entry(3, 2), entry(2, 1), entry(9)]) == MergeResult(added=1, orphans=2)
        assert log.merge([entry(3, 2)]) == MergeResult(known=1)
    with logs("one") as log:
        assert (numbers(log.read_all()), numbers(log.orphans.entries())) == ([9], [2, 3])
        assert log.orphans.missing_parents() == [an_id(1)]
        assert log.merge([entry(1)]) == MergeResult(added=3)
        assert (numbers(log.entries()), log.orphans.entries(), log.orphans.missing_parents()) == (
            [9, 1, 2, 3],
            [],
            [],
        )
    assert not held_file(Path(log._directory.root)).exists()


BRINGING: dict[str, Callable[[OpLog, Path, OpEntry], object]] = {
    "append": lambda log, _root, cause: log.append(cause),
    "append_many": lambda log, _root, cause: log.append_many([entry(50), cause]),
    "merge": lambda log, _root, cause: log.merge([cause]),
    "append of another handle": lambda _log, root, cause: OpLog(root, "jam").append(cause),
    "a line of another tool, then a merge": lambda log, root, cause: log.merge(foreign_line(root, cause)),
    "a line of another tool, then a release": lambda log, root, cause: log.orphans.release(
        *foreign_line(root, cause)
    ),
}


def foreign_line(root: Path, one: OpEntry) -> list[OpEntry]:
    with ops_file(root).open("ab") as file:
        file.write(json.dumps(one).encode() + b"\n")
    return []


@pytest.mark.parametrize("way", BRINGING)
def test_whatever_brings_the_cause_releases_what_waits_for_it(tmp_path: Path, way: str) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.merge([entry(3, 2), entry(2, 1), entry(8, 7)])
        log.append(entry(20))
        assert numbers(log.orphans.entries()) == [2, 3, 8]
        BRINGING[way](log, tmp_path, entry(1))
        assert numbers(log.orphans.entries()) == [8]
        assert {1, 2, 3} <= set(numbers(log.read_all()))


@pytest.mark.parametrize("act", ["heal", "commit"])
def test_healing_and_committing_release_what_another_tool_brought_the_cause_of(
    tmp_path: Path, act: str
) -> None:
    root = make_origin(tmp_path / "repo")
    with LiveSession(root, "jam") as session:
        session.log.merge([entry(2, 1)])
        if act == "heal":
            foreign_line(root, entry(1))
            with LiveSession(root, "jam") as other:
                other.heal()
                assert numbers(session.log.read_all()) == [1, 2]
        else:
            foreign_line(root, entry(1))
            assert session.commit("Both").op_count == 2
        assert session.log.orphans.entries() == []


def test_what_is_held_and_comes_by_another_way_is_there_once(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.merge([entry(2, 1)])
        assert log.append(entry(2, 1))  # as its author may, who knows the cause
        assert log.orphans.entries() == []
        log.merge([entry(3, 1), entry(4, 1)])
        foreign_line(tmp_path, entry(3, 1))
        foreign_line(tmp_path, {**entry(4, 1), "domain_op": {"n": 5}})  # type: ignore[typeddict-item]
        result = log.merge([])
        assert (result.added, result.conflicts) == (0, 1)
        assert (numbers(log.read_all()), log.orphans.entries()) == ([2, 3, 4], [])


def test_what_is_held_with_another_body_is_a_conflict(logs: Logs) -> None:
    with logs("one") as log:
        log.merge([entry(2, 1)])
        result = log.merge([entry(2, 1, x=1)])
        assert (result.conflicts, result.orphans) == (1, 0)
        assert log.orphans.entries() == [entry(2, 1)]


def test_a_chain_held_in_any_order_comes_in_whole_with_its_root(logs: Logs) -> None:
    chain = [entry(1), *(entry(number, number - 1) for number in range(2, 200))]
    waiting = chain[1:]
    random.Random(7).shuffle(waiting)
    with logs("one") as log:
        for one in waiting[:20]:
            log.merge([one])
        assert log.merge(waiting) == MergeResult(known=20, orphans=178)
        assert log.append(chain[0])
        assert list(log.entries()) == chain
        assert log.orphans.entries() == []


def test_entries_that_wait_are_few_enough_and_those_held_before_stay(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_module, "ORPHANS_AT_MOST", 3)
    with logs("one") as log:
        log.merge([entry(8, 99), entry(9, 99)])
        result = log.merge([entry(5, 99), entry(6, 99), entry(7)])
        assert (result.added, result.orphans, result.refused) == (1, 1, 1)
        assert result.reasons[0].reason.startswith("its parents are not here")
        assert numbers(log.orphans.entries()) == [5, 8, 9]
        monkeypatch.setattr(merge_module, "ORPHAN_BYTES_AT_MOST", 1100)
        monkeypatch.setattr(merge_module, "ORPHANS_AT_MOST", 100)
        assert log.merge([entry(6, 99, pad="x" * 500), entry(10)]).refused == 1


def test_orphans_are_read_once_however_often_others_append(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read_bytes = type(LOCAL).read_bytes

    def noting(storage: Storage, path: str, *, at_most: int | None = None) -> bytes:
        reads.append(path)
        return read_bytes(storage, path, at_most=at_most)

    with logs("one") as log:
        log.merge([entry(2, 1)])
        log.append(entry(10))
        monkeypatch.setattr(type(LOCAL), "read_bytes", noting)
        for number in range(11, 15):
            log.append(entry(number))
        assert reads == []
        log.append(entry(1))
        assert numbers(log.entries()) == [10, 11, 12, 13, 14, 1, 2]


def test_100_001_orphans_fill_no_disk(logs: Logs) -> None:
    orphans = [entry(number, 1_000_000) for number in range(1, orphan_file_module.ORPHANS_AT_MOST + 2)]
    with logs("one") as log:
        result = log.merge(orphans)
        assert (result.added, result.orphans, result.refused) == (0, orphan_file_module.ORPHANS_AT_MOST, 1)
        assert log.append(entry(200_000))
        assert len(log.orphans.entries()) == orphan_file_module.ORPHANS_AT_MOST


# -- causes that cannot be -------------------------------------------------------------------------


def test_an_entry_whose_stamp_does_not_exceed_its_parents_is_held(logs: Logs) -> None:
    with logs("one") as log:
        log.append(entry(5))
        late = [entry(1, 5), entry(2, 5, stamp=5), entry(7, 6, stamp=3)]
        for _ in range(2):
            log.merge([*late, entry(6)])
            assert numbers(log.read_all()) == [5, 6]
            assert sorted(numbers(log.orphans.entries())) == [1, 2, 7]
        log.orphans.let_in(late)
        assert sorted(numbers(log.read_all())) == [1, 2, 5, 6, 7]
        assert log.orphans.entries() == []


@pytest.mark.parametrize("stamps", [(1, 2, 3), (3, 2, 1), (2, 2, 2), (2, 1, 3)])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_cycle_of_parents_is_held_with_what_follows_it(
    logs: Logs, stamps: tuple[int, int, int], *, one_by_one: bool
) -> None:
    cycle = [entry(1, 2, stamp=stamps[0]), entry(2, 3, stamp=stamps[1]), entry(3, 1, stamp=stamps[2])]
    bad = [*cycle, entry(9, 1)]
    with logs("one") as log:
        results = [log.merge([one]) for one in bad] if one_by_one else [log.merge(bad)]
        assert sum(result.added + result.refused for result in results) == 0
        assert sum(result.orphans for result in results) == 4
        assert sorted(numbers(log.orphans.entries())) == [1, 2, 3, 9]
        assert log.read_all() == []
        assert log.merge([entry(10)]).added == 1


# -- any order, partition, crash and restart -----------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[OpEntry], list[tuple[Any, ...]]]:
    """Some entries with causes among the earlier ones, and steps of what comes where, how."""
    entries: list[OpEntry] = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        parents = draw(st.sets(st.sampled_from(range(1, number)), max_size=3)) if number > 1 else set()
        lowest = max((entries[parent - 1]["lamport_ts"] for parent in parents), default=0) + 1
        stamp = lowest + draw(st.integers(0, 3))
        entries.append(entry(number, *sorted(parents), stamp=stamp, actor=draw(st.sampled_from("abc"))))
    some = st.lists(st.sampled_from(entries), max_size=8)
    fault = st.none() | st.tuples(st.integers(1, 25), st.sampled_from(["crash", "ENOSPC", "short", "EIO"]))
    step = st.one_of(
        st.tuples(st.just("merge"), st.integers(0, 2), some, fault),
        st.tuples(st.just("append"), st.integers(0, 2), some, fault),
        st.tuples(st.just("line"), st.integers(0, 2), some, st.none()),
        st.tuples(st.just("replica"), st.integers(0, 2), st.integers(0, 2), fault),
        st.tuples(st.just("restart"), st.integers(0, 2), st.none(), st.none()),
    )
    return entries, draw(st.lists(step, max_size=12))


class Replicas:
    """Three replicas, and what has come to each."""

    def __init__(self) -> None:
        self.disks = [InMemoryStorage() for _ in range(3)]
        self.logs = [opened(disk) for disk in self.disks]
        self.come: list[dict[str, OpEntry]] = [{} for _ in range(3)]

    def restart(self, place: int) -> None:
        self.logs[place].close()
        self.logs[place] = opened(self.disks[place])

    def do(self, place: int, fault: Any, act: Callable[[OpLog], object]) -> None:
        """Act, with a fault on the way if there is to be one; then again, as whoever saw the error does."""
        if fault is not None:
            self.logs[place].close()
            failing = FailingStorage(fault[0], fault[1], inner=self.disks[place])
            with opened(failing) as log:
                try:
                    act(log)
                except MuseError:
                    assert failing.failed
            self.restart(place)
        act(self.logs[place])

    def ready(self, place: int, some: Sequence[OpEntry]) -> list[OpEntry]:
        """Those whose causes have come: what a client appends."""
        there = {one["op_id"] for one in self.logs[place].read_all()}
        found = []
        for one in sorted(some, key=total_order):
            if there.issuperset(one["parent_op_ids"]):
                there.add(one["op_id"])
                found.append(one)
        return found

    def step(self, kind: str, place: int, what: Any, fault: Any) -> None:
        come = self.come[place]
        if kind == "restart":
            self.restart(place)
            return
        if kind == "replica":
            other = self.logs[what]
            brought: Sequence[OpEntry] = [*other.read_all(), *other.orphans.entries()]
            self.do(place, fault, lambda log: (log.merge(other), log.merge(other.orphans.entries())))
        elif kind == "merge":
            brought = what
            self.do(place, fault, lambda log: log.merge(what))
        elif kind == "append":
            brought = self.ready(place, what)
            self.do(place, fault, lambda log: log.append_many(brought))
        else:
            brought = self.ready(place, what)
            self.foreign(place, raw(brought))
            self.logs[place].orphans.release()
        come.update({one["op_id"]: one for one in brought})

    def foreign(self, place: int, data: bytes) -> None:
        disk, path = self.disks[place], layout.ops_file("/one", "jam")
        disk.make_directories("/one/.muse/op_log/jam")
        descriptor = disk.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        disk.write(descriptor, b"\n" + data)
        disk.close(descriptor)

    def check(self, place: int) -> None:
        come, log = self.come[place], self.logs[place]
        there: set[str] = set()
        for one in sorted(come.values(), key=total_order):
            if there.issuperset(one["parent_op_ids"]):
                there.add(one["op_id"])
        ops = sorted((one for one in come.values() if one["op_id"] in there), key=total_order)
        assert log.read_all() == ops
        assert log.replay_since_checkpoint() == ops
        assert log.orphans.entries() == sorted(
            (one for one in come.values() if one not in ops), key=total_order
        )
        assert log.next_lamport_ts() > max((one["lamport_ts"] for one in ops), default=0)


@settings(max_examples=150, deadline=None)
@given(histories())
def test_replicas_that_got_the_same_entries_in_whatever_way_are_the_same(
    history: tuple[list[OpEntry], list[tuple[Any, ...]]],
) -> None:
    check_history(*history)


@pytest.mark.long
@settings(max_examples=5_000, deadline=None)
@given(histories())
def test_replicas_that_got_the_same_entries_in_whatever_way_are_the_same_at_length(
    history: tuple[list[OpEntry], list[tuple[Any, ...]]],
) -> None:
    check_history(*history)


def check_history(_entries: list[OpEntry], steps: list[tuple[Any, ...]]) -> None:
    replicas = Replicas()
    for kind, place, what, fault in steps:
        replicas.step(kind, place, what, fault)
        replicas.check(place)
    for place in range(3):
        for other in range(3):
            replicas.step("replica", place, other, None)
        replicas.restart(place)
        replicas.check(place)
    for place in range(3):
        replicas.step("replica", place, 2, None)
        replicas.check(place)
    states = [(log.read_all(), log.orphans.entries(), log.replay_since_checkpoint()) for log in replicas.logs]
    assert states[0] == states[1] == states[2]


# -- a fault at every call -----------------------------------------------------------------------


def prepared() -> DiskModelStorage:
    """Ops 1 and 2 in the log; 5 and 6 wait for 4, and 8 for what never comes; all of it durable."""
    disk = DiskModelStorage()
    with opened(disk) as log:
        log.merge([entry(1), entry(2, 1), entry(5, 4), entry(6, 5), entry(8, 99)], durability="disk")
    disk.power_cut(1)
    return disk


WAYS: dict[str, Callable[[OpLog], object]] = {
    "merge": lambda log: log.merge([entry(4, 1), entry(3), entry(9, 98), entry(1)], durability="disk"),
    "append_many": lambda log: log.append_many([entry(3), entry(4, 1)], durability="disk"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["crash", "ENOSPC", "EIO", "short", "sync"])
@pytest.mark.parametrize("seed", [None, 0, 2, 3, 4])
def test_a_fault_at_any_call_loses_nothing_and_the_next_run_finishes(
    way: str, fault: Fault, seed: int | None
) -> None:
    faults = 0
    for fails_at in range(1, 500):
        disk = prepared()
        storage = FailingStorage(fails_at, fault, inner=disk)
        raised = True
        with opened(storage) as log:
            try:
                WAYS[way](log)
                raised = False
            except MuseError:
                faults += 1
        if seed is not None:
            disk.power_cut(seed)
        wanted_held = [8, 9] if way == "merge" else [8]
        with opened(disk) as log:
            there, waiting = numbers(log.read_all(salvage=True)), numbers(log.orphans.entries())
            assert {1, 2, 5, 6, 8} <= {*there, *waiting}
            if not raised:
                assert {1, 2, 3, 4} <= set(there)
                assert {5, 6, *wanted_held} <= {*there, *waiting}
            log.repair()
            WAYS[way](log)
            assert numbers(log.read_all()) == [1, 2, 3, 4, 5, 6]
            assert numbers(log.orphans.entries()) == wanted_held
        if not storage.failed:
            assert not raised
            assert faults >= (1 if fault == "sync" else 10)
            return
    raise AssertionError("it makes more calls than can be")


def test_a_merge_that_failed_part_of_the_way_is_finished_by_the_next(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "BATCH_BYTES", 1000)

    def broken() -> Iterable[OpEntry]:
        for number in range(1, 40):
            yield entry(number, *([number - 1] if number > 1 else []))
        raise RuntimeError("the other side went away")

    with logs("one") as log:
        with pytest.raises(RuntimeError):
            log.merge(broken())
        there = len(log.read_all())
        assert 0 < there < 40
        rest = [entry(number, *([number - 1] if number > 1 else [])) for number in range(1, 60)]
        assert log.merge(rest) == MergeResult(added=59 - there, known=there)


# -- many at once --------------------------------------------------------------------------------


def web(count: int) -> list[OpEntry]:
    """Entries each with up to two causes among the earlier ones; a twentieth of them missing."""
    chance = random.Random(count)
    made = [
        entry(number, *chance.sample(range(1, number), min(number - 1, chance.randrange(3))))
        for number in range(1, count)
    ]
    return [one for one in made if int(one["op_id"][:8], 16) % 20 != 19]


def merge_share(root: str, place: int, results: Any) -> None:
    share = [one for number, one in enumerate(web(800)) if (number + place) % 8 < 3]
    random.Random(place).shuffle(share)
    added = 0
    with OpLog(root, "jam") as log:
        for start in range(0, len(share), 23):
            added += log.merge(share[start : start + 23]).added
            if place % 2:
                log.record(f"writer-{place}", "other", {"start": start})
    results.put(added)


def test_eight_processes_that_merge_into_one_log_at_once_lose_nothing_and_store_each_once(
    tmp_path: Path,
) -> None:
    results = SPAWN.Queue()
    workers = [SPAWN.Process(target=merge_share, args=(str(tmp_path), place, results)) for place in range(8)]
    for worker in workers:
        worker.start()
    added = sum(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
    with OpLog(tmp_path / "alone", "jam") as alone, OpLog(tmp_path, "jam") as log:
        alone.merge(web(800))
        assert alone.orphans.entries()
        merged = [one for one in log.read_all() if one["domain"] == DOMAIN]
        assert merged == alone.read_all()
        assert log.orphans.entries() == alone.orphans.entries()
        assert added == len(merged)
        assert log.cut().op_count == len(log.read_all())  # no line stands there twice


def merge_and_say(root: str, said: Any) -> None:
    entries = web(3_000)
    random.Random(3).shuffle(entries)
    with OpLog(root, "jam") as log:
        said.set()
        for start in range(0, len(entries), 100):
            log.merge(entries[start : start + 100])


@pytest.mark.parametrize("milliseconds", [0, 5, 20, 60, 120, 250])
def test_a_merge_that_is_killed_is_finished_by_the_next(tmp_path: Path, milliseconds: int) -> None:
    said = SPAWN.Event()
    worker = SPAWN.Process(target=merge_and_say, args=(str(tmp_path), said))
    worker.start()
    assert said.wait(60)
    worker.join(milliseconds / 1000)
    worker.kill()
    worker.join()
    with OpLog(tmp_path / "alone", "jam") as alone, OpLog(tmp_path, "jam") as log:
        alone.merge(web(3_000))
        before = {one["op_id"] for one in [*log.read_all(), *log.orphans.entries()]}
        result = log.merge(web(3_000))
        assert before <= {one["op_id"] for one in [*log.read_all(), *log.orphans.entries()]}
        assert (log.read_all(), log.orphans.entries()) == (alone.read_all(), alone.orphans.entries())
        assert log.cut().op_count == len(log.read_all())
        assert result.refused == result.conflicts == 0


# -- bad input -----------------------------------------------------------------------------------


def framed(**changes: Any) -> bytes:
    """A line with a good crc around whatever is asked for."""
    return frame(json.dumps({**entry(7), **changes}, separators=(",", ":")).encode())


def bare(**changes: Any) -> bytes:
    return json.dumps({**entry(7), **changes}).encode() + b"\n"


GOOD = encode_line(entry(7))
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "wrong crc": (GOOD.replace(b'"n":7', b'"n":8'), "crc"),
    "stamp 2^63, framed": (framed(lamport_ts=2**63), "lamport_ts|Integer|Expected"),
    "stamp 2^63": (bare(lamport_ts=2**63), "outside 1 to"),
    "stamp 0": (bare(lamport_ts=0), "outside 1 to"),
    "stamp absurdly far ahead": (framed(lamport_ts=MAX_LAMPORT), "ahead of this log's clock"),
    "10,000 parents, framed": (framed(parent_op_ids=[an_id(n) for n in range(100, 10_100)]), "10000 parents"),
    "10,000 parents": (bare(parent_op_ids=[an_id(n) for n in range(100, 10_100)]), "10000 parents"),
    "itself as parent": (framed(parent_op_ids=[an_id(7)]), "itself as its parent"),
    "a parent twice": (framed(parent_op_ids=[an_id(8)] * 2), "named twice"),
    "10 MB, framed": (framed(domain_op={"pad": "x" * 10_000_000}), "at most 1048576"),
    "10 MB": (bare(domain_op={"pad": "x" * 10_000_000}), "at most 1048576"),
    "id without hyphens, framed": (framed(op_id="0" * 36), "not a lower-case UUID4"),
    "id of odd digits, framed": (framed(op_id=an_id(7)[:-1] + "-"), "not a lower-case UUID4"),
    "upper-case id": (bare(op_id="ABCDEF00-0000-4000-8000-000000000000"), "not a lower-case UUID4"),
    "no actor": (bare(actor_id=""), "actor_id is empty"),
    "no domain, framed": (framed(domain=""), "domain is empty"),
    "long actor, framed": (framed(actor_id="x" * 257), "at most 256"),
    "deep op, framed": (framed(domain_op=json.loads('{"a":' * 100 + "1" + "}" * 100)), "nests deeper"),
    "integer past 64 bits, framed": (framed(domain_op={"n": 2**70}), "past 64 bits"),
    "infinite number, framed": (frame(GOOD[:-19].replace(b'"n":7', b'"n":1e400') + b"}"), "too large"),
    "lone surrogate, framed": (framed(domain_op={"n": "\ud800"}), "no entry|surrogate"),
    "op is no object, framed": (framed(domain_op=[]), "must be an object"),
    "op is no object": (bare(domain_op=[]), "domain_op must be an object"),
    "unknown key": (bare(extra=1), "unknown fields: extra"),
    "key missing": (json.dumps({"op_id": an_id(7)}).encode() + b"\n", "lacks actor_id"),
    "NaN": (bare(domain_op={"n": float("nan")}), "NaN is not allowed"),
    "key twice": (b'{"actor_id":"eve",' + bare()[1:], "'actor_id' appears twice"),
    "id twice, framed": (
        frame(GOOD[: GOOD.rindex(b',"crc"')] + b',"op_id":"%b"}' % an_id(1).encode()),
        "op_id appears twice",
    ),
    "byte order mark": (b"\xef\xbb\xbf" + bare(), "byte order mark"),
    "UTF-16": (bare()[:-1].decode().encode("utf-16") + b"\n", "not UTF-8|not JSON"),
    "no JSON": (b"hello\n", "not JSON"),
    "a list": (b"[]\n", "must be an object"),
}


@pytest.mark.parametrize(
    ("kind", "count"),
    [*((kind, 0) for kind in BAD_LINES), *((kind, 30_000) for kind in BAD_LINES if "framed" in kind)],
)
def test_what_may_not_enter_is_refused_with_a_reason_and_the_rest_comes_in(
    tmp_path: Path, kind: str, count: int
) -> None:
    """With many ops in the log, few are looked up in the index instead."""
    line, reason = BAD_LINES[kind]
    with OpLog(tmp_path, "jam") as log:
        log.record_many("eve", "other", [{}] * count)
        low = {"lamport_ts": 3, "op_id": an_id(8)}
        result = log.merge(source(tmp_path, raw([entry(1)]) + line + raw([entry(2), {**entry(8), **low}])))  # type: ignore[typeddict-item]
        assert (result.added, result.known, result.orphans, result.conflicts) == (3, 0, 0, 0)
        assert result.refused == len(result.reasons) == 1
        assert re.search(reason, result.reasons[0].reason), result.reasons
        assert numbers(log.entries(domain=DOMAIN, order="total")) == [1, 2, 8]
        assert list(log.damages()) == []


def test_torn_glued_and_crlf_lines_and_those_of_other_tools_give_what_they_hold(
    logs: Logs, tmp_path: Path
) -> None:
    data = (
        encode_line(entry(1))[:100]  # a writer died
        + encode_line(entry(2))
        + b"\n"
        + bare(op_id=an_id(3)).replace(b"\n", b"\r\n")
        + encode_line(entry(4)).replace(b"\n", b"\r\n")
        + encode_line(entry(5))[:-1]
        + encode_line(entry(6))
        + b"\0" * 50
        + b"\n"
        + encode_line(entry(9))[:-1]  # not ended yet
    )
    with logs("one") as log:
        result = log.merge(source(tmp_path, data))
        assert (result.added, result.refused) == (5, 0)
        assert sorted(numbers(log.read_all())) == [2, 3, 4, 5, 6]
        assert all(line.endswith(b'"}') for line in ops_file(tmp_path / "one").read_bytes().splitlines())


@pytest.mark.parametrize(
    "bad",
    [
        None,
        1,
        "x",
        [],
        {},
        {"op_id": 1},
        {**entry(7), "domain_op": {1: 2}},
        {**entry(7), "domain_op": {"a": b""}},
    ],
)
def test_what_is_handed_over_and_is_no_entry_is_refused(logs: Logs, bad: Any) -> None:
    with logs("one") as log:
        result = log.merge([entry(1), bad, entry(2)])
        assert (result.added, result.refused) == (2, 1)


def test_an_op_that_its_domain_refuses_does_not_come_in(logs: Logs) -> None:
    plugin: Any = find_plugin("code")
    assert isinstance(plugin, CheckingPlugin)
    garbage = {**entry(2), "domain": "code", "domain_op": {"op": "patch", "address": "a.py", "update": "@@@"}}
    with logs("one") as log:

        def check(one: OpEntry) -> None:
            if one["domain"] == "code":
                plugin.check_op(one["domain_op"])

        result = log.merge([entry(1), garbage, entry(3, 2), entry(4)], check=check)  # type: ignore[list-item]
        assert (result.added, result.refused, result.orphans) == (2, 1, 1)
        assert numbers(log.orphans.entries()) == [3]


def test_lines_of_noise_are_refused_and_counted(logs: Logs, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(200_000)
    with logs("one") as log:
        result = log.merge(source(tmp_path, raw([entry(1)]) + noise + b"\n" + raw([entry(2)])))
        assert result.added == 2
        assert result.refused > 100
        assert len(result.reasons) == 100


def test_a_stamp_that_is_not_believed_today_is_refused_and_the_clock_stays(logs: Logs) -> None:
    with logs("one") as log:
        far = DEFAULT_LIMITS.lamport_jump
        assert log.merge([entry(1, stamp=far + 1), entry(2)]).refused == 1
        assert log.next_lamport_ts() == 3


# -- which logs ----------------------------------------------------------------------------------


def test_a_log_merged_with_itself_or_with_an_empty_one_stays_as_it_is(logs: Logs, tmp_path: Path) -> None:
    with logs("one") as log, logs("one") as again, logs("none") as nothing:
        log.merge([entry(1), entry(2, 99)])
        before = ops_file(tmp_path / "one").read_bytes(), held_file(tmp_path / "one").read_bytes()
        assert log.merge(log) == log.merge(again) == MergeResult(known=1)
        assert log.merge(nothing) == log.merge([]) == MergeResult()
        assert (ops_file(tmp_path / "one").read_bytes(), held_file(tmp_path / "one").read_bytes()) == before
        assert nothing.merge(nothing) == nothing.merge([]) == MergeResult()
    assert not (tmp_path / "none").exists()


def test_another_sessions_log_is_refused_unless_it_comes_as_a_file(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path / "other", "waltz") as other:
        other.append(entry(1))
        with pytest.raises(UsageError, match="session 'waltz' belong there"):
            log.merge(other)
        assert log.merge(LogFile(layout.ops_file(str(tmp_path / "other"), "waltz"), LOCAL)).added == 1


def test_an_archived_log_is_merged_from_and_takes_nothing_new(tmp_path: Path) -> None:
    first = make_origin(tmp_path / "first")
    write(first, "jam", 1, 2)
    commit(first)
    archive_session(str(first), "jam")
    second = make_origin(tmp_path / "second")
    with OpLog(first, "jam") as sealed, OpLog(second, "jam") as live:
        assert live.merge(sealed) == MergeResult(added=2)
        assert sealed.merge(live) == MergeResult(known=2)
        live.append(entry(50))
        for new in (live, [entry(60, 99)]):
            with pytest.raises(UsageError, match="is archived and takes no ops"):
                sealed.merge(new)
        assert sealed.orphans.entries() == []
    restore_session(str(first), "jam")
    with OpLog(first, "jam") as again, OpLog(second, "jam") as live:
        assert again.merge(live) == MergeResult(added=1, known=2)


def test_a_session_that_holds_entries_and_has_no_op_is_there(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.merge([entry(2, 1)])
    assert list_sessions(tmp_path) == ["jam"]


# -- history -------------------------------------------------------------------------------------


def test_stragglers_that_a_merge_brings_are_pending_and_committed_once(tmp_path: Path) -> None:
    first = make_origin(tmp_path / "first")
    write(first, "jam", *range(20))
    commit(first)
    with LiveSession(first, "jam") as session:
        assert session.log.merge([entry(100, stamp=1, actor="bob"), entry(101, 100, stamp=2)]).added == 2
        assert numbers(session.log.replay_since_checkpoint()) == [100, 101]
        assert session.commit("Late").op_count == 2
        assert session.commit("Nothing").op_count == 0


def test_ops_that_another_replica_committed_are_not_committed_again(tmp_path: Path) -> None:
    first = make_origin(tmp_path / "first")
    write(first, "jam", 1, 2)
    second = make_replica(first, tmp_path / "second")
    ours = write(second, "jam", 3, actor="bob")
    with OpLog(first, "jam") as log, OpLog(second, "jam") as other:
        log.merge([entry(92, 91)])
        assert other.merge(log).added == 0
        assert other.merge(log.orphans.entries()).orphans == 1
    commit(first)
    pull_from(second, first)
    with LiveSession(second, "jam") as session:
        assert [one["op_id"] for one in session.log.replay_since_checkpoint()] == ours
        session.log.merge([entry(91)])
        assert session.commit("Ours").op_count == 3


# -- size ----------------------------------------------------------------------------------------


def test_memory_is_that_of_a_batch_however_long_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "BATCH_BYTES", 1 << 18)
    monkeypatch.setattr(log_reader, "LOOK_UP_COST", 1_000_000)  # the index's memory is its own affair
    peaks = []
    for count in (10_000, 40_000):
        with OpLog(tmp_path / f"from-{count}", "jam") as other, OpLog(tmp_path / f"to-{count}", "jam") as log:
            other.record_many("ada", DOMAIN, [{"n": number} for number in range(count)])
            tracemalloc.start()
            assert log.merge(other).added == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert log.read_all() == other.read_all()
    assert peaks[1] < 2 * peaks[0], peaks
