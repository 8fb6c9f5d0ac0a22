"""When a file may be taken for what its writer wants it to be, and when a fault of it is said."""

import os
from pathlib import Path

from muse.workdir.concerns import Concerns
from muse.workdir.quiet import FAULT_NS, OPEN_NS, QUIET_NS, UNSURE_NS, Complaints, Quiet
from muse.workdir.scan import FileFault


def status(place: Path, content: bytes, at_ns: int) -> os.stat_result:
    place.write_bytes(content)
    os.utime(place, ns=(at_ns, at_ns))
    return place.stat()


def test_a_file_is_settled_once_nobody_wrote_to_it_for_a_while(tmp_path: Path) -> None:
    quiet = Quiet(lambda _: False)
    found = status(tmp_path / "a", b"one", 1000)
    assert not quiet.is_settled("a", found, 1000 + QUIET_NS - 1)
    assert quiet.due_ns == 1000 + QUIET_NS
    assert quiet.is_settled("a", found, 1000 + QUIET_NS)
    quiet.touch(["a"], 2 * QUIET_NS)
    assert not quiet.is_settled("a", found, 2 * QUIET_NS)
    assert quiet.is_settled("b", found, 2 * QUIET_NS)


def test_a_file_that_is_empty_or_gone_is_waited_for_longer(tmp_path: Path) -> None:
    quiet = Quiet(lambda _: False)
    quiet.touch(["a"], 0)
    for found in (None, status(tmp_path / "a", b"", 0)):
        assert not quiet.is_settled("a", found, QUIET_NS)
        assert quiet.is_settled("a", found, UNSURE_NS)


def test_a_file_that_is_open_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    quiet = Quiet(lambda path: path == "a")
    found = status(tmp_path / "a", b"one", 0)
    assert not quiet.is_settled("a", found, OPEN_NS - 1)
    assert quiet.due_ns == OPEN_NS - 1 + QUIET_NS
    assert quiet.is_settled("b", found, OPEN_NS - 1)
    assert quiet.is_settled("a", found, OPEN_NS)


def test_a_clock_that_was_set_back_keeps_nothing_waiting(tmp_path: Path) -> None:
    quiet = Quiet(lambda _: True)
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
