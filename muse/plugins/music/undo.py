"""Takes music ops back with further ops, and leaves the later work of others untouched. Pure.

It goes field by field: what an op wrote is taken back where this op is still the last to have written it,
and the field gets the value from before all that is undone with it. A note that an op inserted goes
unless others changed it since; one that an op deleted comes back as it was. The same for whole
files, which come back with the names of their notes. What others took away and brought back as it was
counts as never gone, so an undoing that was undone is not in the way of the next. Entries say which ops an
undoing took back; of other ops only the values are known, so a field that others changed and gave the
same value again counts as not written since. One that was given the value that it had stays as long as
the edit that confirmed it is not undone; that this was undone is on record as an edit which changes nothing.

Others may write before a compensating op is applied. So each says what it `expected` to find, and has
no effect where it finds something else. A field that another actor meanwhile wrote again with the same
value counts as unchanged.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from muse.core.content_id import object_id
from muse.domain import Compensation, DomainOp, NotUndone, PatchOp, Undoing
from muse.errors import DomainError
from muse.plugins.music.identified_score import NEW_FILE, IdentifiedScore, Placed, identify
from muse.plugins.music.note_lives import (
    fields_of,
    in_the_way,
    last_change_of_life,
    lives_in_effect,
    writers_of,
)
from muse.plugins.music.note_ops import NOTE_PREFIX
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_file,
    insert_note,
    one_patch,
    rename_file,
    replace_file,
)
from muse.plugins.music.squash import change_note
from muse.plugins.music.trails import (
    FileContent,
    FileStep,
    FileTrail,
    NoteStep,
    Trails,
    file_content,
)
from muse.plugins.music.tree import MusicTree
from muse.plugins.music.writes import Undoings, writes_in_effect
from muse.plugins.op_fields import Fetch, address_of, names_path

_UNDOES_LIMIT = 256  # how many causes an entry can name
_CHILDREN_LIMIT = 500  # keeps a patch well within what a log takes as one line
_NAMES_LIMIT = 400_000  # bytes of names that come with a file, so that the op is a line that a log takes
_ELSEWHERE = "it is otherwise in the files now: another session or a hand edit changed it"


def undo_music(
    files: Mapping[str, bytes],
    ops: Sequence[Mapping[str, Any]],
    fetch: Fetch,
    undone: Collection[int],
    now: Mapping[str, bytes],
    *,
    undoings: Undoings | None = None,
) -> Undoing:
    """Find the ops that take back the ops at the places `undone`; see `UndoingPlugin`."""
    trails = Trails(files, fetch)
    trails.follow(ops)
    outcome = Undoing([], [])
    effective = {index for trail in trails.all for index in trail.touched_by}
    for index in sorted(set(undone) - effective):
        reason = trails.refused.get(index, "nothing was changed by it")
        outcome.left.append(NotUndone(index, address_of(ops[index]), f"it had no effect: {reason}"))
    now_tree, after_tree = MusicTree(now, fetch), MusicTree(now, fetch)
    for trail in trails.all:
        wanted = set(undone) & set(trail.touched_by)
        if wanted:
            _FileUndo(trail, wanted, trails, now_tree, after_tree, outcome, undoings).run()
    dealt_with = {index for done in outcome.compensations for index in done.undoes}
    dealt_with |= {item.index for item in outcome.left}
    for index in sorted(set(undone) - dealt_with):
        outcome.left.append(NotUndone(index, address_of(ops[index]), "nothing of it is there any more"))
    outcome.left.sort(key=lambda item: item.index)
    return outcome


@dataclass(slots=True)
class _FileUndo:
    """The undoing of ops of one file. Ops that turn out to stay are taken out of `wanted`.

    `after` is the tree with the compensating ops so far: what the next one expects to find. `_confirmed`
    are the fields of a note that are written again even with the same value, to be on record as taken back.
    """

    trail: FileTrail
    wanted: set[int]
    trails: Trails
    now: MusicTree
    after: MusicTree
    outcome: Undoing
    undoings: Undoings | None
    path: str = ""
    agrees: bool = False
    content: FileContent | None = None
    notes: Mapping[str, Placed] = field(default_factory=dict)
    edits: list[tuple[DomainOp, tuple[int, ...]]] = field(default_factory=list)
    _confirmed: set[str] = field(default_factory=set)

    def run(self) -> None:
        self.path = self.trail.path
        self.content = file_content(self.now, self.path)
        self.agrees = self.content == (self.trails.content(self.path) if self.trail.alive else None)
        self.notes = self.content.notes if self.content else {}
        if not self._undo_file_steps():
            return
        if not self.trail.alive and not self._revived() and not self._is_made_by_a_note():
            self._leave_all(*self._what_came_after(self.trail.steps[-1]))
            return
        for entity_id, steps in self.trail.notes.items():
            if any(step.op_index in self.wanted for step in steps):
                self._undo_note(entity_id, steps)
        self._write_edits()
        self._delete_what_nobody_needs()

    # -- whole files ----------------------------------------------------------------------------

    def _undo_file_steps(self) -> bool:
        """Take back ops on the whole file, the newest first; False when there is nothing left to do."""
        steps = list(self.trail.steps)
        if self._came_and_went(steps):
            return False
        while steps and steps[-1].op_index in self.wanted:
            step = steps.pop()
            later = next(
                (i for i in self.trail.touched_by if i > step.op_index and i not in self.wanted), None
            )
            if step.kind == "rename":
                self._rename_back(step)
            elif later is not None:
                if step.kind != "make":
                    self._leave(step.op_index, self.path, "the file was changed since", later)
                break
            elif step.kind in {"insert", "make"}:
                if self._delete(step):
                    return False
                break
            else:
                self._bring_back(step)
        for step in steps:
            if step.op_index in self.wanted and step.kind != "make":
                self._leave(step.op_index, self.path, *self._what_came_after(steps[-1]))
        return True

    def _what_came_after(self, step: FileStep) -> tuple[str, int]:
        """Say what keeps the steps before `step` from being undone, and which op that is."""
        if (later := self._brought_back_by(step)) is not None:
            return "the file was brought back since", later
        return f"the file was {'deleted' if step.kind == 'delete' else 'changed'} since", step.op_index

    def _brought_back_by(self, step: FileStep) -> int | None:
        """Return the op that put a file where `step` deleted one, if it is there still."""
        if step.kind != "delete":
            return None
        for trail in self.trails.all:
            if trail.alive and trail.path == self.trail.path and trail is not self.trail:
                return next((one.op_index for one in trail.steps if one.op_index > step.op_index), None)
        return None

    def _came_and_went(self, steps: Sequence[FileStep]) -> bool:
        made = bool(steps) and steps[0].kind in {"insert", "make"}
        return made and not self.trail.alive and self.wanted == set(self.trail.touched_by)

    def _revived(self) -> bool:
        return self.trail.steps[-1].op_index in self.wanted

    def _is_made_by_a_note(self) -> bool:
        """Tell whether the deleted file was empty: its next note makes it again."""
        deleted = self.trail.steps[-1].before
        return deleted is not None and deleted.data == NEW_FILE and not self.now.exists(self.path)

    def _rename_back(self, step: FileStep) -> None:
        if self.now.exists(step.source) or not self.now.exists(self.path):
            self._leave(
                step.op_index, self.path, f"there is no room to move the file back to {step.source!r}"
            )
            return
        if self._add(rename_file(self.path, step.source), (step.op_index,)):
            self.path = step.source

    def _delete(self, step: FileStep) -> bool:
        if self.content is None or not self.agrees:
            if step.kind == "insert":
                self._leave(step.op_index, self.path, _ELSEWHERE)
            return False
        self._add(self._as_it_is(delete_file(self.path, self.content.data)), self._since(step))
        return True

    def _since(self, step: FileStep) -> tuple[int, ...]:
        return tuple(index for index in self.trail.touched_by if index >= step.op_index)

    def _bring_back(self, step: FileStep) -> None:
        """Give the file the content from before a deletion or a replacement."""
        before = step.before
        if before is None or not self.agrees:
            later = self._brought_back_by(step)
            reason = _ELSEWHERE if later is None else "the file was brought back since"
            self._leave(step.op_index, self.path, reason, later)
            return
        op, whole = self._as_before(before)
        if not self._add(op, self._since(step)):
            return
        self.content = before
        if not whole:
            patches = [
                insert_note("", name, note, track=track) for name, (track, note) in before.notes.items()
            ]
            self.edits = [(_child(patch), self._since(step)) for patch in patches]
            self._write_edits(restored=True)
        self.notes = before.notes
        for entity_id, steps in self.trail.notes.items():
            self.trail.notes[entity_id] = [one for one in steps if one.op_index < step.op_index]

    def _as_before(self, before: FileContent) -> tuple[Any, bool]:
        """Make the op that gives a file its content back; also tell whether the notes have their names then.

        The names come with it, unless there are too many for one op.
        """
        page = self.now.content(names_path(self.trail.path)) if self.content else None
        data, names, whole = before.data, None, True
        if before.score is not None and not _names_itself(before, page):
            written = before.score.page()
            names, whole = written.decode(), len(written) <= _NAMES_LIMIT
            data = data if whole else IdentifiedScore(before.score.read).write()[0]
        if self.content is None:
            op: Any = insert_file(self.path, data)
        else:
            op = self._as_it_is(replace_file(self.path, self.content.data, data))
        return ({**op, "names": names} if names and whole else op), whole

    def _delete_what_nobody_needs(self) -> None:
        """Delete a file that the first of its notes made, once the last of them is taken back."""
        made = bool(self.trail.steps) and self.trail.steps[0].kind == "make"
        if not made or not self.agrees or not self.after.exists(self.path):
            return
        content = file_content(self.after, self.path)
        undoes = tuple(sorted(self.wanted))
        if content is not None and content.data == NEW_FILE and undoes and self.outcome.compensations:
            self._add(self._as_it_is(delete_file(self.path, content.data)), undoes)

    # -- notes ----------------------------------------------------------------------------------

    def _undo_note(self, entity_id: str, steps: list[NoteStep]) -> None:
        address = f"{self.path}/{NOTE_PREFIX}{entity_id}"
        wanted = {step.op_index for step in steps} & self.wanted
        current = steps[-1].after
        self._confirmed = set()
        lives, led_back = lives_in_effect(steps, wanted, self.undoings or {})
        kept = self._steps_left(address, lives, wanted)
        self._leave_led_back(address, led_back, kept, wanted)
        self._leave_earlier_lives(address, kept, wanted)
        target = kept[-1].after if kept else steps[0].before
        if target is None and kept and wanted:
            for index in sorted(wanted & {step.op_index for step in kept}):
                self._leave(index, address, "the note was deleted since", kept[-1].op_index, file_too=False)
        elif target is not None:
            try:
                target = self._fields_restored(address, kept, steps[0].before, target, wanted)
            except DomainError as error:
                self._leave(max(wanted), address, f"the note cannot be as it was: {error}", file_too=False)
                return
        if wanted and (target != current or (target is not None and self.undoings is not None)):
            self._add_edit(entity_id, address, (current, target), tuple(sorted(wanted)))

    def _steps_left(self, address: str, steps: list[NoteStep], wanted: set[int]) -> list[NoteStep]:
        """Drop the insertions and deletions that are undone, with all that came after them."""
        while (place := last_change_of_life(steps)) is not None and steps[place].op_index in wanted:
            step = steps[place]
            later = in_the_way(steps[place + 1 :], step.after, wanted, self.undoings or {})
            if later is not None:
                self._leave(step.op_index, address, "the note was changed since", later, file_too=False)
                wanted.discard(step.op_index)
                break
            del steps[place:]
        return steps

    def _leave_led_back(
        self, address: str, led_back: Mapping[int, NoteStep], steps: Sequence[NoteStep], wanted: set[int]
    ) -> None:
        """Leave what others took back already: they deleted the note, or brought it back."""
        birth = last_change_of_life(steps)
        for index in sorted(wanted & led_back.keys() - {step.op_index for step in steps}):
            later = led_back[index] if birth is None or steps[birth].after is None else steps[birth]
            reason = f"the note was {'deleted' if later.after is None else 'brought back'} since"
            self._leave(index, address, reason, later.op_index, file_too=False)
            wanted.discard(index)

    def _leave_earlier_lives(self, address: str, steps: Sequence[NoteStep], wanted: set[int]) -> None:
        """Leave what was done to a note before another actor deleted it and used its name again."""
        birth = last_change_of_life(steps)
        if birth is None or steps[birth].after is None:
            return
        lives = [{one.op_index for one in part} for part in (steps[:birth], steps[birth:])]
        for index in sorted(wanted & lives[0] - lives[1]):
            self._leave(
                index, address, "the note was brought back since", steps[birth].op_index, file_too=False
            )
            wanted.discard(index)

    def _fields_restored(
        self, address: str, steps: list[NoteStep], base: Placed | None, state: Placed, wanted: set[int]
    ) -> Placed:
        """Return the note with each field as the last one to write it, of those not undone, left it."""
        birth = last_change_of_life(steps)
        life = steps if birth is None else steps[birth + 1 :]
        start = base if birth is None else steps[birth].after
        if start is None:
            return state
        values = fields_of(start)
        blocked: dict[int, dict[str, int]] = {}
        taken: set[int] = set()
        for name, first in values.items():
            writers = writers_of(life, name)
            in_effect, led_back = writes_in_effect(writers, first, wanted, self.undoings or {})
            while in_effect and writers[in_effect[-1]][0] in wanted:
                taken.add(writers[in_effect.pop()][0])
                self._confirmed |= {name} if self.undoings is not None else set()
            if in_effect:
                values[name] = writers[in_effect[-1]][1]
            why = {writers[place][0]: writers[later][0] for place, later in led_back.items()}
            why |= {writers[place][0]: writers[in_effect[-1]][0] for place in in_effect}
            for index in wanted & why.keys():
                blocked.setdefault(index, {})[name] = why[index]
        for index, names in blocked.items():
            reason = f"the note's {' and '.join(sorted(names))} was changed since"
            self._leave(index, address, reason, max(names.values()), file_too=False)
        wanted -= blocked.keys() - taken
        track = values.pop("track")
        return track, replace(state[1], **values, ends_first=start[1].ends_first)

    def _add_edit(
        self,
        entity_id: str,
        address: str,
        change: tuple[Placed | None, Placed | None],
        undoes: tuple[int, ...],
    ) -> None:
        current, target = change
        found = self.notes.get(entity_id)
        try:
            if target is None or current is None:
                agrees = found == current
                edit = _made_or_gone(entity_id, current, target)
            else:
                old, new = fields_of(current), fields_of(target)
                differing = {name: new[name] for name in old if old[name] != new[name]}
                confirmed = self._confirmed - differing.keys() or ({*old} if current == target else set())
                agrees = found is not None and all(fields_of(found)[name] == old[name] for name in differing)
                wanted = _with(found or current, differing, ends_first=target[1].ends_first)
                patch = change_note("", entity_id, found or current, wanted, {*differing, *confirmed})
                edit = {**_child(patch), "expected": {name: old[name] for name in differing or old}}
        except DomainError as error:
            self._leave(undoes[-1], address, f"the note cannot be as it was: {error}", file_too=False)
            return
        if agrees:
            self.edits.append((edit, undoes))
        else:
            self._leave(undoes[-1], address, _ELSEWHERE, file_too=False)

    # -- the outcome ----------------------------------------------------------------------------

    def _write_edits(self, *, restored: bool = False) -> None:
        """Add the edits found so far; if `restored`, only to the content that was just brought back."""
        for group in _grouped(self.edits):
            undoes = sorted({index for _, indexes in group for index in indexes})
            patch: Any = one_patch(self.path, (), f"undo: {len(group)} edits of notes")
            op = {**patch, "child_ops": [child for child, _ in group]}
            if self.after.exists(self.path):
                op["expected"] = {}
            self._add(self._as_it_is(op) if restored else op, tuple(undoes))
        self.edits = []

    def _add(self, op: Any, undoes: tuple[int, ...]) -> bool:
        """Add a compensating op, or leave what it should undo and return False where it has no effect."""
        try:
            self.after.apply(0, op)
        except DomainError as error:
            for index in undoes:
                if index in self.wanted:
                    self._leave(index, self.path, f"the file cannot be as it was: {error}")
            return False
        self.outcome.compensations.append(Compensation(op, undoes))
        return True

    def _as_it_is(self, op: Any) -> Any:
        """Let an op on the whole file expect the content that it will meet."""
        data = self.after.data(self.path)
        return op if data is None else {**op, "expected": {"content_id": object_id(data)}}

    def _leave(
        self, index: int, address: str, reason: str, because: int | None = None, *, file_too: bool = True
    ) -> None:
        self.outcome.left.append(NotUndone(index, address, reason, because))
        if file_too:
            self.wanted.discard(index)

    def _leave_all(self, reason: str, because: int | None = None) -> None:
        for index in sorted(self.wanted):
            self._leave(index, self.path, reason, because)


def _grouped(
    edits: Sequence[tuple[DomainOp, tuple[int, ...]]],
) -> Iterator[list[tuple[DomainOp, tuple[int, ...]]]]:
    """Split edits of notes into patches that are small enough for a log."""
    group: list[tuple[DomainOp, tuple[int, ...]]] = []
    causes: set[int] = set()
    for edit in edits:
        if group and (len(causes | set(edit[1])) > _UNDOES_LIMIT or len(group) >= _CHILDREN_LIMIT):
            yield group
            group, causes = [], set()
        group.append(edit)
        causes |= set(edit[1])
    if group:
        yield group


def _with(placed: Placed, values: Mapping[str, Any], *, ends_first: bool) -> Placed:
    fields = {**fields_of(placed), **values}
    track = fields.pop("track")
    return track, replace(placed[1], **fields, ends_first=ends_first)


def _made_or_gone(entity_id: str, current: Placed | None, target: Placed | None) -> Any:
    if target is not None:
        return _child(insert_note("", entity_id, target[1], track=target[0]))
    if current is None:
        raise AssertionError("a note that is in neither state needs no edit")
    return {**_child(delete_note("", entity_id, current[1])), "expected": fields_of(current)}


def _child(patch: PatchOp) -> DomainOp:
    return patch["child_ops"][0]


def _names_itself(content: FileContent, page: bytes | None) -> bool:
    """Tell whether the file's bytes alone, with the page that is there, give its notes their names."""
    if content.score is None:
        return True
    return identify(content.data, page).notes == content.notes
