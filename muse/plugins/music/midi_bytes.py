"""Reads and writes a Standard MIDI File as timed messages, byte for byte; knows its framing, not its music.

The format is that of "Standard MIDI Files 1.0" (RP-001, MIDI Association). What is read is written as it
was, to the byte: `encode(decode(data)) == data`. So a track remembers how each message was framed, and
keeps what no reader understands as opaque bytes in its place.

What other programs open is opened: a file inside RIFF (RMID), a header that counts too many or too few
tracks, a length that is wrong where the end of track shows the right one, bytes after the end of track,
messages of the wire (F1 to FE) and data bytes above 127. Only where a file cannot be read otherwise, a delta
time may be higher than MIDI allows: such a file is kept as it is, and takes no edit.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from muse.errors import DomainError
from muse.plugins.music.file_kind import kind_of_file

LAST_TICK = (1 << 28) - 1  # the greatest delta time that four bytes can hold, and the last tick of a note
OVERLONG = (
    f"no note of this file can be edited: one of its delta times is above {LAST_TICK}, the highest that MIDI "
    "allows; export it again without that gap, or replace the whole file"
)
"""Why an edit of a note is refused."""
END_OF_TRACK = b"\xff\x2f\x00"
EXPLICIT, RUNNING_ACROSS = 1, 2
"""How a message is framed, the low bits of its byte of `framing`: with its status byte in any case; without
one even where a meta or sysex message is in between. 0: without one where the status is in effect."""

_HEADER = struct.Struct(">HHh")
_CHUNK = struct.Struct(">4sL")
_SIZE = struct.Struct("<L")
_META, _SYSEX, _ESCAPE, _END_TYPE = 0xFF, 0xF0, 0xF7, 0x2F
_CHANNEL_DATA = (2, 2, 2, 2, 1, 1, 2)  # how many data bytes a message 8n to En has
_WIRE_DATA = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # and F1 to F3; the others have none
_PADDING = 0x80  # what a number starts with that is longer than it has to be
_NUMBER_LENGTH = 8  # what is longer is no number of any program
_LAST_LONG = (1 << 7 * _NUMBER_LENGTH) - 1


class Event(NamedTuple):
    """A message at an absolute tick. `message` is a whole one, with its status byte."""

    tick: int
    message: bytes


@dataclass(frozen=True, slots=True)
class EventTrack:
    """One track: its messages in file order, without the end of track, which is at `end_tick`.

    `chunks_before` are the bytes before the track that MIDI does not define. `end` is the end of track, empty
    where the file has none; `tail` the bytes after it. `framing` has a byte for each message and one for
    the end: the style, and from bit 2 on the length of a delta time that is padded or too high; empty for a
    new track.
    `excess`: by how much the length in the file is more than the true one.
    """

    events: tuple[Event, ...]
    end_tick: int
    chunks_before: bytes = b""
    end: bytes = END_OF_TRACK
    tail: bytes = b""
    framing: bytes = field(default=b"", compare=False)
    excess: int = field(default=0, compare=False)

    def longest_wait(self) -> int:
        """Return the highest delta time."""
        ticks = [0, *(event.tick for event in self.events), self.end_tick]
        return max(later - tick for tick, later in pairwise(ticks))


@dataclass(frozen=True, slots=True)
class Envelope:
    """The RIFF file around a MIDI file: the bytes before it, how long it was, and the bytes after it."""

    before: bytes
    size: int
    padding: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class EventFile:
    """A whole file. `ticks_per_beat` is the header's division: negative when it counts SMPTE frames.

    `header_rest` and `trailer` are the bytes of the header after the known fields, and those after
    the last track. `stated_tracks` is what the header says where that is wrong. `is_overlong`: a delta time
    is higher than MIDI allows.
    """

    format: int
    ticks_per_beat: int
    tracks: tuple[EventTrack, ...]
    header_rest: bytes = b""
    trailer: bytes = b""
    stated_tracks: int | None = None
    envelope: Envelope | None = None
    is_overlong: bool = False


class _FramingError(ValueError):
    """The bytes are not framed as a MIDI file; the message says where."""


def decode(data: bytes) -> EventFile:
    """Read a file. Raises DomainError when the bytes are not a MIDI file that can be read."""
    try:
        return _decode_file(data, LAST_TICK)
    except (_FramingError, struct.error) as error:
        with suppress(_FramingError, struct.error):
            return replace(_decode_file(data, _LAST_LONG), is_overlong=True)
        why = str(error) if isinstance(error, _FramingError) else "its header is cut off"
        raise DomainError(
            f"this is not a MIDI file that can be read: {why}; "
            "export it again from the program that made it, or restore an earlier version"
        ) from error


def encode(file: EventFile, contents: Sequence[bytes] | None = None) -> bytes:
    """Write a file, each message framed as it was, a new one with running status.

    Events of a track are in the order of their ticks. Raises DomainError when they are not, or are
    further apart than `LAST_TICK`. `contents`: the tracks as they are written, where that is known.
    """
    contents = list(map(encode_track, file.tracks)) if contents is None else contents
    count = len(file.tracks) if file.stated_tracks is None else file.stated_tracks
    header = _HEADER.pack(file.format, count, file.ticks_per_beat) + file.header_rest
    chunks = [_chunk(b"MThd", header)]
    for track, content in zip(file.tracks, contents, strict=True):
        chunks += (track.chunks_before, _chunk(b"MTrk", content, track.excess))
    data = b"".join((*chunks, file.trailer))
    return data if file.envelope is None else _wrap(file.envelope, data)


# -- files and chunks -------------------------------------------------------------------------------


def _decode_file(data: bytes, highest: int) -> EventFile:
    """Read a file whose delta times are no higher than `highest`."""
    envelope = _envelope(data)
    if envelope is not None:
        start = len(envelope.before)
        data = data[start : start + envelope.size]
    if data[:4] != b"MThd":
        raise _FramingError(f"it is {kind_of_file(data)}")
    start, end = _CHUNK.size, _CHUNK.size + _CHUNK.unpack_from(data)[1]
    kind, stated, division = _HEADER.unpack_from(data[:end], start)
    if end > len(data):
        raise _FramingError(f"its header is cut off: {end - len(data)} bytes are missing")
    header_rest = data[start + _HEADER.size : end]
    tracks = []
    for track, track_end in _tracks(data, end, stated, highest):
        tracks.append(track)
        end = track_end
    if stated and not tracks:
        raise _FramingError(f"it ends at byte {len(data)}, where a track should follow")
    wrong = None if stated == len(tracks) else stated
    return EventFile(kind, division, tuple(tracks), header_rest, data[end:], wrong, envelope)


def _tracks(data: bytes, offset: int, stated: int, highest: int) -> Iterator[tuple[EventTrack, int]]:
    """Read the tracks from `offset` on, and where each ends; one that nothing announces may be broken."""
    count = 0
    while (start := _next_track(data, offset)) is not None:
        try:
            yield (found := _decode_track(data, offset, start, highest))
        except _FramingError:
            if count < stated:
                raise
            return
        offset = found[1]
        count += 1


def _next_track(data: bytes, offset: int) -> int | None:
    """Find the next track at or after `offset`: past whole chunks, or past bytes that are no chunk."""
    while len(data) >= offset + _CHUNK.size:
        name, size = _CHUNK.unpack_from(data, offset)
        if name == b"MTrk":
            return offset
        if not (name.isalnum() and offset + _CHUNK.size + size <= len(data)):
            break
        offset += _CHUNK.size + size
    found = data.find(b"MTrk", offset)
    return found if 0 <= found <= len(data) - _CHUNK.size else None


def _envelope(data: bytes) -> Envelope | None:
    """Find the RIFF file around a MIDI file, if there is one."""
    if data[:4] != b"RIFF" or data[8:12] != b"RMID":
        return None
    offset = 12
    while len(data) >= offset + _CHUNK.size:
        start, size = offset + _CHUNK.size, _SIZE.unpack_from(data, offset + 4)[0]
        end = min(start + size, len(data))
        padding = data[end : end + (size & 1)]
        if data[offset : offset + 4] == b"data":
            return Envelope(data[:start], end - start, padding, data[end + len(padding) :])
        offset = end + len(padding)
    raise _FramingError("it is a RIFF file without MIDI in it")


def _wrap(envelope: Envelope, data: bytes) -> bytes:
    """Put a MIDI file into its envelope, whose sizes change only where the file's did."""
    if len(data) == envelope.size:
        return envelope.before + data + envelope.padding + envelope.after
    before, padding = envelope.before, b"\x00" * (len(data) & 1)
    grown = len(data) + len(padding) - envelope.size - len(envelope.padding)
    whole = max(_SIZE.unpack_from(before, 4)[0] + grown, 0) & 0xFFFFFFFF
    sized = before[:4] + _SIZE.pack(whole) + before[8:-4] + _SIZE.pack(len(data))
    return sized + data + padding + envelope.after


