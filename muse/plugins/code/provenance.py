"""Tells from which entries each line of a text stems, and which edits came in each other's way. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from muse.causality import CausalHistory
from muse.domain import HIDDEN, Origin, Overlap
from muse.plugins.code.deletions import Deletion, Deletions
from muse.plugins.code.document import Delta, patches_of
from muse.plugins.code.encodings import decode, detect
from muse.plugins.code.lines import TextLines, TracedLine
from muse.plugins.code.live_tree import LiveFile
from muse.plugins.code.merge import Entry, Merger
from muse.plugins.code.ops import CodeOp, is_path
from muse.plugins.code.unseen import places_in_doubt
from muse.plugins.op_fields import Fetch


def blame_lines(
    files: Mapping[str, bytes],
    entries: Sequence[Entry],
    fetch: Fetch,
    state: Mapping[str, bytes],
    path: str,
) -> list[Origin]:
    """List the lines that the text at `path` has after `entries`, each with where it stems from.

    `path` may be `HIDDEN` and the id of a file that was removed, which an edit may bring back.
    """
    watch = _Watch(files, entries, fetch, state)
    watch.run()
    tree = watch.merger.tree
    file_id = path.removeprefix(HIDDEN) if path.startswith(HIDDEN) else tree.file_at(path)
    if file_id is not None and file_id in tree.placements:
        tree.file(file_id)  # one that only moved was not looked into until now
    if file_id in watch.texts:
        text, came_from = watch.texts[file_id], watch.came_from[file_id]
    else:
        content = tree.content(path)
        encoding = None if content is None else detect(content)
        if content is None or encoding is None or not is_path(path):
            return []  # nothing there, nothing with lines, or a page that Muse keeps for itself
        text, came_from = TextLines.before_all(decode(content, encoding)), path
    return list(_origins(text, came_from))


def _origins(text: TextLines, came_from: str) -> Iterator[Origin]:
    for number, (line, content) in enumerate(zip(text.lines, text.text.split("\n"), strict=True), 1):
        if content or number < len(text.lines):
            yield Origin(
                address=f"line {number}",
                summary=content.rstrip("\r"),
                made=line.made,
                changed=line.changed,
                came_from=came_from if line.origin is not None else "",
                was=f"line {line.origin + 1}" if line.origin is not None else "",
            )


def overlaps_of_code(
    files: Mapping[str, bytes], entries: Sequence[Entry], fetch: Fetch, state: Mapping[str, bytes]
) -> list[Overlap]:
    """List the edits of one line or one file by two actors that had not seen each other's edit."""
    finder = _Overlaps(files, entries, fetch, state)
    finder.run()
    return finder.found


class _Watch:
    """Takes entries in one by one and keeps the lines of each text."""

    def __init__(
        self, files: Mapping[str, bytes], entries: Sequence[Entry], fetch: Fetch, state: Mapping[str, bytes]
    ) -> None:
        self.entries = entries
        self.merger = Merger(files, state, fetch, "watch")
        self.merger.on_taken = self._taken
        self.merger.tree.on_opened = self._opened
        self.texts: dict[str, TextLines] = {}
        self.came_from: dict[str, str] = {}
        self._deltas: dict[str, list[Delta]] = {}  # file id -> what is not in `texts` yet
        for file_id in self.merger.tree.opened():  # they were removed from outside
            self._opened(self.merger.tree.file(file_id), "")

    def run(self) -> None:
        self.merger.take(self.entries)

    def _opened(self, file: LiveFile, path: str) -> None:
        """Take up a file that was there, before anything is done to it."""
        text = _text_of(file)
        if text is not None:
            self._begin(file, TextLines.before_all(text), path or f"{HIDDEN}{file.file_id}")

    def _begin(self, file: LiveFile, text: TextLines, came_from: str) -> None:
        self.texts[file.file_id], self.came_from[file.file_id] = text, came_from
        deltas = self._deltas[file.file_id] = []
        if file.document is not None:
            file.document.observe(deltas.append)

    def _taken(self, place: int, op: CodeOp) -> None:
        if op.kind not in {"edit", "rewrite", "create"}:
            return
        file = self.merger.tree.file(op.file_id)
        text = _text_of(file)
        if text is None:
            self.texts.pop(op.file_id, None)
        elif op.file_id in self.texts:
            self.wrote(place, op, self.texts[op.file_id])
        else:
            self._begin(file, TextLines.made_by(text, place), "")

    def wrote(self, place: int, op: CodeOp, text: TextLines) -> list[TracedLine]:
        """Take in what an op did to a text; return the lines from the first to the last that it touched."""
        deltas, now = self._deltas[op.file_id], _text_of(self.merger.tree.file(op.file_id))
        lines = [line for delta in deltas for line in text.take(patches_of(text.text, delta), place)]
        deltas.clear()
        return lines if now is None else lines + text.become(now, place)


