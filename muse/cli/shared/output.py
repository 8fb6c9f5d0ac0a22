"""What people and programs see: lines, tables and progress for people, JSON Lines for programs.

Results go to stdout, errors and progress to stderr. Output that is not a terminal gets plain text: no
colour, no drawn lines, no animation.
"""

import codecs
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from muse.disk.storage import LOCAL
from muse.errors import MuseError, UsageError

# `rich` is imported where a terminal is written to: to read it takes longer than most commands take.
if TYPE_CHECKING:
    from rich.console import Console, OverflowMethod

_LAST_STREAM = 2  # the number of stderr
_COLOURS = ("cyan", "red", "green", "magenta", "yellow", "blue")
_ASCII_LINES = str.maketrans(dict(zip("│─┘┐┤└┌├┴┬┼●◆·→", [*"|-+++++++++*@.", "->"], strict=True)))
_ID = re.compile(r"(?:[0-9a-f]{8,64}|[0-9a-f]{8}(?:-[0-9a-f]{4,12}){4})?\Z")
StyledPiece = tuple[str, str]
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_FACTS = (
    "field",
    "key_id",
    "line_number",
    "path",
    "paths",
    "offset",
    "op_id",
    "errno",
    "status",
    "retry_after",
    "op_ids",
    "holders",
    "reservation_ids",
)


def printable(text: str) -> str:
    """Escape what would move the cursor or change a terminal: names come from other people."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _colour(number: int) -> str:
    return "bold" if number < 0 else _COLOURS[number % len(_COLOURS)]


def _can_draw(encoding: str | None) -> bool:
    """Tell whether lines can be printed in this encoding."""
    try:
        "─●".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def error_console() -> "Console":
    """Make the console for messages on stderr, without markup."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True, markup=False, emoji=False, highlight=False)


class Output:
    """Where a command puts its results, for people or (`as_json`) for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def line(self, text: str = "") -> None:
        """Print one line for people, at once."""
        sys.stdout.write(printable(text) + "\n")
        sys.stdout.flush()

    def coloured(self, pieces: Sequence[tuple[str, int | None]]) -> None:
        """Print a line of pieces, each in the colour of its number; only a terminal gets colours.

        On a terminal the line ends where the terminal does.
        """
        if sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415
            from rich.text import Text  # noqa: PLC0415

            styled = [(text, "" if number is None else _colour(number)) for text, number in pieces]
            Console(highlight=False).print(
                Text.assemble(*styled), no_wrap=True, overflow="ellipsis", crop=True
            )
            return
        line = "".join(text for text, _ in pieces).rstrip() + "\n"
        sys.stdout.write(_encodable(line))
        sys.stdout.flush()

    @property
    def is_terminal(self) -> bool:
        """Tell whether people see the results as they are printed."""
        return not self.as_json and sys.stdout.isatty()

    @cached_property
    def width(self) -> int:
        """Return how many characters a line of the terminal has."""
        from rich.console import Console  # noqa: PLC0415

        return Console().width

    def styled(self, lines: Iterable[Sequence[StyledPiece]], *, cuts: bool = False) -> None:
        """Print lines of pieces, each with a style of `rich`, "green" for example.

        A terminal shows the styles, folds what is wider than it is, or `cuts` it there, and gets no control
        characters. A pipe gets the text as it is, so that a program can use it.
        """
        if sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415
            from rich.text import Text  # noqa: PLC0415

            console = Console(highlight=False, markup=False, emoji=False)
            for line in lines:
                pieces = [(_printable_but_tabs(text), style) for text, style in line]
                overflow: OverflowMethod = "ellipsis" if cuts else "fold"
                console.print(Text.assemble(*pieces), overflow=overflow, no_wrap=cuts)
            return
        for line in lines:
            sys.stdout.write(_encodable("".join(text for text, _ in line)) + "\n")
        sys.stdout.flush()

    def record(self, value: Mapping[str, Any]) -> None:
        """Print one line of JSON, at once."""
        sys.stdout.write(_json_text(value, sys.stdout, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def document(self, text: bytes, value: Mapping[str, Any]) -> None:
        """Print a document as it would be in its file; for programs, as one line."""
        if self.as_json:
            self.record(value)
        else:
            sys.stdout.flush()
            if buffer := getattr(sys.stdout, "buffer", None):
                buffer.write(text)  # as it is, whatever the terminal's encoding
            else:
                sys.stdout.write(text.decode())
            sys.stdout.flush()

    def table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[object]],
        styles: Sequence[str] = (),
        *,
        cuts_last: bool = False,
    ) -> None:
        """Print rows for people. Numbers are set to the right, ids stay whole.

        `styles` has one for each row, which a terminal shows. With `cuts_last`, a row is one line there: the
        last cell is cut where the line ends.
        """
        cells = [[printable(str(cell)) for cell in row] for row in rows]
        right = [all(isinstance(row[index], int | float) for row in rows) for index in range(len(headings))]
        if sys.stdout.isatty():
            _print_table(headings, cells, right, styles or [""] * len(cells), cuts_last=cuts_last)
            return
        from rich.cells import cell_len  # noqa: PLC0415

        widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
        for row in [list(headings), *cells]:
            padded = map(_pad, row, widths, right)
            sys.stdout.write(_encodable("  ".join(padded).rstrip()) + "\n")
        sys.stdout.flush()

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int], None]]:
        """Show on a terminal that long work goes on. Yields a function to call with what is done so far."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda _done: None
            return
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        # Results that are printed meanwhile stay on stdout, unless both are the same terminal.
        is_shared = sys.stdout.isatty()
        with Progress(
            *columns, console=error_console(), transient=True, redirect_stdout=is_shared
        ) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done: progress.update(task, description=f"{what}: {done} so far")


