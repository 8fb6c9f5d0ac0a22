"""A peer that counts what goes over the wire."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from muse.core.op_log import MergeResult
from muse.replication.peer import Batch, Content, Identity, Kind, Peer


@dataclass(slots=True)
class Traffic:
    """What went over the wire: messages there and back, and the bytes of their contents."""

    round_trips: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


class CountingPeer:
    """Hands each call on to `peer`, and counts."""

    def __init__(self, peer: Peer) -> None:
        self.traffic = Traffic()
        self._peer = peer

    def _ask(self, call: str, *arguments: Any, **named: Any) -> Any:
        """Send one message and return what comes back: the one place where all of them pass."""
        self.traffic.round_trips += 1
        self.traffic.sent_bytes += _size(arguments)
        answer = getattr(self._peer, call)(*arguments, **named)
        self.traffic.received_bytes += _size(answer)
        return answer

    def identity(self) -> Identity:
        found: Identity = self._ask("identity")
        return found

    def sessions(self) -> dict[str, str]:
        found: dict[str, str] = self._ask("sessions")
        return found

    def reconcile(self, session_id: str, message: bytes) -> bytes:
        answer: bytes = self._ask("reconcile", session_id, message)
        return answer

    def entries(self, session_id: str, op_ids: Sequence[str]) -> Batch:
        batch: Batch = self._ask("entries", session_id, op_ids)
        return batch

    def offer(self, session_id: str, lines: bytes) -> MergeResult:
        result: MergeResult = self._ask("offer", session_id, lines)
        return result

    def branches(self) -> dict[str, str | None]:
        found: dict[str, str | None] = self._ask("branches")
        return found

    def lacks(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        missing: list[str] = self._ask("lacks", kind, ids)
        return missing

    def get(self, kind: Kind, digest: str) -> Content:
        content: Content = self._ask("get", kind, digest)
        return content

    def put(self, kind: Kind, digest: str, data: bytes) -> None:
        self._ask("put", kind, digest, data)

    def cover(self, digest: str, commit: bytes, lines: bytes) -> list[str]:
        lacking: list[str] = self._ask("cover", digest, commit, lines)
        return lacking

    def receiving(self) -> AbstractContextManager[None]:
        return self._peer.receiving()

    def advance(self, branch: str, expected: str | None, new: str) -> list[str]:
        kept: list[str] = self._ask("advance", branch, expected, new)
        return kept


def _size(value: Any) -> int:
    """Return the bytes of a message's content: texts and bytes as they are, 8 for a number."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, dict):
        return _size([*value, *value.values()])
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    if isinstance(value, Identity | Batch | Content | MergeResult):
        return sum(_size(getattr(value, name)) for name in value.__slots__)
    return 8 if isinstance(value, int) else 0