def _chunk(name: bytes, content: bytes, excess: int = 0) -> bytes:
    return _CHUNK.pack(name, len(content) + excess) + content


# -- reading a track --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Messages:
    """The messages from a place on, up to a limit or to what is no message.

    `ends` are the places in `events` of ends of track; `after` where the bytes of each event end.
    """

    events: list[Event] = field(default_factory=list)
    framing: bytearray = field(default_factory=bytearray)
    after: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    fault: _FramingError | None = None


def _decode_track(data: bytes, offset: int, start: int, highest: int) -> tuple[EventTrack, int]:
    """Read the track whose chunk is at `start`; also return where it ends."""
    size = _CHUNK.unpack_from(data, start)[1]
    content = start + _CHUNK.size
    stated_end = content + size
    limit = min(stated_end, len(data))
    found, end = _read(data, content, limit, highest), limit
    ended = bool(found.ends) and found.ends[-1] == len(found.events) - 1
    if not found.ends and (found.fault or not _is_boundary(data, stated_end)):
        longer = _read(data, content, len(data), highest, to_end_of_track=True)
        if longer.ends:
            found, end, ended = longer, longer.after[-1], True
    if found.fault is not None:
        if not found.ends:
            raise found.fault
        found, ended = _up_to_last_end(found), True
        if data.startswith(b"MTrk", found.after[-1]):
            end = found.after[-1]
    elif stated_end > len(data) and not found.ends:
        raise _FramingError(
            f"the part at byte {start} is cut off: {stated_end - len(data)} bytes are missing"
        )
    return _track_of(data[offset:start], data[content:end], content, found, size, ended=ended), end