def _text_of(file: LiveFile) -> str | None:
    """Return the text of a file, also of one whose content as a whole is a text now; None without one."""
    if file.document is not None:
        return file.document.text
    encoding = detect(file.content)
    return None if encoding is None else decode(file.content, encoding)


class _Overlaps(_Watch):
    def __init__(
        self, files: Mapping[str, bytes], entries: Sequence[Entry], fetch: Fetch, state: Mapping[str, bytes]
    ) -> None:
        super().__init__(files, entries, fetch, state)
        self.found: list[Overlap] = []
        self._history = CausalHistory(entries)
        self._told: set[tuple[str, ...]] = set()
        self._deletions: dict[str, Deletions] = {}  # file id -> what was deleted from it
        self._last: dict[tuple[str, str], dict[str, int]] = {}  # file id, kind -> actor -> its last op
        self._places: list[int] = []  # of the entries that are looked at

    def run(self) -> None:
        """Take in the entries of the files in which edits met unseen; the others have no overlap."""
        self._places = places_in_doubt(self.entries, self._history, self.merger.tree.placements)
        if self._places:
            self.merger.take([self.entries[place] for place in self._places])

    def wrote(self, place: int, op: CodeOp, text: TextLines) -> list[TracedLine]:
        document, update = self.merger.tree.file(op.file_id).document, op.update
        lines = super().wrote(place, op, text)
        if place < 0 or document is None:
            return lines
        only_deletes = update is not None and not update.text
        if update is not None:
            deletions = self._deletions.setdefault(op.file_id, Deletions())
            for deletion in deletions.met_by(update):
                met = [] if only_deletes and deletion.only_deletes else [deletion.place]
                self._compare(place, op, text, deletion.line, met)
                lines += [] if any(line is deletion.line for line in lines) else [deletion.line]
            if lines:
                deletions.add(update, Deletion(place, lines[0], only_deletes))
        actor: str = self.entries[place]["actor_id"]
        for line in lines:
            self._compare(place, op, text, line, line.writers.values())
            if not only_deletes:
                self._compare(place, op, text, line, line.deleters.values())
            (line.deleters if only_deletes else line.writers)[actor] = place
        return lines

    def _compare(
        self, place: int, op: CodeOp, text: TextLines, line: TracedLine, earlier_ones: Iterable[int]
    ) -> None:
        """Note the earlier edits of a line that the author had not seen; once for each pair of actors."""
        for earlier in earlier_ones:
            pair = frozenset(self.entries[found]["actor_id"] for found in (place, earlier))
            if pair not in line.told and not self._history.knows(place, earlier):
                line.told.add(pair)
                reason = f"both wrote in line {text.number_of(line)}"
                self._add(op.path, reason, place, earlier, both_stand=True)

    def _taken(self, place: int, op: CodeOp) -> None:
        place = self._places[place] if place >= 0 else place  # what waited for earlier commits has no place
        super()._taken(place, op)
        if place >= 0:
            self._meet_file_ops(place, op)

    def _meet_file_ops(self, place: int, op: CodeOp) -> None:
        """Compare with what others did to the file as a whole; once for each pair of actors and deeds."""
        kind, actor = op.kind, self.entries[place]["actor_id"]
        if op.update is not None and not op.update.text:
            return  # who only deletes text is in no remover's way
        for other_kind, reason in _AGAINST.get(kind, ()):
            for other, earlier in self._last.get((op.file_id, other_kind), {}).items():
                case = (op.file_id, kind, other_kind, actor, other)
                if case not in self._told and not self._history.knows(place, earlier):
                    self._told.add(case)
                    self._add(op.path, reason, *_outcome(kind, other_kind, place, earlier))
        self._last.setdefault((op.file_id, kind), {})[actor] = place

    def _add(self, path: str, reason: str, kept: int, lost: int, *, both_stand: bool = False) -> None:
        self.found.append(Overlap(path, reason, kept, lost, both_stand))


_AGAINST: Mapping[str, Sequence[tuple[str, str]]] = {
    "edit": [("remove", "one wrote in the file that the other removed: it stays")],
    "rewrite": [
        ("remove", "one replaced the file that the other removed: it stays"),
        ("rewrite", "both replaced the whole file: the later stands"),
    ],
    "remove": [
        ("edit", "one wrote in the file that the other removed: it stays"),
        ("rewrite", "one replaced the file that the other removed: it stays"),
    ],
    "move": [("move", "both moved the file: the later stands")],
}


def _outcome(kind: str, other_kind: str, place: int, earlier: int) -> tuple[int, int]:
    """Return which of two is kept, and which is not: an edit before a removal, else the later one."""
    return (earlier, place) if kind == "remove" and other_kind != "remove" else (place, earlier)
