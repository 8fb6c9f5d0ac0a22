"""The index knows every op of a log, or is made anew: no damage to its snapshot makes it forget one."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from muse.core import compiled
from muse.core.file import id_file, id_prints, op_index
from muse.core.file.id_file import Facts, IdFile, write_id_file
from muse.core.file.log_reader import LogReader
from muse.core.file.session_file import SessionFile
from muse.core.line import FRAME_LENGTH, encode_line
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.disk import layout
from muse.disk.crc import crc32
from muse.disk.storage import LOCAL, TEMPORARY_MARK, Storage

OPS = 400


def some_entries(count: int, actor: str = "ada") -> list[OpEntry]:
    return [make_op_entry(actor, "notes", {"n": number}, number + 1) for number in range(count)]


def index_file(root: Path) -> Path:
    return Path(layout.op_index_file(str(root), "jam"))


def ops_file(root: Path) -> Path:
    return Path(layout.ops_file(str(root), "jam"))


def find(root: Path, op_ids: list[str], storage: Storage = LOCAL) -> dict[str, int]:
    """Ask a new reader."""
    with (
        contextlib.closing(SessionFile(str(root), "jam", storage)) as file,
        contextlib.closing(LogReader(file, str(index_file(root)), storage)) as reader,
    ):
        return reader.find_many(op_ids, file.end())


class Sample:
    """A log with a snapshot of its index, and where each op starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.snapshot = index_file(root)
        self.entries = some_entries(OPS)
        with OpLog(root, "jam") as log:
            log.append_many(self.entries)
            assert log.append_many(self.entries) == 0
        self.end = os.path.getsize(ops_file(root))
        self.sound = self.snapshot.read_bytes()
        self.starts = self.find()
        assert len(self.starts) == OPS

    def find(self) -> dict[str, int]:
        """Ask a new reader for every op, and for some that are not there."""
        return find(
            self.root, [entry["op_id"] for entry in self.entries] + [str(uuid.uuid4()) for _ in range(20)]
        )

    def stores_nothing_twice(self) -> bool:
        with OpLog(self.root, "jam") as log:
            return not any(log.append(entry) for entry in self.entries[:: OPS // 20])


@pytest.fixture(autouse=True)
def snapshots_of_short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_index, "SNAPSHOT_ROWS", 100)
    monkeypatch.setattr(id_file, "_ROWS_A_SEGMENT", 16)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path)


# -- damage to the snapshot ----------------------------------------------------------------------------


def test_a_flipped_bit_of_the_snapshot_hides_no_op(sample: Sample) -> None:
    chance = random.Random(7)
    size = len(sample.sound)
    places = [*range(0, 160, 3), *chance.sample(range(size), 200), *range(size - 60, size, 3)]
    for number, place in enumerate(places):
        damaged = bytearray(sample.sound)
        damaged[place] ^= 1 << chance.randrange(8)
        sample.snapshot.write_bytes(damaged)
        if number % 5:
            assert sample.find() == sample.starts, place
        else:
            assert sample.stores_nothing_twice(), place
    assert os.path.getsize(ops_file(sample.root)) == sample.end


def test_a_snapshot_cut_at_any_length_hides_no_op(sample: Sample) -> None:
    size = len(sample.sound)
    for length in [0, 1, 99, 100, 151, 152, *range(512, size, 700), *range(size - 20, size)]:
        sample.snapshot.write_bytes(sample.sound[:length])
        assert sample.find() == sample.starts, length
        assert sample.stores_nothing_twice(), length


def test_bytes_behind_a_snapshot_hide_no_op(sample: Sample) -> None:
    for more in (b"\0", bytes(4096), sample.sound):
        sample.snapshot.write_bytes(sample.sound + more)
        assert sample.find() == sample.starts


