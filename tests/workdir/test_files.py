"""What else is in a directory: junk, files that no tree may have, files of any kind."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from muse.core.op_log import OpLog
from muse.disk.storage import Storage
from muse.errors import NotFoundError, UsageError
from muse.history.repository import Repository
from muse.session.guarded_log import GuardedLog
from muse.session.live import LiveSession
from muse.session.policy import Policy, write_policy
from muse.session.text_replica import CodeReplica
from muse.workdir.base import SWEPT_AT_ONCE
from muse.workdir.presence import AwayError
from muse.workdir.workdir import RecordOutcome, Workdir
from tests.samples.nested_locks import NestedLocks
from tests.workdir.test_midi import TUNE, midi


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path / "project"))
    return tmp_path / "project"


def workdir(root: Path, actor: str = "ada", storage: Storage | None = None) -> Workdir:
    repository = Repository.open(str(root), storage) if storage else Repository.open(str(root))
    return Workdir(repository, None, actor, session_id="jam")


def recorded(outcome: RecordOutcome) -> list[str]:
    return [one.change.path for one in outcome.recorded]


def faults(outcome: RecordOutcome) -> dict[str, str]:
    return {fault.path: fault.reason for fault in outcome.faults}


def test_junk_and_what_the_ignore_file_names_is_left_alone(root: Path) -> None:
    for path in (
        ".git/config",
        "node_modules/x/index.js",
        "a/__pycache__/b.pyc",
        ".venv/bin/python",
        ".DS_Store",
        "a/.x.txt.swp",
        "x.txt~",
        "build/out.txt",
        "debug.log",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("junk")
    (root / "keep.log").write_text("kept")
    (root / ".museignore").write_text("# ours\nbuild/\n*.log\n!keep.log\n")
    outcome = workdir(root).record()
    assert (recorded(outcome), faults(outcome)) == ([".museignore", "keep.log"], {})


@pytest.mark.parametrize(
    "name", ["MUSE~1", "git~2", ".mu\u200cse", ".Mu\u017fe", "a/.gi\u200dt", ".git\u200c/x.txt"]
)
def test_a_name_that_some_file_system_takes_for_ours_is_named(root: Path, name: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("work")
    (root / "b.txt").write_text("work")
    outcome = workdir(root).record()
    assert (recorded(outcome), list(faults(outcome))) == (["b.txt"], [name])
    assert "is no part of a tree" in faults(outcome)[name]
    (root / ".museignore").write_text(f"{name.partition('/')[0]}\n")
    assert faults(workdir(root).record()) == {}


def test_a_file_that_the_session_has_is_recorded_though_it_is_ignored_now(root: Path) -> None:
    (root / "a.log").write_text("one\n")
    workdir(root).record()
    (root / ".museignore").write_text("*.log\n")
    (root / "a.log").write_text("one\ntwo\n")
    assert recorded(workdir(root).record()) == [".museignore", "a.log"]
    (root / "a.log").unlink()
    [outcome] = workdir(root).record().recorded
    assert (outcome.change.path, outcome.change.kind) == ("a.log", "deleted")


def of_bot(root: Path, files: Path) -> Workdir:
    """A directory of the bot's, with two files that are recorded."""
    files.mkdir()
    for name in ("a.txt", "b.txt"):
        (files / name).write_text(f"{name}\n")
    here = Workdir(Repository.open(str(root)), str(files), "bot", session_id="jam")
    assert recorded(here.record()) == ["a.txt", "b.txt"]
    return here


def test_a_directory_that_is_away_is_no_removal_of_its_files(root: Path, tmp_path: Path) -> None:
    files, away = tmp_path / "files", tmp_path / "away"
    here = of_bot(root, files)
    files.rename(away)
    for look in (here.record, here.status, here.bring, here.contents):
        with pytest.raises(AwayError, match="its 2 files are not taken for deleted"):
            look()
    assert not files.exists()
    away.rename(files)
    assert (here.status().here, here.status().faults) == ([], [])
    (files / "a.txt").unlink()
    assert recorded(here.record()) == ["a.txt"]


