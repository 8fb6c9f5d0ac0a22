"""Finds the edits of one text that take ops back: which characters go, and which come again. Pure."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from muse.plugins.code.characters import Characters
from muse.plugins.code.deeds import BEFORE, Deed, FileDeeds
from muse.plugins.code.stretches import Marks
from muse.plugins.code.undo_lines import Standing, kept_lines
from muse.plugins.code.undo_lives import NEVER, Lives
from muse.plugins.code.update import Id, Insertion

_CHARACTERS = 8_192  # so many change in one op at most,
_UNDOES = 1_000  # and so many does it take back: its line is one that a log takes


class KeptWork(NamedTuple):
    """What stays although `op_id` is undone, and the op of another that it is owed to, if it is known."""

    op_id: str
    reason: str
    because: Deed | None


class _KeptText(NamedTuple):
    """What is kept in lines in which others wrote, each with their characters; and the whole text with it."""

    characters: dict[Id, list[Id]]
    text: str


@dataclass(slots=True)
class TextHunk:
    """A change at one place of a text: what goes, what comes, and which ops it takes back.

    `position` counts in the text with all hunks before it. `restored` are the ids whose characters come
    again.
    """

    position: int
    removed: str = ""
    deletes: list[Id] = field(default_factory=list)
    insertions: list[Insertion] = field(default_factory=list)
    restored: list[Id] = field(default_factory=list)
    undoes: dict[str, None] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The characters that it brings."""
        return "".join(insertion.text for insertion in self.insertions)

    @property
    def is_full(self) -> bool:
        """Whether it has as many characters, or undoes as many ops, as one op may."""
        return len(self.deletes) + len(self.restored) >= _CHARACTERS or len(self.undoes) >= _UNDOES

    def restored_ranges(self) -> list[list[int]]:
        """Return the restored ids as ranges: client, clock, length."""
        ranges: list[list[int]] = []
        for client, clock in self.restored:
            if ranges and ranges[-1][0] == client and sum(ranges[-1][1:]) == clock:
                ranges[-1][2] += 1
            else:
                ranges.append([client, clock, 1])
        return ranges


