"""The notes and events of a diff as rows of tables for people. Pure."""

from collections.abc import Callable, Iterator

from muse.views.file_diff_notes import NoteChange, NotesDiff, PlacedEvent, PlacedNote

NOTE_HEADINGS = ("", "BAR", "BEAT", "NOTE", "LENGTH", "VELOCITY", "TRACK")
EVENT_HEADINGS = ("", "BAR", "BEAT", "TRACK", "EVENT")
STYLES = {"+": "green", "-": "red", "~": "yellow"}

Row = tuple[object, ...]

_COLUMNS: tuple[Callable[[PlacedNote], object], ...] = (
    lambda note: "" if note.bar is None else note.bar,
    lambda note: _beat(note.bar, note.beat),
    lambda note: note.pitch_name,
    lambda note: _beat(note.bar, note.length),
    lambda note: note.velocity,
    lambda note: note.track,
)
_NO_COLUMN = ("channel", "release")


def note_rows(notes: NotesDiff) -> list[Row]:
    """Return a row for each note that differs, in the order of the music; the first cell is its sign."""
    signed = [
        *((note.start_tick, 0, ("-", *_cells(note))) for note in notes.removed),
        *((change.after.start_tick, 1, ("~", *_changed_cells(change))) for change in notes.changed),
        *((note.start_tick, 2, ("+", *_cells(note))) for note in notes.added),
    ]
    signed.sort(key=lambda row: row[:2])
    return [row for _, _, row in signed]


def event_rows(notes: NotesDiff) -> list[Row]:
    """Return a row for each event that differs, in the order of the music; the first cell is its sign."""
    signed = [
        *((event.tick, 0, ("-", *_event_cells(event))) for event in notes.events_removed),
        *((event.tick, 1, ("+", *_event_cells(event))) for event in notes.events_added),
    ]
    signed.sort(key=lambda row: row[:2])
    return [row for _, _, row in signed]


def notes_summary(notes: NotesDiff) -> str:
    """Say in a line how many notes and events differ."""
    counts = [
        (len(notes.added), "added"),
        (len(notes.removed), "removed"),
        (len(notes.changed), "changed"),
        (len(notes.kept), "as before"),
    ]
    events = [(len(notes.events_added), "added"), (len(notes.events_removed), "removed")]
    parts = [f"notes: {', '.join(_counted(counts))}"] if any(count for count, _ in counts) else []
    if any(count for count, _ in events):
        parts.append(f"events: {', '.join(_counted(events))}")
    return "; ".join([*parts, *notes.file])


def _counted(counts: list[tuple[int, str]]) -> Iterator[str]:
    return (f"{count} {what}" for count, what in counts if count)


def _cells(note: PlacedNote) -> Row:
    return tuple(column(note) for column in _COLUMNS)


def _changed_cells(change: NoteChange) -> Row:
    pairs = zip(_cells(change.before), _cells(change.after), strict=True)
    cells = [after if before == after else f"{before} → {after}" for before, after in pairs]
    others = [
        f"{name} {_value(change.before, name)} → {_value(change.after, name)}"
        for name in _NO_COLUMN
        if name in change.fields
    ]
    return (*cells[:-1], ", ".join([str(cells[-1]), *others])) if others else tuple(cells)


def _value(note: PlacedNote, name: str) -> object:
    value = getattr(note, name)
    return "none" if value is None else value


def _event_cells(event: PlacedEvent) -> Row:
    bar = "" if event.bar is None else event.bar
    return bar, _beat(event.bar, event.beat), event.track, event.text


def _beat(bar: int | None, beat: float) -> str:
    """Show beats; in a file without bars they are seconds."""
    return f"{beat:g}" if bar is not None else f"{beat:g} s"
