"""Follows what each op did to each file: characters brought and taken, moves, writes, removals. Pure."""

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from muse.domain import DomainWork
from muse.plugins.code.characters import texts_of
from muse.plugins.code.file_ids import Stamp
from muse.plugins.code.live_tree import LiveFile, LiveTree
from muse.plugins.code.merge import Entry, Merger, waiting_entries
from muse.plugins.code.ops import CodeOp
from muse.plugins.code.raw import stamp_of
from muse.plugins.code.stretches import Marks, Stretch, Stretches, edges
from muse.plugins.code.update import Id, TextPiece, client_of, pieces_in, utf16_length
from muse.plugins.op_fields import Fetch, undone_by

BEFORE = -1
"""The place of what was done before all ops that are looked at."""


@dataclass(frozen=True)
class Deed:
    """What an op did to a file: its place among all ops, and what it meant.

    `content` is the whole file that it brought.
    """

    place: int
    op_id: str
    op: CodeOp
    stamp: Stamp
    content: bytes | None = None

    @property
    def actor_id(self) -> str:
        """Who made it."""
        return self.stamp[1]

    @property
    def is_undo(self) -> bool:
        """Whether the op takes back others."""
        return bool(self.op.undoes)

    @cached_property
    def texts(self) -> dict[Id, str]:
        """The characters that it brought, by their ids, in their order."""
        if self.op.update is not None:
            pieces = pieces_in(self.op.update.data)
        elif self.op.kind == "create" and self.content is not None and self.op.encoding:
            text = self.content.decode(self.op.encoding)
            pieces = iter([TextPiece(client_of(self.op.file_id), 0, utf16_length(text), text, 0, b"")])
        else:
            return {}
        return {identity: text for piece in pieces for identity, text in texts_of(piece)}

    @property
    def deleted(self) -> tuple[Stretch, ...]:
        """The characters that it took away."""
        return self.op.update.deletes if self.op.update else ()

    def takes(self, identity: Id) -> bool:
        """Tell whether it took a character away."""
        client, clock = identity
        return any(one == client and 0 <= clock - first < size for one, first, size in self.deleted)


@dataclass(slots=True)
class FileDeeds:
    """The deeds in one file, in the order of their effect.

    `path` and `content` are as they were before, `content` only of a binary file. `lost` has the text of what
    wanted ops deleted, `lost_before` what was deleted already when a wanted op did so. `lost_ends` are line
    ends that ops took away of a text in which a wanted one did so too.
    """

    file_id: str
    path: str
    content: bytes | None = None
    deeds: list[Deed] = field(default_factory=list)
    lost: dict[Id, str] = field(default_factory=dict)
    lost_before: Stretches = field(default_factory=Stretches)
    lost_ends: set[Id] = field(default_factory=set)
    _brought: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    def add(self, deed: Deed) -> None:
        """Take in the next deed, in the order of the log."""
        for client, start, end in _brought(deed):
            insort(self._brought.setdefault(client, []), (start, end, len(self.deeds)))
        self.deeds.append(deed)

    def bringer(self, identity: Id) -> Deed | None:
        """Return the deed that brought a character, None for one from before."""
        client, clock = identity
        known = self._brought.get(client, [])
        place = bisect_right(known, (clock, 2**63)) - 1
        if place < 0 or known[place][1] <= clock:
            return None
        return self.deeds[known[place][2]]

    def edges(self) -> Iterator[Id]:
        """Yield the ids where what deeds brought or took away begins, and those behind its end.

        What is between two of them came and went with the same deeds.
        """
        for deed in self.deeds:
            yield from edges(deed.deleted)
            for client, start, end in _brought(deed):
                yield from ((client, start), (client, end))

    def text_of(self, identity: Id) -> str | None:
        """Return the text of a character that a deed brought, or that a wanted one took away."""
        bringer = self.bringer(identity)
        found = None if bringer is None else bringer.texts.get(identity)
        return self.lost.get(identity) if found is None else found


def _brought(deed: Deed) -> Iterator[tuple[int, int, int]]:
    if deed.op.update is not None and deed.op.update.start < deed.op.update.end:
        yield deed.op.update.client, deed.op.update.start, deed.op.update.end
    elif deed.op.kind == "create" and deed.texts:
        yield client_of(deed.op.file_id), 0, len(deed.texts)


