"""A peer's calls as messages: what a distant peer is asked, and what answers in its place.

A message has a name, that of the call, and a body: one line of JSON, and the bytes that go with it.
`WirePeer` asks over any wire; `answer` is its other end, and trusts nothing that arrives.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, get_args

import msgspec
import orjson

from muse.core.entry import is_op_id
from muse.core.op_log import MergeResult
from muse.disk import layout
from muse.replication.peer import BATCH_OPS, IDS_AT_MOST, OBJECT_BYTES, Batch, Content, Identity, Kind, Peer
from muse.replication.received import LONGEST_BATCH
from muse.replication.reconcile import MESSAGE_BYTES, ProtocolError

Send = Callable[[str, bytes], bytes]
"""Sends the body of a message of that name, and returns the body of what comes back."""

_LINE_BYTES = 1 << 24
_DATA_BYTES = {"get": OBJECT_BYTES, "entries": LONGEST_BATCH, "reconcile": MESSAGE_BYTES}
"""How many bytes may follow the line of an answer, by the name of its message; of others, none."""
_T = TypeVar("_T")


def pack(document: Mapping[str, Any], data: bytes = b"") -> bytes:
    """Return the body of a message."""
    return orjson.dumps(document) + b"\n" + data


def unpack(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what `pack` was given; `ProtocolError` for anything else."""
    line, newline, data = body.partition(b"\n")
    try:
        document = orjson.loads(line) if newline and len(line) <= _LINE_BYTES else None
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ProtocolError("a message to or from a peer must start with a line that is one JSON object")
    return document, data


def longest_answer(call: str) -> int:
    """Return how many bytes the answer to a message may have: so much a hostile peer can make one read."""
    return _LINE_BYTES + _DATA_BYTES.get(call, 0)


# -- the answering end ----------------------------------------------------------------------------


class _Values:
    """The values of a message, each checked before it is used."""

    def __init__(self, document: Mapping[str, Any], call: str) -> None:
        self._document = document
        self._call = call

    def text(self, key: str) -> str:
        value = self._document.get(key)
        if not isinstance(value, str):
            raise ProtocolError(f"message {self._call!r} needs {key!r} as text")
        return value

    def digest(self, key: str) -> str:
        return layout.check_digest(self.text(key), key)

    def session_id(self) -> str:
        return layout.check_session_id(self.text("session_id"))

    def kind(self) -> Kind:
        for kind in get_args(Kind):
            if self._document.get("kind") == kind:
                found: Kind = kind
                return found
        raise ProtocolError(f"message {self._call!r} needs 'kind' as one of {', '.join(get_args(Kind))}")

    def size(self, key: str, at_most: int) -> int:
        value = self._document.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= at_most:
            raise ProtocolError(f"message {self._call!r} needs {key!r} as a number up to {at_most}")
        return value

    def texts(self, key: str, at_most: int) -> list[str]:
        values = self._document.get(key)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ProtocolError(f"message {self._call!r} needs {key!r} as a list of texts")
        if len(values) > at_most:
            raise ProtocolError(
                f"message {self._call!r} has {len(values)} {key}: at most {at_most} are allowed"
            )
        return values


def _identity(peer: Peer, _asked: _Values, _data: bytes) -> bytes:
    return pack(msgspec.to_builtins(peer.identity()))


def _sessions(peer: Peer, _asked: _Values, _data: bytes) -> bytes:
    found = peer.sessions()
    return pack({"sessions": [*found], "sums": {name: known for name, known in found.items() if known}})


def _reconcile(peer: Peer, asked: _Values, data: bytes) -> bytes:
    return pack({}, peer.reconcile(asked.session_id(), data))


def _entries(peer: Peer, asked: _Values, _data: bytes) -> bytes:
    op_ids = asked.texts("op_ids", BATCH_OPS)
    if not all(map(is_op_id, op_ids)):
        raise ProtocolError("message 'entries' needs 'op_ids' as lower-case UUID4s")
    batch = peer.entries(asked.session_id(), op_ids)
    return pack({"done": batch.done, "object_ids": batch.object_ids}, batch.lines)


def _offer(peer: Peer, asked: _Values, data: bytes) -> bytes:
    return pack(msgspec.to_builtins(peer.offer(asked.session_id(), data)))


def _branches(peer: Peer, _asked: _Values, _data: bytes) -> bytes:
    return pack({"branches": peer.branches()})


def _lacks(peer: Peer, asked: _Values, _data: bytes) -> bytes:
    ids = [layout.check_digest(digest, "id") for digest in asked.texts("ids", IDS_AT_MOST)]
    return pack({"ids": peer.lacks(asked.kind(), ids)})


