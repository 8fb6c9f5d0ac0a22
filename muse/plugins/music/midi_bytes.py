"""Reads and writes a Standard MIDI File as timed messages, byte for byte; knows its framing, not its music.

The format is that of "Standard MIDI Files 1.0" (RP-001, MIDI Association). Reading and writing keeps
the bytes of every message: text in any encoding, sysex packets of either kind (F0 and F7), and meta
events of unknown type or unusual length. Only framing may change: running status, padded lengths,
and messages found after an end of track, which are then put before it.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from muse.errors import DomainError

LAST_TICK = (1 << 28) - 1  # the greatest delta time that four bytes can hold
_HEADER = struct.Struct(">HHh")
_CHUNK = struct.Struct(">4sL")
_META, _SYSEX, _ESCAPE, _END_OF_TRACK = 0xFF, 0xF0, 0xF7, 0x2F
_PROGRAM_CHANGE, _CHANNEL_PRESSURE = 0xC, 0xD  # the channel messages with one data byte


class Event(NamedTuple):
    """A message at an absolute tick. `message` is a whole one, with its status byte."""

    tick: int
    message: bytes


@dataclass(frozen=True, slots=True)
class EventTrack:
    """One track: its messages in file order, without the end of track, which is at `end_tick`.

    `chunks_before` are the bytes before the track that MIDI does not define; they are kept as they were.
    """

    events: tuple[Event, ...]
    end_tick: int
    chunks_before: bytes = b""


@dataclass(frozen=True, slots=True)
class EventFile:
    """A whole file. `ticks_per_beat` is the header's division: negative when it counts SMPTE frames.

    `header_rest` and `trailer` are the bytes of the header after the known fields, and those after
    the last track.
    """

    format: int
    ticks_per_beat: int
    tracks: tuple[EventTrack, ...]
    header_rest: bytes = b""
    trailer: bytes = b""


class _FramingError(ValueError):
    """The bytes are not framed as a MIDI file; the message says where."""


def decode(data: bytes) -> EventFile:
    """Read a file. Raises DomainError when the bytes are not a MIDI file that can be read."""
    try:
        return _decode_file(data)
    except (_FramingError, IndexError, struct.error) as error:
        why = str(error) if isinstance(error, _FramingError) else "it ends in the middle of a message"
        raise DomainError(
            f"this is not a MIDI file that can be read: {why}; "
            "export it again from the program that made it, or restore an earlier version"
        ) from error


def encode(file: EventFile) -> bytes:
    """Write a file, with running status for channel messages.

    Events of a track are in the order of their ticks. Raises DomainError when they are not, or lie
    beyond `LAST_TICK`.
    """
    header = _HEADER.pack(file.format, len(file.tracks), file.ticks_per_beat) + file.header_rest
    chunks = [_chunk(b"MThd", header)]
    for track in file.tracks:
        chunks += (track.chunks_before, _chunk(b"MTrk", _encode_track(track)))
    return b"".join((*chunks, file.trailer))


def _decode_file(data: bytes) -> EventFile:
    name, start, end = _chunk_at(data, 0)
    if name != b"MThd":
        raise _FramingError(f"it starts with {data[:4]!r} instead of b'MThd'")
    kind, track_count, division = _HEADER.unpack_from(data[:end], start)
    if kind not in {0, 1, 2}:
        raise _FramingError(f"its format is {kind}, and only 0, 1 and 2 are known")
    header_rest = data[start + _HEADER.size : end]
    tracks = []
    for _ in range(track_count):
        track, end = _decode_next_track(data, end)
        tracks.append(track)
    return EventFile(kind, division, tuple(tracks), header_rest, data[end:])


def _decode_next_track(data: bytes, offset: int) -> tuple[EventTrack, int]:
    """Read the next track at or after `offset`; also return where it ends."""
    name, start, end = _chunk_at(data, offset)
    before = offset
    while name != b"MTrk":
        offset = end
        name, start, end = _chunk_at(data, offset)
    events, end_tick = _decode_events(data[start:end], start)
    return EventTrack(tuple(events), end_tick, data[before:offset]), end


def _chunk_at(data: bytes, offset: int) -> tuple[bytes, int, int]:
    """Tell the name of the chunk at `offset`, and where its content starts and ends."""
    if len(data) < offset + _CHUNK.size:
        raise _FramingError(f"it ends at byte {len(data)}, where a header or track should follow")
    name, size = _CHUNK.unpack_from(data, offset)
    end = offset + _CHUNK.size + size
    if end > len(data):
        raise _FramingError(f"the part at byte {offset} is cut off: {end - len(data)} bytes are missing")
    return name, offset + _CHUNK.size, end


def _decode_events(data: bytes, offset: int) -> tuple[list[Event], int]:
    """Read the events of a track and the tick at which it ends. Only messages of errors use `offset`."""
    events: list[Event] = []
    position = tick = status = 0
    while position < len(data):
        delta, position = _variable_int(data, position)
        tick += delta
        if tick > LAST_TICK:
            raise _FramingError(f"the event at byte {offset + position} lies beyond tick {LAST_TICK}")
        first = data[position]
        if first in {_META, _SYSEX, _ESCAPE}:
            end = _end_of_packet(data, position)
            if not (first == _META and data[position + 1] == _END_OF_TRACK):
                events.append(Event(tick, data[position:end]))
        else:
            if first >= 0x80:  # else running status: some files go on with it even after a meta event
                status = first
                position += 1
            end = _end_of_channel_message(data, position, status, offset)
            events.append(Event(tick, bytes((status,)) + data[position:end]))
        position = end
    return events, tick


def _end_of_packet(data: bytes, position: int) -> int:
    """Tell where the meta event or sysex packet at `position` ends."""
    length_at = position + (2 if data[position] == _META else 1)
    size, start = _variable_int(data, length_at)
    if start + size > len(data):
        raise IndexError
    return start + size


def _end_of_channel_message(data: bytes, position: int, status: int, offset: int) -> int:
    if not 0x80 <= status < 0xF0:
        raise _FramingError(f"byte {offset + position} belongs to no message that a MIDI file may hold")
    end = position + (1 if status >> 4 in {_PROGRAM_CHANGE, _CHANNEL_PRESSURE} else 2)
    if max(data[position], data[end - 1]) > 0x7F:
        raise _FramingError(f"a message at byte {offset + position} has a data byte above 127")
    return end


def _variable_int(data: bytes, position: int) -> tuple[int, int]:
    """Read a number of at most four bytes, seven bits each; also return where it ends."""
    value = 0
    for end in range(position + 1, position + 5):
        byte = data[end - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end
    raise _FramingError("a number in it is longer than four bytes")


def _encode_track(track: EventTrack) -> bytes:
    content = bytearray()
    tick = status = 0
    for event in track.events:
        content += _encode_variable_int(event.tick - tick)
        tick = event.tick
        first = event.message[0]
        if first == status:
            content += event.message[1:]
        else:
            content += event.message
            status = first if first < 0xF0 else 0  # sysex and meta end the running status
    content += _encode_variable_int(max(track.end_tick - tick, 0))
    content += bytes((_META, _END_OF_TRACK, 0))
    return bytes(content)


def _encode_variable_int(value: int) -> bytes:
    if value < 0x80 and value >= 0:
        return bytes((value,))
    if not 0 <= value <= LAST_TICK:
        raise DomainError(f"a delta time of {value} ticks cannot be written: give 0 to {LAST_TICK}, in order")
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _chunk(name: bytes, content: bytes) -> bytes:
    return _CHUNK.pack(name, len(content)) + content
