"""Finds the edits of one text that take ops back: which characters go, and which come again. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import NamedTuple

from muse.plugins.code.characters import Characters
from muse.plugins.code.deeds import BEFORE, Deed, FileDeeds
from muse.plugins.code.stretches import Marks
from muse.plugins.code.undo_hunks import Gap, KeptWork, TextHunk
from muse.plugins.code.undo_lines import Standing, kept_lines
from muse.plugins.code.undo_lives import NEVER, Lives
from muse.plugins.code.undo_overtaken import HELD, Overtaken, Overtaking
from muse.plugins.code.undo_passed import Passed, Replacements, last_of
from muse.plugins.code.update import Id, Insertion


class _KeptText(NamedTuple):
    """What is kept in lines in which others wrote, each with their characters; and the whole text with it."""

    characters: dict[Id, list[Id]]
    text: str


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
        self._undoings = {deed.place for deed in file.deeds if deed.is_undo}
        self._roots: dict[Id, Id] = {}  # of each character that is a copy, the first one
        self._copies: dict[Id, list[Id]] = {}
        self._find_copies()
        self._known = self._find_known()
        self._line_ends = {identity for identity in self._known if file.text_of(identity) == "\n"}
        self._line_ends |= file.lost_ends
        behind = ((client, clock + 1) for client, clock in file.lost_ends)
        self._characters = Characters.of(state, Marks((*self._known, *file.lost_ends, *behind)))
        touched = dict.fromkeys(self._touched())
        owed = dict.fromkeys(self._owed())
        hidden = dict.fromkeys(self._not_counting())
        self._ends: dict[Id, int] = {}  # of each of these and their copies, where it was taken away
        self._deleters = self._find_deleters((*touched, *owed, *hidden), self._ends)
        self._overtaken = cache(self._find_overtaken)
        self._lives = Lives(file, self._all_of, self._ends, list(self._undone()), self._counts)
        self.kept: list[KeptWork] = []
        self._going: dict[Id, Id] = {}  # what goes -> its root
        self._coming: dict[Id, Id] = {}  # beside what something comes -> its root
        self._in_lines: dict[Id, list[Id]] = {}  # stays, with others' work in its line
        kept_before = self._find_kept_lines() if hidden else {}
        for root in touched:
            self._decide(root)
        for root in owed.keys() - touched.keys():
            if self._may_come(root):
                self._bring_unless_overtaken(root, is_touched=False)
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

    def _owed(self) -> Iterator[Id]:
        """Yield what ops took away that did not count before: others may have gone on where it was."""
        points = Marks(self._known)
        for deed in self._file.deeds:
            if not (self._before.get(deed.op_id, True) or self._counts(deed) or deed.is_undo):
                taken = (identity for stretch in deed.deleted for identity in points.within(stretch))
                yield from (self._roots.get(identity, identity) for identity in taken)

    def _all_of(self, root: Id) -> list[Id]:
        """Return a character and its copies, in the order in which they came."""
        return [root, *self._copies.get(root, ())]

    def _find_deleters(self, roots: Iterable[Id], ends: dict[Id, int]) -> dict[Id, dict[str, Deed]]:
        """Return what took away each character or a copy, without undoings; note where in `ends`."""
        deleters: dict[Id, dict[str, Deed]] = {root: {} for root in roots}
        points = Marks(identity for root in deleters for identity in self._all_of(root))
        for deed in self._file.deeds:
            for stretch in deed.deleted:
                for identity in points.within(stretch):
                    root = self._roots.get(identity, identity)
                    if root in deleters:
                        ends.setdefault(identity, deed.place)
                        deleters[root].update({} if deed.is_undo else {deed.op_id: deed})
        return deleters

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

    def _may_come(self, root: Id) -> bool:
        """Tell whether what brought a character counts, and nothing that took it away."""
        is_lost = any(identity in self._file.lost_before for identity in self._all_of(root))
        against = any(map(self._counts, self._deleters[root].values()))
        return self._counts(self._bringer(root)) and not against and not is_lost

    def _decide(self, root: Id) -> None:
        bringer, deleters = self._bringer(root), self._deleters[root]
        present = [identity for identity in self._all_of(root) if identity in self._characters.texts]
        against = [deed for deed in deleters.values() if self._counts(deed)]
        if self._may_come(root):
            self._bring_unless_overtaken(root, is_touched=True)
        elif root in self._in_lines or (not against and self._lives.was_left(root)):
            return
        elif present and (not self._counts(bringer) or any(map(self._is_switched_on, against))):
            self._going.update(dict.fromkeys(present, root))
        elif not present and self._counts(bringer):
            self._keep_deleted(deleters, against)

    def _bring_unless_overtaken(self, root: Id, *, is_touched: bool) -> None:
        """Let a character come that nothing keeps away but that others went on where it was, if they did."""
        *_, last = copies = self._all_of(root)
        present = [identity for identity in copies if identity in self._characters.texts]
        if self._known_text(root) is None:
            return
        overtaking = self._overtaking(root, is_after=True)
        was_overtaken = self._overtaking(root, is_after=False) is not None
        if overtaking is None:
            if not present and (is_touched or was_overtaken):
                self._coming[last] = root
        elif present and not was_overtaken:
            self._going.update(dict.fromkeys(present, root))
        elif not present and is_touched:
            self._keep_away(self._deleters[root], *overtaking)

    def _overtaking(self, root: Id, *, is_after: bool) -> Overtaking | None:
        """Return what keeps a character away that an op took, though no op that counts did."""
        ends = [self._ends[identity] for identity in self._all_of(root) if identity in self._ends]
        went = next((place for place in reversed(ends) if place not in self._undoings), NEVER)
        return self._overtaken(is_after=is_after).by(root, went)

    def _find_overtaken(self, *, is_after: bool) -> Overtaken:
        status = self._after if is_after else self._before
        return Overtaken(
            self._passed, self._replacements, lambda deed: deed is None or status.get(deed.op_id, True)
        )

    @cached_property
    def _replacements(self) -> Replacements:
        return Replacements(self._passed)

    @cached_property
    def _passed(self) -> list[Passed]:
        """List what each character went through; of those that were never away, side by side, the ends."""
        ends = dict[Id, int]()
        roots = dict.fromkeys(self._ends_of_stretches())
        deleters = self._find_deleters(roots, ends)
        lives = Lives(self._file, self._all_of, ends, (), self._counts)
        found: list[Passed] = []
        for root in roots:
            shown = "".join(self._characters.texts.get(identity, "") for identity in self._all_of(root))
            text = "\n" if root in self._line_ends else shown or self._known_text(root) or ""
            brought = self._bringer(root), [*deleters[root].values()]
            found.append(Passed(root, text, bool(shown), lives.of(root), *brought))
        return found

    def _ends_of_stretches(self) -> Iterator[Id]:
        """Yield the first and the last of the characters of one op that were never away, side by side.

        They are in the order of their last copies: beside these they would come again.
        """
        roots: dict[Id, None] = {}
        for identity in self._characters.ids:
            root = self._roots.get(identity, identity)
            roots.pop(root, None)
            roots[root] = None
        last, end = None, None
        for root in roots:
            bringer = self._bringer(root)
            is_same = self._characters.texts.get(root, "\n") != "\n" and root not in self._deleters
            if end is None or not is_same or bringer is not last:
                yield from () if end is None else (end,)
                yield root
            last, end = bringer, root if is_same else None
        yield from () if end is None else (end,)

    def _keep_deleted(self, deleters: Mapping[str, Deed], against: list[Deed]) -> None:
        other = against[-1] if against else None
        if other is None or other.op_id not in self._causes:
            self._keep_away(deleters, "others deleted the same text: it stays deleted", other)

    def _keep_away(self, deleters: Mapping[str, Deed], reason: str, other: Deed | None) -> None:
        for op_id in deleters:
            for wanted in self._causes.get(op_id, ()):
                self._keep(KeptWork(wanted, reason, other))

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
        held = self._overtaken(is_after=status is self._after).staying
        for root in roots:
            text = None if root in over and root not in held else self._shown_text(root, status)
            if text is None:
                continue
            shown.append(root)
            standing.append(self._standing(text, root, status, is_strict=is_strict, is_held=root in held))
        made = next((deed for deed in self._file.deeds if deed.op.kind == "create"), None)
        end = Standing("\n", BEFORE, is_taken=False)
        if made is not None:
            is_taken = not status.get(made.op_id, True)
            end = Standing("\n", made.place, is_taken, ((made.place, NEVER),))
        lines = kept_lines([*standing, end])
        found: dict[Id, list[Id]] = {root: [] for root in shown if root in held}
        for line in lines:
            others = [shown[place] for place in line.others if place < len(shown)]
            found |= {shown[place]: others for place in line.taken if place < len(shown)}
        parts = zip(shown, standing, strict=True)
        text = "".join(one.text for root, one in parts if not one.is_taken or root in found)
        return _KeptText(found, text)

    def _standing(
        self, text: str, root: Id, status: Mapping[str, bool], *, is_strict: bool, is_held: bool
    ) -> Standing:
        bringer = self._bringer(root)
        if bringer is None:
            return Standing(text, BEFORE, is_taken=False)
        if is_held or status.get(bringer.op_id, True):
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
            if self._deleters[root] and self._overtaking(root, is_after=status is self._after):
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
        self._name_kept(kept_before)

    def _name_kept(self, kept_before: Mapping[Id, list[Id]]) -> None:
        """Name what stays in lines of others, and did not before, with the last op of others in its line."""
        held = self._overtaken(is_after=True).staying if self._in_lines else {}
        lasts: dict[int, Deed | None] = {}  # of each list of others, which all of a line share
        named = set[tuple[str, str]]()
        for root, others in self._in_lines.items():
            bringer = self._bringer(root)
            if bringer is None or root in kept_before:
                continue
            if root not in held and id(others) not in lasts:
                lasts[id(others)] = last_of(map(self._bringer, others))
            last = held.get(root) or lasts[id(others)]
            if last is None or last.place <= bringer.place or (bringer.op_id, last.op_id) in named:
                continue
            named.add((bringer.op_id, last.op_id))
            reason = HELD if root in held else "others wrote in the line: it stays whole"
            for wanted in self._causes.get(bringer.op_id, ()):
                self._keep(KeptWork(wanted, reason, last))

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
        gap = Gap(self._file, {one for root, others in self._in_lines.items() for one in (root, *others)})
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
