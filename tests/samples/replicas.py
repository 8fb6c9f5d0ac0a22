"""Replicas of one repository for tests, and a wire between them that can be cut."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from muse.core.op_log import OpLog
from muse.errors import MuseError
from muse.history.repository import Repository
from muse.replication.counting_peer import CountingPeer
from muse.replication.local_peer import LocalPeer
from muse.replication.peer import Peer
from muse.replication.sync import SessionSync, sync_sessions
from muse.replication.transfer import Exchange, clone, pull, push
from muse.session.live import LiveSession

NOW = "2026-01-02T03:04:05+00:00"
DOMAIN = "domain-without-plugin"


def make_origin(root: Path) -> Path:
    Repository.init(str(root), now=NOW, domain="music", any_domain=True)
    return root


def make_replica(origin: Path, root: Path) -> Path:
    with LocalPeer(str(origin)) as peer:
        clone(peer, str(root))
    return root


def write(root: Path, session_id: str, *numbers: int, actor: str = "ada") -> list[str]:
    """Record an op for each number; return their ids."""
    with OpLog(root, session_id) as log:
        return [log.record(actor, DOMAIN, {"n": number})["op_id"] for number in numbers]


def commit(root: Path, session_id: str = "jam", message: str = "Some") -> str:
    with LiveSession(root, session_id) as session:
        return session.commit(message).commit_id or ""


def log_of(root: Path, session_id: str = "jam") -> list[Any]:
    with OpLog(root, session_id) as log:
        return log.read_all()


def sync(own: Path, other: Path, *session_ids: str) -> dict[str, SessionSync]:
    with LocalPeer(str(own)) as here, LocalPeer(str(other)) as there:
        return {found.session_id: found for found in sync_sessions(here, there, session_ids)}


def pull_from(own: Path, other: Path, branch: str | None = None) -> Exchange:
    with LocalPeer(str(own)) as here, LocalPeer(str(other)) as there:
        return pull(here, there, branch)


def push_to(own: Path, other: Path, branch: str | None = None) -> Exchange:
    with LocalPeer(str(own)) as here, LocalPeer(str(other)) as there:
        return push(here, there, branch)


class WireCutError(MuseError):
    """The connection is gone."""


class CutPeer(CountingPeer):
    """A peer whose wire is cut at one message: before it arrives there, or before the answer is back."""

    def __init__(self, peer: Peer, at: int, *, arrives: bool) -> None:
        super().__init__(peer)
        self.at, self.arrives = at, arrives

    @property
    def was_cut(self) -> bool:
        return self.traffic.round_trips >= self.at

    def _ask(self, call: str, *arguments: Any, **named: Any) -> Any:
        if self.traffic.round_trips + 1 < self.at:
            return super()._ask(call, *arguments, **named)
        if self.arrives and not self.was_cut:
            super()._ask(call, *arguments, **named)
        self.traffic.round_trips = max(self.at, self.traffic.round_trips)
        raise WireCutError("the wire was cut")


def cut_at_every_message(
    make: Callable[[int], tuple[Path, Callable[[Peer], object]]], *, arrives: bool
) -> Iterator[bool]:
    """Run what `make` gives with its peer's wire cut at message 1, then 2, and so on; yield whether it was.

    `make` is given the number and returns the root of the peer and what to do with it. It ends once nothing
    was cut.
    """
    for at in range(1, 1000):
        root, action = make(at)
        with LocalPeer(str(root)) as there:
            peer = CutPeer(there, at, arrives=arrives)
            try:
                action(peer)
            except WireCutError:
                yield True
            else:
                assert not peer.was_cut
                yield False
                return
    raise AssertionError("there are more messages than can be")