class TextUndo:
    """The undoing of ops in one text.

    `before` and `after` say which ops count, now and then; any other does. `causes` names, for each op that
    changes or is to be undone, the wanted ops that this is owed to. `is_hidden`: the file is gone, so what
    does not count may still be in it.
    """

    def __init__(
        self,
        file: FileDeeds,
        state: bytes,
        before: Mapping[str, bool],
        after: Mapping[str, bool],
        causes: Mapping[str, Mapping[str, None]],
        *,
        is_hidden: bool,
    ) -> None:
        self._file, self._before, self._after, self._causes = file, before, after, causes
        self._is_hidden = is_hidden
        self._roots: dict[Id, Id] = {}  # of each character that is a copy, the first one
        self._copies: dict[Id, list[Id]] = {}
        self._find_copies()
        self._known = self._find_known()
        self._characters = Characters.of(state, Marks(self._known))
        touched = dict.fromkeys(self._touched())
        hidden = dict.fromkeys(self._not_counting())
        self._deleters: dict[Id, dict[str, Deed]] = {root: {} for root in (*touched, *hidden)}
        self._ends: dict[Id, int] = {}  # of each of these and their copies, where it was taken away
        self._find_deleters()
        self._lives = Lives(file, self._all_of, self._ends, list(self._undone()), self._counts)
        self.kept: list[KeptWork] = []
        self._going: dict[Id, Id] = {}  # what goes -> its root
        self._coming: dict[Id, Id] = {}  # beside what something comes -> its root
        self._in_lines: dict[Id, list[Id]] = {}  # stays, with others' work in its line
        kept_before = self._find_kept_lines() if hidden else {}
        for root in touched:
            self._decide(root)
        self._follow_lines(kept_before)

    @property
    def first(self) -> Id | None:
        """The first character that the text ever had and that is still known."""
        return self._characters.ids[0] if self._characters.ids else None

    @property
    def is_empty_after(self) -> bool:
        """Whether no character is to be there afterwards; one in a file that is gone may still be there."""
        staying = (identity for identity in self._characters.texts if identity not in self._going)
        return not self._coming and not any(
            self._counts(self._bringer(self._roots.get(identity, identity))) for identity in staying
        )

    @property
    def is_emptied_again(self) -> bool:
        """Whether an op that took text of others away, and left the file there, counts again."""
        return any(
            self._counts(self._bringer(root)) and any(map(self._is_switched_on, deleters.values()))
            for root, deleters in self._deleters.items()
        )

    def hunks(self) -> list[TextHunk]:
        """Return the changes, from the start of the text to its end."""
        return list(self._hunks())

    # -- what is to be there --------------------------------------------------------------------

    def _find_copies(self) -> None:
        for deed in self._file.deeds:
            old = (
                (client, clock + offset)
                for client, clock, length in deed.op.restores
                for offset in range(length)
            )
            for copy, identity in zip(deed.texts if deed.op.restores else (), old, strict=False):
                root = self._roots.get(identity, identity)
                if copy not in self._roots:
                    self._roots[copy] = root
                    self._copies.setdefault(root, []).append(copy)

    def _find_known(self) -> list[Id]:
        """List the characters of which a text is known, and the ones that they are copies of."""
        texts = (identity for deed in self._file.deeds for identity in deed.texts)
        return [*texts, *self._file.lost, *self._roots.values()]

    def _touched(self) -> Iterator[Id]:
        """Yield what ops concern that change; of a stretch without a text, which is all alike, the first."""
        behind = ((client, clock + 1) for client, clock in self._known)
        points = Marks((*self._known, *behind, *self._file.edges()))
        for deed in self._file.deeds:
            is_changed = deed.op_id in self._causes or (self._is_hidden and not self._counts(deed))
            if is_changed and not deed.is_undo:
                taken = (identity for stretch in deed.deleted for identity in points.within(stretch))
                for identity in (*deed.texts, *taken):
                    yield self._roots.get(identity, identity)

    def _all_of(self, root: Id) -> list[Id]:
        """Return a character and its copies, in the order in which they came."""
        return [root, *self._copies.get(root, ())]

    def _find_deleters(self) -> None:
        clocks: dict[int, list[int]] = {}
        for root in self._deleters:
            for client, clock in self._all_of(root):
                clocks.setdefault(client, []).append(clock)
        for found in clocks.values():
            found.sort()
        for deed in self._file.deeds:
            for client, clock, length in deed.op.update.deletes if deed.op.update else ():
                known = clocks.get(client, [])
                for number in known[bisect_left(known, clock) : bisect_left(known, clock + length)]:
                    self._ends.setdefault((client, number), deed.place)
                    if not deed.is_undo:
                        root = self._roots.get((client, number), (client, number))
                        self._deleters[root][deed.op_id] = deed

    def _bringer(self, root: Id) -> Deed | None:
        """Return the op that brought a character first, None for one from before."""
        bringer = self._file.bringer(root)
        return None if bringer is None or bringer.is_undo else bringer

    def _counts(self, deed: Deed | None) -> bool:
        return deed is None or self._after.get(deed.op_id, True)

    def _is_switched_on(self, deed: Deed) -> bool:
        return self._counts(deed) and not self._before.get(deed.op_id, True)

    def _undone(self) -> Iterator[Deed]:
        """Yield the deeds that are taken back now."""
        wanted = {op_id for owed in self._causes.values() for op_id in owed}
        for deed in self._file.deeds:
            if deed.op_id in wanted and self._before.get(deed.op_id, True) and not self._counts(deed):
                yield deed

    def _decide(self, root: Id) -> None:
        bringer, deleters = self._bringer(root), self._deleters[root]
        copies = self._all_of(root)
        present = [identity for identity in copies if identity in self._characters.texts]
        is_lost = any(identity in self._file.lost_before for identity in copies)
        against = [deed for deed in deleters.values() if self._counts(deed)]
        if self._counts(bringer) and not against and not is_lost:
            if not present and self._known_text(root) is not None:
                self._coming[copies[-1]] = root
        elif root in self._in_lines or (not against and self._lives.was_left(root)):
            return
        elif present and (not self._counts(bringer) or any(map(self._is_switched_on, against))):
            self._going.update(dict.fromkeys(present, root))
        elif not present and self._counts(bringer):
            self._keep_deleted(deleters, against)

    def _keep_deleted(self, deleters: Mapping[str, Deed], against: list[Deed]) -> None:
        other = against[-1] if against else None
        if other is not None and other.op_id in self._causes:
            return
        for op_id in deleters:
            for wanted in self._causes.get(op_id, ()):
                self._keep(KeptWork(wanted, "others deleted the same text: it stays deleted", other))

    # -- lines in which others wrote ------------------------------------------------------------

    def _not_counting(self) -> Iterator[Id]:
        """Yield the characters of ops that do not count, before or after."""
        for deed in self._file.deeds:
            if not (deed.is_undo or (self._before.get(deed.op_id, True) and self._counts(deed))):
                yield from deed.texts

    def _find_kept_lines(self) -> dict[Id, list[Id]]:
        """Find the characters that stay with others' work in their lines; return those that did so before.

        It looks at all that would be there if nothing but deletions took characters away, so it is the same
        in whatever order ops were undone. But what others wrote since something went is not in a line of
        that, and does not bring it back.
        """
        before, after = self._in_kept_lines(self._before), self._in_kept_lines(self._after)
        coming = after.characters.keys() - before.characters.keys()
        if any(map(self._is_over, coming)) or any(map(self._is_new, after.characters)):
            over = {root for root in self._deleters if self._is_over(root)}
            strict = self._in_kept_lines(self._after, over, is_strict=True)
            if strict.text != after.text:  # else it stays in the place of something that is as good
                before, after = self._in_kept_lines(self._before, over, is_strict=True), strict
        self._in_lines = after.characters
        return before.characters

    def _is_over(self, root: Id) -> bool:
        return self._is_hidden_now(root) and not self._is_present(root) and self._lives.is_over(root)

    def _is_new(self, root: Id) -> bool:
        return not self._counts(self._bringer(root)) and self._is_present(root) and self._lives.is_new(root)

    def _is_hidden_now(self, root: Id) -> bool:
        """Tell whether the op that brought a character counts neither before nor after."""
        bringer = self._bringer(root)
        return not (bringer is None or self._before.get(bringer.op_id, True) or self._counts(bringer))

    def _is_present(self, root: Id) -> bool:
        return any(identity in self._characters.texts for identity in self._all_of(root))

    def _in_kept_lines(
        self, status: Mapping[str, bool], over: Collection[Id] = (), *, is_strict: bool = False
    ) -> _KeptText:
        """Return what stays although its ops do not count. What is `over` is left out.

        If it is strict, nobody wrote in a line before what is undone brought it.
        """
        roots = dict.fromkeys(self._roots.get(identity, identity) for identity in self._characters.ids)
        shown, standing = list[Id](), list[Standing]()
        for root in roots:
            text = None if root in over else self._shown_text(root, status)
            if text is not None:
                shown.append(root)
                standing.append(self._standing(text, root, status, is_strict=is_strict))
        made = next((deed for deed in self._file.deeds if deed.op.kind == "create"), None)
        end = Standing("\n", BEFORE, is_taken=False)
        if made is not None:
            is_taken = not status.get(made.op_id, True)
            end = Standing("\n", made.place, is_taken, ((made.place, NEVER),))
        lines = kept_lines([*standing, end])
        found: dict[Id, list[Id]] = {}
        for line in lines:
            others = [shown[place] for place in line.others if place < len(shown)]
            found |= {shown[place]: others for place in line.taken if place < len(shown)}
        parts = zip(shown, standing, strict=True)
        text = "".join(one.text for root, one in parts if not one.is_taken or root in found)
        return _KeptText(found, text)

    def _standing(self, text: str, root: Id, status: Mapping[str, bool], *, is_strict: bool) -> Standing:
        bringer = self._bringer(root)
        if bringer is None:
            return Standing(text, BEFORE, is_taken=False)
        if status.get(bringer.op_id, True):
            return Standing(text, bringer.place, is_taken=False)
        lives = (is_strict and self._lives.brought_again(root)) or self._lives.of(root)
        return Standing(text, bringer.place, is_taken=True, lives=tuple(lives))

    def _shown_text(self, root: Id, status: Mapping[str, bool]) -> str | None:
        """Return the text of a character that nobody deleted whose op counts, None for any other."""
        copies = self._all_of(root)
        present = next((identity for identity in copies if identity in self._characters.texts), None)
        if root in self._deleters:
            is_lost = present is None and any(identity in self._file.lost_before for identity in copies)
            if is_lost or any(status.get(op_id, True) for op_id in self._deleters[root]):
                return None
            return self._known_text(root) if present is None else self._characters.texts[present]
        return None if present is None else self._characters.texts[present]

    def _follow_lines(self, kept_before: Mapping[Id, list[Id]]) -> None:
        """Let what is in lines of others come and go with their work; name what is newly kept for it."""
        brought = {root for root in self._deleters if self._lives.brought_again(root)}
        for root in (kept_before.keys() | brought) - self._in_lines.keys():
            if not self._counts(self._bringer(root)) and not self._lives.was_left(root):
                self._going.update((one, root) for one in self._all_of(root) if one in self._characters.texts)
        for root in self._in_lines.keys() - kept_before.keys():
            if not self._is_present(root):
                self._coming[self._all_of(root)[-1]] = root
        self._bring_what_was_left()
        for root, others in self._in_lines.items():
            bringer = self._bringer(root)
            if bringer is None or root in kept_before:
                continue
            writers = [writer for writer in map(self._bringer, others) if writer is not None]
            last = max(writers, key=lambda writer: writer.place, default=bringer)
            for wanted in self._causes.get(bringer.op_id, ()) if last.place > bringer.place else ():
                self._keep(KeptWork(wanted, "others wrote in the line: it stays whole", last))

    def _bring_what_was_left(self) -> None:
        """Let come again what undoings took, that are undone now, though it was taken back before them."""
        for identity in self._lives.taken_again():
            root = self._roots.get(identity, identity)
            is_deleted = any(map(self._counts, self._deleters.get(root, {}).values()))
            is_left = root in self._deleters and self._is_hidden_now(root) and not is_deleted
            if is_left and not self._is_present(root) and self._lives.was_left_until(identity, root):
                self._coming[identity] = root

    def _keep(self, kept: KeptWork) -> None:
        if kept not in self.kept:
            self.kept.append(kept)

    # -- the changes ----------------------------------------------------------------------------

    def _hunks(self) -> Iterator[TextHunk]:
        ids, texts = self._characters.ids, self._characters.texts
        gap = _Gap(self._file, {one for root, others in self._in_lines.items() for one in (root, *others)})
        hunk, run = TextHunk(0), list[Id]()
        for place, identity in enumerate(ids):
            is_coming = identity in self._coming
            if run and not is_coming:
                self._end_run(hunk, run, identity)
            if not is_coming and identity not in texts:
                continue
            root = self._coming.get(identity) or self._going.get(identity)
            text = self._text_of(root) if root and is_coming else texts[identity]
            if root is None or (hunk.is_full and text):
                if run:
                    self._end_run(hunk, run, identity)
                if hunk.undoes:
                    yield hunk
                    hunk = TextHunk(hunk.position + len(hunk.text))
            if root is None:
                hunk.position += bool(text)
                gap.add(self._roots.get(identity, identity))
                continue
            causes = self._causes_of(root)
            hunk.undoes.update(causes)
            if is_coming:
                run.append(identity)
                hunk.restored.append(identity)
                if place == len(ids) - 1:
                    self._end_run(hunk, run, None)
            else:
                hunk.deletes.append(identity)
                hunk.removed += text
                for wanted, other in gap.between(root, causes):
                    self._keep(KeptWork(wanted, "what others wrote in the midst of it stays", other))
        if hunk.undoes:
            yield hunk

    def _end_run(self, hunk: TextHunk, run: list[Id], following: Id | None) -> None:
        """Put the characters that come again behind the last of the old ones, which are all side by side."""
        text = "".join(self._text_of(self._coming[identity]) for identity in run)
        hunk.insertions.append(Insertion(run[-1], following, text))
        run.clear()

    def _text_of(self, root: Id) -> str:
        return self._known_text(root) or ""

    def _known_text(self, root: Id) -> str | None:
        found = (self._file.text_of(identity) for identity in self._all_of(root))
        return next((text for text in found if text is not None), None)

    def _causes_of(self, root: Id) -> dict[str, None]:
        """Return the wanted ops that the change of a character is owed to."""
        bringer, deleters = self._file.bringer(root), self._deleters[root]
        changed = [bringer.op_id] if bringer and bringer.op_id in self._causes else []
        changed += [op_id for op_id in deleters if op_id in self._causes]
        if not changed:  # it was still in a file that comes back
            changed = [next(op_id for op_id in self._causes if self._is_here(op_id))]
        return {wanted: None for op_id in changed for wanted in self._causes[op_id]}

    def _is_here(self, op_id: str) -> bool:
        return any(deed.op_id == op_id for deed in self._file.deeds)


class _Gap:
    """The characters that stay between two that go, if all of them were written after those."""

    def __init__(self, file: FileDeeds, named: Collection[Id]) -> None:
        self._file = file
        self._named = named  # characters in lines that are named as a whole
        self._start: tuple[int, dict[str, None]] | None = None
        self._writers: dict[str, Deed] = {}

    def add(self, identity: Id) -> None:
        if self._start is None:
            return
        bringer = self._file.bringer(identity)
        if bringer is None or bringer.is_undo or bringer.place < self._start[0]:
            self._start = None
        elif identity not in self._named:
            self._writers[bringer.op_id] = bringer

    def between(self, root: Id, causes: dict[str, None]) -> Iterator[tuple[str, Deed]]:
        """Meet a character that goes; yield the wanted op before the gap and each op that wrote in it."""
        bringer = self._file.bringer(root)
        place = -1 if bringer is None else bringer.place
        if self._start is not None:
            wanted = next(iter(self._start[1]))
            yield from ((wanted, writer) for writer in self._writers.values() if writer.place > place)
        self._start, self._writers = (place, causes), {}