def test_an_empty_directory_in_the_place_of_another_is_no_removal_of_its_files(
    root: Path, tmp_path: Path
) -> None:
    files, away = tmp_path / "files", tmp_path / "away"
    here = of_bot(root, files)
    files.rename(away)
    files.mkdir()
    (files / "new.txt").write_text("new\n")
    for look in (here.record, here.status, here.bring, here.contents):
        with pytest.raises(AwayError, match="has none of its 2 files"):
            look()
    assert tree_of(files) == ["new.txt"]
    assert recorded(here.record(["b.txt"])) == ["b.txt"]  # named: it is meant
    (files / "a.txt").write_text("a.txt\n")
    assert recorded(here.record()) == ["new.txt"]


def test_files_that_are_all_removed_from_their_directory_are_recorded_so(root: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    here = of_bot(root, files)
    for name in tree_of(files):
        (files / name).unlink()
    assert recorded(here.record()) == ["a.txt", "b.txt"]


def test_a_copy_of_a_directory_is_as_good(root: Path, tmp_path: Path) -> None:
    files, away = tmp_path / "files", tmp_path / "away"
    here = of_bot(root, files)
    files.rename(away)
    shutil.copytree(away, files)
    assert recorded(here.record()) == []
    for name in tree_of(files):
        (files / name).unlink()
    assert recorded(here.record()) == ["a.txt", "b.txt"]


def test_no_repository_is_made_where_one_was(root: Path) -> None:
    here = workdir(root)
    (root / "a.txt").write_text("one\n")
    here.record()
    root.rename(root.with_name("away"))
    with pytest.raises(AwayError, match="has no repository now"):
        here.record()
    assert not root.exists()


def tree_of(directory: Path) -> list[str]:
    return sorted(place.name for place in directory.iterdir())


def test_patterns_that_cannot_be_read_are_named(root: Path) -> None:
    (root / ".museignore").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"\.museignore cannot be read as patterns"):
        workdir(root).record()


def test_what_cannot_be_recorded_is_named_and_the_rest_is_recorded(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    (root / "page.mid").write_text("<!DOCTYPE html><html></html>")
    (root / "cut.mid").write_bytes(midi(*TUNE)[:30])
    (root / "out").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "pipe")
    (root / "line\nbreak.txt").write_text("x")
    (root / os.fsdecode(b"bad\xff.txt")).write_text("x")
    (root / "good.txt").write_text("good\n")
    outcome = workdir(root).record()
    found = faults(outcome)
    assert recorded(outcome) == ["good.txt"]
    assert set(found) == {"page.mid", "cut.mid", "out", "pipe", "line\nbreak.txt", "bad\udcff.txt"}
    assert "is not text in UTF-8" in found["bad\udcff.txt"]
    assert "an HTML page" in found["page.mid"]
    assert "not a MIDI file that can be read" in found["cut.mid"]
    assert "a symbolic link" in found["out"]
    assert "control characters" in found["line\nbreak.txt"]
    with OpLog(str(root), "jam") as log:
        assert len(log.read_all()) == 1


def test_a_link_in_the_place_of_a_file_is_no_removal(root: Path, tmp_path: Path) -> None:
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to(tmp_path / "elsewhere")
    outcome = workdir(root).record()
    assert (recorded(outcome), list(faults(outcome))) == ([], ["a.txt"])
    assert (root / "a.txt").is_symlink()


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_text_that_turned_binary_is_named_and_recorded_whole_once_it_is_meant(
    root: Path, *, is_committed: bool
) -> None:
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    if is_committed:
        with LiveSession(str(root), "jam") as session:
            session.commit("One")
        workdir(root).record()
    (root / "a.txt").write_bytes(b"one\0two")
    (root / "b.txt").write_text("other\n")
    status = workdir(root).status()
    assert ([one.path for one in status.here], [one.path for one in status.faults]) == (
        ["b.txt"],
        ["a.txt"],
    )
    assert "it was a text and is no longer one" in status.faults[0].reason
    outcome = workdir(root).record()
    assert recorded(outcome) == ["b.txt"]
    assert "it was a text in utf-8 and is no longer one" in faults(outcome)["a.txt"]
    assert (root / "a.txt").read_bytes() == b"one\0two"
    outcome = workdir(root).record(["a.txt"])
    assert (recorded(outcome), faults(outcome)) == (["a.txt"], {})
    assert (workdir(root).status().here, workdir(root).status().faults) == ([], [])
    with LiveSession(str(root), "jam") as session:
        assert CodeReplica(session, session.log, "bob").read("a.txt") == b"one\0two"
        by_bob = CodeReplica(session, session.log, "bob").write("a.txt", b"bob\0")
    assert by_bob
    assert workdir(root).record().brought
    assert (root / "a.txt").read_bytes() == b"bob\0"


