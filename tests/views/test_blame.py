"""Who made each note, and who changed it last."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muse.core.line import encode_line
from muse.errors import DomainError, NotFoundError
from muse.history.repository import Repository, TreeFiles
from muse.plugins.music.midi_file import MidiScore, Note, Track, write_midi
from muse.plugins.music.notes import (
    delete_note,
    insert_file,
    insert_note,
    move_note,
    mutate_note,
    rename_file,
    replace_file,
)
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session
from muse.views.blame import BlamedPart, blame_file, blame_newest
from muse.workdir.workdir import Workdir
from tests.samples.code_samples import commit_files
from tests.samples.muse_command import make_muse

NOW = "2026-01-02T03:04:05+00:00"
Tamper = Callable[[Path, str, str], None]
C4, D4 = Note(60, 64, 0, 480), Note(62, 64, 480, 480)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path), now=NOW)
    return tmp_path


def commit(root: Path, *edits: tuple[str, Any], session_id: str = "jam") -> tuple[str, list[str]]:
    """Commit edits, each an actor and an op; return the commit and the op ids."""
    with LiveSession(root, session_id) as session:
        entries = [session.edit(actor, "music", op, intent_id=f"by-{actor}") for actor, op in edits]
        commit_id = session.commit("Some", author="Conductor").commit_id
    assert commit_id is not None
    return commit_id, [entry["op_id"] for entry in entries]


def blame(root: Path, path: str = "a.mid") -> dict[str, BlamedPart]:
    repository = Repository.open(str(root))
    blamed = blame_file(repository, path, repository.dag.resolve("HEAD"))
    assert blamed.faults == []
    return {part.address.removeprefix("note/"): part for part in blamed.parts}


def actors(root: Path, path: str = "a.mid") -> dict[str, tuple[str, str]]:
    """Who made and who last changed each note."""
    return {name: (part.made.actor_id, part.changed.actor_id) for name, part in blame(root, path).items()}


def test_each_note_has_its_maker_and_its_last_changer_with_ops_intents_and_commits(root: Path) -> None:
    first, [made] = commit(root, ("ada", insert_note("a.mid", "x", C4)))
    second, [_, changed] = commit(
        root,
        ("bob", mutate_note("a.mid", "x", C4, velocity=1)),
        ("eve", move_note("a.mid", "x", C4, 9)),
        session_id="other",
    )
    part = blame(root)["x"]
    assert (part.made.actor_id, part.made.op_id, part.made.intent_id) == ("ada", made, "by-ada")
    assert (part.made.commit_id, part.made.session_id) == (first, "jam")
    assert (part.changed.actor_id, part.changed.op_id, part.changed.commit_id) == ("eve", changed, second)
    assert part.summary == "C4 v1 at 9 for 480 on channel 0, track 0"


def test_notes_come_in_the_order_they_sound_and_one_that_nobody_changed_is_its_makers(root: Path) -> None:
    commit(root, ("bob", insert_note("a.mid", "later", D4)), ("ada", insert_note("a.mid", "x", C4)))
    assert actors(root) == {"x": ("ada", "ada"), "later": ("bob", "bob")}
    assert list(actors(root)) == ["x", "later"]


def test_a_note_deleted_and_put_in_anew_is_made_anew(root: Path) -> None:
    commit(root, ("ada", insert_note("a.mid", "x", C4)))
    commit(root, ("bob", delete_note("a.mid", "x", C4)), ("eve", insert_note("a.mid", "x", D4)))
    assert actors(root) == {"x": ("eve", "eve")}


def test_notes_that_came_with_a_whole_file_are_those_of_who_brought_it(root: Path) -> None:
    one, two = (write_midi(MidiScore(tracks=(Track(notes=notes),))) for notes in ((C4,), (C4, D4)))
    commit(root, ("ada", insert_file("a.mid", one)))
    assert list(actors(root).values()) == [("ada", "ada")]
    commit(root, ("bob", insert_note("b.mid", "z", C4)))
    commit(root, ("ada", mutate_note("a.mid", next(iter(actors(root))), C4, velocity=64)))
    commit(root, ("bob", replace_file("a.mid", one, two)))
    assert list(actors(root).values()) == [("ada", "ada"), ("bob", "bob")]


def test_blame_follows_a_file_through_its_renames(root: Path) -> None:
    commit(root, ("ada", insert_note("a.mid", "x", C4)))
    commit(root, ("bob", rename_file("a.mid", "b.mid")), ("bob", insert_note("a.mid", "own", C4)))
    commit(root, ("eve", move_note("b.mid", "x", C4, 7)), ("eve", rename_file("b.mid", "c.mid")))
    assert actors(root, "c.mid") == {"x": ("ada", "eve")}
    assert actors(root, "a.mid") == {"own": ("bob", "bob")}


def test_an_archived_session_is_read_where_it_is(root: Path) -> None:
    commit(root, ("ada", insert_note("a.mid", "x", C4)))
    before = blame(root)
    archive_session(root, "jam")
    assert blame(root) == before


def test_a_commit_without_a_log_is_its_author_s(root: Path) -> None:
    commit(root, ("ada", insert_note("a.mid", "x", C4)))
    repository = Repository.open(str(root))
    head = repository.dag.resolve("HEAD")
    by_hand = write_midi(MidiScore(tracks=(Track(notes=(C4, D4)),)))
    files = dict(TreeFiles(repository, repository.read_tree(head)))
    commit_files(repository, {**files, "a.mid": by_hand}, author="Hand")
    found = list(actors(root).values())
    assert found == [("ada", "ada"), ("Hand", "Hand")]
    assert list(blame(root).values())[1].made.op_id == ""


def test_a_lost_log_leaves_the_commit_to_name(root: Path) -> None:
    commit_id, _ = commit(root, ("ada", insert_note("a.mid", "x", C4)))
    (root / ".muse" / "op_log" / "jam" / "ops.jsonl").unlink()
    assert (blame(root)["x"].made.commit_id, blame(root)["x"].made.op_id) == (commit_id, "")


def change_actor(root: Path, old: str, new: str) -> None:
    """Forge the log: the same lines, whole and with a right crc, by another actor."""
    path = root / ".muse" / "op_log" / "jam" / "ops.jsonl"
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    for entry in entries:
        del entry["crc"]
        entry["actor_id"] = new if entry["actor_id"] == old else entry["actor_id"]
    path.write_bytes(b"".join(map(encode_line, entries)))


def cut_off(root: Path, _old: str, _new: str) -> None:
    path = root / ".muse" / "op_log" / "jam" / "ops.jsonl"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("tamper", [change_actor, cut_off])
def test_a_log_that_is_not_what_the_commit_seals_is_a_fault_and_not_believed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tamper: Tamper
) -> None:
    first, _ = commit(root, ("ada", insert_note("a.mid", "x", C4)), session_id="early")
    second, _ = commit(root, ("bob", insert_note("a.mid", "y", D4)), ("ada", move_note("a.mid", "x", C4, 9)))
    tamper(root, "bob", "eve")
    repository = Repository.open(str(root))
    blamed = blame_file(repository, "a.mid", second)
    made = {part.address: (part.made.actor_id, part.made.commit_id) for part in blamed.parts}
    assert made == {"note/x": ("ada", first), "note/y": ("Conductor", second)}
    [fault] = blamed.faults
    assert all(part in fault for part in ("ops.jsonl", second, "muse verify --replay"))
    ran = make_muse(monkeypatch, capsys, root)("blame", "a.mid")
    assert (ran.status, len(ran.out.splitlines()), ran.err) == (1, 2, f"muse: {fault}\n")


def test_a_file_that_is_not_there_or_of_no_domain_is_refused(root: Path) -> None:
    commit(root, ("ada", insert_file("a.txt", b"\0")))
    with pytest.raises(NotFoundError, match="has no file"):
        blame(root, "b.mid")
    with pytest.raises(DomainError, match="no domain here knows"):
        blame(root, "a.txt")


@pytest.mark.parametrize("is_committed", [False, True])
def test_notes_that_an_actor_put_under_a_name_of_another_kind_are_not_of_the_author_of_the_commit(
    root: Path, *, is_committed: bool
) -> None:
    (root / "s.mid").write_bytes(write_midi(MidiScore(1, 480, (Track((), (Note(60, 80, 0, 480),)),))))
    Workdir(Repository.open(str(root)), str(root), "ada").record()
    commit(root, session_id="ada")
    (root / "s.mid").rename(root / "s.mid.bak")
    Workdir(Repository.open(str(root)), str(root), "bob").record()
    repository = Repository.open(str(root))
    if is_committed:
        head, _ = commit(root, session_id="ada")
        (part,) = blame_file(repository, "s.mid.bak", head).parts
    else:
        (part,) = blame_newest(repository, "s.mid.bak", "ada").parts

    assert (part.made.actor_id, part.changed.actor_id) == ("bob", "bob")
