"""Commits of other tools among those of sessions: merges have the work of both, each once."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from muse.checks.replay import replay_commits
from muse.checks.verify import verify_repository
from muse.errors import ConflictError
from muse.history.repository import Repository, TreeFiles
from muse.plugins.music.midi_file import Note, notes_of
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from tests.samples.code_samples import commit_files, taken_in
from tests.samples.replicas import make_origin, make_replica, pull_from

Two = tuple[Path, Path]
TEXT = "one\ntwo\nthree\n"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """Two replicas with a text and a note."""
    first = make_origin(tmp_path / "first")
    write(first, lambda code: code.create("f.txt", TEXT))
    play(first, 60)
    return first, make_replica(first, tmp_path / "second")


def write(root: Path, *edits: Callable[[CodeReplica], object]) -> None:
    with LiveSession(root, "jam") as session:
        code = CodeReplica(session, session.log, root.name)
        for edit in edits:
            edit(code)
        session.commit("Edited")


def play(root: Path, pitch: int) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", insert_note("song.mid", f"n{pitch}", Note(pitch, 80, pitch * 10, 480)))
        session.commit(f"Note {pitch}")


def by_hand(root: Path, changes: Mapping[str, bytes | None]) -> str:
    """Commit as a tool does that knows of no log."""
    repository = Repository.open(str(root))
    files = TreeFiles(repository, repository.read_tree(repository.dag.head("main")))
    return commit_files(repository, taken_in(files, changes), author="eve")


def files_of(root: Path) -> dict[str, bytes]:
    repository = Repository.open(str(root))
    tree = repository.read_tree(repository.dag.head("main"))
    return {path: repository.objects.get(object_id) for path, object_id in tree.items()}


def pitches(root: Path) -> list[int]:
    return sorted(note.pitch for _, note in notes_of(files_of(root)["song.mid"]))


def merge(two: Two) -> dict[str, bytes]:
    """Let each pull from the other; return the files, which are the same on both."""
    first, second = two
    assert pull_from(first, second).transfers[0].result == "merged"
    pull_from(second, first)
    files = files_of(first)
    assert files == files_of(second)
    for root in two:
        assert verify_repository(str(root)).findings == []
        assert replay_commits(Repository.open(str(root))).findings == []
    return files


def test_what_was_changed_by_hand_after_live_edits_stands_once(two: Two) -> None:
    first, second = two
    write(first, lambda code: code.insert("f.txt", 0, "zero\n"))
    play(first, 61)
    by_hand(first, {"f.txt": b"zero\n" + TEXT.encode() + b"four by hand\n", "README": b"hello\n"})
    play(first, 62)
    play(second, 63)
    files = merge(two)
    assert files["f.txt"] == b"zero\none\ntwo\nthree\nfour by hand\n"
    assert files["README"] == b"hello\n"
    assert pitches(first) == [60, 61, 62, 63]
    write(first, lambda code: code.insert("f.txt", 0, "more\n"))
    pull_from(second, first)
    assert files_of(second)["f.txt"].decode() == "more\nzero\n" + TEXT + "four by hand\n"


def test_a_file_that_was_removed_by_hand_after_live_edits_stays_away(two: Two) -> None:
    first, second = two
    write(first, lambda code: code.insert("f.txt", 0, "zero\n"))
    by_hand(first, {"f.txt": None})
    play(second, 61)
    assert "f.txt" not in merge(two)


def test_live_edits_of_a_text_go_on_top_of_and_beside_a_change_by_hand(two: Two) -> None:
    first, second = two
    by_hand(first, {"f.txt": TEXT.encode() + b"four by hand\n"})
    write(first, lambda code: code.insert("f.txt", 0, "zero\n"))
    write(second, lambda code: code.insert("f.txt", 4, "one and a half\n"))
    assert merge(two)["f.txt"] == b"zero\none\none and a half\ntwo\nthree\nfour by hand\n"


def test_the_last_of_several_changes_by_hand_stands(two: Two) -> None:
    first, second = two
    for number in range(3):
        by_hand(first, {"f.txt": b"%d\n" % number})
        write(first, lambda code: code.create(f"{len(code.paths())}.txt", ""))
    play(second, 61)
    assert merge(two)["f.txt"] == b"2\n"


def hand_and_hand(first: Path, second: Path) -> None:
    by_hand(first, {"x.txt": b"1\n"})
    by_hand(second, {"x.txt": b"2\n"})


def before_and_after(first: Path, second: Path) -> None:
    write(first, lambda code: code.create("x.txt", "live\n"))
    by_hand(first, {"x.txt": b"by hand\n"})
    write(first, lambda code: code.insert("x.txt", 0, "again "))
    play(second, 61)


def hand_and_notes(first: Path, second: Path) -> None:
    by_hand(first, {"song.mid": files_of(first)["song.mid"].replace(b"\x3c", b"\x3b")})
    play(second, 61)


@pytest.mark.parametrize(
    ("diverge", "path"),
    [(hand_and_hand, "x.txt"), (before_and_after, "x.txt"), (hand_and_notes, "song.mid")],
)
@pytest.mark.parametrize("with_what", ["ops", "another tool"])
def test_what_cannot_be_told_apart_is_refused_until_both_sides_made_it_the_same(
    two: Two, diverge: Callable[[Path, Path], None], path: str, with_what: str
) -> None:
    first, second = two
    diverge(first, second)
    heads = [Repository.open(str(root)).dag.head("main") for root in two]
    for own, other in (two, two[::-1]):
        with pytest.raises(ConflictError, match=f"changed {path}.*the same on both sides"):
            pull_from(own, other)
    assert [Repository.open(str(root)).dag.head("main") for root in two] == heads
    content = b"agreed\n" if path == "x.txt" else files_of(second)[path]
    for root in two:
        if files_of(root).get(path) == content:
            continue
        if with_what == "another tool" or path == "song.mid":
            by_hand(root, {path: content})
        else:
            write(root, lambda code: code.write(path, content))
    assert merge(two)[path] == content


def test_a_file_where_the_other_side_has_a_directory_is_refused(two: Two) -> None:
    first, second = two
    by_hand(first, {"a": b""})
    by_hand(second, {"a/b": b""})
    with pytest.raises(ConflictError, match="the file a, the other a/b"):
        pull_from(first, second)