def _track_of(
    before: bytes, content: bytes, start: int, found: _Messages, size: int, *, ended: bool
) -> EventTrack:
    """Build a track of the messages found; `ended`: the last of them is its end."""
    events, framing = found.events, bytes(found.framing)
    end_tick = events[-1].tick if events else 0
    tail = content[found.after[-1] - start :] if ended else b""
    end = events.pop().message if ended else b""
    framing = framing if ended else framing + b"\x00"
    return EventTrack(tuple(events), end_tick, before, end, tail, framing, size - len(content))


def _is_boundary(data: bytes, offset: int) -> bool:
    """Tell whether a track may end at `offset`: at the end of the file, or where another chunk starts."""
    return len(data) - offset < _CHUNK.size or data[offset : offset + 4].isalnum()


def _up_to_last_end(found: _Messages) -> _Messages:
    count = found.ends[-1] + 1
    return _Messages(found.events[:count], found.framing[:count], found.after[:count], found.ends)


def _read(
    data: bytes, position: int, limit: int, highest: int, *, to_end_of_track: bool = False
) -> _Messages:
    """Read messages until `limit`, the first end of track if so wished, or what is no message."""
    found = _Messages()
    tick = status = in_effect = 0
    try:
        while position < limit:
            delta, after_delta = _variable_int(data, position, limit, highest)
            tick += delta
            first, style = _byte(data, after_delta, limit), EXPLICIT
            if first < 0x80:  # some files go on with running status even after a meta event
                style = 0 if status == in_effect else RUNNING_ACROSS
                end = _end_of_message(after_delta, status, limit)
                message = bytes((status,)) + data[after_delta:end]
            else:
                body = after_delta + 1
                end = (
                    _end_of_packet(data, after_delta, limit)
                    if first in {_META, _SYSEX, _ESCAPE}
                    else _end_of_message(body, first, limit)
                )
                message = data[after_delta:end]
            if message[0] < 0xF0:
                status = message[0]
            in_effect = status if message[0] < 0xF0 else 0
            is_odd = data[position] == _PADDING or delta > LAST_TICK
            found.events.append(Event(tick, message))
            found.framing.append(style | (after_delta - position if is_odd else 0) << 2)
            found.after.append(end)
            position = end
            if is_end_of_track(message):
                found.ends.append(len(found.events) - 1)
                status = in_effect = 0  # what follows has a status of its own, or is no message
                if to_end_of_track:
                    break
    except _FramingError as fault:
        found.fault = fault
    return found


