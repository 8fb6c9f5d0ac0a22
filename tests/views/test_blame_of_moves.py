"""Every line and note keeps its maker, whatever happens to the name of its file."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muse.history.repository import Repository
from muse.plugins.code.plugin import CodePlugin
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_note,
    move_note,
    mutate_note,
    rename_file,
)
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.blame import blame_file
from tests.samples.code_samples import commit_files

NOW = "2026-01-02T03:04:05+00:00"
ACTORS = ("ada", "bob", "eve")


def makers(repository: Repository, path: str) -> dict[str, str]:
    """Return the maker of each line of a text."""
    blamed = blame_file(repository, path, repository.dag.resolve("HEAD"))
    assert blamed.faults == []
    return {part.summary: part.made.actor_id for part in blamed.parts}


@dataclass
class Desk:
    """A session of texts, and the replicas of its actors: one sees the others' work once it refreshes."""

    live: LiveSession
    replicas: dict[str, CodeReplica]

    def __getitem__(self, actor_id: str) -> CodeReplica:
        return self.replicas[actor_id]

    def meet(self) -> None:
        for replica in self.replicas.values():
            replica.refresh()

    def commit(self) -> None:
        self.live.commit("Some", author="Conductor")
        self.meet()

    def makers(self, path: str) -> dict[str, str]:
        return makers(self.live.repository, path)


@contextmanager
def desk_at(root: str) -> Iterator[Desk]:
    Repository.init(root, now=NOW, domain="code")
    with LiveSession(root, "s") as live:
        yield Desk(live, {actor_id: CodeReplica(live, live.log, actor_id) for actor_id in ACTORS})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_at(str(tmp_path)) as desk:
        desk["ada"].create("x.py", "one\ntwo\n")
        desk.commit()
        yield desk


Step = Callable[[Desk], object]
MOVE: Step = lambda desk: desk["eve"].move("x.py", "y.py")  # noqa: E731
COMMIT: Step = Desk.commit
EDIT: Step = lambda desk: desk["bob"].insert(desk["bob"].paths()[0], 4, "bob's\n")  # noqa: E731
STEPS = [
    (MOVE,),
    (MOVE, EDIT),
    (EDIT, MOVE),
    (MOVE, COMMIT, EDIT),
    (EDIT, COMMIT, MOVE),
    (MOVE, Desk.meet, EDIT),
    (EDIT, Desk.meet, MOVE),
]


@pytest.mark.parametrize("steps", STEPS)
def test_a_move_takes_the_makers_with_it(desk: Desk, steps: tuple[Step, ...]) -> None:
    for step in steps:
        step(desk)
    desk.commit()
    expected = {"one": "ada", "two": "ada"} | ({"bob's": "bob"} if EDIT in steps else {})
    assert desk.makers("y.py") == expected


def test_the_file_that_takes_a_name_over_keeps_its_makers(desk: Desk) -> None:
    """Two files of one name: when one is removed, the other gets the name though no op says so."""
    desk["ada"].create("f.txt", "ada's\n")
    desk["bob"].create("f.txt", "bob's\n")
    desk.commit()
    desk["ada"].remove("f.txt")
    desk.commit()
    [path] = [path for path in desk["ada"].paths() if path.startswith("f")]
    kept = {"ada's": "ada"} if "ada" in desk["ada"].read(path) else {"bob's": "bob"}
    assert desk.makers(path) == kept


def test_a_removed_file_that_a_late_edit_brings_back_keeps_its_makers(desk: Desk) -> None:
    """Bob had not seen the removal, which is in history when his edit arrives."""
    with LiveSession(desk.live.repository.root, "s") as other:
        late = CodeReplica(other, other.log, "bob")
        desk["ada"].remove("x.py")
        desk.commit()
        assert desk["ada"].paths() == []
        late.insert("x.py", 0, "late\n")
    desk.commit()
    assert desk.makers("x.py") == {"late": "bob", "one": "ada", "two": "ada"}


def test_a_name_that_comes_back_has_the_makers_of_its_new_file(desk: Desk) -> None:
    desk["bob"].remove("x.py")
    desk.commit()
    desk["eve"].create("x.py", "one\nnew\n")
    desk.commit()
    assert desk.makers("x.py") == {"one": "eve", "new": "eve"}


def test_an_edit_that_waited_for_its_file_is_of_its_author(desk: Desk) -> None:
    """It was committed before the op that makes its file had arrived, and takes effect with that one."""
    desk["ada"].create("late.py", "base\n")
    desk.meet()
    desk["bob"].insert("late.py", 0, "bob's\n")
    create, edit = list(desk.live.log.entries())[-2:]
    plugin, fetch = CodePlugin(), desk.live.repository.objects.get
    waited = plugin.merge({}, [edit], fetch, {})
    state = {name: data for name, data in waited.state.items() if data is not None}
    found = plugin.blame_entries({}, [create], fetch, state, "late.py")
    assert [(origin.summary, origin.made) for origin in found] == [("bob's", -1), ("base", 0)]
    assert [entry["actor_id"] for entry in plugin.waiting(state)] == ["bob"]


