"""One text as a CRDT document: pycrdt (Yjs), with positions in code points."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from muse.errors import DomainError
from muse.plugins.code.quick_order import in_quick_order
from muse.plugins.code.update import (
    ROOT,
    Id,
    TextPiece,
    Update,
    Vector,
    pairs_in,
    pairs_of,
    read_id,
    read_update,
    read_vector,
    utf16_length,
    with_texts,
    write_insert,
)

if TYPE_CHECKING:
    from muse.plugins.code.yjs import Doc, Transaction

Patch = tuple[int, int, str]
"""Position, how much goes, what comes: in code points."""

Delta = Sequence[Mapping[str, Any]]
"""A change of a text, told from its start: what stays (`retain`), goes (`delete`), comes (`insert`)."""

_LAST = 1 << 52
"""What such a client writes at one place comes after what others write there: their ids are lower."""
_HERE, _GONE = "+", "-"  # in the place of each unit of a text that is there, and of each deleted stretch
_RUNS = re.compile(r"\++")
_AT_ONCE = 100
"""Once so many updates insert behind one character, further ones are taken in together, in a quick order."""


def _new_document(client: int) -> "Doc":
    from muse.plugins.code.yjs import Doc  # noqa: PLC0415 - only who edits text needs it

    return Doc(client, None, None)


class TextDocument:
    """A text into which the edits of many replicas merge. `client` names this replica and no other.

    `vector` is its state vector. `has_changed`: an edit came since it was read. Only one thread may use it.
    """

    def __init__(self, client: int, state: bytes = b"") -> None:
        self.client = client
        self._document = _new_document(client)
        transaction = self._document.create_transaction()
        self._root = self._document.get_or_insert_text(transaction, ROOT)
        if state:
            self._document.apply_update(transaction, state)
        transaction.commit()
        self.vector: Vector = read_vector(self._document.get_state(transaction))
        transaction.drop()
        self.has_changed = False
        self._text: str | None = None
        self._typed: list[str] = []  # what was typed on at `_typed_at`, and is not in `_text` yet
        self._typed_at = 0
        self._observed: object = None
        self._pairs: set[Id] | None = None  # of the characters that count two, as far as looked for
        self._pairs_stand = True  # all of them are still there
        self._waiting: list[Update] = []  # taken in, but for the library: in the order in which they came
        self._behind: Counter[Id | None] = Counter()  # so many insertions came behind a character
        self._cursor: int | None = None  # where typing goes on: after what was typed last, before `_right`
        self._right: Id | None = None

    @property
    def text(self) -> str:
        """What the document reads, as characters."""
        if self._text is None:
            transaction = self._begin()
            self._text = self._root.get_string(transaction)
            transaction.drop()
        elif self._typed:
            at = self._typed_at
            self._text = f"{self._text[:at]}{''.join(self._typed)}{self._text[at:]}"
        self._typed.clear()
        return self._text

    def state(self) -> bytes:
        """Return the whole document, for `TextDocument(client, state)`."""
        transaction = self._begin()
        state = self._document.get_update(transaction, b"\0")
        transaction.drop()
        return state

    def fork(self, client: int) -> "TextDocument":
        """Return a copy that edits as another client."""
        return TextDocument(client, self.state())

    def observe(self, changed: Callable[[Delta], None]) -> None:
        """Call `changed` with each change of the text from now on: see `patches_of`."""
        self._catch_up()
        self._observed = self._root.observe(lambda event: changed(event.delta))  # type: ignore[attr-defined]

    def apply(self, update: Update) -> None:
        """Take in an edit of another replica, whose causes are here. A known edit changes nothing."""
        if update.text and update.left != (update.client, update.start - 1):
            self._behind[update.left] += 1
        if not self._waiting and (self._observed or self._behind[update.left] <= _AT_ONCE):
            self._integrate(update.data)
        else:
            self._waiting.append(update)
        self._text, self._cursor = None, None
        self._count(update)

    def _catch_up(self) -> None:
        """Let the library take in what waits."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            are_few = len(waiting) <= _AT_ONCE  # to order these costs more than it saves
            for update in waiting if are_few else in_quick_order(waiting, self._known()):
                self._integrate(update.data)

    def _known(self) -> Vector:
        """Return the state vector of what the library has taken in."""
        transaction = self._document.create_transaction()
        vector = read_vector(self._document.get_state(transaction))
        transaction.drop()
        return vector

    def _begin(self) -> "Transaction":
        """Begin a transaction in which the document is up to date."""
        self._catch_up()
        return self._document.create_transaction()

    def split_by(self, update: Update) -> Id | None:
        """Return a character that is still there and that the update, whose causes are here, cuts in two.

        An update that does not will never do so later: deleted characters do not come back.
        """
        if self._pairs is None:
            text = self.text
            self._pairs = pairs_in(self.state()) if utf16_length(text) > len(text) else set()
        if not self._pairs or self._pairs.isdisjoint(update.edges()):
            return None
        if not self._pairs_stand:
            self._pairs, self._pairs_stand = pairs_in(self.state()), True
        return min(self._pairs.intersection(update.edges()), default=None)

    def _integrate(self, data: bytes) -> None:
        transaction = self._document.create_transaction()
        try:
            self._document.apply_update(transaction, data)
            transaction.commit()
        except ValueError as error:
            raise DomainError(f"`update` is not a Yjs update: {error}") from error
        finally:
            transaction.drop()

    def _count(self, update: Update) -> None:
        self.has_changed = True
        if update.end > self.vector.get(update.client, 0):
            self.vector[update.client] = update.end
        if self._pairs is not None:
            self._pairs.update(update.pairs)
            self._pairs_stand = self._pairs_stand and not update.deletes

    def type_on(self, position: int, text: str) -> bytes:
        """Insert where the last insertion of this replica ended; return the update, b"" where it did not.

        Quick, however long the text is: the neighbours on both sides are known.
        """
        if position != self._cursor or not text:
            return b""
        client, clock = self.client, self.vector[self.client]
        data = write_insert(client, clock, (client, clock - 1), self._right, text)
        self._integrate(data)
        self.vector[client] = clock + utf16_length(text)
        if self._pairs is not None and not text.isascii():
            self._pairs.update(pairs_of(text, client, clock))
        if not self._typed:
            self._typed_at = position
        self._typed.append(text)
        self._cursor = position + len(text)
        return data

    def edit(self, patches: list[Patch], *, is_behind: bool = False) -> bytes:
        """Apply patches one after the other; return all of them as one update, b"" for no change.

        With `is_behind`, what comes in the place of something is put behind what goes: apart from what others
        put before that. Raises `DomainError`, and changes nothing, for a place beyond the text.
        """
        text = self.text
        places: list[tuple[int, int, str]] = []
        for position, length, added in patches:
            check_place(position, length, len(text))
            end = position + length
            if text.isascii():
                places.append((position, length, added))
            else:  # the library counts in bytes of UTF-8
                places.append((len(text[:position].encode()), len(text[position:end].encode()), added))
            text = f"{text[:position]}{added}{text[end:]}"
        data = self._write(places, is_behind=is_behind)
        self._text, self._cursor = text, None
        if not data:
            return b""
        update = read_update(data)
        self._count(update)
        if len(patches) == 1 and patches[0][2]:
            self._cursor, self._right = patches[0][0] + len(patches[0][2]), update.right
        return data

    def edit_as(self, client: int, patch: Patch) -> bytes:
        """Apply one patch as `edit` does, but as another client.

        The update is a function of the document, the client and the patch.
        """
        position, length, added = patch
        text = self.text
        check_place(position, length, len(text))
        if not length and not added:
            return b""
        if not text.isascii() or (length and added):  # the library finds no places among wider characters
            data = self.fork(client).edit([patch])
        elif length:
            return self.edit([patch])  # what only deletes names no client
        else:
            sides = self.character(position - 1), self.character(position)
            data = write_insert(client, self.vector.get(client, 0), *sides, added)
        self.apply(read_update(data))
        self._text = f"{text[:position]}{added}{text[position + length :]}"
        return data

    def edit_in_lines(self, patch: Patch) -> bytes:
        """Apply one patch as `edit` does, apart from lines that others add at the same time.

        What begins a line that was there comes behind lines that are added before it. Lines that are added
        before one come before all that was deleted at its start: should that come back, it is in its line.
        """
        position, length, added = patch
        is_start = not position or self.text[position - 1 : position] == "\n"
        if is_start and not length and added:
            if added[-1] != "\n":
                return self._edit_last(patch)
            if data := self.insert_lines(position, added):
                return data
        return self.edit([patch], is_behind=True)

    def _edit_last(self, patch: Patch) -> bytes:
        """Insert as a client of which what it writes at one place comes last.

        Between two neighbours, deleted or not: only so is the order the same on all replicas.
        """
        client = self.client | _LAST
        if not self._has_deleted():
            return self.edit_as(client, patch)
        position, _, added = patch
        text, data = self.text, self.fork(client).edit([patch])
        self.apply(read_update(data))
        self._text = f"{text[:position]}{added}{text[position:]}"
        return data

    def insert_lines(self, position: int, added: str) -> bytes:
        """Insert whole lines before what was deleted at the start of a line; return the update.

        b"" where nothing was deleted, and where these are no whole lines before one: `edit` does that. It
        would put them behind what was deleted, and that would be in another line, should it come back.
        """
        text = self.text
        is_start = not position or text[position - 1 : position] == "\n"
        if not is_start or added[-1:] != "\n" or not 0 <= position < len(text) or not self._has_deleted():
            return b""
        state = self.state()
        usual = TextDocument(self.client, state)
        last, left = usual.left_at(position), usual.unit_before(position)
        if last is None or last == left:
            return b""
        likely = (left[0], left[1] + 1) if left else (last[0], 0)
        data = self._between(left, likely, added)
        trial = TextDocument(0, state)
        if likely[1] < self.vector.get(likely[0], 0):
            trial.apply(read_update(data))
        if trial.left_at(position) != left:
            data = self._between(left, _unit_behind(state, utf16_length(text[:position])), added)
        update = read_update(data)
        self.apply(update)
        self._text = f"{text[:position]}{added}{text[position:]}"
        self._cursor, self._right = position + len(added), update.right
        return data

    def _between(self, left: Id | None, right: Id | None, added: str) -> bytes:
        return write_insert(self.client, self.vector.get(self.client, 0), left, right, added)

    def _has_deleted(self) -> bool:
        transaction = self._begin()
        deletions = self._document.get_update(transaction, self._document.get_state(transaction))
        transaction.drop()
        return deletions != b"\0\0"

    def left_at(self, position: int) -> Id | None:
        """Insert something at a place; return what is left of it, deleted or not. Only for a copy."""
        return read_update(self.edit([(position, 0, "?")])).left

    def unit_before(self, position: int) -> Id | None:
        """Delete the character before a place; return its id, the second one of a pair. Only for a copy."""
        if not position:
            return None
        client, clock, length = read_update(self.edit([(position - 1, 1, "")])).deletes[-1]
        return client, clock + length - 1

    def character(self, place: int) -> Id | None:
        """Return the id of a character of a text that is ASCII; None before the first and after the last."""
        if not 0 <= place < len(self.text):
            return None
        transaction = self._begin()
        found = self._root.sticky_index(transaction, place, 0).encode()  # type: ignore[attr-defined]
        transaction.drop()
        return read_id(found[1:])

    def _write(self, places: list[tuple[int, int, str]], *, is_behind: bool) -> bytes:
        updates: list[bytes] = []
        self._catch_up()
        subscription = self._document.observe(lambda event: updates.append(event.update))
        transaction = self._document.create_transaction()
        try:
            for place, length, added in places:
                if added and is_behind:
                    self._root.insert(transaction, place + length, added)
                if length:
                    self._root.remove_range(transaction, place, length)
                if added and not is_behind:
                    self._root.insert(transaction, place, added)
            transaction.commit()
        finally:
            transaction.drop()
            subscription.drop()
        return updates[-1] if updates else b""


