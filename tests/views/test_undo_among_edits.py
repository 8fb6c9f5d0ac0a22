"""Undoing amid the typing of others, over commits: it brings back or takes only what is of its ops."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.checks.verify import verify_repository
from muse.core.entry import OpEntry
from muse.history.repository import Repository, TreeFiles
from muse.plugins.op_fields import undone_by
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import clone
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.undo import by_actor, by_intent, by_op, undo

PATH = "a.txt"
BASE = "ab\ncd\nef\n"


@dataclass
class Song:
    """A session of one text, and what became of each of its characters, none of which is there twice.

    `texts` are those before each entry. `bringers` and `deleters` are ops by their numbers, `added` is what
    these wrote, and those in `joining` took line ends away.
    """

    session: LiveSession
    texts: list[str] = field(default_factory=list)
    bringers: dict[str, int] = field(default_factory=dict)
    deleters: dict[str, list[int]] = field(default_factory=dict)
    added: dict[int, str] = field(default_factory=dict)
    joining: list[int] = field(default_factory=list)
    undoings: list[str] = field(default_factory=list)
    fresh: int = 0x4E00

    @property
    def text(self) -> str:
        return str(CodeReplica(self.session, self.session.log, "reader").read(PATH))

    @property
    def entries(self) -> list[OpEntry]:
        return list(self.session.log.entries(order="total"))

    def edit(self, actor: str, start: float, end: float, shape: str) -> None:
        """Let an actor put characters that nobody wrote before, `x` each, in the place of some."""
        before = self.text
        first, last = sorted((round(start * len(before)), round(end * len(before))))
        added = ""
        for sign in shape:
            added += chr(self.fresh) if sign == "x" else sign
            self.fresh += 1
        removed = before[first:last] if not shape or last - first < 4 else ""
        if not added and not removed:
            return
        CodeReplica(self.session, self.session.log, actor).replace(PATH, first, len(removed), added)
        number = len(self.texts)
        self.texts.append(before)
        self.added[number] = added
        self.joining += [number] if "\n" in removed else []
        self.bringers |= dict.fromkeys(letters(added), number)
        for letter in letters(removed):
            self.deleters.setdefault(letter, []).append(number)

    def undo(self, is_wanted: Any) -> str:
        """Take ops back, look that nothing of others came or went, and return the intent of it."""
        before, entries = self.text, self.entries
        counted = counting(entries)
        outcome = undo(self.session, is_wanted, "eve")
        self.texts += [before] * len(outcome.entries)
        wanted = [number for number, entry in enumerate(entries) if is_wanted(entry)]
        self._look(before, wanted, counted, counting(self.entries))
        return outcome.intent_id if outcome.entries else ""

    def _look(self, before: str, wanted: list[int], counted: list[bool], counts: list[bool]) -> None:
        after = self.text
        assert len(letters(after)) == len(set(letters(after)))
        assert among(before, after) == among(after, before)
        there = set(letters(after))
        for letter, bringer in self.bringers.items():
            deleters = self.deleters.get(letter, [])
            if counts[bringer] and not any(counts[number] for number in deleters):
                is_line_gone = any(
                    counts[number] for number in self.joining if number > min(deleters, default=0)
                )
                is_overtaken = any(self._is_replaced_again(number, counts) for number in deleters)
                is_held = any(counts[number] for number in self.added if number > min(deleters, default=0))
                assert letter in there or is_line_gone or is_overtaken or is_held
                in_lines = any("\n" in self.added[number] for number in deleters)
                assert letter not in there or in_lines or not is_overtaken
            elif letter in there and letter not in before:
                was_there = any(letter in self.texts[number] for number in wanted)
                assert was_there or not self._is_edited_since(letter)
            elif letter in before and letter not in there:
                ops = [bringer, *deleters]
                assert not counted[bringer] or any(counted[op] != counts[op] for op in ops)

    def _is_replaced_again(self, number: int, counts: list[bool]) -> bool:
        """Tell whether an op wrote something of which all was deleted, or replaced in turn by such an op."""
        added = letters(self.added[number])
        return bool(added) and all(
            any(counts[op] or self._is_replaced_again(op, counts) for op in self.deleters.get(letter, []))
            for letter in added
        )

    def _is_edited_since(self, letter: str) -> bool:
        """Tell whether somebody typed since a letter was there last."""
        last = max(number for number, text in enumerate(self.texts) if letter in text)
        return any(not undone_by(entry["domain_op"]) for entry in self.entries[last + 1 :])


def letters(text: str) -> list[str]:
    return [letter for letter in text if letter != "\n"]


def among(text: str, other: str) -> list[str]:
    return [letter for letter in letters(text) if letter in other]


def counting(entries: Sequence[OpEntry]) -> list[bool]:
    """Tell of each op whether it counts: none that counts takes it back."""
    counts, undone = list[bool](), set[str]()
    for entry in reversed(entries):
        counts.insert(0, entry["op_id"] not in undone)
        if counts[0]:
            undone.update(undone_by(entry["domain_op"]))
    return counts


steps = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.sampled_from([*["edit"] * 6, *["undo"] * 2, "undo op", *["redo"] * 3, "commit"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.sampled_from(["x\n", "x\n", "xx", "x", "x\nx\n", "\n", "", ""]),
    ),
    min_size=3,
    max_size=9,
)


def played(root: Path, steps: Sequence[tuple[str, str, float, float, str]]) -> None:
    """Let actors type, undo and commit; look at each undoing, and at its undoing, at once."""
    with LiveSession(root, "jam") as session:
        CodeReplica(session, session.log, "base").create(PATH, BASE)
        song = Song(session, texts=[""], bringers=dict.fromkeys(letters(BASE), 0))
        for actor, kind, start, end, shape in steps:
            if kind == "edit":
                song.edit(actor, start, end, shape)
            elif kind == "commit":
                session.commit("So far")
            else:
                undone(song, kind, actor, start)
        session.commit("All")
        repository = session.repository
        committed = TreeFiles(repository, repository.read_tree(repository.dag.head("main")))[PATH]
        assert committed.decode() == song.text
    copy = str(root / "copy")
    clone(LocalPeer(str(root)), copy)
    with LiveSession(copy, "jam") as there:
        assert CodeReplica(there, there.log, "reader").read(PATH) == committed.decode()
    assert verify_repository(copy, replay=True).is_sound


def undone(song: Song, kind: str, actor: str, choice: float) -> None:
    own = [entry for entry in song.entries if entry["actor_id"] == actor]
    if kind == "redo":
        intents = song.undoings
        wanted: Any = by_intent(intents[round(choice * (len(intents) - 1))]) if intents else None
    elif kind == "undo":
        wanted = by_actor(actor) if own else None
    else:
        wanted = by_op([own[round(choice * (len(own) - 1))]["op_id"]]) if own else None
    if wanted is None:
        return
    before = song.text
    intent = song.undo(wanted)
    if not intent:
        return
    after = song.text
    again = song.undo(by_intent(intent))
    assert song.text == before
    last = song.undo(by_intent(again))
    assert song.text == after
    song.undoings += [intent, again, last]


@settings(max_examples=40)
@given(steps)
@example(  # what B typed where A's text had been does not bring that back with it
    [("A", "edit", 1, 1, "x"), ("A", "undo", 0, 0, ""), ("B", "edit", 1, 1, "x\n"), ("B", "undo", 0, 0, "")]
)
@example(  # what had come back when others wrote is not held by what they wrote then
    [
        ("B", "edit", 0.67, 0.36, "x"),
        ("B", "undo", 0, 0, ""),
        ("B", "edit", 0.6, 0.78, "x\nx\n"),
        ("B", "undo", 0, 0, ""),
    ]
)
@example(  # nor does it keep it when it is taken back again
    [
        ("A", "edit", 0.3, 0.3, "x"),
        ("A", "undo", 0, 0, ""),
        ("B", "edit", 0.3, 0.3, "\n"),
        ("A", "redo", 0, 0, ""),
    ]
)
def test_an_undoing_amid_typing_takes_and_brings_nothing_of_others_and_can_be_undone(
    steps: list[tuple[str, str, float, float, str]],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        Repository.init(root)
        played(Path(root), steps)
