"""The lines of a unified diff, as git prints them, with the styles of a terminal. Pure."""

from collections.abc import Iterable, Iterator

from muse.cli.shared.output import StyledPiece, size_of
from muse.views.file_diff import FileDiff
from muse.views.file_diff_text import TextDiff

StyledLine = list[StyledPiece]

_STYLES = {" ": "", "-": "red", "+": "green"}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def header_lines(diff: FileDiff) -> Iterator[StyledLine]:
    """Yield the lines that say which file it is, and whether it is new, gone or renamed."""
    old, new = diff.old_path or diff.path, diff.new_path or diff.path
    yield [(f"diff --git {_quoted('a/' + old)} {_quoted('b/' + new)}", "bold")]
    if diff.change == "added":
        yield [("new file mode 100644", "bold")]
    elif diff.change == "removed":
        yield [("deleted file mode 100644", "bold")]
    elif diff.change == "renamed":
        yield [(f"similarity index {diff.similarity}%", "bold")]
        yield [(f"rename from {_quoted(old)}", "bold")]
        yield [(f"rename to {_quoted(new)}", "bold")]


def text_lines(diff: FileDiff, body: TextDiff) -> Iterator[StyledLine]:
    """Yield the lines of a text's diff after its header."""
    if body.old_encoding and body.new_encoding and body.old_encoding != body.new_encoding:
        yield [(f"encoding {body.old_encoding} → {body.new_encoding}", "bold")]
    if not body.hunks:
        return
    yield [(f"--- {_file_name('a/', diff.old_path)}", "bold")]
    yield [(f"+++ {_file_name('b/', diff.new_path)}", "bold")]
    for hunk in body.hunks:
        yield [(hunk.heading(), "cyan")]
        for line in hunk.lines:
            yield [(line.sign + line.text, _STYLES[line.sign])]
            if not line.has_newline:
                yield [("\\ No newline at end of file", "dim")]


def sizes_text(diff: FileDiff) -> str:
    """Say how large a file was and is: `12.0 kB → 13.0 kB`."""
    return " → ".join(size_of(size) for size in (diff.old_size, diff.new_size) if size is not None)


def _file_name(prefix: str, path: str | None) -> str:
    if path is None:
        return "/dev/null"
    # Programs that read a diff take all up to a tab for the name.
    return _quoted(prefix + path) + "\t" * (" " in path)


def _quoted(path: str) -> str:
    """Quote a path as git does, where it has characters that would end a line or a name."""
    if path.isprintable() and not {'"', "\\"} & set(path):
        return path
    return f'"{"".join(_escaped(path))}"'


def _escaped(path: str) -> Iterable[str]:
    for character in path:
        if character in _ESCAPES:
            yield _ESCAPES[character]
        elif character.isprintable():
            yield character
        else:
            yield from (f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
