"""The characters of a text in their order, deleted ones too, as far as anything is known of them. Pure.

The order is asked of the CRDT library itself: it is given the document with a sign in the place of each
character, and tells where the signs are. Ids count in UTF-16 units, as Yjs does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from muse.plugins.code.document import TextDocument
from muse.plugins.code.stretches import Marks
from muse.plugins.code.update import Id, TextPiece, pieces_in, with_texts

_SIGNS = 50_000  # so many characters, from U+0001 on, count as one unit each
_Run = tuple[int, int]  # so many characters with a sign, and so many without one behind them


@dataclass(frozen=True, slots=True)
class Characters:
    """The ids of a text in their order, and the text of each that is there: the second half of a pair has "".

    An id that is not in `texts` was deleted. Of a stretch of those that nobody asks for, only the first is in
    `ids`: so they cost nothing, however many there were.
    """

    ids: list[Id]
    texts: dict[Id, str]

    @classmethod
    def of(cls, state: bytes, asked: Marks) -> "Characters":
        """Read a whole document. Of deleted characters, those in `asked` are looked for."""
        ids: list[Id] = []
        texts: dict[Id, str] = {}
        plan: dict[Id, tuple[int, list[_Run]]] = {}
        for piece in pieces_in(state):
            texts.update(texts_of(piece))
            runs = list(_runs(piece, asked))
            plan[piece.client, piece.clock] = len(ids), runs
            clock = piece.clock
            for signs, rest in runs:
                ids += ((piece.client, number) for number in range(clock, clock + signs))
                clock += signs + rest
        low = _signs_in_order(state, plan, 0)
        high = _signs_in_order(state, plan, 1) if len(ids) > _SIGNS else [0] * len(low)
        order = (second * _SIGNS + first for first, second in zip(low, high, strict=True))
        return cls([ids[number] for number in order], texts)


def _runs(piece: TextPiece, asked: Marks) -> Iterator[_Run]:
    """Tell which characters of a piece get a sign: all, or those that are asked for, and the next ones."""
    if piece.text is not None:
        yield piece.length, 0
        return
    end = piece.clock + piece.length
    first = clock = piece.clock
    for _, found in asked.within((piece.client, piece.clock, piece.length)):
        if found > clock + 1:
            yield clock + 1 - first, found - clock - 1
            first = found
        clock = max(clock, found + 1)
    clock = min(clock + 1, end)
    yield clock - first, end - clock


def texts_of(piece: TextPiece) -> Iterator[tuple[Id, str]]:
    """Yield the ids of a piece that was not deleted, and the text of each."""
    clock = piece.clock
    for character in piece.text or "":
        yield (piece.client, clock), character
        clock += 1
        if character > "\uffff":
            yield (piece.client, clock), ""
            clock += 1


def _signs_in_order(state: bytes, plan: dict[Id, tuple[int, list[_Run]]], digit: int) -> list[int]:
    """Return a digit of the number of each character, in the order of the text."""

    def parts(piece: TextPiece) -> Iterator[str | int]:
        count, runs = plan[piece.client, piece.clock]
        for signs, rest in runs:
            yield "".join(chr(1 + number // _SIGNS**digit % _SIGNS) for number in range(count, count + signs))
            count += signs
            if rest:
                yield rest

    return [ord(sign) - 1 for sign in TextDocument(0, with_texts(state, parts)).text]
