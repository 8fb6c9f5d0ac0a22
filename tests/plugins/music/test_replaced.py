"""What new content of a file among edits of its notes does, and what it does not cost."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.errors import DomainError
from muse.plugins.music import found_notes, identified_score
from muse.plugins.music.first_rule import identify_first
from muse.plugins.music.found_notes import KeptFindings, find_notes
from muse.plugins.music.identified_score import (
    IdentifiedScore,
    identify,
    identify_second,
    is_page_of,
    renamed_page,
)
from muse.plugins.music.kept_file import KeptFile
from muse.plugins.music.midi_file import MidiScore, Note, Track, write_midi
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_note,
    mutate_note,
    rename_file,
    replace_file,
)
from muse.plugins.music.plugin import MusicPlugin
from muse.plugins.music.tree import RULES, MusicTree, Score, content_id_of, content_of, names_of_op
from muse.plugins.op_fields import names_path
from tests.samples.midi_samples import applied, midi_files, no_store

PATHS = ("a.mid", "b.mid")
FIRST = write_midi(MidiScore(tracks=(Track(notes=tuple(Note(60 + n, 64, 9 * n, 9) for n in range(8))),)))
TWINS = write_midi(MidiScore(tracks=(Track(notes=(Note(60, 64, 0, 9),) * 5 + (Note(61, 64, 3, 9),) * 2),)))
NEW = write_midi(MidiScore(tracks=(Track(notes=(Note(72, 1, 0, 1),)),)))
OLD_WAY: dict[int, Callable[[bytes, bytes | None], Score]] = {
    1: identify_first,
    2: identify_second,
    3: identify,
}


@dataclass(slots=True)
class WritingTree(MusicTree):
    """A tree that writes a file whenever it gets new content, and reads all anew, as earlier builds did."""

    def _write_file(self, kind: str, path: str, op: Mapping[str, Any]) -> None:
        if kind == "insert":
            self._require_room(path)
        else:
            self._require(path)
            self._check_expected(path, op)
        content = content_of(op, content_id_of(op), self.fetch)
        names = names_of_op(op) if self.rule > 1 else None
        self._flush(path)
        self._forget(path)
        self.changed[path] = content
        if names is not None and is_page_of(content, names):
            self.changed[names_path(path)] = names

    def score(self, path: str) -> Score:
        content = self.content(path)
        if path in self.scores or content is None:
            return MusicTree.score(self, path)
        try:
            self.scores[path] = OLD_WAY[self.rule](content, self.content(names_path(path)))
        except DomainError as error:
            raise DomainError(f"{path}: {error}", path=path) from error
        return self.scores[path]


def page_for(rng: random.Random, content: bytes) -> str | None:
    """Make a page of names for some contents, mostly none."""
    if rng.random() < 0.8:
        return None
    try:
        score = identify(content, None)
    except DomainError:
        return "{}"
    if rng.random() < 0.5:
        names = sorted(score.notes)
        others = rng.sample(names, len(names))
        return renamed_page(content, dict(zip(names, others, strict=True))).decode()
    return score.page().decode()


def some_ops(tree: MusicTree, rng: random.Random, contents: Sequence[bytes]) -> Iterator[Any]:
    """Yield ops on a tree to which each is applied before the next one."""
    for number in range(rng.randrange(2, 24)):
        path, other = PATHS if rng.random() < 0.8 else PATHS[::-1]
        try:
            notes = tree.score(path).notes if rng.random() < 0.9 else {}
        except DomainError:
            notes = {}
        name = rng.choice([*sorted(notes), "new"])
        kind = rng.choice(["insert"] * 2 + ["change"] * 2 + ["delete", "back", "rename"] + ["content"] * 6)
        note = Note(rng.randrange(60, 62), 64, rng.choice((0, 0, 3, 9)), 9)
        if kind == "insert":
            yield insert_note(path, f"n{number}", note, track=rng.randrange(2))
        elif kind == "change":
            changes = rng.choice(({"velocity": 5}, {"start_tick": 3}, {"pitch": 61}, {"duration_ticks": 0}))
            yield mutate_note(path, name, note, to_track=rng.choice((None, None, 0, 1)), **changes)
        elif kind == "delete":
            yield delete_note(path, name, note)
        elif kind == "back" and name in notes:
            track, was = notes[name]
            yield delete_note(path, name, was)
            yield insert_note(path, rng.choice((name, "z")), was, track=track)
        elif kind == "rename":
            yield rename_file(path, other)
        elif rng.random() < 0.1:
            yield delete_file(path, b"")
        else:
            content = rng.choice(contents[:3] if rng.random() < 0.8 else contents)
            there = {"op": "replace", "new_content_id": object_id(content), "old_content_id": ""}
            op = there if tree.exists(path) else {"op": "insert", "content_id": object_id(content)}
            names = page_for(rng, content)
            expected = rng.choice((None, None, {"content_id": object_id(tree.data(path) or b"")}))
            yield {**op, "address": path, "position": None, "names": names, "expected": expected}


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(PATHS), midi_files | st.sampled_from((FIRST, TWINS))),
    st.lists(midi_files, max_size=1),
    st.randoms(use_true_random=False),
)
def test_a_file_that_is_not_written_when_it_gets_new_content_is_the_same_to_the_byte(
    rule: int, files: dict[str, bytes], contents: list[bytes], rng: random.Random
) -> None:
    contents = [TWINS, TWINS, FIRST, b"not music", *contents, *files.values()]
    store = {object_id(content): content for content in contents}
    keeping = MusicTree(files, store.__getitem__, rule=rule)
    writing = WritingTree(files, store.__getitem__, rule=rule)
    for op in some_ops(keeping, rng, contents):
        assert applied(keeping, op) == applied(writing, op)
        assert keeping.ignored == writing.ignored
        for path in PATHS:
            assert keeping.exists(names_path(path)) == writing.exists(names_path(path))
        if rng.random() < 0.2:
            assert keeping.changes() == writing.changes()
    assert keeping.changes() == writing.changes()


@pytest.mark.parametrize("seed", range(40))
def test_notes_that_sound_the_same_get_their_names_again_in_the_same_order(seed: int) -> None:
    rng = random.Random(seed)
    keeping, writing = (
        MusicTree({"a.mid": TWINS}, no_store),
        WritingTree({"a.mid": TWINS}, no_store),
    )
    for number in range(12):
        for step in range(rng.randrange(1, 5)):
            notes = keeping.score("a.mid").notes
            name, note = rng.choice(sorted(notes)), Note(60 + rng.randrange(2), 64, rng.choice((0, 3)), 9)
            new = insert_note("a.mid", f"{rng.choice('amnz')}{number}-{step}", note)
            old = rng.choice((delete_note("a.mid", name, note), mutate_note("a.mid", name, note, pitch=60)))
            op = rng.choice((new, old))
            for tree in (keeping, writing):
                tree.apply(0, op)
        for tree in (keeping, writing):
            tree.apply(0, replace_file("a.mid", b"", TWINS))
        if rng.random() < 0.5:
            assert keeping.score("a.mid").notes == writing.score("a.mid").notes
    assert keeping.changes() == writing.changes()


def edits(kind: str, number: int) -> list[Any]:
    note = Note(60, 80, 9 * number, 5)
    if kind == "refused":
        return [delete_note("s.mid", "nobody", note)]
    return [insert_note("s.mid", f"x{number}", note)]


@pytest.mark.parametrize("kind", ["taken", "refused"])
@pytest.mark.parametrize("count", [1, 2])
def test_contents_that_come_again_among_edits_are_read_once_and_written_once(
    kind: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(home: Any, name: str) -> None:
        inner = getattr(home, name)

        def call(*args: Any, **named: Any) -> Any:
            calls[name] += 1
            return inner(*args, **named)

        monkeypatch.setattr(home, name, call)

    counted(found_notes, "decode")
    counted(identified_score, "decode")
    counted(IdentifiedScore, "write")
    counted(IdentifiedScore, "data")
    counted(KeptFile, "__init__")
    contents = [FIRST, TWINS][:count]
    store = {object_id(content): content for content in contents}
    ops: list[Any] = []
    for number in range(40):
        content_id = object_id(contents[number % count])
        ops += edits(kind, number)
        ops.append(
            {
                "op": "replace",
                "address": "s.mid",
                "position": None,
                "new_content_id": content_id,
                "old_content_id": "",
            }
        )
    MusicPlugin().apply({"s.mid": FIRST}, ops, store.__getitem__)
    assert calls["decode"] <= count
    assert calls["write"] <= 1
    assert calls["data"] <= 1
    assert calls["__init__"] <= count


def test_names_are_given_again_where_notes_were_edited_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[int] = []
    names_of = found_notes.names_of

    def counted(placed: Any, old: Any) -> Any:
        named.append(len(placed))
        return names_of(placed, old)

    monkeypatch.setattr(found_notes, "names_of", counted)
    replace = {
        "op": "replace",
        "address": "s.mid",
        "position": None,
        "new_content_id": object_id(FIRST),
        "old_content_id": "",
    }
    ops = [op for number in range(40) for op in (*edits("taken", number), replace)]
    assert MusicPlugin().apply({"s.mid": FIRST}, ops, lambda _: FIRST).ignored == []
    assert len(named) <= 2


def test_contents_that_were_read_long_ago_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_notes, "_KEPT_BYTES", len(FIRST) + len(TWINS))
    findings = KeptFindings()
    first, twins = findings.find(FIRST), findings.find(TWINS)
    assert twins.placed == find_notes(TWINS).placed
    assert findings.find(FIRST) is first
    findings.find(NEW)
    assert findings.find(FIRST) is first
    assert findings.find(TWINS) is not twins
    for _ in range(2):
        with pytest.raises(DomainError):
            findings.find(b"not music")