def _unit_behind(state: bytes, count: int) -> Id | None:
    """Return what follows the first `count` units of a text that are there, deleted or not."""
    document = TextDocument(0, with_texts(state, _shape))
    seen = end = 0
    for run in _RUNS.finditer(document.text) if count else ():
        seen, end = seen + len(run[0]), run.end()
        if seen >= count:
            break
    return document.character(end - max(seen - count, 0))


def _shape(piece: TextPiece) -> list[str | int]:
    """Show each unit that is there, and where others were deleted, the first of them."""
    if piece.text is not None:
        return [_HERE * piece.length]
    return [_GONE, piece.length - 1] if piece.length > 1 else [_GONE]


def check_place(position: int, length: int, size: int) -> None:
    """Raise `DomainError` unless `length` characters at `position` are within a text of `size`."""
    if position < 0 or length < 0 or position + length > size:
        what = f"characters {position} to {position + length}" if length else f"position {position}"
        raise DomainError(f"{what} of a text of {size} characters cannot be: count code points from 0")


def patches_of(text: str, delta: Delta) -> Iterator[Patch]:
    """Yield what a delta does to a text, as patches one after the other, with what stays between them."""
    data = b"" if text.isascii() else text.encode()  # the library counts in bytes of UTF-8
    at = place = length = 0
    added = ""
    for part in [*delta, {"retain": 0}]:
        come, size = part.get("insert", ""), part.get("delete", part.get("retain", 0))
        count = len(data[at : at + size].decode()) if data else size
        at += size
        if "retain" not in part:
            length, added = length + count, added + come
            continue
        if length or added:
            yield place, length, added
        place += len(added) + count
        length, added = 0, ""


def patch_between(old: str, new: str) -> list[Patch]:
    """Return the one patch that turns `old` into `new`: what is between their common start and end."""
    if old == new:
        return []
    shortest = min(len(old), len(new))
    start = _common(old, new, shortest)
    end = _common(old[start:][::-1], new[start:][::-1], shortest - start)
    return [(start, len(old) - start - end, new[start : len(new) - end])]


def _common(one: str, other: str, limit: int) -> int:
    """Count the characters that two texts have in common at their start."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
