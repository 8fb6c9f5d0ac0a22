"""Any history of handles, ops, crashes, checkpoints and repairs ends as a simple model says it must."""

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from muse.core.entry import OpEntry, total_order
from muse.core.line import encode_line, entry_json
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import ConflictError, CorruptionError, StorageError
from muse.testing import DiskModelStorage, FailingStorage

ROOT = "/repo"
DIGEST = "e" * 64
DOMAINS = ("chords", "notes")
ACTORS = ("ada", "bob", "zoe")
CORRUPT = b'{"op_id":"not an entry"}\n'

handles = st.integers(0, 2)
domains = st.sampled_from(DOMAINS)
actors = st.sampled_from(ACTORS)


@dataclass(slots=True)
class Op:
    """What the model knows of one op: its entry, and whether history has it."""

    entry: OpEntry
    covered: bool = False


@dataclass(slots=True)
class Model:
    """The ops in the order of the file, and for each handle how far it has collapsed each domain."""

    ops: list[Op] = field(default_factory=list)
    collapsed: list[dict[str, int]] = field(default_factory=lambda: [{}, {}, {}])
    corrupt: bool = False
    covered_anything: bool = False

    def add(self, *entries: OpEntry) -> None:
        self.ops += map(Op, entries)

    def entries(self) -> list[OpEntry]:
        return sorted((op.entry for op in self.ops), key=total_order)

    def pending(self) -> list[OpEntry]:
        return sorted((op.entry for op in self.ops if not op.covered), key=total_order)

    def checkpoint(self, handle: int) -> None:
        upto = self.collapsed[handle] or dict.fromkeys(DOMAINS, len(self.ops))
        for place, op in enumerate(self.ops):
            op.covered = op.covered or place < upto.get(op.entry["domain"], 0)
        self.collapsed[handle] = {}
        self.covered_anything = True


