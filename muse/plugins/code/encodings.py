"""Which bytes are text, and in which encoding. Pure.

A byte order mark and the ends of lines are characters of the text, so that the bytes come back unchanged.
"""

from muse.errors import DomainError

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "iso-8859-1", "ascii")

_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def detect(content: bytes) -> str | None:
    """Return the encoding of a file: UTF-16 with a byte order mark, or UTF-8; None if it is not text."""
    encoding = _MARKS.get(content[:2], "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else encoding


def decode(content: bytes, encoding: str) -> str:
    """Decode a file. Raises `DomainError` where it is not text in this encoding."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DomainError(
            f"the content is not text in {encoding}: name its real encoding, or leave `encoding` out"
        ) from error
    check_text(text, encoding)
    return text


def check_text(text: str, encoding: str) -> None:
    """Raise `DomainError` where a file in `encoding` cannot hold `text`."""
    if "\0" in text:
        raise DomainError("a text file cannot hold the character U+0000")
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise DomainError(f"a file in {encoding} cannot hold {character!r}: use another character") from error
