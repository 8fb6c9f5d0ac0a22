"""Takes code ops back with further ops, and leaves the work of others untouched. Pure.

An op counts unless one that counts takes it back. A character is to be there if the op that brought it
counts, and none does that took it away; a file, if the op that made it counts or something is in it, and no
removal does. The ops that are made here lead from what is there to that, as far as what is undone makes a
difference. A line that others wrote in since it was brought stays whole, see `undo_lines`, and so does what
was changed inside one, see `undo_held`. Each names what it takes back, so undoing it brings that back, and
the order in which ops are undone makes no difference.

A character that comes back is a new one beside the old one, which its op names. Characters are deleted by
their ids, and a move or a whole content counts just behind the op that it takes back. So what others
write meanwhile is never taken back.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse.core.content_id import object_id
from muse.domain import Compensation, DomainWork, NotUndone, Undoing
from muse.plugins.code.deeds import BEFORE, Deed, Deeds, FileDeeds, statuses
from muse.plugins.code.file_ids import Placement, Stamp
from muse.plugins.code.file_ops import removal_op, renaming_op, replacement_op
from muse.plugins.code.live_tree import IN_TREE, LiveFile
from muse.plugins.code.ops import INLINE_BYTES, encoded, first_stamp, own_stamp, text_edit
from muse.plugins.code.undo_hunks import KeptWork, TextHunk
from muse.plugins.code.undo_text import TextUndo
from muse.plugins.code.update import Id, client_of, covers, read_update, write_edit, write_trace, write_vector
from muse.plugins.op_fields import Fetch, address_of

_UNDOES = 1_000


def undo_code(works: Sequence[DomainWork], fetch: Fetch, undone: Collection[str]) -> Undoing:
    """Find the ops that take back those with the ids `undone`; see `WorkUndoingPlugin`."""
    deeds = Deeds(works, undone, fetch)
    outcome = Undoing([], [])
    addresses = {
        entry["op_id"]: address_of(entry["domain_op"])
        for work in works
        for entry in work.entries
        if entry["op_id"] in undone
    }
    for op_id in sorted(deeds.refused.keys() & addresses, key=deeds.places.__getitem__):
        reason = f"it had no effect: {deeds.refused[op_id]}"
        outcome.left.append(NotUndone(deeds.places[op_id], addresses[op_id], reason))
    wanted = {op_id: None for op_id in addresses if op_id not in deeds.refused}
    before, after = statuses(deeds, ()), statuses(deeds, wanted)
    causes = _causes(deeds, wanted, before, after)
    for file in deeds.files.values():
        own = [deed for deed in file.deeds if deed.op_id in wanted]
        if own:
            _CodeFileUndo(deeds, file, own, (before, after), causes, outcome).run()
    dealt_with = {place for done in outcome.compensations for place in done.undoes}
    dealt_with |= {item.index for item in outcome.left}
    for op_id in wanted:
        if deeds.places[op_id] not in dealt_with:
            reason = "a change from outside replaced what it did"
            outcome.left.append(NotUndone(deeds.places[op_id], addresses[op_id], reason))
    outcome.left.sort(key=lambda item: item.index)
    return outcome


def _causes(
    deeds: Deeds, wanted: Collection[str], before: Mapping[str, bool], after: Mapping[str, bool]
) -> dict[str, dict[str, None]]:
    """Name, for each op that is wanted or changes, the wanted ops that this is owed to."""
    targets: dict[str, list[str]] = {}
    for target, undoers in deeds.undoers.items():
        for undoer in undoers:
            targets.setdefault(undoer, []).append(target)
    causes: dict[str, dict[str, None]] = {op_id: {op_id: None} for op_id in wanted}
    for op_id in wanted:
        todo = list(targets.get(op_id, ()))
        met = set[str]()
        while todo:
            target = todo.pop()
            if target not in met:
                met.add(target)
                todo += targets.get(target, ())
                if before.get(target, True) != after.get(target, True):
                    causes.setdefault(target, {})[op_id] = None
    return causes


@dataclass(slots=True)
class _CodeFileUndo:
    """The undoing of ops in one file: `own` are the deeds of the wanted ones.

    `status` says which ops count now, and which do then.
    `left` are the wanted ops that stay as they are, and are not marked as taken back.
    """

    deeds: Deeds
    file: FileDeeds
    own: Sequence[Deed]
    status: tuple[Mapping[str, bool], Mapping[str, bool]]
    causes: Mapping[str, Mapping[str, None]]
    outcome: Undoing
    live: LiveFile = field(init=False)
    path: str = field(init=False)
    is_there: bool = field(init=False)
    goal: str = field(init=False)
    marked: dict[str, None] = field(default_factory=dict)
    kept: list[KeptWork] = field(default_factory=list)
    left: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        tree, file_id = self.deeds.tree, self.file.file_id
        self.live = tree.file(file_id)
        shown = tree.places().get(file_id)
        self.path, self.is_there = shown or self.placement.path, shown is not None
        self.goal = self.placement.path

    @property
    def placement(self) -> Placement:
        return self.deeds.tree.placements[self.file.file_id]

    def run(self) -> None:
        self._leave_removals_without_effect()
        removal = self._removal_that_counts()
        if removal is not None and not self.is_there:
            twice = "others removed the file too"
            for deed in self.own:
                reason = twice if deed.op.kind == "remove" else "the file was removed since"
                self._leave(deed.op_id, reason, removal)
            return
        if removal is not None and removal.op_id not in self.causes:
            removal = None  # an undoing brought the file back meanwhile
        if self.live.document is None:
            self._undo_content(removal)
        else:
            self._undo_text(removal)
        if self.left < {deed.op_id for deed in self.own}:
            self._undo_moves()
            self._mark_the_rest()
        for kept in self.kept:
            if kept.op_id in self.marked:
                self._note(self.outcome.kept, kept.op_id, kept.reason, kept.because)

    def _counts(self, op_id: str) -> bool:
        return self.status[1].get(op_id, True)

    # -- removals -------------------------------------------------------------------------------

    def _leave_removals_without_effect(self) -> None:
        for deed in self.own:
            if deed.op.kind == "remove" and not deed.is_undo and self.is_there and self._counted(deed):
                self._leave(deed.op_id, "it had no effect: the file stayed, or was brought back", None)

    def _counted(self, deed: Deed) -> bool:
        return self.status[0].get(deed.op_id, True)

    def _removal_that_counts(self) -> Deed | None:
        """Return the last removal after which nobody wrote anything, and which is not taken back."""
        removals = (deed for deed in self.file.deeds if deed.op.kind == "remove" and not deed.is_undo)
        held = [deed for deed in removals if self._counts(deed.op_id) and self._is_last_word(deed)]
        return held[-1] if held else None

    def _is_last_word(self, removal: Deed) -> bool:
        document = self.live.document
        if document is None:
            return self._saw_all_contents(removal)
        undone = {deed.op.update.client for deed in self.file.deeds if deed.is_undo and deed.op.update}
        written = {client: clock for client, clock in document.vector.items() if client not in undone}
        return covers(removal.op.seen or {}, written)

    def _saw_all_contents(self, removal: Deed) -> bool:
        """Tell whether a removal was of the content there was, and none that counts came since."""
        writes = [deed for deed in self.file.deeds if deed.content is not None]
        earlier = [deed for deed in writes if deed.place < removal.place]
        last = max(earlier, key=lambda deed: deed.op.stamp(deed.stamp), default=None)
        content = self.file.content if last is None else last.content
        if content is None or object_id(content) != removal.op.content_id:
            return False
        later = (deed for deed in writes if deed.place > removal.place and not deed.is_undo)
        return not any(self._counts(deed.op_id) for deed in later)

    def _remove(self) -> None:
        live = self.live
        vector, lifts = (None, live.lifts) if live.document is None else (live.document.vector, 0)
        self._add(
            removal_op(self.path, live.file_id, live.whole(), vector, "", lifts=lifts), self._not_left()
        )

    def _has_room(self, path: str) -> bool:
        """Tell whether the file can be at `path`; if it cannot, leave all of its ops."""
        if self._is_free(path, max(deed.stamp for deed in self.own)):
            return True
        for deed in self.own:
            self._leave(deed.op_id, f"another file is at {path!r} now", None)
        return False

    def _is_free(self, path: str, left: Stamp = IN_TREE) -> bool:
        """Tell whether no file is at `path` but one that goes now, or steps aside for this one.

        One steps aside that wanted the path before this file left it, at `left`, and got it then.
        """
        tree = self.deeds.tree
        other_id = tree.file_at(path)
        if other_id is None:
            return not tree.has(path)
        born = tree.file(other_id).born[2]
        is_going = born in self.causes and not self._counts(born)
        return is_going or own_stamp(tree.placements[other_id].stamp) < left

    # -- texts ----------------------------------------------------------------------------------

    def _undo_text(self, removal: Deed | None) -> None:
        document = self.live.document
        if document is None:
            return
        state = document.state()
        text = TextUndo(self.file, state, *self.status, self.causes, is_hidden=not self.is_there)
        is_made = self._counts(self.live.born[2])
        was_made = self.status[0].get(self.live.born[2], True)
        stays_empty = self.is_there and was_made == is_made and text.is_emptied_again
        is_wanted = (is_made or stays_empty or not text.is_empty_after) and removal is None
        if not self.is_there and is_wanted and not self._has_room(self.path):
            return
        hunks = text.hunks() if is_wanted or (self.is_there and removal is not None) else []
        for kept in text.kept if hunks or is_wanted else ():
            self._keep(kept)
        if not is_made and is_wanted and self.live.born[2] in self.causes:
            self._keep_for_others()
        if not self.is_there and is_wanted and not any(hunk.insertions for hunk in hunks):
            self._bring_back(text.first)
        for hunk in hunks:
            self._add(self._edited(hunk), hunk.undoes)
        if self.is_there and not is_wanted:
            self._remove()

    def _keep_for_others(self) -> None:
        wanted = next(iter(self.causes[self.live.born[2]]))
        writers = {
            deed.op_id: deed
            for deed in self.file.deeds
            if deed.op.update and deed.op.update.text and not deed.is_undo and self._counts(deed.op_id)
        }
        last = list(writers.values())[-1:]
        self._keep(KeptWork(wanted, "the file stays with what others wrote in it", last[0] if last else None))

    def _edited(self, hunk: TextHunk) -> dict[str, Any]:
        """Make the op of a hunk, and take it into the text."""
        document = self.live.require_document(self.path)
        seed = repr((hunk.insertions, hunk.restored_ranges()))
        client = client_of("undo", self.file.file_id, seed)
        data = write_edit(client, hunk.insertions, hunk.deletes)
        document.apply(read_update(data))
        op = text_edit(self.path, hunk.position, hunk.removed, hunk.text) | {"update": encoded(data)}
        return op | ({"restores": hunk.restored_ranges()} if hunk.restored else {})

    def _bring_back(self, first: Id | None) -> None:
        """Let something be in the text that its remover had not seen, but that changes nothing."""
        document = self.live.require_document(self.path)
        seed = encoded(write_vector(document.vector))
        data = write_trace(client_of("undo", self.file.file_id, seed), first)
        document.apply(read_update(data))
        self._add(text_edit(self.path, 0, "", "") | {"update": encoded(data)}, self._not_left())

    # -- whole contents -------------------------------------------------------------------------

    def _undo_content(self, removal: Deed | None) -> None:
        writes = [deed for deed in self.file.deeds if deed.content is not None and not deed.is_undo]
        counting = [deed for deed in writes if self._counts(deed.op_id)]
        last = max(counting, key=lambda deed: deed.op.stamp(deed.stamp), default=None)
        content = self.file.content if last is None else last.content
        if content is None or removal is not None:
            if self.is_there:
                self._remove()
            return
        if not self.is_there and not self._has_room(self.path):
            return
        wanted = [deed for deed in writes if deed.op_id in self.causes]
        if last is not None and wanted and last.place > wanted[0].place and last.op_id not in self.causes:
            for deed in wanted:
                self._keep(KeptWork(deed.op_id, "others replaced the whole file since: that stays", last))
        if content != self.live.content or not self.is_there:
            self._write(content)

    def _write(self, content: bytes) -> None:
        op = replacement_op(self.path, self.live.file_id, self.live.content, content, "")
        op["instead_of"] = list(first_stamp(self.live.written))
        if len(content) <= INLINE_BYTES:
            op["base64"] = encoded(content)
        self.live.content = content
        if self.live.is_removed:
            op["lifts"] = self.live.lifts + 1
        self._add(op, self._not_left())

    # -- moves ----------------------------------------------------------------------------------

    def _undo_moves(self) -> None:
        moves = [deed for deed in self.file.deeds if deed.op.kind == "move" and not deed.is_undo]
        changed = {cause: None for deed in moves for cause in self.causes.get(deed.op_id, ())}
        if not changed:
            return
        counting = [deed for deed in moves if self._counts(deed.op_id)]
        last = max(counting, key=lambda deed: deed.op.stamp(deed.stamp), default=None)
        path = self.file.path if last is None else last.op.to_path
        if path == self.placement.path:
            if last is not None and last.op_id not in self.causes:
                for op_id in changed:
                    self._keep(KeptWork(op_id, "others moved the file since: it stays where it is", last))
        elif not self._is_free(path):
            for op_id in changed:
                self._leave(op_id, f"another file is at {path!r} now", None)
        else:
            self._add(self._move(path), changed)
            self.goal = path

    def _move(self, path: str) -> dict[str, Any]:
        op = renaming_op(self.path, path, self.live.file_id, self.live.whole(), "")
        return op | {"instead_of": list(first_stamp(self.placement.stamp))}

    # -- the outcome ----------------------------------------------------------------------------

    def _not_left(self) -> dict[str, None]:
        return {deed.op_id: None for deed in self.own if deed.op_id not in self.left}

    def _mark_the_rest(self) -> None:
        """Take back the ops without a change to make, so that they do not count in what is undone later."""
        rest = []
        for op_id in self._not_left():
            if op_id in self.marked:
                continue
            if self.status[0].get(op_id, True):
                rest.append(op_id)
            else:
                self._leave(op_id, "it is undone already", self._undoer(op_id), is_undone=True)
        for start in range(0, len(rest), _UNDOES):
            if self.live.document is None:
                op = self._move(self.goal)
            else:
                op = text_edit(self.path, 0, "", "") | {"update": encoded(write_edit(0, (), ()))}
            self._add(op, dict.fromkeys(rest[start : start + _UNDOES]))

    def _undoer(self, op_id: str) -> Deed | None:
        undoers = self.deeds.undoers.get(op_id, ())
        counting = [undoer for undoer in undoers if self.status[0].get(undoer, True)]
        found = (deed for deed in self.file.deeds if deed.op_id in counting)
        return next(found, None)

    def _add(self, op: dict[str, Any], undoes: Mapping[str, None]) -> None:
        """Add a compensating op. Of more ops than a line of a log takes, it names some."""
        named = [op_id for op_id in undoes if op_id not in self.left]
        if self.live.base and not self.marked:
            op["base"] = self.live.base
        now = [op_id for op_id in named if op_id not in self.marked][:_UNDOES] or named[:_UNDOES]
        self.marked.update(dict.fromkeys(now))
        op |= {"file_id": self.file.file_id, "undoes": now}
        places = tuple(sorted(self.deeds.places[op_id] for op_id in now))
        self.outcome.compensations.append(Compensation(op, places))  # type: ignore[arg-type]

    def _leave(self, op_id: str, reason: str, because: Deed | None, *, is_undone: bool = False) -> None:
        self.left.add(op_id)
        self._note(self.outcome.left, op_id, reason, because, is_undone=is_undone)

    def _keep(self, kept: KeptWork) -> None:
        self.kept.append(kept)

    def _note(
        self,
        notes: list[NotUndone],
        op_id: str,
        reason: str,
        because: Deed | None,
        *,
        is_undone: bool = False,
    ) -> None:
        place = because.place if because is not None and because.place != BEFORE else None
        notes.append(NotUndone(self.deeds.places[op_id], self.path, reason, place, is_undone))