class Session(RuleBasedStateMachine):
    """Three handles on one session, and other programs that write into its file."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = DiskModelStorage()
        self.disk.make_directory(ROOT)
        self.disk.sync_directory("/")
        self.model = Model()
        self.logs = [self.opened() for _ in range(3)]
        self.number = 0

    def opened(self, storage: Storage | None = None) -> OpLog:
        return OpLog(ROOT, "jam", storage=storage or self.disk)

    def reopened(self, handle: int) -> None:
        self.logs[handle] = self.opened()
        self.model.collapsed[handle] = {}

    def op(self) -> dict[str, Any]:
        self.number += 1
        return {"n": self.number, "pad": "é" * (self.number * 37 % 300)}

    def put(self, data: bytes) -> None:
        """Append bytes as some other program does."""
        descriptor = self.disk.open(layout.ops_file(ROOT, "jam"), os.O_WRONLY | os.O_APPEND)
        self.disk.write(descriptor, data)
        self.disk.close(descriptor)

    # -- writing --------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.model.add(self.logs[0].record("ada", "notes", self.op()))

    @rule(handle=handles, actor=actors, domain=domains)
    def record(self, handle: int, actor: str, domain: str) -> None:
        before = {op.entry["op_id"]: op.entry["lamport_ts"] for op in self.model.ops}
        entry = self.logs[handle].record(actor, domain, self.op())
        assert entry["op_id"] not in before
        assert entry["lamport_ts"] > max(before.values())
        self.model.add(entry)

    @rule(handle=handles, actor=actors, domain=domains, count=st.integers(0, 4))
    def record_many(self, handle: int, actor: str, domain: str, count: int) -> None:
        entries = self.logs[handle].record_many(actor, domain, [self.op() for _ in range(count)])
        assert len(entries) == count
        self.model.add(*entries)

    @rule(handle=handles, actor=actors, domain=domains, stamp=st.integers(1, 60))
    def append(self, handle: int, actor: str, domain: str, stamp: int) -> None:
        entry = make_op_entry(actor, domain, self.op(), stamp)
        assert self.logs[handle].append(entry)
        self.model.add(entry)

    @rule(handle=handles, place=st.integers(0, 1000))
    def append_again(self, handle: int, place: int) -> None:
        known = self.model.ops[place % len(self.model.ops)].entry
        fresh = make_op_entry("zoe", "notes", self.op(), 7)
        assert self.logs[handle].append_many([known, fresh, known]) == 1
        self.model.add(fresh)

    @rule(handle=handles, place=st.integers(0, 1000))
    def append_a_conflict(self, handle: int, place: int) -> None:
        known: Any = self.model.ops[place % len(self.model.ops)].entry
        other: Any = {**known, "domain_op": {"n": "another"}}
        with pytest.raises(ConflictError) as caught:
            self.logs[handle].append_many([make_op_entry("zoe", "notes", {}, 1), other])
        assert caught.value.op_id == known["op_id"]

    # -- other programs -------------------------------------------------------------------------

    @rule(actor=actors, domain=domains, stamp=st.integers(1, 60), framed=st.booleans())
    def another_program_appends(self, actor: str, domain: str, stamp: int, *, framed: bool) -> None:
        entry = make_op_entry(actor, domain, self.op(), stamp)
        self.put(b"\n" + (encode_line(entry) if framed else entry_json(entry) + b"\n"))
        self.model.add(entry)

    @rule(place=st.integers(0, 1000))
    def another_program_repeats_a_line(self, place: int) -> None:
        self.put(b"\n" + encode_line(self.model.ops[place % len(self.model.ops)].entry))

    @precondition(lambda self: not self.model.corrupt)
    @rule()
    def another_program_writes_nonsense(self) -> None:
        self.put(b"\n" + CORRUPT)
        self.model.corrupt = True

    # -- crashes --------------------------------------------------------------------------------

    @rule(actor=actors, domain=domains, kept=st.integers(0, 1000), count=st.integers(1, 3))
    def a_writer_dies_in_its_write(self, actor: str, domain: str, kept: int, count: int) -> None:
        entries = [make_op_entry(actor, domain, self.op(), 30) for _ in range(count)]
        lines = [encode_line(entry) for entry in entries]
        data = b"".join(lines)
        kept = kept * len(data) // 1000
        self.put(b"\n" + data[:kept])
        ends = [sum(map(len, lines[: number + 1])) for number in range(count)]
        # One that lacks its newline alone is whole as soon as another line follows.
        whole = [entry for entry, end in zip(entries, ends, strict=True) if end - 1 <= kept]
        if kept in [end - 1 for end in ends]:
            self.put(b"\n")
        self.model.add(*whole)

    @rule(handle=handles, actor=actors, domain=domains, fails_at=st.integers(1, 12))
    def a_process_dies_in_a_record(self, handle: int, actor: str, domain: str, fails_at: int) -> None:
        self.logs[handle].close()
        dying = self.opened(FailingStorage(fails_at, "crash", inner=self.disk))
        try:
            self.model.add(dying.record(actor, domain, self.op()))
        except StorageError:
            pass
        finally:
            dying.close()
        self.reopened(handle)

    @rule(handle=handles, fails_at=st.integers(1, 40))
    def a_process_dies_in_a_checkpoint(self, handle: int, fails_at: int) -> None:
        before = self.logs[handle].read_checkpoint()
        self.logs[handle].close()
        dying = self.opened(FailingStorage(fails_at, "crash", inner=self.disk))
        try:
            dying.checkpoint(DIGEST)
        except StorageError:
            pass
        finally:
            dying.close()
        self.reopened(handle)
        if self.logs[handle].read_checkpoint() != before:
            self.model.checkpoint(handle)

    @rule(handle=handles)
    def reopen(self, handle: int) -> None:
        self.logs[handle].close()
        self.reopened(handle)

    @rule(seed=st.integers(2, 1000))
    def the_power_goes_after_a_sync(self, seed: int) -> None:
        self.logs[0].sync()
        for log in self.logs:
            log.close()
        self.disk.power_cut(seed)
        for handle in range(3):
            self.reopened(handle)

    # -- history --------------------------------------------------------------------------------

    @rule(handle=handles, domain=domains)
    def collapse(self, handle: int, domain: str) -> None:
        delta: Any = self.logs[handle].to_structured_delta(domain, salvage=True)
        pending: list[Any] = [entry for entry in self.model.pending() if entry["domain"] == domain]
        assert delta["ops"] == [entry["domain_op"] for entry in pending]
        self.model.collapsed[handle][domain] = len(self.model.ops)

    @rule(handle=handles)
    def checkpoint(self, handle: int) -> None:
        self.logs[handle].checkpoint(DIGEST)
        self.model.checkpoint(handle)

    @rule(handle=handles)
    def repair(self, handle: int) -> None:
        self.logs[handle].repair()
        left = [damage.reason for damage in self.logs[handle].damages()]
        assert left in ([], ["no newline yet"])
        self.model.corrupt = False

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def every_handle_reads_what_was_acknowledged(self) -> None:
        for log in self.logs:
            assert log.read_all(salvage=True) == self.model.entries()
            assert log.replay_since_checkpoint(salvage=True) == self.model.pending()
        in_order = [op.entry for op in self.model.ops]
        assert list(self.logs[1].entries(salvage=True)) == in_order

    @invariant()
    def corruption_is_never_passed_over_in_silence(self) -> None:
        kinds = {damage.kind for damage in self.logs[2].damages()}
        assert ("corrupt" in kinds) == self.model.corrupt
        if self.model.corrupt:
            with pytest.raises(CorruptionError):
                self.logs[2].read_all()
        else:
            assert self.logs[2].read_all() == self.model.entries()

    @invariant()
    def the_checkpoint_counts_what_is_covered(self) -> None:
        checkpoint = self.logs[0].read_checkpoint()
        assert (checkpoint is not None) == self.model.covered_anything
        if checkpoint is not None:
            assert len(self.model.pending()) + checkpoint["op_count"] >= len(self.model.ops)

    def teardown(self) -> None:
        for log in self.logs:
            log.close()


TestSession = Session.TestCase
TestSession.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.long
class TestSessionForLong(Session.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(
        max_examples=800,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
