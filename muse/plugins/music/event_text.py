"""Says in words what a MIDI event is that is not a note: a tempo, a program, a controller. Pure."""

from muse.plugins.music.midi_bytes import meta_of
from muse.plugins.music.note import pitch_name

_TEXTS = {
    1: "text",
    2: "copyright",
    3: "track name",
    4: "instrument",
    5: "lyric",
    6: "marker",
    7: "cue",
    8: "program name",
    9: "device",
}
_CONTROLLERS = {
    0: "bank",
    1: "modulation",
    7: "volume",
    10: "pan",
    11: "expression",
    32: "bank, fine",
    64: "sustain pedal",
    91: "reverb",
    93: "chorus",
    120: "all sound off",
    121: "reset of all controllers",
    123: "all notes off",
}
_MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")
_MICROSECONDS_A_MINUTE = 60_000_000
_BEND_CENTRE = 8192
_TEXT_LENGTH = 60


def event_text(message: bytes) -> str:
    """Describe a whole message, with its status byte, in a few words; channels count from 0, as in notes."""
    if (meta := meta_of(message)) is not None:
        return _meta_text(*meta)
    kind = message[0] >> 4
    if kind == 0xF or len(message) < 2:
        name = "system exclusive" if message[0] in {0xF0, 0xF7} else f"message {message[0]:02X}"
        return f"{name}, {_size(message)}"
    return f"{_channel_text(kind, message[1], message[-1])} on channel {message[0] & 0xF}"


def _meta_text(kind: int, data: bytes) -> str:
    if kind in _TEXTS:
        return f"{_TEXTS[kind]} {data.decode('utf-8', 'replace')[:_TEXT_LENGTH]!r}"
    number = int.from_bytes(data)
    if kind == 0x51 and number:
        return f"tempo {round(_MICROSECONDS_A_MINUTE / number, 2):g} bpm"
    if kind == 0x58 and len(data) >= 2 and data[1] < 8:
        return f"time signature {data[0]}/{1 << data[1]}"
    if kind == 0x59 and len(data) >= 2 and 0 <= (place := (data[0] + 7) & 0xFF) < len(_MAJOR):
        return f"key {_MINOR[place]} minor" if data[1] else f"key {_MAJOR[place]} major"
    names = {0x00: "sequence number", 0x20: "channel prefix", 0x21: "port"}
    if kind in names:
        return f"{names[kind]} {number}"
    name = {0x51: "tempo", 0x54: "SMPTE offset", 0x58: "time signature", 0x59: "key", 0x7F: "sequencer data"}
    return f"{name.get(kind, f'meta event {kind:02X}')}, {_size(data)}: {data[:8].hex(' ')}"


def _size(data: bytes) -> str:
    return f"{len(data)} byte{'s' * (len(data) != 1)}"


def _channel_text(kind: int, first: int, last: int) -> str:
    if kind == 0xB:
        name = _CONTROLLERS.get(first)
        return f"controller {first}{f' ({name})' if name else ''} {last}"
    if kind == 0xE:
        return f"pitch bend {(last << 7 | first) - _BEND_CENTRE:+d}"
    if kind in {0xC, 0xD}:
        return f"{'program' if kind == 0xC else 'pressure'} {first}"
    name = {0x8: "end of a note that never starts", 0x9: "start of a note that never ends"}.get(
        kind, "pressure"
    )
    return f"{name}, {pitch_name(first)} {last}"
