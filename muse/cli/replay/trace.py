"""Editing traces: what people typed, keystroke by keystroke, as a JSON document, mostly gzipped.

The format is that of the collection "editing-traces": `txns`, each with `patches` [position, deleted,
inserted] in code points and, where people typed at the same time, `parents` and `agent`; `startContent`
and `endContent` are the text before and after.
"""

import os
import zlib

import msgspec

from muse.cli.replay.script import Create, Edit, Script, ScriptStep, agent_id
from muse.errors import DomainError

GZIP_MAGIC = b"\x1f\x8b"
_TEXT_BYTES = 128 << 20  # unpacked: a trace of a million keystrokes has about 100
_AGENTS = 256
_DEFAULT_NAME = "trace.txt"


class _Transaction(msgspec.Struct):
    """What an agent did at once. Without `parents`, it follows the one before."""

    patches: list[tuple[int, int, str]]
    parents: list[int] | None = None
    agent: int = 0


class _Trace(msgspec.Struct):
    txns: list[_Transaction]
    endContent: str  # noqa: N815 - the format's own name
    startContent: str = ""  # noqa: N815
    kind: str = "sequential"


def is_trace(data: bytes) -> bool:
    """Tell whether these bytes are meant as an editing trace: gzip, or a JSON object with `txns`."""
    if data.startswith(GZIP_MAGIC):
        return True
    if b'"txns"' not in data:
        return False
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return isinstance(found, dict) and "txns" in found


def trace_name(file: str) -> str:
    """Return the name that the text of the trace `file` gets: its own, without the endings."""
    name = os.path.basename(file).removesuffix(".gz").removesuffix(".json")
    if not name:
        return _DEFAULT_NAME
    return name if os.path.splitext(name)[1] else f"{name}.txt"


def read_trace(data: bytes, path: str) -> Script:
    """Make a script of a trace that types the text of `path`; `DomainError` if it is not a trace."""
    if data.startswith(GZIP_MAGIC):
        data = _unpacked(data)
    try:
        trace = msgspec.json.decode(data, type=_Trace)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DomainError(f"this is not an editing trace: {error}") from error
    _check(trace)
    first = trace.txns[0].agent if trace.txns else 0
    steps = [ScriptStep(agent_id(first), (), (Create(path, trace.startContent.encode()),))]
    for place, transaction in enumerate(trace.txns):
        # One place further on: the file is made first.
        parents = transaction.parents
        seen = (place,) if parents is None else tuple(parent + 1 for parent in parents) or (0,)
        steps.append(ScriptStep(agent_id(transaction.agent), seen, (Edit(path, transaction.patches),)))
    return Script(os.path.basename(path), tuple(steps), {path: trace.endContent.encode()})


def _unpacked(data: bytes) -> bytes:
    """Unpack gzip, one stream or several, to at most `_TEXT_BYTES`."""
    parts, left = [], _TEXT_BYTES
    while data.startswith(GZIP_MAGIC):
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            part = stream.decompress(data, left)
        except zlib.error as error:
            raise DomainError(f"the gzip data is damaged ({error}): fetch the file again") from error
        left -= len(part)
        parts.append(part)
        if not stream.eof:
            if left <= 0:
                raise DomainError(f"it unpacks to more than {_TEXT_BYTES} bytes, which is too much to replay")
            raise DomainError("the gzip data ends too soon: fetch the file again")
        data = stream.unused_data
        left = max(left, 1)  # 0 would mean without a limit
    return b"".join(parts)


def _check(trace: _Trace) -> None:
    """Raise `DomainError` for an impossible trace: surrogates, later parents, positions out of range.

    Where people typed at the same time, only the replay shows how long the text was for each.
    """
    _check_text(trace.startContent, "startContent")
    _check_text(trace.endContent, "endContent")
    length: int | None = len(trace.startContent)
    for place, transaction in enumerate(trace.txns):
        where = f"txns[{place}]"
        if not 0 <= transaction.agent < _AGENTS:
            raise DomainError(f"{where}: agent {transaction.agent} is not one of 0 to {_AGENTS - 1}")
        if transaction.parents is not None:
            length = None
            if bad := [parent for parent in transaction.parents if not 0 <= parent < place]:
                raise DomainError(f"{where}: parent {bad[0]} is not one of the transactions before it")
        for position, deleted, inserted in transaction.patches:
            _check_text(inserted, where)
            if position < 0 or deleted < 0 or (length is not None and position + deleted > length):
                there = "any text" if length is None else f"the {length} characters there"
                raise DomainError(
                    f"{where}: {deleted} characters to delete at position {position} are not within {there}"
                )
            if length is not None:
                length += len(inserted) - deleted


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DomainError(f"{where}: half a surrogate pair at {error.start}, which no text has") from error
