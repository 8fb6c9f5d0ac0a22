"""The music domain: ops on a tree of files, and on the notes inside its MIDI files. Pure.

On files: `insert`, `delete` and `replace` of a whole file, whose bytes are in the op's `content`
(base64) or in the store under its content id; a `patch` with `from_address` renames. On notes: a
`patch` of child domain `midi_notes`, its child ops as `note_ops` describes. A `delete`, `replace` or
`patch` with `expected` takes effect only on a file that is there and has the `content_id` it names, if any.

The log is append-only, so a bad op must not keep the others from being applied: an op that
cannot take effect is listed as ignored, with the reason.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from muse.domain import Application, DomainOp, IgnoredOp, Origin, Overlap, Undoing
from muse.errors import DomainError
from muse.plugins.music.blame import blame_notes
from muse.plugins.music.note_ops import NOTE_DOMAIN, read_note_edit
from muse.plugins.music.overlaps import overlaps_of_music
from muse.plugins.music.squash import squash_music
from muse.plugins.music.tree import (
    LAST_RULE,
    MusicTree,
    content_id_of,
    content_of,
    expected_of,
    kind_of,
    names_of_op,
)
from muse.plugins.music.undo import undo_music
from muse.plugins.music.writes import undoings_in
from muse.plugins.op_fields import Fetch, address_of, check_patch, check_path, check_rule

MIDI_ENDINGS = (".mid", ".midi")

__all__ = ["MusicPlugin", "check_op", "check_path"]


class MusicPlugin:
    """Applies music ops. Stateless, and as pure as `DomainPlugin` asks.

    `rule`: by which rule an edited file is written. Only `apply` knows the earlier ones.
    """

    def __init__(self, rule: int = LAST_RULE) -> None:
        self.rule = rule

    def by_rule(self, rule: int) -> "MusicPlugin":
        """Return a plugin that writes files by an earlier rule. Raises DomainError for an unknown one."""
        check_rule(rule, LAST_RULE)
        return MusicPlugin(rule)

    def check_op(self, op: Mapping[str, Any]) -> None:
        """Check an op before it is logged; see the function of this name."""
        check_op(op)

    def apply(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> Application:
        """Apply `ops` in order. A bad op raises nothing; `fetch` may raise for a broken store.

        To apply a part of the ops, and then the rest to the outcome, gives the same bytes as all at once.
        """
        tree = MusicTree(files, fetch, rule=self.rule)
        for index, op in enumerate(ops):
            try:
                tree.apply(index, op)
            except DomainError as error:
                tree.ignored.append(IgnoredOp(index, address_of(op), str(error)))
        return Application(tree.changes(), tree.ignored)

    def knows_file(self, path: str) -> bool:
        """Return whether a file has the name of a MIDI file."""
        return path.lower().endswith(MIDI_ENDINGS)

    def foresee(
        self, files: Mapping[str, bytes], fetch: Fetch, state: Mapping[str, bytes]
    ) -> Callable[[Mapping[str, Any]], str]:
        """Follow the ops one by one, by the last rule. There is no `state`."""
        del state
        tree = MusicTree(files, fetch)

        def take(entry: Mapping[str, Any]) -> str:
            tree.ignored.clear()
            try:
                tree.apply(0, entry["domain_op"])
            except DomainError as error:
                return str(error)
            return "; ".join(found.reason for found in tree.ignored)

        return take

    def squash(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch
    ) -> list[DomainOp]:
        """Return the net of `ops`: a note inserted and then moved is one insert; see `squash_music`."""
        return squash_music(files, ops, fetch)

    def blame(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Fetch, path: str
    ) -> list[Origin]:
        """Tell, for each note of the file `path`, which of `ops` made it and which changed it last."""
        return blame_notes(files, ops, fetch, path)

    def undo(
        self,
        files: Mapping[str, bytes],
        ops: Sequence[Mapping[str, Any]],
        fetch: Fetch,
        undone: Collection[int],
        now: Mapping[str, bytes],
    ) -> Undoing:
        """Take ops back, field by field, and leave the later work of others; see `undo_music`."""
        return undo_music(files, ops, fetch, undone, now)

    def undo_entries(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Fetch,
        undone: Collection[int],
        now: Mapping[str, bytes],
    ) -> Undoing:
        """Do as `undo` does; which entries took others back is known then, and not told from values."""
        ops = [entry["domain_op"] for entry in entries]
        return undo_music(files, ops, fetch, undone, now, undoings=undoings_in(entries))

    def overlaps(
        self,
        files: Mapping[str, bytes],
        entries: Sequence[Mapping[str, Any]],
        fetch: Fetch,
        state: Mapping[str, bytes],
    ) -> list[Overlap]:
        """List the edits that came in each other's way; see `overlaps_of_music`. There is no `state`."""
        del state
        return overlaps_of_music(files, entries, fetch)


def check_op(op: Any) -> None:
    """Check an op before it is logged. Raises DomainError, saying what is wrong, and nothing else.

    `MusicPlugin.apply` can apply an op that passes, if the state of the tree allows it; of
    a `patch`, every child op must pass.
    """
    kind = kind_of(op)
    check_path(op.get("address"))
    expected_of(op)
    if kind == "patch":
        check_patch(op, NOTE_DOMAIN)
        for child in op["child_ops"]:
            read_note_edit(child)
    elif kind != "delete":
        content_of(op, content_id_of(op), fetch=None)
        names_of_op(op)
