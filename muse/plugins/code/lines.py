"""The lines of a text as it changes: which changes made each line, and which wrote in it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from muse.plugins.code.document import Patch, patch_between


@dataclass(slots=True, eq=False)
class TracedLine:
    """A line, and which changes made it and wrote in it.

    `origin` is its number before all changes; `made` and `changed` are places of changes.
    `writers`: the last change of each actor that wrote in it; `deleters`: the last that only took from it.
    `told`: the pairs of actors whose overlap is reported already.
    """

    origin: int | None = None
    made: int | None = None
    changed: int | None = None
    writers: dict[str, int] = field(default_factory=dict)
    deleters: dict[str, int] = field(default_factory=dict)
    told: set[frozenset[str]] = field(default_factory=set)


@dataclass(slots=True)
class TextLines:
    """A text and its lines, one for each newline and one more after the last, which may be empty.

    `place` is the number of the line in which the last change began.
    """

    text: str
    lines: list[TracedLine]
    place: int = 0

    @classmethod
    def before_all(cls, text: str) -> "TextLines":
        """Make the lines of a text that was there before all changes."""
        return cls(text, [TracedLine(origin=number) for number in range(text.count("\n") + 1)])

    @classmethod
    def made_by(cls, text: str, place: int) -> "TextLines":
        """Make the lines of a text that one change brought as a whole."""
        return cls(text, [TracedLine(made=place, changed=place) for _ in range(text.count("\n") + 1)])

    def take(self, patches: Iterable[Patch], place: int) -> list[TracedLine]:
        """Take in patches of the change at `place`, one after the other.

        What a patch brings as it was is left alone. Returns the lines in which it wrote or from which it
        took, also those that are gone after it, and those between.
        """
        written: list[TracedLine] = []
        behind = len(self.lines)
        for start, length, added in patches:
            for offset, less, more in patch_between(self.text[start : start + length], added):
                written += self._take(start + offset, less, more, place)
                written += self.lines[behind : self.place]
                behind = self.place + more.count("\n") + 1
        return list(dict.fromkeys(written))

    def become(self, text: str, place: int) -> list[TracedLine]:
        """Do as `take` does for the one patch, from end to end, that leads to the text after the change."""
        return self.take(patch_between(self.text, text), place)

    def _take(self, start: int, length: int, added: str, place: int) -> list[TracedLine]:
        size = length + len(added)
        after = f"{self.text[:start]}{added}{self.text[start + length :]}"
        shift = 0 if length and added else _to_line_start(after if added else self.text, start, size)
        begin = start - shift
        come = after[begin : begin + size] if added and not length else added
        written = self._patch(begin, begin + length, come, place)
        self.text = after
        return written

    def number_of(self, line: TracedLine) -> int:
        """Return the number of a line, from 1; for a line that is gone, where the last change began."""
        return next((n for n, other in enumerate(self.lines, 1) if other is line), self.place + 1)

    def _patch(self, start: int, end: int, added: str, place: int) -> list[TracedLine]:
        text = self.text
        self.place = first = text.count("\n", 0, start)
        old = self.lines[first : first + text.count("\n", start, end) + 1]
        parts = added.split("\n")
        has_head = start > 0 and text[start - 1] != "\n"
        has_tail = end < len(text) and text[end] != "\n"
        lost = text[start:end].split("\n")  # of the first old line, of those between, of the last
        new = [TracedLine(made=place) for _ in parts]
        if has_head:
            new[0] = old[0]
        if len(new) > 1 and has_head and has_tail and len(old) == 1:  # a line is broken in two
            new[-1] = TracedLine(
                old[0].origin, old[0].made, writers=dict(old[0].writers), deleters=dict(old[0].deleters)
            )
        elif not has_head or (has_tail and len(new) > 1):
            new[-1] = old[-1]
        joins = has_head and has_tail and len(old) > 1 and len(new) == 1
        written = []
        for number, line in enumerate(new):
            own = lost[0] if line is old[0] else lost[-1]
            is_kept = line is old[0] or line is old[-1]
            broken = len(new) > 1 and len(old) == 1 and has_head and has_tail and number in {0, len(new) - 1}
            if not is_kept or own or parts[number] or joins or broken:
                line.changed = place
                written.append(line)
        if joins:
            new[0].writers.update({**old[-1].writers, **new[0].writers})
            new[0].deleters.update({**old[-1].deleters, **new[0].deleters})
            new[0].told |= old[-1].told
            lost[-1] = ""  # what was in it is in the first now
        self.lines[first : first + len(old)] = new
        inner = range(1, len(old) - 1)
        taken = (line for number, line in enumerate(old) if lost[number] or number in inner)
        return [*written, *(line for line in taken if not any(line is known for known in written))]


def _to_line_start(text: str, start: int, size: int) -> int:
    """Return how far back a stretch of text may start, so that it starts with a line; 0 if it may not.

    One that is whole lines behind a line, without the end of the last, stays where it is.
    """
    end, shift = start + size, 0
    if text[start] == "\n" and text[end : end + 1] in {"", "\n"}:
        return 0
    while shift < start and text[start - shift - 1] != "\n":
        shift += 1
        if text[start - shift] != text[end - shift]:
            return 0
    return shift
