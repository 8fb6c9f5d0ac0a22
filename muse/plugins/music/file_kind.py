"""Tells what a file that is not MIDI is, by its first bytes. Pure."""

_BY_START = {
    b"RIFX": "a RIFF file",
    b"ID3": "an MP3 recording",
    b"OggS": "an Ogg recording",
    b"fLaC": "a FLAC recording",
    b"caff": "a Core Audio recording",
    b"XMF_": "an XMF file: extract the MIDI file that is in it",
    b"PK\x03\x04": "a ZIP archive: extract the MIDI file that is in it",
    b"\x1f\x8b": "a gzip archive: extract the MIDI file that is in it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: extract the MIDI file that is in it",
    b"Rar!": "a RAR archive: extract the MIDI file that is in it",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x18FICHIER GUITAR PRO": "a Guitar Pro score",
    b"MTrk": "a track of a MIDI file without the header",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file that it names",
}
_BY_FORM = {
    (b"RIFF", b"WAVE"): "a WAV recording",
    (b"RIFF", b"AVI "): "an AVI film",
    (b"RIFF", b"sfbk"): "a SoundFont",
    (b"FORM", b"AIFF"): "an AIFF recording",
    (b"FORM", b"AIFC"): "an AIFF recording",
    (b"FORM", b"XDIR"): "an XMIDI file: convert it to a Standard MIDI File",
}
_MARKUP = {b"<!doctype html": "an HTML page", b"<html": "an HTML page", b"<?xml": "an XML file"}
_MP3_FRAMES = (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
_LOOKED_AT = 512


def kind_of_file(data: bytes) -> str:
    """Say what a file is that does not start as a MIDI file does."""
    if not data:
        return "an empty file"
    start = data[:_LOOKED_AT]
    if (form := _BY_FORM.get((start[:4], start[8:12]))) is not None:
        return form
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, kind in _MARKUP.items():
        if text.startswith(mark):
            return kind
    for mark, kind in _BY_START.items():
        if start.startswith(mark):
            return kind
    if start.startswith(b"RIFF"):
        return "a RIFF file without MIDI in it"
    if start.startswith(_MP3_FRAMES):
        return "an MP3 recording"
    if start[4:8] == b"ftyp":
        return "an MP4 or M4A file"
    if _is_text(start):
        return "a text"
    return f"a file that begins with {_named(start[:4])}, as no MIDI file does"


def _named(start: bytes) -> str:
    """Name the first bytes of a file for people: as text where they are letters, else byte by byte."""
    if start.isascii() and start.decode("ascii").isprintable():
        return f'"{start.decode("ascii")}"'
    return f"the {'byte' if len(start) == 1 else 'bytes'} {start.hex(' ')}"


def _is_text(start: bytes) -> bool:
    printable = sum(byte >= 0x20 or byte in b"\t\n\r\f" for byte in start)
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and printable == len(start)
    return printable == len(start)