class Deeds:
    """Follows works, one after the other, and notes what each op did.

    `tree` is then the present one. `refused` says why an op had no effect. What ops took away is known of
    those in `wanted`, and of those that another op takes back.
    """

    def __init__(self, works: Sequence[DomainWork], wanted: Collection[str], fetch: Fetch) -> None:
        self.files: dict[str, FileDeeds] = {}
        self.refused: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.undoers: dict[str, list[str]] = {}
        undone = (name for work in works for entry in work.entries for name in undone_by(entry["domain_op"]))
        self._wanted = {*wanted, *undone}
        self._count = 0
        self._fetch = fetch
        self._states: dict[str, bytes] = {}  # the texts as they were when this work opened them
        for work in works:
            self.tree = self._follow(work)

    def _follow(self, work: DomainWork) -> LiveTree:
        for place, entry in enumerate(work.entries, self._count):
            self.places.setdefault(entry["op_id"], place)
        self._count += len(work.entries)
        merger = Merger(work.files, work.state, self._fetch, "undo")
        entries: list[Entry] = [*work.entries, *waiting_entries(work.state)]  # these have places from the end
        self._states = {}
        merger.on_taken = lambda place, op: self._taken(merger.tree, entries[place], op)
        merger.tree.on_opened = lambda file, _path: self._opened(merger.tree, file)
        for file_id in merger.tree.opened():  # they were removed from outside
            self._opened(merger.tree, merger.tree.file(file_id))
        for ignored in merger.take(work.entries):
            self.refused[entries[ignored.index]["op_id"]] = ignored.reason
        for file_id, state in self._states.items():
            self._find_lost(self.files[file_id], state)
        return merger.tree

    def _opened(self, tree: LiveTree, file: LiveFile) -> None:
        content = None if file.document else file.content
        if file.file_id not in self.files:
            path = tree.placements[file.file_id].path
            self.files[file.file_id] = FileDeeds(file.file_id, path, content)
        known = self.files[file.file_id]
        if file.document is not None:
            self._states[file.file_id] = file.document.state()
        elif content is not None and content != _last_content(known):  # it was written from outside
            known.content = content
            known.deeds = [deed for deed in known.deeds if deed.op.kind not in {"create", "rewrite"}]

    def _taken(self, tree: LiveTree, entry: Entry, op: CodeOp) -> None:
        op_id = entry["op_id"]
        self.refused.pop(op_id, None)
        file = self.files.setdefault(op.file_id, FileDeeds(op.file_id, op.path))
        content, encoding = None, op.encoding
        if op.kind == "create" or (op.kind == "rewrite" and op.update is None):
            content = op.whole(self._fetch)
            encoding = tree.file(op.file_id).encoding or ""
        meant = op._replace(encoding=encoding, content=None, text=None)
        file.add(Deed(self.places.get(op_id, BEFORE), op_id, meant, stamp_of(entry), content))
        for target in op.undoes:
            self.undoers.setdefault(target, []).append(op_id)

    def _find_lost(self, file: FileDeeds, state: bytes) -> None:
        """Note the text of what wanted ops took away of a text that was there when it was opened."""
        wanted = [one for deed in file.deeds if deed.op_id in self._wanted for one in deed.deleted]
        if not wanted:
            return
        pieces = [*pieces_in(state)]
        file.lost_ends.update(_line_ends_in(pieces, file.deeds))
        texts = {identity: text for piece in pieces for identity, text in texts_of(piece)}
        known = Marks((*texts, *file.lost))
        taken = [identity for stretch in wanted for identity in known.within(stretch)]
        for identity in taken:
            if identity in texts and file.bringer(identity) is None:
                file.lost.setdefault(identity, texts[identity])
        unwanted = [deed for deed in file.deeds if deed.op_id not in self._wanted]
        points = Marks((*file.edges(), *taken, *((client, clock + 1) for client, clock in taken)))
        for client, clock, length in wanted:
            clocks = [number for _, number in points.within((client, clock, length))]
            for start, end in pairwise((*clocks, clock + length)):
                one = client, start
                is_known = one in texts or one in file.lost or file.bringer(one) is not None
                if not is_known and not any(deed.takes(one) for deed in unwanted):
                    file.lost_before.add(client, start, end)


def _line_ends_in(pieces: Iterable[TextPiece], deeds: Sequence[Deed]) -> Iterator[Id]:
    """Yield the line ends of a text that deeds took away."""
    taken = Stretches()
    for deed in deeds:
        for client, clock, length in deed.deleted:
            taken.add(client, clock, clock + length)
    for piece in pieces:
        clock = piece.clock
        *lines, _ = (piece.text or "").split("\n")
        for line in lines:
            clock += utf16_length(line) + 1
            if (piece.client, clock - 1) in taken:
                yield piece.client, clock - 1


def _last_content(file: FileDeeds) -> bytes | None:
    """Return the content that counted last of a binary file."""
    found = file.content
    stamps = (0, "", "")
    for deed in file.deeds:
        stamp = deed.op.stamp(deed.stamp)
        if deed.content is not None and stamp > stamps:
            found, stamps = deed.content, stamp
    return found


def statuses(deeds: Deeds, undone: Collection[str]) -> dict[str, bool]:
    """Tell of each op that was ever taken back, or is in `undone`, whether it counts.

    An op does not where one that counts takes it back.
    """
    asked = {*deeds.undoers, *undone}
    counts: dict[str, bool] = {}
    for op_id in sorted(asked, key=lambda op_id: deeds.places.get(op_id, BEFORE), reverse=True):
        place = deeds.places.get(op_id, BEFORE)
        later = (
            undoer for undoer in deeds.undoers.get(op_id, ()) if deeds.places.get(undoer, BEFORE) > place
        )
        counts[op_id] = op_id not in undone and not any(counts.get(undoer, True) for undoer in later)
    return counts
