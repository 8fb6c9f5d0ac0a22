"""Prints what differs between two states of files; all commands that show differences do it here."""

from collections.abc import Iterable

from muse.cli.shared.diff_lines import header_lines, sizes_text, text_lines
from muse.cli.shared.note_rows import (
    EVENT_HEADINGS,
    NOTE_HEADINGS,
    STYLES,
    event_rows,
    note_rows,
    notes_summary,
)
from muse.cli.shared.output import Output
from muse.cli.shared.piano_roll import piano_roll
from muse.views.file_diff import FileDiff
from muse.views.file_diff_notes import NotesDiff
from muse.views.file_diff_text import TextDiff


def print_diffs(output: Output, diffs: Iterable[FileDiff]) -> int:
    """Print each file's diff for people, or for programs as a JSON object a line; return how many there are.

    A text is shown as a unified diff, which in a pipe is one that `patch` and `git apply` read. The notes of
    a MIDI file are shown in a table, and in a terminal also as a piano roll.
    """
    count = 0
    for diff in diffs:
        if output.as_json:
            output.record(diff.as_record())
        else:
            _print_diff(output, diff)
        count += 1
    return count


def _print_diff(output: Output, diff: FileDiff) -> None:
    output.styled(header_lines(diff))
    if isinstance(diff.body, TextDiff):
        output.styled(text_lines(diff, diff.body))
    elif isinstance(diff.body, NotesDiff):
        _print_notes(output, diff.body)
    elif diff.similarity != 100:
        output.styled([[(f"binary, {sizes_text(diff)}", "")]])


def _print_notes(output: Output, notes: NotesDiff) -> None:
    if summary := notes_summary(notes):
        output.styled([[(summary, "")]])
    if output.is_terminal:
        output.styled(piano_roll(notes, output.width))
    for headings, rows in ((NOTE_HEADINGS, note_rows(notes)), (EVENT_HEADINGS, event_rows(notes))):
        if rows:
            output.table(headings, rows, [STYLES[str(row[0])] for row in rows])
