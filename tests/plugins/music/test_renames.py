"""What a rename among edits of notes does, and what it does not cost."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.errors import DomainError
from muse.plugins.music.identified_score import IdentifiedScore
from muse.plugins.music.midi_file import MidiScore, Note, Track, write_midi
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_file,
    insert_note,
    mutate_note,
    rename_file,
    replace_file,
)
from muse.plugins.music.plugin import MusicPlugin
from muse.plugins.music.tree import RULES, MusicTree
from tests.plugins.music.test_music import Files, trees
from tests.samples.midi_samples import applied, midi_files, no_store

PATHS = ("a.mid", "b.mid", "c.mid")
SONG = write_midi(MidiScore(tracks=(Track(notes=tuple(Note(60 + n, 64, 9 * n, 9) for n in range(8))),)))


class WritingTree(MusicTree):
    """A tree that writes a file whenever it is renamed, and reads it again, as earlier builds did."""

    def _rename(self, source: str, target: str) -> None:
        self._flush(source)
        super()._rename(source, target)
        self._forget(target)


def some_ops(tree: MusicTree, rng: random.Random, contents: Sequence[bytes]) -> Iterator[Any]:
    """Yield ops on a tree to which each is applied before the next one."""
    for number in range(rng.randrange(2, 16)):
        path, other = rng.sample(PATHS, 2)
        try:
            notes = tree.score(path).notes
        except DomainError:
            notes = {}
        name = rng.choice([*notes, "new"])
        note = Note(rng.randrange(60, 63), rng.randrange(1, 9), rng.randrange(9), rng.randrange(9))
        content = rng.choice(contents)
        kind = rng.choice(["insert"] * 2 + ["change"] * 3 + ["delete"] + ["rename"] * 4 + ["file"])
        if kind == "insert":
            yield insert_note(path, f"n{number}", note, track=rng.randrange(3))
        elif kind == "change":
            changes = rng.choice(({"velocity": 5}, {"start_tick": 3}, {"pitch": 61}, {"duration_ticks": 0}))
            yield mutate_note(path, name, note, to_track=rng.choice((None, 0, 1, 2)), **changes)
        elif kind == "delete":
            yield delete_note(path, name, note)
        elif kind == "rename":
            yield {**rename_file(path, other), "expected": rng.choice((None, {}))}
        else:
            yield rng.choice(
                (insert_file(path, content), replace_file(path, b"", content), delete_file(path, b""))
            )


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=200, deadline=None)
@given(trees, st.lists(midi_files, max_size=2), st.randoms(use_true_random=False))
def test_a_file_that_is_not_written_when_it_is_renamed_is_the_same_to_the_byte(
    rule: int, files: Files, contents: list[bytes], rng: random.Random
) -> None:
    carrying = MusicTree(files, no_store, rule=rule)
    writing = WritingTree(files, no_store, rule=rule)
    for op in some_ops(carrying, rng, [SONG, b"not music", *contents]):
        assert applied(carrying, op) == applied(writing, op)
        assert carrying.ignored == writing.ignored
        if rng.random() < 0.2:
            assert carrying.changes() == writing.changes()
    assert carrying.changes() == writing.changes()


def test_edits_and_renames_write_the_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = IdentifiedScore.write

    def counted(score: IdentifiedScore) -> tuple[bytes, bytes | None]:
        data, page = write(score)
        written.append(data)
        return data, page

    monkeypatch.setattr(IdentifiedScore, "write", counted)
    ops: list[Any] = []
    for number in range(20):
        path, other = PATHS[number % 2], PATHS[1 - number % 2]
        ops += [insert_note(path, f"n{number}", Note(60, 64, 9 * number, 9)), rename_file(path, other)]
    assert MusicPlugin().apply({"a.mid": SONG}, ops, no_store).ignored == []
    assert len(written) == 1
