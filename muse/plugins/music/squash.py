"""Finds the net of many music ops: the fewest note ops with the same outcome. Pure.

Writing a file is a pure function of its notes and other events. So the net of a run of note edits
is found by comparing the notes before it and after it: a note inserted and moved is one insert, one
inserted and deleted is nothing. Ops on whole files stay, in order; each ends the runs it could touch.

Edits that cancel out may still have left a trace: a new file, or a page of names of the current format.
Then the edit that left it stays, with the one that takes it back.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from muse.domain import OP_KINDS, DomainOp, PatchOp
from muse.errors import DomainError
from muse.plugins.music.identified_score import Placed
from muse.plugins.music.notes import delete_note, insert_note, move_note, mutate_note, one_patch, replace_note
from muse.plugins.music.tree import EditedNote, MusicTree
from muse.plugins.op_fields import Fetch, names_path


def squash_music(
    files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch
) -> list[DomainOp]:
    """Return the net of `ops`, without those that have no effect. The net of a net is itself."""
    return _Squasher(files, fetch).net_of(ops)


@dataclass(slots=True)
class _EditRun:
    """The effective note edits of one file since the last op on the whole file.

    `existed`: whether the file was there; `canonical`: whether it was as Muse writes it for sure.
    `touched`: what each note was before. `first`: what the first edit made of its note.
    """

    existed: bool
    canonical: bool
    first: Placed | None
    patches: list[Any] = field(default_factory=list)
    touched: dict[str, Placed | None] = field(default_factory=dict)


class _Squasher:
    def __init__(self, files: Mapping[str, bytes], fetch: Fetch) -> None:
        self._tree = MusicTree(files, fetch, on_edit=self._edited)
        self._runs: dict[str, _EditRun] = {}
        self._net: list[Any] = []
        self._op: Any = None

    def net_of(self, ops: Sequence[Mapping[str, Any]]) -> list[DomainOp]:
        for index, op in enumerate(ops):
            self._op = op
            if edits_notes_only(op):
                with suppress(DomainError):
                    self._tree.apply(index, op)
            else:
                self._take_whole(index, op)
        for path, run in self._runs.items():
            self._net += self._net_of_run(path, run)
        return self._net

    def _take_whole(self, index: int, op: Any) -> None:
        named = [op.get("address"), op.get("from_address")] if isinstance(op, Mapping) else []
        ended: dict[str, list[Any]] = {
            path: self._net_of_run(path, run)
            for path, run in self._runs.items()
            if path in named or not run.existed  # another file may need the place of a new one
        }
        with suppress(DomainError):
            self._tree.apply(index, op)
            for path, net in ended.items():
                self._net += net
                del self._runs[path]
            self._net.append(op)
            self._runs.pop(op["address"], None)  # the edits that come with a rename stay in it

    def _edited(self, edited: EditedNote) -> None:
        run = self._runs.get(edited.path)
        if run is None:
            run = self._runs[edited.path] = _EditRun(
                existed=self._tree.exists(edited.path),
                canonical=edited.path in self._tree.edited,
                first=edited.after,
            )
        if not run.patches or run.patches[-1] is not self._op:
            run.patches.append(self._op)
        run.touched.setdefault(edited.edit.entity_id, edited.before)

    def _net_of_run(self, path: str, run: _EditRun) -> list[Any]:
        children = self._children(path, run)
        if children is None:
            return run.patches
        if not children:
            return []
        kinds = Counter[str](child["op"] for child in children)
        summary = ", ".join(f"{kinds[kind]} {kind}" for kind in OP_KINDS if kind in kinds)
        return [{**one_patch(path, (), summary), "child_ops": children}]

    def _children(self, path: str, run: _EditRun) -> list[DomainOp] | None:
        """Return the net of a run; None where nothing shorter than its ops leaves the same file."""
        score = self._tree.scores[path]
        changes = {
            entity_id: (before, score.notes.get(entity_id))
            for entity_id, before in run.touched.items()
            if before != score.notes.get(entity_id)
        }
        if not changes and not self._is_untouched(path, run):
            return _trace(run)
        return [_net_op(name, *change) for name, change in changes.items()]

    def _is_untouched(self, path: str, run: _EditRun) -> bool:
        """Tell whether a file whose notes are as before the run has the same bytes too."""
        if run.canonical or not run.existed:
            return run.existed
        before = (self._tree.content(path), self._tree.content(names_path(path)))
        return self._tree.scores[path].write() == before


def edits_notes_only(op: Any) -> bool:
    """Tell whether an op is a patch that renames nothing."""
    if not isinstance(op, Mapping) or op.get("op") != "patch":
        return False
    source = op.get("from_address")
    return source is None or source == op.get("address")


def _trace(run: _EditRun) -> list[DomainOp] | None:
    """Return the smallest edit that lets a file be written and leaves its notes the same."""
    entity_id, before = next(iter(run.touched.items()))
    if before is not None:
        track, note = before
        return _child(mutate_note("", entity_id, note, track=track, velocity=note.velocity))
    if run.first is None:
        return None
    track, note = run.first
    return _child(insert_note("", entity_id, note, track=track)) + _child(delete_note("", entity_id, note))


def _net_op(entity_id: str, before: Placed | None, after: Placed | None) -> DomainOp:
    if before is None and after is not None:
        [child] = _child(insert_note("", entity_id, after[1], track=after[0]))
    elif before is not None and after is None:
        [child] = _child(delete_note("", entity_id, before[1]))
    elif before is not None and after is not None:
        [child] = _child(change_note("", entity_id, before, after))
    else:
        raise AssertionError("a note that is in neither state is no change")
    return child


def change_note(
    path: str, entity_id: str, before: Placed, after: Placed, names: Collection[str] = ()
) -> PatchOp:
    """Make the op that turns a note from `before` into `after`.

    It writes the fields that differ, and those of the `names`.
    """
    (old_track, old), (track, new) = before, after
    if old.ends_first != new.ends_first:  # no field of an edit, but part of a whole note
        patch = replace_note(path, entity_id, old, new)
        patch["child_ops"][0]["track"] = track  # type: ignore[typeddict-unknown-key]
        return patch
    values = new.fields()
    changes = {
        name: values[name] for name, value in old.fields().items() if values[name] != value or name in names
    }
    if track == old_track and "track" not in names and changes.keys() == {"start_tick"}:
        return move_note(path, entity_id, old, new.start_tick)
    to_track = track if track != old_track or "track" in names else None
    return mutate_note(path, entity_id, old, track=old_track, to_track=to_track, **changes)


def _child(patch: PatchOp) -> list[DomainOp]:
    return patch["child_ops"]
