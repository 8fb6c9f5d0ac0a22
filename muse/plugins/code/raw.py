"""Turns raw ops, positions in the version that their author saw, into ops that mean the same anywhere."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse.causality import CausalHistory
from muse.core.content_id import object_id
from muse.errors import DomainError
from muse.plugins.code.document import Patch, patch_between
from muse.plugins.code.encodings import check_text, decode
from muse.plugins.code.file_ids import Stamp, id_of_made
from muse.plugins.code.live_tree import LiveFile, LiveTree
from muse.plugins.code.ops import AbsentObjectError, CodeOp, read_op
from muse.plugins.code.update import client_of, read_update
from muse.plugins.op_fields import Fetch

Entry = Mapping[str, Any]


def stamp_of(entry: Entry) -> Stamp:
    """Return the place of an entry in the total order."""
    return entry["lamport_ts"], entry["actor_id"], entry["op_id"]


@dataclass(slots=True)
class _Version:
    """A tree as an actor knew it: after a certain number of entries of each actor. It only grows."""

    tree: LiveTree
    taken: Counter[str] = field(default_factory=Counter)


class RawOps:
    """Turns the raw ops among `entries`, given in the total order, by means of a tree and its state."""

    def __init__(
        self, files: Mapping[str, bytes], state: Mapping[str, bytes], fetch: Fetch, entries: Sequence[Entry]
    ) -> None:
        self._source = (files, state, fetch)
        self._entries = entries
        self._history = CausalHistory(entries)
        self._places: dict[str, int] = {}
        self._by_actor: dict[str, list[int]] = {}
        for place, entry in enumerate(entries):
            self._places[entry["op_id"]] = place
            self._by_actor.setdefault(entry["actor_id"], []).append(place)
        self._derived: dict[str, list[CodeOp]] = {}
        self._read: dict[int, CodeOp] = {}
        self._versions: dict[str, _Version] = {}

    def turn(self, entry: Entry, op: CodeOp, now: LiveTree) -> list[CodeOp]:
        """Return what a raw op means; one that waits from an earlier commit is returned as it is.

        `now` is the tree with all entries before it.
        Raises `DomainError` where it means nothing: a place beyond the text, a file that was not there.
        """
        op_id = entry["op_id"]
        if op_id not in self._places:
            return [op]
        if op_id not in self._derived:
            self._derived[op_id] = []  # nothing, unless it can be told
            self._derived[op_id] = meaning_of(self._version(entry, now), op_id, op)
        return self._derived[op_id]

    def _version(self, entry: Entry, now: LiveTree) -> LiveTree:
        place = self._places[entry["op_id"]]
        if self._knows_all(place):
            return now
        version = self._versions.get(entry["actor_id"])
        if version is None:
            version = self._versions[entry["actor_id"]] = _Version(LiveTree(*self._source, "version"))
        fresh: list[int] = []
        for actor_id, places in self._by_actor.items():
            known = bisect_left(places, True, key=lambda other: not self._knows(place, other))
            fresh += places[version.taken[actor_id] : known]
            version.taken[actor_id] = known
        for other in sorted(fresh):
            self._bring(version.tree, other)
        return version.tree

    def _knows(self, place: int, other: int) -> bool:
        return other < place and self._history.knows(place, other)

    def _knows_all(self, place: int) -> bool:
        """Tell whether the author of an entry had seen all before it, by the last one of each actor."""
        lasts = (
            places[bisect_left(places, place) - 1] for places in self._by_actor.values() if places[0] < place
        )
        return all(self._history.knows(place, last) for last in lasts)

    def _bring(self, tree: LiveTree, place: int) -> None:
        entry = self._entries[place]
        try:
            op = self._read.get(place)
            if op is None:
                op = self._read[place] = read_op(entry["domain_op"])
            for meant in [op] if op.file_id else self._derived.get(entry["op_id"], []):
                tree.take(stamp_of(entry), meant)
        except DomainError:
            return  # it has no effect, as it had none in the tree


def meaning_of(tree: LiveTree, op_id: str, op: CodeOp) -> list[CodeOp]:
    """Return what a raw op means in the version `tree` that its author saw; raises as `RawOps.turn` does."""
    if op.kind == "create":
        if tree.is_taken(op.path):
            raise DomainError(f"a file {op.path!r} is already there")
        return [op._replace(file_id=id_of_made(op_id))]
    file, base = tree.open(op.from_path or op.path)
    found = op._replace(path=op.from_path or op.path, file_id=file.file_id, base=base)
    if op.kind == "move":
        return [found]
    if op.kind == "remove":
        if file.document is None:
            return [found._replace(content_id=object_id(file.content), lifts=file.lifts)]
        return [found._replace(seen=dict(file.document.vector))]
    if op.kind == "patch":
        moved = [found._replace(kind="move", children=(), to_path=op.path)] if op.from_path else []
        patches = [(edit.position, edit.length, edit.text or "") for edit in op.children]
        return moved + ([_edited(file, found, op_id, patches)] if patches else [])
    if op.kind == "edit":
        return [_edited(file, found, op_id, [(op.position, op.length, op.text or "")])]
    try:
        content = op.whole(tree.fetch)
    except AbsentObjectError:
        return [found]  # where it is taken in, it waits
    if file.document is None or file.encoding is None:
        return [found._replace(content=content)]
    text = decode(content, file.encoding) if op.text is None else op.text
    return [_edited(file, found, op_id, patch_between(file.document.text, text))]


def _edited(file: LiveFile, op: CodeOp, op_id: str, patches: list[Patch]) -> CodeOp:
    document = file.require_document(op.path)
    for _, _, text in patches:
        check_text(text, file.encoding or "utf-8")
    client = client_of(op_id, file.file_id)
    alone = len(patches) == 1
    data = document.edit_as(client, patches[0]) if alone else document.fork(client).edit(patches)
    if not data:
        raise DomainError(f"the edit of {op.path!r} changes nothing")
    return op._replace(kind="edit", children=(), update=read_update(data))