def is_end_of_track(message: bytes) -> bool:
    """Tell whether a message is the meta event that ends a track."""
    return message[0] == _META and message[1] == _END_TYPE


def meta_of(message: bytes) -> tuple[int, bytes] | None:
    """Return the type and the content of a meta event; None for any other message."""
    if message[0] != _META or len(message) < 3:
        return None
    length, start = _variable_int(message, 2, len(message))
    return message[1], message[start : start + length]


def _byte(data: bytes, position: int, limit: int) -> int:
    if position >= limit:
        raise _FramingError(f"it ends in the middle of a message at byte {limit}")
    return data[position]


def _end_of_packet(data: bytes, position: int, limit: int) -> int:
    """Tell where the meta event or sysex packet at `position` ends."""
    length_at = position + (2 if data[position] == _META else 1)
    size, start = _variable_int(data, length_at, limit)
    if start + size > limit:
        raise _FramingError(f"it ends in the middle of the message at byte {position}")
    return start + size


def _end_of_message(position: int, status: int, limit: int) -> int:
    """Tell where the data of a message of this status ends, which start at `position`."""
    if not status:
        raise _FramingError(f"byte {position} belongs to no message that a MIDI file may hold")
    count = _WIRE_DATA.get(status, 0) if status >= 0xF0 else _CHANNEL_DATA[(status >> 4) - 8]
    if position + count > limit:
        raise _FramingError(f"it ends in the middle of a message at byte {limit}")
    return position + count


def _variable_int(data: bytes, position: int, limit: int, highest: int = LAST_TICK) -> tuple[int, int]:
    """Read a number, seven bits a byte; also return where it ends. It may be padded."""
    value = 0
    for end in range(position + 1, position + 1 + _NUMBER_LENGTH):
        byte = _byte(data, end - 1, limit)
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            if value <= highest:
                return value, end
            break
    raise _FramingError(f"the number at byte {position} is longer than four bytes")


# -- writing a track --------------------------------------------------------------------------------


class TrackWritten(NamedTuple):
    """How far a track is written: the last tick, the last status byte, and the one that is in effect."""

    tick: int = 0
    status: int = 0
    in_effect: int = 0


def encode_track(track: EventTrack) -> bytes:
    """Write what the chunk of a track holds."""
    content = bytearray()
    written = TrackWritten()
    framing = track.framing if len(track.framing) == len(track.events) + 1 else bytes(len(track.events) + 1)
    for event, frame in zip(track.events, framing, strict=False):
        part, written = encode_event(event, frame, written)
        content += part
    return bytes(content) + encode_end(track, track.end_tick, framing[-1], written)


def encode_event(event: Event, frame: int, written: TrackWritten) -> tuple[bytes, TrackWritten]:
    """Write an event after what is `written`; `frame` is its byte of `framing`."""
    tick, message = event
    first, style = message[0], frame & 3
    delta = _number(tick - written.tick, frame >> 2)
    runs = first == written.in_effect and style != EXPLICIT
    part = message[1:] if runs or (style == RUNNING_ACROSS and first == written.status) else message
    if first < 0xF0:
        return delta + part, TrackWritten(tick, first, first)
    status = 0 if is_end_of_track(message) else written.status
    return delta + part, TrackWritten(tick, status)  # sysex and meta end the running status


def encode_end(track: EventTrack, end_tick: int, frame: int, written: TrackWritten) -> bytes:
    """Write the end of a track, and the bytes after it."""
    if not track.end:
        return track.tail
    return _number(max(end_tick - written.tick, 0), frame >> 2) + track.end + track.tail


def _number(value: int, length: int = 0) -> bytes:
    """Write a number, padded to `length` bytes if it is shorter; it has four at most, or `length`."""
    if not 0 <= value < 1 << 7 * max(length, 4):
        raise DomainError(f"a delta time of {value} ticks cannot be written: give 0 to {LAST_TICK}, in order")
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    groups += [_PADDING] * (length - len(groups))
    return bytes(reversed(groups))