def _pad(text: str, width: int, right: bool) -> str:  # noqa: FBT001 - called through map
    from rich.cells import cell_len  # noqa: PLC0415

    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def _encodable(text: str) -> str:
    """Draw with plain characters where the encoding of stdout has no others."""
    return text if text.isascii() or _can_draw(sys.stdout.encoding) else text.translate(_ASCII_LINES)


def _printable_but_tabs(text: str) -> str:
    return "\t".join(map(printable, text.split("\t")))


def _print_table(
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    right: Sequence[bool],
    styles: Sequence[str],
    *,
    cuts_last: bool,
) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, (heading, is_right) in enumerate(zip(headings, right, strict=True)):
        column = [row[index] for row in cells]
        # An id is copied with two clicks: it is never broken over two lines.
        is_whole = all(map(_ID.match, column)) or (cuts_last and index < len(headings) - 1)
        least = max(map(len, column), default=0) if column and is_whole else None
        is_cut = cuts_last and not is_whole
        table.add_column(
            Text(heading),
            justify="right" if is_right else "left",
            overflow="ellipsis" if is_cut else "fold",
            no_wrap=is_cut,
            min_width=least,
        )
    for row, style in zip(cells, styles, strict=True):
        table.add_row(*map(Text, row), style=style)
    Console(highlight=False).print(table)


def _json_text(value: Mapping[str, Any], stream: TextIO, separators: tuple[str, str] | None = None) -> str:
    """Return one line of JSON, with escapes where the stream cannot take all of Unicode.

    A byte of a file name that is no text is written out, as `printable` does: half a surrogate pair is not
    JSON to every reader (RFC 8259, section 8.2).
    """
    text = json.dumps(value, ensure_ascii=False, separators=separators)
    if text.isascii():
        return text
    text = _HALF_PAIR.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
    if codecs.lookup(stream.encoding or "utf-8").name == "utf-8":
        return text
    return json.dumps(json.loads(text), ensure_ascii=True, separators=separators)


def print_error(kind: str, message: str, *, as_json: bool, facts: Mapping[str, Any] | None = None) -> None:
    """Print one error on stderr: a line that starts with `muse:`, or an object with the key `error`."""
    if as_json:
        text = _json_text({"error": {"kind": kind, "message": message, **(facts or {})}}, sys.stderr)
    else:
        text = f"muse: {printable(message)}"
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def facts_of(error: MuseError) -> dict[str, Any]:
    """Return what an error carries besides its message."""
    found = {name: getattr(error, name, None) for name in _FACTS}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value
    }


def abandon_stdout() -> None:
    """Drop what is still to be printed, when nobody reads it; otherwise its flush fails again at exit."""
    with suppress(OSError, ValueError):
        descriptor = LOCAL.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        LOCAL.close(descriptor)


def prepare_streams() -> None:
    """Make printing never fail because of what is printed, or because a stream is closed.

    A closed stream's number is taken, so that no log is opened under it, where a library may print.
    """
    while (descriptor := LOCAL.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        pass
    LOCAL.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.StringIO())
        elif reconfigure := getattr(stream, "reconfigure", None):
            # A file name may be no Unicode, and the terminal's encoding may be narrow.
            reconfigure(errors="backslashreplace")


def standard_input() -> BinaryIO:
    """Return the bytes that the command is fed with; `UsageError` where its stdin is closed."""
    if sys.stdin is None:
        raise UsageError("stdin is closed: feed the command with a file, as in 'muse ... < ops.jsonl'")
    return sys.stdin.buffer


def count_of(number: int, singular: str, plural: str = "") -> str:
    """Say how many: `1 entry`, `2 entries`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def size_of(byte_count: int) -> str:
    """Say a size for people: `512 B`, `1.5 MB`."""
    if byte_count < 1000:
        return f"{byte_count} B"
    size = float(byte_count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