def test_a_line_put_in_by_hand_does_not_shift_the_makers_of_those_below(desk: Desk) -> None:
    repository = desk.live.repository
    commit_files(repository, {"x.py": b"zero\none\ntwo\n"}, author="Hand")
    assert makers(repository, "x.py") == {"zero": "Hand", "one": "ada", "two": "ada"}


def test_a_file_renamed_by_hand_keeps_its_makers(desk: Desk) -> None:
    repository = desk.live.repository
    commit_files(repository, {"z.py": b"one\ntwo\n"}, author="Hand")
    assert makers(repository, "z.py") == {"one": "ada", "two": "ada"}


NAMES = ("a", "b", "c")
text_steps = st.lists(
    st.tuples(
        st.sampled_from(ACTORS),
        st.sampled_from(["create", "move", "remove", "first", "last", "cut", "meet", "refresh", "commit"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
    ),
    min_size=4,
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(text_steps)
def test_each_line_is_of_the_actor_that_wrote_it(steps: list[tuple[str, str, str, str]]) -> None:
    """The model: each line is written once, and says by which actor. Actors see the others' work late."""
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as root, desk_at(root) as desk:
        for actor_id, kind, name, other in steps:
            replica = desk[actor_id]
            if kind == "commit":
                desk.commit()
            elif kind == "meet":
                desk.meet()
            elif kind == "refresh":
                replica.refresh()
            else:
                change_text(replica, kind, name, other, f"{actor_id} {next(numbers)}\n")
        desk["ada"].create("end", "ada end\n")
        desk.commit()
        for path in filter(desk["ada"].read, desk["ada"].paths()):  # an empty one has no lines to blame
            for line, maker in desk.makers(path).items():
                assert maker == line.partition(" ")[0], (path, line)


def change_text(replica: CodeReplica, kind: str, name: str, other: str, line: str) -> None:
    """Do what is asked for where it can be done; an edit leaves whole lines."""
    is_there = name in replica.paths()
    if kind == "create" and not is_there:
        replica.create(name, line)
    elif kind == "move" and is_there and other not in replica.paths():
        replica.move(name, other)
    elif kind == "remove" and is_there:
        replica.remove(name)
    elif kind in {"first", "last"} and is_there:
        replica.insert(name, 0 if kind == "first" else len(replica.read(name)), line)
    elif kind == "cut" and is_there and replica.read(name):
        text = str(replica.read(name))
        replica.delete(name, 0, text.index("\n") + 1)


music_steps = st.lists(
    st.tuples(
        st.sampled_from(ACTORS),
        st.sampled_from(["insert", "insert", "shift", "louder", "delete", "rename", "drop", "commit"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.integers(0, 3),
    ),
    min_size=4,
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(music_steps)
def test_each_note_is_of_the_actor_that_made_it_and_of_the_one_that_changed_it_last(
    steps: list[tuple[str, str, str, str, int]],
) -> None:
    """The model: path -> note -> the note, its maker and its last changer, op by op."""
    numbers = itertools.count(1)
    model: dict[str, dict[str, tuple[Note, str, str]]] = {}
    with tempfile.TemporaryDirectory() as root:
        repository, _ = Repository.init(root, now=NOW, domain="music")
        with LiveSession(root, "s") as live:
            for actor_id, kind, name, other, which in [*steps, ("ada", "commit", "a", "b", 0)]:
                path, target, number = f"{name}.mid", f"{other}.mid", next(numbers)
                notes = model.get(path, {})
                chosen = sorted(notes)[which % len(notes)] if notes else ""
                if kind == "commit":
                    live.commit("Some", author="Conductor")
                elif kind == "insert":
                    note = Note(60, 64, 480 * number, 240)
                    live.edit(actor_id, "music", insert_note(path, f"n{number}", note))
                    model.setdefault(path, {})[f"n{number}"] = (note, actor_id, actor_id)
                elif kind == "rename" and path in model and target not in model:
                    live.edit(actor_id, "music", rename_file(path, target))
                    model[target] = model.pop(path)
                elif kind == "drop" and path in model:
                    live.edit(actor_id, "music", delete_file(path, b""))
                    del model[path]
                elif chosen:
                    note, maker, _ = notes[chosen]
                    if kind == "delete":
                        live.edit(actor_id, "music", delete_note(path, chosen, note))
                        del notes[chosen]
                    elif kind == "shift":
                        moved = replace(note, start_tick=480 * number)
                        live.edit(actor_id, "music", move_note(path, chosen, note, 480 * number))
                        notes[chosen] = (moved, maker, actor_id)
                    elif kind == "louder":
                        loud = replace(note, velocity=note.velocity % 100 + 1)
                        op = mutate_note(path, chosen, note, velocity=loud.velocity)
                        live.edit(actor_id, "music", op)
                        notes[chosen] = (loud, maker, actor_id)
        for path, notes in model.items():
            if not notes:
                continue
            blamed = blame_file(repository, path, repository.dag.resolve("HEAD"))
            found = {
                part.address.removeprefix("note/"): (part.made.actor_id, part.changed.actor_id)
                for part in blamed.parts
            }
            assert found == {name: (maker, changer) for name, (_, maker, changer) in notes.items()}
