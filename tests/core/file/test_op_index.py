"""The index knows every op of a log, or is made anew: no damage to its table makes it forget one."""

import os
import random
import signal
import sqlite3
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from muse.core.file import op_index
from muse.core.file.id_table import IdTable, Leaf, TableError
from muse.core.file.log_reader import LogReader
from muse.core.file.session_file import SessionFile
from muse.core.line import encode_line
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage

OPS = 400


class Sample:
    """A log whose index keeps most ids in its table, and where each op starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = Path(layout.op_index_file(str(root), "jam"))
        self.entries = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(OPS)]
        with OpLog(root, "jam") as log:
            log.append_many(self.entries)
            assert log.append_many(self.entries) == 0
        self.end = os.path.getsize(layout.ops_file(str(root), "jam"))
        self.sound = self.table.read_bytes()
        self.starts = self.find()
        assert len(self.starts) == OPS

    def find(self) -> dict[str, int]:
        """Ask a new reader for every op, and for some that are not there."""
        file = SessionFile(str(self.root), "jam", LOCAL)
        reader = LogReader(file, str(self.table), LOCAL)
        unknown = [str(uuid.uuid4()) for _ in range(20)]
        try:
            return reader.find_many([entry["op_id"] for entry in self.entries] + unknown, file.end())
        finally:
            reader.close()
            file.close()

    def stores_nothing_twice(self) -> bool:
        with OpLog(self.root, "jam") as log:
            return not any(log.append(entry) for entry in self.entries[:: OPS // 20])


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    monkeypatch.setattr(op_index, "IDS_IN_MEMORY", 100)
    return Sample(tmp_path)


def test_a_flipped_bit_of_the_table_hides_no_op(sample: Sample) -> None:
    chance = random.Random(7)
    written = [place for place, byte in enumerate(sample.sound) if byte]
    places = [*range(0, 100, 4), *chance.sample(written, 150), *chance.sample(range(len(sample.sound)), 25)]
    for number, place in enumerate(places):
        damaged = bytearray(sample.sound)
        damaged[place] ^= 1 << chance.randrange(8)
        sample.table.write_bytes(damaged)
        if number % 5:
            assert sample.find() == sample.starts, place
        else:
            assert sample.stores_nothing_twice(), place
    assert os.path.getsize(layout.ops_file(str(sample.root), "jam")) == sample.end


def test_a_table_cut_at_any_page_hides_no_op(sample: Sample) -> None:
    for length in [0, 1, 99, 100, *range(512, len(sample.sound), 2048), len(sample.sound) - 1]:
        sample.table.write_bytes(sample.sound[:length])
        assert sample.find() == sample.starts, length
        assert sample.stores_nothing_twice(), length


def test_an_older_copy_of_the_table_is_caught_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_index, "IDS_IN_MEMORY", 100)
    sample = Sample(tmp_path)
    with OpLog(tmp_path, "jam") as log:
        more = [make_op_entry("bob", "notes", {"n": number}, number + 1) for number in range(OPS)]
        log.append_many(more)
        assert log.append_many(more) == 0
    assert sample.table.read_bytes() != sample.sound
    sample.table.write_bytes(sample.sound)
    with OpLog(tmp_path, "jam") as log:
        assert log.append_many(more) == log.append_many(sample.entries) == 0


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM leaves WHERE first = (SELECT max(first) FROM leaves)",
        "DELETE FROM leaves WHERE first = 0",
        "UPDATE leaves SET first = first + 1 WHERE first > 0",
        "DELETE FROM leaves",
        "DELETE FROM covered",
        "UPDATE covered SET upto = upto + 1",
        "UPDATE covered SET upto = 'all'",
        "UPDATE leaves SET body = 7",
        "UPDATE leaves SET body = (SELECT body FROM leaves WHERE first = 0)",
        "DROP TABLE leaves",
        "CREATE TABLE ids (op_id BLOB)",
    ],
)
def test_a_table_that_something_else_wrote_to_hides_no_op(sample: Sample, damage: str) -> None:
    with sqlite3.connect(sample.table) as table:
        table.execute(damage)
    table.close()
    assert sample.find() == sample.starts
    assert sample.stores_nothing_twice()


def test_a_table_damaged_while_ids_are_added_is_made_anew(sample: Sample) -> None:
    with OpLog(sample.root, "jam") as log:
        assert not log.append(sample.entries[0])
        with sqlite3.connect(sample.table) as table:
            table.execute("UPDATE leaves SET body = zeroblob(50)")
        table.close()
        more = [make_op_entry("bob", "notes", {"n": number}, number + 1) for number in range(OPS)]
        assert log.append_many(more) == OPS
        assert log.append_many(more) == log.append_many(sample.entries) == 0


def test_several_handles_fill_one_table_and_each_knows_every_op(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "IDS_IN_MEMORY", 50)
    handles = [OpLog(tmp_path, "jam") for _ in range(3)]
    entries: list[OpEntry] = []
    for turn in range(30):
        own = [make_op_entry("ada", "notes", {"n": turn}, len(entries) + 1) for _ in range(20)]
        assert handles[turn % 3].append_many(own) == 20
        entries += own
        assert handles[(turn + 1) % 3].append_many(entries[:: turn + 1]) == 0
    for log in handles:
        assert log.append_many(entries) == 0
        log.close()


def test_a_process_that_dies_while_ids_are_on_their_way_to_the_table_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "IDS_IN_MEMORY", 200)
    monkeypatch.setattr(op_index, "_IDS_A_MOVE", 8)
    entries = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(1_200)]
    for start in range(0, len(entries), 75):
        child = os.fork()
        if child == 0:
            log = OpLog(tmp_path, "jam")
            for entry in entries[start : start + 75]:
                log.append(entry)
            os._exit(0)  # nothing is closed
        assert os.waitpid(child, 0)[1] == 0
        with OpLog(tmp_path, "jam") as log:
            assert log.append_many(entries[: start + 75]) == 0
            assert [log.append(entry) for entry in entries[: start + 75 : 40]].count(True) == 0


def test_of_an_op_that_stands_twice_the_first_line_counts_wherever_its_id_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "IDS_IN_MEMORY", 100)
    monkeypatch.setattr(op_index, "_IDS_A_MOVE", 4)
    entries = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(250)]
    lines = [encode_line(entry) for entry in entries]
    path = Path(layout.ops_file(str(tmp_path), "jam"))
    with OpLog(tmp_path, "jam") as log:
        first = {}
        for number, entry in enumerate(entries):
            first[entry["op_id"]] = log.cut().offset
            log.append(entry)
            with path.open("ab") as other:
                other.write(lines[number // 2])
            assert {op_id: start for op_id, (start, _, _) in log.find(first).items()} == first


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


def test_what_was_appended_is_not_read_back_to_be_indexed(tmp_path: Path) -> None:
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


def add(root: Path, line: bytes) -> None:
    with Path(layout.ops_file(str(root), "jam")).open("ab") as log:
        log.write(line)


def test_ops_that_others_write_in_between_are_known_too(tmp_path: Path) -> None:
    storage = CountedReads()
    others = [make_op_entry("bob", "notes", {"n": number}, number + 1) for number in range(40)]
    mine = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(40)]
    with OpLog(tmp_path, "jam", storage=storage) as log:
        assert log.append_many(mine[:4]) == 4
        for first in range(4, 40, 4):
            storage.meanwhile = partial(add, tmp_path, encode_line(others[first]))
            assert log.append_many(mine[first : first + 4]) == 4
        for known in others[4::4]:
            assert not log.append(known)
        assert log.append_many(mine) == 0


# -- leaves ------------------------------------------------------------------------------------------


def key_of(number: int) -> bytes:
    return random.Random(number).randbytes(16)


def test_every_flipped_bit_of_a_leaf_is_an_error() -> None:
    leaf = Leaf(0, 1 << 63, b"".join(key_of(number) + number.to_bytes(8, "big") for number in range(20)))
    body = leaf.body()
    assert Leaf.from_body(body, 0, 5) == leaf
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TableError):
            Leaf.from_body(bytes(damaged), 0, 5)


def test_a_table_finds_what_was_added_and_the_first_place_of_what_was_added_twice(tmp_path: Path) -> None:
    table = IdTable(str(tmp_path / "ids"))
    for turn in range(20):
        added = {key_of(number): turn for number in range(turn * 250, turn * 250 + 500)}
        assert table.add(added, turn, b"witness", first=not turn)
    keys = [key_of(number) for number in range(6000)]
    assert table.find_many(keys) == {key_of(number): max(0, number // 250 - 1) for number in range(5250)}
    assert table.covered() == [(19, b"witness")]
    table.close()


def test_ids_that_start_alike_are_all_found(tmp_path: Path) -> None:
    table = IdTable(str(tmp_path / "ids"))
    alike = {b"12345678" + key_of(number)[:8]: number for number in range(700)}
    others = {key_of(number): number for number in range(700)}
    table.add(alike, 1, b"", first=True)
    table.add(others, 2, b"", first=False)
    assert table.find_many([*alike, *others, b"12345678" * 2]) == alike | others
    table.close()


def test_a_leaf_that_stands_in_another_place_is_an_error(tmp_path: Path) -> None:
    table = IdTable(str(tmp_path / "ids"))
    table.add({key_of(number): number for number in range(500)}, 1, b"", first=True)
    with sqlite3.connect(tmp_path / "ids") as other:
        other.execute("UPDATE leaves SET first = first + 1 WHERE first = (SELECT max(first) FROM leaves)")
    other.close()
    with pytest.raises(TableError):  # or what is added would be stored beside it, and be found or not
        table.find_many([b"\xff" * 16])
    table.close()


def test_a_key_is_not_found_across_two_rows(tmp_path: Path) -> None:
    table = IdTable(str(tmp_path / "ids"))
    first = b"\x01" * 16
    table.add({first: 0x0101, b"\x02" * 16: 3}, 1, b"", first=True)
    across = (b"\x01" * 16 + (0x0101).to_bytes(8, "big"))[4:20]
    assert table.find_many([across, first]) == {first: 0x0101}
    table.close()


def test_a_table_that_cannot_be_written_leaves_the_index_in_memory(sample: Sample) -> None:
    sample.table.unlink()
    sample.table.mkdir()  # no table can be made here
    assert sample.find() == sample.starts
    assert sample.stores_nothing_twice()


@pytest.mark.parametrize("ops_at_the_cut", [30, 42])
def test_ids_that_were_on_their_way_to_the_table_are_not_believed_of_another_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ops_at_the_cut: int
) -> None:
    monkeypatch.setattr(op_index, "IDS_IN_MEMORY", 40)
    monkeypatch.setattr(op_index, "_IDS_A_MOVE", 4)
    entries = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(95)]
    others = [make_op_entry("bob", "notes", {"other": number}, number + 1) for number in range(60)]
    path = Path(layout.ops_file(str(tmp_path), "jam"))
    moved = 45 if ops_at_the_cut < 40 else 85  # in the middle of the first move, or of the second
    with OpLog(tmp_path, "jam") as log:
        for entry in entries[:moved]:
            log.append(entry)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:ops_at_the_cut]))  # an older copy
    with OpLog(tmp_path, "jam") as log:
        for entry in others + entries[::-1] + others + entries:
            log.append(entry)
        ids = [entry["op_id"] for entry in log.scan(0, path.stat().st_size)]
    assert len(ids) == len(set(ids)) == len(others) + len(entries)


def test_a_child_that_is_forked_while_the_table_is_tidied_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_index, "IDS_IN_MEMORY", 20)
    entries = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(800)]
    with OpLog(tmp_path, "jam") as log:
        log.append(entries[0])
        for start in range(0, 800, 20):
            log.append_many(entries[start : start + 20])
            child = os.fork()
            if not child:
                signal.alarm(20)  # ends a child that waits for ever
                os._exit(any(log.append(entry) for entry in entries[:40][:start]))
            assert os.waitpid(child, 0)[1] == 0
