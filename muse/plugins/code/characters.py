"""All characters that a text ever had, deleted ones too, in their order. Pure.

The order is asked of the CRDT library itself: it is given the document with a sign in the place of each
character, and nothing deleted, and says where the signs are. Ids count in UTF-16 units, as Yjs does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from muse.plugins.code.document import TextDocument
from muse.plugins.code.update import Id, TextPiece, pieces_in, with_texts

_SIGNS = 50_000  # so many characters, from U+0001 on, count as one unit each


@dataclass(frozen=True, slots=True)
class Characters:
    """The ids of a text in their order, and the text of each that is there: the second half of a pair has "".

    An id that is not in `texts` was deleted.
    """

    ids: list[Id]
    texts: dict[Id, str]

    @classmethod
    def of(cls, state: bytes) -> "Characters":
        """Read a whole document."""
        pieces = list(pieces_in(state))
        ids = [(piece.client, clock) for piece in pieces for clock in _clocks(piece)]
        texts = {identity: text for piece in pieces for identity, text in texts_of(piece)}
        low = _signs_in_order(state, 0)
        high = _signs_in_order(state, 1) if len(ids) > _SIGNS else [0] * len(low)
        order = (second * _SIGNS + first for first, second in zip(low, high, strict=True))
        return cls([ids[number] for number in order], texts)


def texts_of(piece: TextPiece) -> Iterator[tuple[Id, str]]:
    """Yield the ids of a piece that was not deleted, and the text of each."""
    clock = piece.clock
    for character in piece.text or "":
        yield (piece.client, clock), character
        clock += 1
        if character > "\uffff":
            yield (piece.client, clock), ""
            clock += 1


def _clocks(piece: TextPiece) -> range:
    return range(piece.clock, piece.clock + piece.length)


def _signs_in_order(state: bytes, digit: int) -> list[int]:
    """Return a digit of the number of each character, in the order of the text."""
    count = 0

    def signs(piece: TextPiece) -> str:
        nonlocal count
        numbers = range(count, count + piece.length)
        count += piece.length
        return "".join(chr(1 + number // _SIGNS**digit % _SIGNS) for number in numbers)

    return [ord(sign) - 1 for sign in TextDocument(0, with_texts(state, signs)).text]