PDF = b"%PDF-1.4\n1 0 obj\n"


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("begun", [b"", PDF])
def test_a_file_that_was_seen_before_it_had_a_byte_that_is_no_text_is_recorded_as_a_whole(
    root: Path, begun: bytes, *, is_committed: bool
) -> None:
    (root / "a.pdf").write_bytes(begun)
    workdir(root).record()
    if is_committed:
        with LiveSession(str(root), "jam") as session:
            session.commit("One")
    (root / "a.pdf").write_bytes(PDF + b"\xff\xfe\0")
    status = workdir(root).status()
    assert ([one.path for one in status.here], status.faults) == (["a.pdf"], [])
    outcome = workdir(root).record()
    assert (recorded(outcome), faults(outcome)) == (["a.pdf"], {})
    (root / "a.pdf").write_bytes(PDF + b"\xff\xfe\0\1")
    assert recorded(workdir(root).record()) == ["a.pdf"]
    with LiveSession(str(root), "jam") as session:
        assert CodeReplica(session, session.log, "bob").read("a.pdf") == PDF + b"\xff\xfe\0\1"
    assert [path.name for path in root.iterdir() if path.name != ".muse"] == ["a.pdf"]


def test_a_text_of_two_that_turned_binary_is_named_though_it_goes_on(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        CodeReplica(session, session.log, "bob").insert("a.txt", 4, "two\n")
    workdir(root).record()
    (root / "a.txt").write_bytes(b"one\ntwo\n\0")
    status = workdir(root).status()
    assert (status.here, [one.path for one in status.faults]) == ([], ["a.txt"])
    assert faults(workdir(root).record()).keys() == {"a.txt"}


def test_a_text_of_others_that_turned_binary_is_named_though_it_goes_on(root: Path) -> None:
    with LiveSession(str(root), "jam") as session:
        CodeReplica(session, session.log, "bob").create("a.txt", "one\n")
    workdir(root).record()
    (root / "a.txt").write_bytes(b"one\n\0")
    assert faults(workdir(root).record()).keys() == {"a.txt"}


def test_files_in_the_directory_of_names_are_named_once(root: Path) -> None:
    (root / ".muse_notes/sub").mkdir(parents=True)
    (root / ".muse_notes/song.mid.json").write_text("{}")  # as a commit leaves it
    assert workdir(root).status().faults == []
    for name in ("mine.txt", "sub/yours.json"):
        (root / ".muse_notes" / name).write_text("x")
    (root / "a.txt").write_text("x")
    for found in (workdir(root).status().faults, workdir(root).record().faults):
        [fault] = found
        assert fault.path == ".muse_notes/mine.txt"
        assert fault.reason == (
            "it is not recorded, as .muse_notes is Muse's own, and 1 more there are not either: "
            "move it elsewhere"
        )
    shutil.rmtree(root / ".muse_notes")
    (root / ".muse_notes").write_text("x")
    [fault] = workdir(root).status().faults
    assert fault.path == ".muse_notes"


def test_a_text_that_turned_binary_takes_nothing_from_others(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        CodeReplica(session, session.log, "bob").insert("a.txt", 0, "bob\n")
    (root / "a.txt").write_bytes(b"one\0two")
    outcome = workdir(root).record(["a.txt"])
    assert (recorded(outcome), "others changed a.txt" in faults(outcome)["a.txt"]) == ([], True)
    with LiveSession(str(root), "jam") as session:
        assert CodeReplica(session, session.log, "bob").read("a.txt") == "bob\none\n"


class ChangingStorage(Storage):
    """Has a file written by another program whenever it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_bytes(self, path: str, *, at_most: int | None = None) -> bytes:
        content = super().read_bytes(path, at_most=at_most)
        if path == str(self.path):
            with self.path.open("ab") as file:
                file.write(b"more\n")
        return content


class ClosedStorage(Storage):
    """May not open one file, and not list one directory: what a process without permission meets."""

    def __init__(self, *closed: Path) -> None:
        self.closed = {str(path) for path in closed}

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        if path in self.closed:
            raise PermissionError(13, "Permission denied", path)
        return super().open(path, flags, mode)

    def names(self, path: str):  # type: ignore[no-untyped-def] # noqa: ANN201
        if path in self.closed:
            raise PermissionError(13, "Permission denied", path)
        return super().names(path)


def test_a_file_that_is_written_while_it_is_read_waits(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    (root / "b.txt").write_text("two\n")
    outcome = workdir(root, storage=ChangingStorage(root / "a.txt")).record()
    assert recorded(outcome) == ["b.txt"]
    assert "changed while it was read" in faults(outcome)["a.txt"]
    assert recorded(workdir(root).record()) == ["a.txt"]


def test_what_may_not_be_read_is_named_and_is_no_removal(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "a.txt").write_text("one\n")
    (root / "b.txt").write_text("two\n")
    workdir(root).record()
    (root / "b.txt").write_text("two and more\n")
    (root / "c.txt").write_text("three\n")
    storage = ClosedStorage(root / "d", root / "b.txt")
    outcome = workdir(root, storage=storage).record()
    assert recorded(outcome) == ["c.txt"]
    assert set(faults(outcome)) == {"b.txt", "d"}
    assert all("permission denied" in reason for reason in faults(outcome).values())


def test_files_of_any_kind_are_recorded_whole(root: Path) -> None:
    content = bytes(range(256)) * 4096  # too much for an op
    (root / "logo.bin").write_bytes(content)
    workdir(root).record()
    (root / "logo.bin").write_bytes(content[::-1])
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        assert CodeReplica(session, session.log, "reader").read("logo.bin") == content[::-1]
        assert session.commit("all").ignored == ()


def test_a_whole_file_that_both_sides_changed_is_named_and_both_versions_stay(root: Path) -> None:
    (root / "logo.bin").write_bytes(b"\0one")
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        CodeReplica(session, session.log, "bob").write("logo.bin", b"\0bob")
    (root / "logo.bin").write_bytes(b"\0ada")
    outcome = workdir(root).record()
    assert "others changed or moved logo.bin since you had it" in faults(outcome)["logo.bin"]
    assert (root / "logo.bin").read_bytes() == b"\0ada"
    (root / "logo.bin").rename(root / "mine.bin")
    outcome = workdir(root).record()
    assert recorded(outcome) == ["mine.bin"]
    assert (root / "logo.bin").read_bytes() == b"\0bob"


def test_a_script_stays_executable_when_others_change_it(root: Path) -> None:
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        CodeReplica(session, session.log, "bob").insert("run.sh", 10, "true\n")
    workdir(root).record()
    assert (root / "run.sh").read_text() == "#!/bin/sh\ntrue\n"
    assert (root / "run.sh").stat().st_mode & 0o777 == 0o755


def test_what_another_reserved_is_refused_and_named(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    (root / "b.txt").write_text("two\n")
    workdir(root).record()
    repository = Repository.open(str(root))
    write_policy(str(root), "jam", Policy(reservations="propose"))
    repository.coordination.reserve("bob", ["a.txt"], branch="main")
    (root / "a.txt").write_text("one by ada\n")
    (root / "b.txt").write_text("two by ada\n")
    outcome = workdir(root).record()
    assert recorded(outcome) == ["b.txt"]
    assert "bob" in faults(outcome)["a.txt"]
    assert (root / "a.txt").read_text() == "one by ada\n"
    with OpLog(str(root), "jam") as log:
        assert GuardedLog(repository, log).proposals() == []


def test_paths_limit_what_is_recorded_and_brought(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "a.txt").write_text("one\n")
    (root / "b.txt").write_text("two\n")
    assert recorded(workdir(root).record(["d"])) == ["d/a.txt"]
    assert [change.path for change in workdir(root).status().here] == ["b.txt"]
    with pytest.raises(NotFoundError, match="no file 'nothing'"):
        workdir(root).record(["nothing"])


def test_a_trial_records_nothing(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    assert recorded(workdir(root).record(is_trial=True)) == ["a.txt"]
    assert not (root / ".muse" / "op_log" / "jam" / "ops.jsonl").exists()
    assert recorded(workdir(root).record()) == ["a.txt"]


def test_a_file_written_in_the_same_tick_with_the_same_size_is_noticed(root: Path) -> None:
    place = root / "a.txt"
    place.write_text("one\n")
    workdir(root).record()
    status = place.stat()
    with place.open("r+") as file:
        file.write("two\n")
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert recorded(workdir(root).record()) == ["a.txt"]


def test_a_status_of_files_that_nobody_touched_reads_none_of_them(root: Path) -> None:
    for number in range(20):
        place = root / f"{number}.txt"
        place.write_text(f"{number}\n")
        os.utime(place, ns=(0, 10**18))
    workdir(root).record()
    workdir(root).status()

    class NoFiles(Storage):
        def open(self, path: str, flags: int, mode: int = 0o666) -> int:
            assert ".muse" in path, path
            return super().open(path, flags, mode)

    assert workdir(root, storage=NoFiles()).status().here == []


def test_a_commit_does_not_call_a_file_changed_by_hand_that_was_recorded(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        assert session.commit("first").kept == ()
    (root / "a.txt").write_text("one\ntwo\n")
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        assert session.commit("second").kept == ()
    assert workdir(root).status().here == []


def test_a_commit_brings_what_others_did_into_a_file_that_was_recorded(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        session.commit("first")
    (root / "a.txt").write_text("one\ntwo\n")
    workdir(root).record()
    with LiveSession(str(root), "jam") as session:
        CodeReplica(session, session.log, "bob").insert("a.txt", 0, "bob\n")
        assert session.commit("second").written == ("a.txt",)
    assert (root / "a.txt").read_text() == "bob\none\ntwo\n"
    (root / "a.txt").write_text("bob\none\ntwo\nthree\n")
    workdir(root).record()
    assert (root / "a.txt").read_text() == "bob\none\ntwo\nthree\n"


def test_a_file_that_follows_many_made_at_once_names_one_cause(root: Path) -> None:
    for number in range(20):
        (root / f"{number}.txt").write_text(f"{number}\n")
    workdir(root).record()
    (root / "after.txt").write_text("after\n")
    workdir(root).record()
    with OpLog(str(root), "jam") as log:
        *_, last, after = log.read_all()
    assert after["parent_op_ids"] == [last["op_id"]]


def test_what_is_kept_of_many_removed_files_goes_little_by_little(root: Path) -> None:
    count = SWEPT_AT_ONCE + 20
    for number in range(count):
        (root / f"{number}.txt").write_text(f"{number}\n")
    workdir(root).record()
    assert kept_parts(root) == count
    for number in range(count):
        (root / f"{number}.txt").unlink()
    workdir(root).record()
    assert kept_parts(root) == 20
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    assert kept_parts(root) == 1


def kept_parts(root: Path) -> int:
    return sum(place.is_file() for place in (root / ".muse/workdir/root.parts").rglob("*"))


def test_no_record_waits_for_a_commit_that_waits_for_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit takes the lock of the session first, and then that of the files."""
    (root / "a.txt").write_text("one\n")
    workdir(root).record()
    with LiveSession(str(root), "jam", storage=(of_commit := NestedLocks())) as live:
        live.commit("one")
    workdir(root).record()
    append = GuardedLog.append_requests

    def append_as_others_do(self: GuardedLog, requests: Sequence[Any], **options: Any) -> Any:
        receipts = append(self, requests, **options)
        with OpLog(str(root), "jam") as log:
            log.record("bob", "text", {"op": "insert", "address": "x"})
        return receipts

    monkeypatch.setattr(GuardedLog, "append_requests", append_as_others_do)
    (root / "a.txt").write_text("one\ntwo\n")
    of_record = NestedLocks()
    assert recorded(workdir(root, storage=of_record).record()) == ["a.txt"]
    assert ("commit.lock", "working_tree.lock") in of_commit.nested
    assert not of_record.nested & {(inner, outer) for outer, inner in of_commit.nested}
