"""When a file may be taken for what its writer wants it to be, and when a fault of it is said."""

import os
from pathlib import Path

import pytest

from muse.disk.storage import LOCAL
from muse.workdir.concerns import Concerns
from muse.workdir.quiet import FAULT_NS, OPEN_NS, QUIET_NS, TICK_NS, UNSURE_NS, Complaints, Quiet
from muse.workdir.scan import Directory, FileFault


def status(place: Path, content: bytes, at_ns: int) -> os.stat_result:
    place.write_bytes(content)
    os.utime(place, ns=(at_ns, at_ns))
    return place.stat()


def unknown(_path: str, _found: os.stat_result) -> bool:
    return False


def test_a_save_that_is_known_to_be_done_is_settled_at_once(tmp_path: Path) -> None:
    """Once it was read a tick after it was written: a write since then would show."""
    quiet, now = Quiet(lambda _: False, lambda path, _: path != "open"), 100 * OPEN_NS
    found = status(tmp_path / "a", b"one", now)
    quiet.touch({"a", "open", "empty"}, now)
    quiet.begin(now + TICK_NS - 1)
    assert not quiet.is_settled("a", found, now + TICK_NS)
    assert quiet.due_ns == now + TICK_NS
    quiet.begin(now + TICK_NS)
    assert quiet.is_settled("a", found, now + TICK_NS)
    assert not quiet.is_settled("open", found, now + TICK_NS)
    assert quiet.due_ns == now + QUIET_NS
    assert not quiet.is_settled("empty", status(tmp_path / "empty", b"", now), now + TICK_NS)
    assert not quiet.is_settled("nothing was told of it", found, now + TICK_NS)


def test_what_goes_on_being_written_and_many_files_at_once_wait_until_all_is_quiet(tmp_path: Path) -> None:
    quiet, now = Quiet(lambda _: False, lambda *_: True), 100 * OPEN_NS
    found = status(tmp_path / "a", b"one", now)
    many = [f"{number}" for number in range(100)]
    quiet.touch(["a"], now - QUIET_NS)
    quiet.touch(["a"], now)
    quiet.touch(many, now)
    quiet.begin(now + TICK_NS)
    assert not any(quiet.is_settled(path, found, now + TICK_NS) for path in ["a", *many])
    assert all(quiet.is_settled(path, found, now + QUIET_NS) for path in ["a", *many])
    quiet.touch(["a"], now + OPEN_NS)
    quiet.begin(now + OPEN_NS + TICK_NS)
    assert quiet.is_settled("a", found, now + OPEN_NS + TICK_NS)


def test_a_file_is_closed_if_nobody_writes_to_it_and_it_is_as_it_was_read(tmp_path: Path) -> None:
    directory, place = Directory(str(tmp_path), LOCAL), tmp_path / "a"
    found = status(place, b"one", 1000)
    if LOCAL.is_open_to_write(str(place)) is None:
        pytest.skip("the system does not tell")
    assert directory.is_closed("a", found)
    with place.open("ab"):
        assert not directory.is_closed("a", found)
    assert directory.is_closed("a", found)
    status(place, b"two", 2000)
    assert not directory.is_closed("a", found)
    place.unlink()
    assert not directory.is_closed("a", found)


def test_a_file_is_settled_once_nobody_wrote_to_it_for_a_while(tmp_path: Path) -> None:
    quiet = Quiet(lambda _: False, unknown)
    found = status(tmp_path / "a", b"one", 1000)
    assert not quiet.is_settled("a", found, 1000 + QUIET_NS - 1)
    assert quiet.due_ns == 1000 + QUIET_NS
    assert quiet.is_settled("a", found, 1000 + QUIET_NS)
    quiet.touch(["a"], 2 * QUIET_NS)
    assert not quiet.is_settled("a", found, 2 * QUIET_NS)
    assert quiet.is_settled("b", found, 2 * QUIET_NS)


def test_a_file_that_is_empty_or_gone_is_waited_for_longer(tmp_path: Path) -> None:
    quiet = Quiet(lambda _: False, unknown)
    quiet.touch(["a"], 0)
    for found in (None, status(tmp_path / "a", b"", 0)):
        assert not quiet.is_settled("a", found, QUIET_NS)
        assert quiet.is_settled("a", found, UNSURE_NS)


def test_a_file_that_is_open_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    quiet = Quiet(lambda path: path == "a", unknown)
    found = status(tmp_path / "a", b"one", 0)
    assert not quiet.is_settled("a", found, OPEN_NS - 1)
    assert quiet.due_ns == OPEN_NS - 1 + QUIET_NS
    assert quiet.is_settled("b", found, OPEN_NS - 1)
    assert quiet.is_settled("a", found, OPEN_NS)


def test_a_clock_that_was_set_back_keeps_nothing_waiting(tmp_path: Path) -> None:
    quiet = Quiet(lambda _: True, unknown)
    quiet.touch(["a"], 10 * OPEN_NS)
    assert quiet.is_settled("a", status(tmp_path / "a", b"one", 20 * OPEN_NS), 5)


def test_a_fault_is_named_once_and_not_while_the_file_is_written() -> None:
    complaints, fault = Complaints(), FileFault("a.mid", "cut short")
    assert complaints.to_name([fault], 0) == []
    assert complaints.due_ns == FAULT_NS
    complaints.touch(["a.mid"])
    assert complaints.to_name([fault], FAULT_NS) == []
    assert complaints.to_name([fault], 2 * FAULT_NS) == [fault]
    assert complaints.to_name([fault], 9 * FAULT_NS) == []
    assert complaints
    complaints.touch(["a.mid"])
    assert complaints.to_name([fault], 9 * FAULT_NS) == []
    assert complaints.to_name([fault], 10 * FAULT_NS) == [fault]
    assert complaints.to_name([], 11 * FAULT_NS) == []
    assert not complaints
    assert complaints.to_name([fault], 12 * FAULT_NS, 0) == [fault]


def test_only_files_of_people_and_the_session_are_a_concern() -> None:
    concerns = Concerns("/p", "/p", "jam")
    places = {"/p/a.txt", "/p/b/c.txt", "/p/.git/x", "/p/node_modules/x/y.js", "/p/a.txt~", "/q/a.txt"}
    assert set(concerns.files(places)) == {"a.txt", "b/c.txt"}
    of_session = ["op_log/jam/ops.jsonl", "refs/heads/main", "HEAD", "workdir/written/1.json"]
    assert all(concerns.is_of_session(f"/p/.muse/{path}") for path in of_session)
    others = ["op_log/other/ops.jsonl", "objects/aa/bb", "workdir/root.json", "op_log/jam/session.lock"]
    assert not any(concerns.is_of_session(f"/p/.muse/{path}") for path in others)