def _get(peer: Peer, asked: _Values, _data: bytes) -> bytes:
    content = peer.get(asked.kind(), asked.digest("digest"))
    return pack({"object_ids": content.object_ids}, content.data)


def _put(peer: Peer, asked: _Values, data: bytes) -> bytes:
    peer.put(asked.kind(), asked.digest("digest"), data)
    return pack({})


def _cover(peer: Peer, asked: _Values, data: bytes) -> bytes:
    size = asked.size("commit_bytes", len(data))
    return pack({"op_ids": peer.cover(asked.digest("digest"), data[:size], data[size:])})


def _advance(peer: Peer, asked: _Values, _data: bytes) -> bytes:
    branch, expected = layout.check_branch(asked.text("branch")), None
    if asked.text("expected"):
        expected = asked.digest("expected")
    return pack({"kept": peer.advance(branch, expected, asked.digest("new"))})


_CALLS: dict[str, Callable[[Peer, _Values, bytes], bytes]] = {
    "identity": _identity,
    "sessions": _sessions,
    "reconcile": _reconcile,
    "entries": _entries,
    "offer": _offer,
    "branches": _branches,
    "lacks": _lacks,
    "get": _get,
    "put": _put,
    "cover": _cover,
    "advance": _advance,
}

CALLS = tuple(_CALLS)
"""The names that a message may have."""

WRITING_CALLS = frozenset({"offer", "put", "cover", "advance"})
"""Those that change the replica."""


def answer(peer: Peer, call: str, body: bytes) -> bytes:
    """Return the answer of `peer` to a message. Blocks on its files.

    Raises `ProtocolError` or `UsageError` for what is no message, and whatever the peer raises. The
    caller keeps garbage from being collected (`Peer.receiving`) for some time after each message.
    """
    if call not in _CALLS:
        raise ProtocolError(f"message {call!r} is unknown: there are {', '.join(CALLS)}")
    document, data = unpack(body)
    return _CALLS[call](peer, _Values(document, call), data)


# -- the asking end -------------------------------------------------------------------------------


class WirePeer:
    """A `Peer` at the other end of a wire. Whatever `send` raises goes to the caller."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def _ask(self, call: str, document: Mapping[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        return unpack(self._send(call, pack(document, data)))

    def identity(self) -> Identity:
        return _converted(self._ask("identity", {})[0], Identity)

    def sessions(self) -> dict[str, str]:
        answered = self._ask("sessions", {})[0]
        sums = _converted(answered.get("sums", {}), dict[str, str])  # a server of an earlier version has none
        return {name: sums.get(name, "") for name in _converted(answered.get("sessions"), list[str])}

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        return self._ask("reconcile", {"session_id": session_id}, message)[1]

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        asked = {"session_id": session_id, "op_ids": list(op_ids[:BATCH_OPS])}
        document, lines = self._ask("entries", asked)
        done = _converted(document.get("done"), int)
        return Batch(done, lines, tuple(_digests(document)))

    def offer(self, session_id: str, lines: bytes) -> MergeResult:
        # A server of an earlier version would refuse, unless told not to check, what other logs hold.
        message = {"session_id": session_id, "check": False}
        return _converted(self._ask("offer", message, lines)[0], MergeResult)

    def branches(self) -> dict[str, str | None]:
        branches = _converted(self._ask("branches", {})[0].get("branches"), dict[str, str | None])
        for branch, head in branches.items():
            layout.check_branch(branch)
            if head is not None:
                layout.check_digest(head, "head")
        return branches

    def lacks(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        missing = _converted(self._ask("lacks", {"kind": kind, "ids": list(ids)})[0].get("ids"), list[str])
        return sorted(set(missing).intersection(ids))

    def get(self, kind: Kind, digest: str) -> Content:
        document, data = self._ask("get", {"kind": kind, "digest": digest})
        return Content(data, tuple(_digests(document)))

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        self._ask("put", {"kind": kind, "digest": digest}, data)

    def cover(self, digest: str, commit: bytes, lines: bytes) -> list[str]:
        asked = {"digest": digest, "commit_bytes": len(commit)}
        return _converted(self._ask("cover", asked, commit + lines)[0].get("op_ids"), list[str])

    def receiving(self) -> AbstractContextManager[None]:
        """Nothing is to be done here: see `answer`."""
        return nullcontext()

    def advance(self, branch: str, expected: str | None, new: str) -> list[str]:
        asked = {"branch": branch, "expected": expected or "", "new": new}
        return _converted(self._ask("advance", asked)[0].get("kept"), list[str])


def _digests(document: Mapping[str, Any]) -> list[str]:
    return [layout.check_digest(digest, "id") for digest in _converted(document.get("object_ids"), list[str])]


def _converted(value: object, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the peer sent what no replica sends: {error}") from error
