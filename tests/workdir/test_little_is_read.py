"""A record of one text, where nobody did anything meanwhile, reads little, and loses nothing by that."""

import json
import os
from pathlib import Path

import pytest

from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.disk.json_file import encode_with_digest
from muse.disk.storage import Storage
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.policy import Policy, write_policy
from muse.session.text_replica import CodeReplica
from muse.workdir.workdir import RecordOutcome, Workdir


class NotingStorage(Storage):
    """Notes what is opened, and how many bytes are read of each file."""

    def __init__(self) -> None:
        self.read: dict[str, int] = {}
        self._open: dict[int, str] = {}

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        descriptor = super().open(path, flags, mode)
        self._open[descriptor] = path
        self.read.setdefault(path, 0)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        super().close(descriptor)

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        data = super().pread(descriptor, length, offset)
        self.read[self._open[descriptor]] += len(data)
        return data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a commit of many texts."""
    root = tmp_path / "project"
    Repository.init(str(root))
    for number in range(50):
        write_long_ago(root / f"{number}.txt", f"one of {number}\ntwo\n")
    record(root)
    with LiveSession(str(root), "jam") as session:
        session.commit("all")
    write_long_ago(root / "0.txt", "one of 0\ntwo and three\n")
    record(root)
    return root


def write_long_ago(place: Path, text: str) -> None:
    """Write a file that nobody may have written to again in the same tick of the clock."""
    place.write_text(text)
    os.utime(place, ns=(0, 10**18))


def workdir(root: Path, storage: Storage | None = None) -> Workdir:
    repository = Repository.open(str(root), storage) if storage else Repository.open(str(root))
    return Workdir(repository, None, "ada", session_id="jam")


def record(root: Path) -> RecordOutcome:
    outcome = workdir(root).record()
    assert outcome.faults == []
    return outcome


def entries(root: Path) -> list[OpEntry]:
    with OpLog(str(root), "jam") as log:
        return log.read_all()


def session_texts(root: Path, *paths: str) -> list[str | bytes]:
    with LiveSession(str(root), "jam") as session:
        replica = CodeReplica(session, session.log, "reader")
        return [replica.read(path) for path in paths]


def bob_inserts(root: Path, path: str, text: str) -> None:
    with LiveSession(str(root), "jam") as session:
        CodeReplica(session, session.log, "bob").insert(path, 0, text)


def test_neither_the_tree_nor_any_other_file_is_read(root: Path) -> None:
    storage = NotingStorage()
    (root / "7.txt").write_text("one of 7\nTWO\n")
    outcome = workdir(root, storage).record()
    assert [one.change.path for one in outcome.recorded] == ["7.txt"]
    read = {os.path.relpath(path, root): count for path, count in storage.read.items()}
    assert not [path for path in read if path.startswith((".muse/commits", ".muse/snapshots"))]
    assert [path for path in read if path.endswith(".txt")] == ["7.txt"]
    assert len([path for path in read if ".parts/" in path and read[path]]) == 1
    assert session_texts(root, "0.txt", "7.txt") == ["one of 0\ntwo and three\n", "one of 7\nTWO\n"]


def test_an_op_names_the_last_one_as_its_cause(root: Path) -> None:
    for number in (1, 2, 2):
        with (root / f"{number}.txt").open("a") as file:
            file.write("more\n")
        record(root)
    (root / "new.txt").write_text("one\n")
    record(root)
    of_one, first, second, new = entries(root)[-4:]
    assert second["parent_op_ids"] == [first["op_id"]]
    assert new["parent_op_ids"][-1] == second["op_id"]
    assert not {of_one["op_id"], first["op_id"]} & set(new["parent_op_ids"])  # its actor made them before


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_what_others_record_while_it_is_recorded_is_merged_and_brought(root: Path, asked: int) -> None:
    (root / "3.txt").write_text("one of 3\nTWO\n")
    count = 0

    def is_settled(_path: str, _found: os.stat_result | None) -> bool:
        nonlocal count
        count += 1
        if count == asked:
            bob_inserts(root, "3.txt", "zero\n")
            bob_inserts(root, "4.txt", "zero\n")
        return True

    workdir(root).record(is_settled=is_settled)
    assert count >= asked
    record(root)
    assert (root / "3.txt").read_text() == "zero\none of 3\nTWO\n"
    assert (root / "4.txt").read_text() == "zero\none of 4\ntwo\n"
    assert session_texts(root, "3.txt", "4.txt") == [
        (root / "3.txt").read_text(),
        (root / "4.txt").read_text(),
    ]
    assert record(root).recorded == []


def test_saves_of_a_session_that_is_kept_open_go_on_from_each_other_and_from_others(root: Path) -> None:
    text, kept = "one of 5\ntwo\n", workdir(root)
    with kept.keeping_open():
        for number in range(4):
            text += f"line {number}\n"
            (root / "5.txt").write_text(text)
            assert len(kept.record().recorded) == 1
        bob_inserts(root, "5.txt", "zero\n")
        text += "last\n"
        (root / "5.txt").write_text(text)
        kept.record()
        assert (root / "5.txt").read_text() == f"zero\n{text}"
        (root / "5.txt").write_text(f"zero\n{text}end\n")
        kept.record()
    assert session_texts(root, "5.txt") == [f"zero\n{text}end\n"]
    assert record(root).recorded == []


def test_an_edit_that_was_refused_is_made_again_from_what_the_session_has(root: Path) -> None:
    repository, kept = Repository.open(str(root)), workdir(root)
    write_policy(str(root), "jam", Policy(reservations="refuse"))
    with kept.keeping_open():
        (root / "6.txt").write_text("one of 6\ntwo\nthree\n")
        kept.record()
        reservation = repository.coordination.reserve("bob", ["6.txt"], branch="main")
        (root / "6.txt").write_text("one of 6\ntwo\nthree\nfour\n")
        refused = kept.record()
        assert not refused.recorded
        assert [fault.path for fault in refused.faults] == ["6.txt"]
        repository.coordination.release(reservation.reservation_id, "bob")
        (root / "6.txt").write_text("one of 6\ntwo\nthree\nfour\nfive\n")
        assert len(kept.record().recorded) == 1
    assert session_texts(root, "6.txt") == ["one of 6\ntwo\nthree\nfour\nfive\n"]


def test_a_base_that_names_no_encodings_and_no_heads_is_read(root: Path) -> None:
    place = root / ".muse" / "workdir" / "root.json"
    document = json.loads(place.read_bytes())
    del document["digest"], document["seen"]["heads"]
    for row in document["files"].values():
        row.pop("encoding", None)
    place.write_bytes(encode_with_digest(document, "the base"))
    (root / "8.txt").write_text("one of 8\nTWO\n")
    assert [one.change.path for one in record(root).recorded] == ["8.txt"]
    assert session_texts(root, "8.txt") == ["one of 8\nTWO\n"]


@pytest.mark.parametrize("removes", ["a line", "the file"])
@pytest.mark.parametrize("commits", [False, True])
def test_what_others_removed_and_wrote_again_is_edited_as_it_is_now(
    root: Path, tmp_path: Path, removes: str, *, commits: bool
) -> None:
    text = "one\ntwo\nthree\n"
    (root / "text.txt").write_text(text)
    record(root)
    if commits:
        with LiveSession(str(root), "jam") as session:
            session.commit("a text")
        record(root)
    other = tmp_path / "other"
    other.mkdir()
    bob = Workdir(Repository.open(str(root)), str(other), "bob", session_id="jam")
    bob.record()
    place = other / "text.txt"
    if removes == "a line":
        place.write_text("one\nthree\n")
    else:
        place.unlink()
    bob.record()
    place.write_text(text)
    bob.record()
    (root / "text.txt").write_text("one\nthree\n")
    record(root)
    assert session_texts(root, "text.txt") == ["one\nthree\n"]
    assert workdir(root).status().ahead == []


def test_what_others_write_while_a_text_is_compared_that_is_not_at_hand_stays(root: Path) -> None:
    for texts in ("one of 3\n", "one of 3\ntwo\n"):
        with LiveSession(str(root), "jam") as session:
            CodeReplica(session, session.log, "bob").write("3.txt", texts)
    record(root)
    (root / "3.txt").write_text("one of 3\nTWO\n")
    asked = iter(range(100))

    def is_settled(_path: str, _found: os.stat_result | None) -> bool:
        if next(asked) == 1:
            bob_inserts(root, "3.txt", "zero\n")
        return True

    workdir(root).record(is_settled=is_settled)
    record(root)
    assert session_texts(root, "3.txt") == [(root / "3.txt").read_text()] == ["zero\none of 3\nTWO\n"]
