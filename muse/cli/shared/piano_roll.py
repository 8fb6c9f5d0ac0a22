"""A small piano roll of what differs in a score: a row for each pitch, the time from left to right. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from muse.cli.shared.output import StyledPiece
from muse.plugins.music.note import pitch_name
from muse.views.file_diff_notes import NotesDiff, PlacedNote

_ROWS = 24
_LABEL = 5
_FINEST = 4  # columns a beat
_LINE, _BLANK = ("│", "dim"), (" ", "")
_KEPT, _REMOVED, _ADDED = ("·", "dim"), ("-", "red"), ("+", "green")


def piano_roll(notes: NotesDiff, width: int) -> list[list[StyledPiece]]:
    """Draw the bars in which notes differ, at most `width` characters wide; nothing where no note does.

    What was added is a green +, what was removed a red -, and what stayed a dim dot. Where the music has more
    than two dozen pitches, those in which something differs come first, from above.
    """
    gone = [*notes.removed, *(change.before for change in notes.changed)]
    come = [*notes.added, *(change.after for change in notes.changed)]
    columns = width - _LABEL
    if not (gone or come) or columns < _FINEST:
        return []
    start, end = _stretch(notes, [*gone, *come])
    beat = float(notes.meter.sections[0].ticks_per_beat)
    scale = max((end - start) / columns, beat / _FINEST)
    columns = min(columns, max(1, round((end - start) / scale)))

    def column_of(tick: int) -> int:
        return min(int((tick - start) / scale), columns - 1)

    rows: dict[int, list[StyledPiece]] = {}
    bars = notes.meter.bar_ticks(start, end - 1)
    empty: list[StyledPiece] = [_BLANK] * columns
    for _, tick in bars:
        empty[column_of(tick)] = _LINE
    for mark, drawn in ((_KEPT, notes.kept), (_REMOVED, gone), (_ADDED, come)):
        for note in drawn:
            if note.start_tick >= end or note.start_tick + max(note.duration_ticks, 1) <= start:
                continue
            row = rows.setdefault(note.pitch, list(empty))
            first = column_of(max(note.start_tick, start))
            last = column_of(max(note.start_tick, start, min(note.start_tick + note.duration_ticks, end) - 1))
            row[first : last + 1] = [mark] * (last + 1 - first)
    shown = _shown_pitches(rows, {note.pitch for note in (*gone, *come)})
    lines = [_ruler([(number, column_of(tick)) for number, tick in bars], columns)] if bars else []
    lines += [[(f"{pitch_name(pitch):>{_LABEL - 1}} ", "dim"), *_joined(rows[pitch])] for pitch in shown]
    if len(shown) < len(rows):
        lines.append([(f"{'':{_LABEL}}and {len(rows) - len(shown)} more pitches"[:width], "dim")])
    return lines


def _stretch(notes: NotesDiff, differ: Sequence[PlacedNote]) -> tuple[int, int]:
    """Return the ticks from the bar in which the first difference is to the end of that of the last."""
    first = min(note.start_tick for note in differ)
    last = max(note.start_tick + max(note.duration_ticks, 1) for note in differ)
    begun = [tick for _, tick in notes.meter.bar_ticks(0, first)]
    section = notes.meter.sections[-1]
    later = notes.meter.bar_ticks(last, last + int(section.ticks_per_beat * section.beats))
    return (begun[-1] if begun else 0), (later[0][1] if later else last)


def _shown_pitches(rows: Iterable[int], differ: set[int]) -> list[int]:
    by_need = sorted(rows, key=lambda pitch: (pitch not in differ, -pitch))
    return sorted(by_need[:_ROWS], reverse=True)


def _ruler(bars: Sequence[tuple[int, int]], columns: int) -> list[StyledPiece]:
    """Number the bars above the roll, as far as there is room between them."""
    text = ""
    for number, column in bars:
        label = str(number)
        if column >= len(text) + (1 if text else 0) and column + len(label) <= columns:
            text = text.ljust(column) + label
    return [(" " * _LABEL + text, "dim")]


def _joined(cells: Iterable[StyledPiece]) -> Iterator[StyledPiece]:
    """Join neighbours of one style."""
    text, style = "", ""
    for character, own in cells:
        if own != style and text:
            yield text, style
            text = ""
        text, style = text + character, own
    if text:
        yield text, style