def test_a_segment_in_the_place_of_another_hides_no_op(sample: Sample) -> None:
    size = id_file.ROW_BYTES * (OPS // 2)
    head = id_file._HEAD.size
    swapped = sample.sound[head + size : head + 2 * size] + sample.sound[head : head + size]
    sample.snapshot.write_bytes(sample.sound[:head] + swapped + sample.sound[head + 2 * size :])
    assert sample.find() == sample.starts
    assert sample.stores_nothing_twice()


def test_a_damaged_snapshot_is_made_anew(sample: Sample) -> None:
    damaged = bytearray(sample.sound)
    damaged[len(damaged) // 2] ^= 1
    sample.snapshot.write_bytes(damaged)
    assert sample.find() == sample.starts
    file = IdFile(str(sample.snapshot), LOCAL)
    assert (file.count, file.facts.covered) == (OPS, sample.end)
    assert len(file.rows(0, (1 << file.facts.bits) - 1)) == OPS * id_file.ROW_BYTES
    file.close()


def facts_of(sample: Sample, **changes: Any) -> Facts:
    sample.snapshot.write_bytes(sample.sound)
    file = IdFile(str(sample.snapshot), LOCAL)
    file.close()
    return file.facts._replace(**changes)


def test_a_snapshot_of_another_version_is_made_anew(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = facts_of(sample, bits=0)
    with monkeypatch.context() as patch:
        patch.setattr(id_file, "_VERSION", 2)
        write_id_file(str(sample.snapshot), LOCAL, facts, [b""])  # it has no op at all
    assert sample.find() == sample.starts


def test_rows_that_lie_are_noticed_at_the_line(sample: Sample) -> None:
    op_ids = [entry["op_id"] for entry in sample.entries]
    facts = facts_of(sample, bits=0)
    for shift in (1, sample.starts[op_ids[1]], sample.end):  # into a line, onto the next, behind the log
        prints = id_prints.fingerprints(op_ids, facts.key)
        rows = sorted(
            prints[8 * number : 8 * number + 8] + (sample.starts[op_id] + shift).to_bytes(8, "big")
            for number, op_id in enumerate(op_ids)
        )
        write_id_file(str(sample.snapshot), LOCAL, facts, [b"".join(rows)])
        assert sample.find() == sample.starts


@pytest.mark.parametrize("covered", [0, 100, 1 << 40])
def test_a_snapshot_that_covers_something_else_than_its_witness_says_is_made_anew(
    sample: Sample, covered: int
) -> None:
    write_id_file(str(sample.snapshot), LOCAL, facts_of(sample, bits=0, covered=covered), [b""])
    assert sample.find() == sample.starts
    assert sample.stores_nothing_twice()


def test_a_snapshot_damaged_while_the_log_is_open_hides_no_op(sample: Sample) -> None:
    with OpLog(sample.root, "jam") as log:
        assert not log.append(sample.entries[0])
        descriptor = os.open(sample.snapshot, os.O_WRONLY)
        os.pwrite(descriptor, bytes(len(sample.sound)), 0)  # in place, which nothing of ours does
        os.close(descriptor)
        more = some_entries(OPS, "bob")
        assert log.append_many(more) == OPS
        assert log.append_many(more) == log.append_many(sample.entries) == 0


# -- another log ---------------------------------------------------------------------------------------


def test_an_older_copy_of_the_snapshot_is_caught_up(sample: Sample) -> None:
    more = some_entries(OPS, "bob")
    with OpLog(sample.root, "jam") as log:
        log.append_many(more)
        assert log.append_many(more) == 0
    assert sample.snapshot.read_bytes() != sample.sound
    sample.snapshot.write_bytes(sample.sound)
    with OpLog(sample.root, "jam") as log:
        assert log.append_many(more) == log.append_many(sample.entries) == 0


def test_the_snapshot_of_another_log_is_not_believed(sample: Sample, tmp_path: Path) -> None:
    other = Sample(tmp_path / "other")
    sample.snapshot.write_bytes(other.sound)
    assert sample.find() == sample.starts
    assert find(sample.root, [entry["op_id"] for entry in other.entries]) == {}


@pytest.mark.parametrize("kept", [30, 150, 399])
def test_ids_are_not_believed_of_a_log_that_was_put_back(tmp_path: Path, kept: int) -> None:
    sample = Sample(tmp_path)
    others = some_entries(300, "bob")
    path = ops_file(tmp_path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    with OpLog(tmp_path, "jam") as log:
        for start in range(0, 300, 50):
            log.append_many(others[start : start + 50] + sample.entries[::-1][start : start + 50])
        log.append_many(others + sample.entries)
        ids = [entry["op_id"] for entry in log.scan(0, path.stat().st_size)]
    assert len(ids) == len(set(ids)) == len(others) + len(sample.entries)


def test_a_line_that_was_damaged_since_is_no_op_and_its_copy_is_found(sample: Sample) -> None:
    victim = sample.entries[7]
    start = sample.starts[victim["op_id"]]
    with ops_file(sample.root).open("r+b") as log:
        log.seek(start + 50)
        log.write(b"#")
        log.seek(0, os.SEEK_END)
        log.write(encode_line(victim))
    assert sample.find() == {**sample.starts, victim["op_id"]: sample.end}


def test_the_table_of_an_earlier_build_is_removed_and_not_read(sample: Sample) -> None:
    older = [Path(path) for path in layout.older_op_index_files(str(sample.snapshot.parent))]
    for path in older:
        path.write_bytes(b"SQLite format 3\0")
    assert sample.find() == sample.starts
    assert not any(path.exists() for path in older)


# -- several at once -----------------------------------------------------------------------------------


def test_several_handles_leave_snapshots_and_each_knows_every_op(tmp_path: Path) -> None:
    handles = [OpLog(tmp_path, "jam") for _ in range(3)]
    entries: list[OpEntry] = []
    for turn in range(60):
        own = [make_op_entry("ada", "notes", {"n": turn}, len(entries) + 1) for _ in range(20)]
        assert handles[turn % 3].append_many(own) == 20
        entries += own
        assert handles[(turn + 1) % 3].append_many(entries[:: turn + 1]) == 0
    for log in handles:
        assert log.append_many(entries) == 0
        log.close()
    assert len(find(tmp_path, [entry["op_id"] for entry in entries])) == len(entries)


APPENDING = """
import sys
from muse.core.file import op_index
op_index.SNAPSHOT_ROWS = 50
from muse.core.op_log import OpLog, make_op_entry
with OpLog(sys.argv[1], "jam") as log:
    for turn in range(40):
        batch = [make_op_entry(sys.argv[2], "notes", {"n": turn}, log.next_lamport_ts()) for _ in range(10)]
        assert log.append_many(batch) == 10
        assert log.append_many(batch) == 0
"""


def test_several_processes_write_snapshots_of_one_log(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", APPENDING, str(tmp_path), actor])
        for actor in ("ada", "bob", "eve")
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with OpLog(tmp_path, "jam") as log:
        entries = log.read_all()
        assert len(entries) == 1200
        assert log.append_many(entries) == 0
    file = IdFile(str(index_file(tmp_path)), LOCAL)
    assert file.count >= 300
    file.close()


def test_a_process_that_ends_without_closing_anything_loses_no_id(tmp_path: Path) -> None:
    entries = some_entries(1_200)
    for start in range(0, len(entries), 75):
        child = os.fork()
        if child == 0:
            log = OpLog(tmp_path, "jam")
            for entry in entries[start : start + 75]:
                log.append(entry)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with OpLog(tmp_path, "jam") as log:
            assert log.append_many(entries[: start + 75]) == 0
            assert [log.append(entry) for entry in entries[: start + 75 : 40]].count(True) == 0


class DiesInWrite(Storage):
    """Ends its process by SIGKILL in the middle of a write to a snapshot, or before its rename."""

    def __init__(self, before_rename: bool) -> None:  # noqa: FBT001
        self._before_rename = before_rename
        self._snapshots: set[int] = set()

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        descriptor = super().open(path, flags, mode)
        if "op_index" in path and flags & os.O_CREAT:
            self._snapshots.add(descriptor)
        return descriptor

    def write(self, descriptor: int, data: Any, /) -> int:
        if descriptor not in self._snapshots or self._before_rename:
            return os.write(descriptor, data)
        os.write(descriptor, bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def replace(self, source: str, target: str) -> None:  # noqa: ARG002
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("before_rename", [False, True])
def test_a_process_killed_while_it_writes_a_snapshot_leaves_a_temporary_file_alone(
    sample: Sample,
    before_rename: bool,  # noqa: FBT001
) -> None:
    more = some_entries(OPS, "bob")
    child = os.fork()
    if child == 0:
        log = OpLog(sample.root, "jam", storage=DiesInWrite(before_rename))
        log.append_many(more)
        log.append_many(more)
        log.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert sample.snapshot.read_bytes() == sample.sound
    left = [path.name for path in sample.snapshot.parent.iterdir() if TEMPORARY_MARK in path.name]
    assert len(left) == 1
    with OpLog(sample.root, "jam") as log:
        log.append_many(more)  # what the child did not
        assert log.append_many(more) == log.append_many(sample.entries) == 0


def test_a_child_that_is_forked_while_a_snapshot_is_written_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "SNAPSHOT_ROWS", 20)
    entries = some_entries(800)
    with OpLog(tmp_path, "jam") as log:
        log.append(entries[0])
        for start in range(0, 800, 20):
            log.append_many(entries[start : start + 20])
            child = os.fork()
            if not child:
                signal.alarm(20)  # ends a child that waits for ever
                os._exit(any(log.append(entry) for entry in entries[:40][:start]))
            assert os.waitpid(child, 0)[1] == 0


# -- lines and fingerprints ----------------------------------------------------------------------------


def test_of_an_op_that_is_there_twice_the_first_line_counts_wherever_its_id_is(tmp_path: Path) -> None:
    entries = some_entries(250)
    lines = [encode_line(entry) for entry in entries]
    with OpLog(tmp_path, "jam") as log:
        first = {}
        for number, entry in enumerate(entries):
            first[entry["op_id"]] = log.cut().offset
            log.append(entry)
            with ops_file(tmp_path).open("ab") as other:
                other.write(lines[number // 2])
            assert {op_id: start for op_id, (start, _, _) in log.find(first).items()} == first


def test_the_first_line_counts_where_the_snapshot_has_one_and_a_later_one_is_behind_it(
    sample: Sample,
) -> None:
    with ops_file(sample.root).open("ab") as log:
        log.write(b"".join([encode_line(entry) for entry in sample.entries[:50]]))
    assert sample.find() == sample.starts


def test_a_line_that_is_repeated_without_end_takes_no_rows(tmp_path: Path) -> None:
    entries = some_entries(20)
    lines = b"".join([encode_line(entry) for entry in entries])
    with OpLog(tmp_path, "jam") as log:
        log.append_many(entries)
        with ops_file(tmp_path).open("ab") as other:
            other.write(lines * 30)
        assert log.append_many(entries) == 0
    file = IdFile(str(index_file(tmp_path)), LOCAL)
    assert file.count == 20
    file.close()


def few_prints(op_ids: Any, key: bytes) -> bytes:
    """Fingerprints of which thousands of ids share each."""
    own = id_prints.fingerprints_in_python(op_ids, key)
    return b"".join([bytes([own[place] & 3]) * 8 for place in range(0, len(own), 8)])


def test_ids_of_one_fingerprint_are_told_apart_by_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "fingerprints", few_prints)
    entries, unknown = some_entries(260), some_entries(20, "bob")
    with OpLog(tmp_path, "jam") as log:
        for start in range(0, 260, 26):
            assert log.append_many(entries[start : start + 26]) == 26
            assert log.append_many(entries[: start + 26 : 5]) == 0
        assert log.find([entry["op_id"] for entry in unknown]) == {}
    assert index_file(tmp_path).exists()
    with OpLog(tmp_path, "jam") as log:
        found = log.find([entry["op_id"] for entry in entries + unknown])
        assert [found[entry["op_id"]][2] for entry in entries] == entries
        assert log.append_many(unknown) == 20
        assert log.append_many(unknown) == 0


def test_ids_of_other_tools_are_found(tmp_path: Path) -> None:
    entries = some_entries(200)
    lines = b""
    for number, entry in enumerate(entries):
        own = encode_line(entry)
        entry["op_id"] = f"{number:03}{'éA- z'[number % 5]}".ljust(36, ".")
        covered = b'{"op_id":"%b%b' % (entry["op_id"].encode(), own[46 : -FRAME_LENGTH - 1])
        lines += b'%b,"crc":"%08x"}\n' % (covered, crc32(covered))
    ops_file(tmp_path).parent.mkdir(parents=True)
    ops_file(tmp_path).write_bytes(lines)
    op_ids = [entry["op_id"] for entry in entries]
    starts = find(tmp_path, op_ids)
    assert len(starts) == 200
    assert index_file(tmp_path).exists()
    assert find(tmp_path, [*op_ids, "", "000", "\udc80" * 36, "é" * 36]) == starts


# -- what a handle wrote, it need not read -----------------------------------------------------------


class CountedReads(Storage):
    """Counts what is read; before a write, `meanwhile` may write."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
        data = os.pread(descriptor, length, offset)
        self.bytes_read += len(data)
        return data

    def write(self, descriptor: int, data: Any, /) -> int:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return os.write(descriptor, data)


def test_what_was_appended_is_not_read_back_to_be_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "SNAPSHOT_ROWS", 16_384)
    storage = CountedReads()
    with OpLog(tmp_path, "jam", storage=storage) as log:
        batches = [
            [make_op_entry("ada", "notes", {"n": turn}, 100 * turn + n + 1) for n in range(100)]
            for turn in range(5)
        ]
        for batch in batches[:2]:
            log.append_many(batch)
        storage.bytes_read = 0
        for batch in batches[2:]:
            assert log.append_many(batch) == 100
        assert storage.bytes_read == 0
        for batch in batches:
            assert log.append_many(batch) == 0


def test_nothing_of_the_index_is_read_before_an_id_is_looked_up(sample: Sample) -> None:
    storage = CountedReads()
    with OpLog(sample.root, "jam", storage=storage) as log:
        log.record("ada", "notes", {"n": 1})  # reads the log's end
        storage.bytes_read = 0
        log.record_many("ada", "notes", [{"n": 1}, {"n": 2}])
        assert storage.bytes_read == 0
        assert not log.append(sample.entries[0])
        assert 0 < storage.bytes_read < 40_000


def test_a_look_up_reads_a_part_of_the_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_file, "_ROWS_A_SEGMENT", 64)
    with OpLog(tmp_path, "jam") as log:
        log.record_many("ada", "notes", [{"n": number} for number in range(20_000)])
        assert log.append(some_entries(1)[0])
    storage = CountedReads()
    with contextlib.closing(IdFile(str(index_file(tmp_path)), LOCAL)) as file:
        assert file.count == 20_000
    assert find(tmp_path, [str(uuid.uuid4())], storage) == {}
    assert storage.bytes_read < 40_000 < 16 * 20_000


def add(root: Path, line: bytes) -> None:
    with ops_file(root).open("ab") as log:
        log.write(line)


def test_ops_that_others_write_in_between_are_known_too(tmp_path: Path) -> None:
    storage = CountedReads()
    others, mine = some_entries(40, "bob"), some_entries(40)
    with OpLog(tmp_path, "jam", storage=storage) as log:
        assert log.append_many(mine[:4]) == 4
        for first in range(4, 40, 4):
            storage.meanwhile = partial(add, tmp_path, encode_line(others[first]))
            assert log.append_many(mine[first : first + 4]) == 4
        for known in others[4::4]:
            assert not log.append(known)
        assert log.append_many(mine) == 0


def test_the_work_of_writing_snapshots_is_in_proportion_to_the_ops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def noting(path: str, storage: Storage, facts: Facts, segments: Any) -> None:
        write_id_file(path, storage, facts, segments)
        written.append(os.path.getsize(path))

    monkeypatch.setattr(op_index, "write_id_file", noting)
    monkeypatch.setattr(op_index.SnapshotWriter, "is_alive", lambda writing: writing.wait() is writing)
    with OpLog(tmp_path, "jam") as log:
        for batch in range(150):
            log.append_many([make_op_entry("ada", "notes", {}, 40 * batch + n + 1) for n in range(40)])
    assert 5 <= len(written) <= 30
    assert sum(written) < 120 * 6000


def test_a_form_whose_rows_leave_memory_writes_snapshots_while_it_scans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "ROWS_AT_ONCE", 1_000)
    with OpLog(tmp_path, "jam") as log:
        entries = log.record_many(
            "ada", "notes", [{"n": number, "pad": "x" * 700} for number in range(4_000)]
        )
    starts = find(tmp_path, [entry["op_id"] for entry in entries])
    assert len(starts) == 4_000
    if compiled.NATIVE is None:
        assert find(tmp_path, [entry["op_id"] for entry in entries]) == starts
