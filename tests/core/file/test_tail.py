"""A follower hands out every entry once, as it arrives, whoever writes it."""

import multiprocessing
import threading
from pathlib import Path

import pytest

from muse.core.line import encode_line
from muse.core.op_log import OpLog, make_op_entry
from muse.errors import CorruptionError, StorageError

SPAWN = multiprocessing.get_context("spawn")


def ops_file(root: Path) -> Path:
    return root / ".muse" / "op_log" / "jam" / "ops.jsonl"


def add(root: Path, data: bytes) -> None:
    with ops_file(root).open("ab") as log:
        log.write(data)


def write_ops(root: str, actor: str, count: int) -> None:
    with OpLog(root, "jam") as log:
        for number in range(count):
            log.record(actor, "notes", {"n": number})


def test_entries_come_as_they_arrive_in_the_order_of_the_file(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, log.follow() as follower:
        assert follower.next_within(0) is None
        first, second = log.record("ada", "notes", {}), log.record("bob", "notes", {})
        assert [next(follower), next(follower)] == [first, second]
        assert follower.next_within(0) is None
        third = log.record("ada", "notes", {})
        assert follower.next_within(1) == third


def test_a_follower_starts_now_or_where_it_is_told(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", {})
        cut = log.cut()
        second = log.record("ada", "notes", {})
        with log.follow() as now, log.follow(since=0) as everything, log.follow(since=cut) as behind:
            assert now.next_within(0) is None
            assert [next(everything), next(everything)] == [first, second]
            assert next(behind) == second


def test_a_cursor_resumes_behind_the_last_entry(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "notes", {"n": number}) for number in range(5)]
        cursor = 0
        for expected in entries:
            with log.follow(since=cursor) as follower:
                assert next(follower) == expected
                cursor = follower.cursor
        assert cursor == ops_file(tmp_path).stat().st_size


def test_a_follower_filters(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, log.follow(actor="ada", domain="notes", address="a/") as follower:
        log.record("bob", "notes", {"address": "a/1"})
        log.record("ada", "code", {"address": "a/1"})
        log.record("ada", "notes", {"address": "b/1"})
        wanted = log.record("ada", "notes", {"address": "a/1"})
        assert next(follower) == wanted
        assert follower.next_within(0) is None


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, log.follow() as follower:
        assert follower.next_within(0) is None
        assert not ops_file(tmp_path).exists()
        assert log.record("ada", "notes", {}) == next(follower)


def test_a_half_written_line_is_waited_for(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, log.follow(since=0) as follower:
        log.record("ada", "notes", {})
        assert next(follower)
        entry = make_op_entry("bob", "notes", {"text": "x" * 1000}, 9)
        line = encode_line(entry)
        for part in (line[:20], line[20:500], line[500:-1]):
            add(tmp_path, part)
            assert follower.next_within(0) is None
        add(tmp_path, b"\n")
        assert next(follower) == entry


@pytest.mark.parametrize("data", [b"\n", b"\r\n", b'{"op_id":"6f1c\n', b"\0" * 10 + b"\n", b"\n\n"])
def test_lines_that_are_no_entry_and_no_corruption_are_passed_over(tmp_path: Path, data: bytes) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        with log.follow() as follower:
            add(tmp_path, data)
            assert follower.next_within(0) is None
            entry = log.record("ada", "notes", {})
            assert next(follower) == entry


def test_corruption_stops_a_follower_and_says_where(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        with log.follow() as follower:
            place = ops_file(tmp_path).stat().st_size
            add(tmp_path, b"nonsense\n")
            with pytest.raises(CorruptionError) as caught:
                next(follower)
            assert caught.value.offset == place


def test_a_log_that_becomes_shorter_stops_a_follower(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        with log.follow() as follower:
            ops_file(tmp_path).write_bytes(b"")
            with pytest.raises(CorruptionError, match="shorter"):
                next(follower)


def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    ops_file(tmp_path).parent.mkdir(parents=True)
    ops_file(tmp_path).symlink_to(tmp_path / "elsewhere")
    with OpLog(tmp_path, "jam") as log, pytest.raises(StorageError), log.follow() as follower:
        next(follower)


def test_stop_ends_the_iteration_from_another_thread(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, log.follow() as follower:
        found: list[object] = []
        reader = threading.Thread(target=lambda: found.extend(follower))
        reader.start()
        follower.stop()
        reader.join(10)
        assert not reader.is_alive()
        assert found == []


def test_a_follower_sees_each_op_of_several_processes_once_and_each_writers_order(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, log.follow() as follower:
        writers = [
            SPAWN.Process(target=write_ops, args=(str(tmp_path), name, 150)) for name in ("ada", "bob")
        ]
        for writer in writers:
            writer.start()
        found = [next(follower) for _ in range(300)]
        for writer in writers:
            writer.join()
            assert writer.exitcode == 0
        assert follower.next_within(0) is None
        for name in ("ada", "bob"):
            theirs: list[object] = [entry["domain_op"] for entry in found if entry["actor_id"] == name]
            assert theirs == [{"n": number} for number in range(150)]
