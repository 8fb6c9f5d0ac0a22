"""A peer at the other end of a wire: what it answers is what the replica there would."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from muse.core.op_log import OpLog
from muse.errors import MuseError, NotFoundError
from muse.replication.local_peer import LocalPeer
from muse.replication.peer import Peer, Receiver
from muse.replication.reconcile import ProtocolError
from muse.replication.sync import sync_sessions
from muse.replication.transfer import clone, pull, push
from muse.replication.wire import CALLS, WirePeer, answer, pack, unpack
from muse.server.peers import Peers
from tests.samples.replicas import (
    commit,
    cut_at_every_message,
    log_of,
    make_origin,
    make_replica,
    write,
)

DIGEST = "0" * 64


@contextmanager
def wired(root: Path) -> Iterator[WirePeer]:
    with LocalPeer(str(root)) as local:
        yield WirePeer(lambda call, body: answer(local, call, body))


def history_of(root: Path) -> list[str]:
    with LocalPeer(str(root)) as peer:
        head = peer.branches()["main"]
        return [record["commit_id"] for record in peer.repository.dag.history(head)] if head else []


def test_replicas_are_cloned_synchronised_pulled_and_pushed_over_a_wire(tmp_path: Path) -> None:
    first, second = make_origin(tmp_path / "first"), tmp_path / "second"
    write(first, "jam", 1, 2, 3)
    commit(first)
    with wired(first) as there:
        clone(there, str(second))
    write(second, "jam", 4, actor="bob")
    commit(second)
    with LocalPeer(str(second)) as here, wired(first) as there:
        assert [found.sent for found in push(here, there).sessions] == [1]
    assert history_of(first) == history_of(second)
    assert len(history_of(first)) == 2
    write(first, "jam", 5)
    with LocalPeer(str(second)) as here, wired(first) as there:
        assert [found.received for found in sync_sessions(here, there)] == [1]
    commit(first)
    with LocalPeer(str(second)) as here, wired(first) as there:
        assert [found.result for found in pull(here, there).transfers] == ["fast-forward"]
    assert log_of(first) == log_of(second)
    assert history_of(first) == history_of(second)


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("move", [pull, push])
def test_cut_at_any_message_of_a_wire_the_next_run_finishes_it(
    tmp_path: Path, *, move: Callable[[LocalPeer, Peer], object], arrives: bool
) -> None:
    def make(at: int) -> tuple[Path, Callable[[Peer], object]]:
        first = make_origin(tmp_path / f"first-{at}")
        second = make_replica(first, tmp_path / f"second-{at}")
        source, target = (first, second) if move is pull else (second, first)
        write(source, "jam", *range(5))
        commit(source)
        write(target, "own", 1)

        def run(peer: Peer) -> None:
            with LocalPeer(str(second)) as here:
                move(here, WirePeer(lambda call, body: answer(peer, call, body)))

        roots[:] = [first, second, *roots]
        return first, run

    roots: list[Path] = []
    cuts = 0
    for was_cut in cut_at_every_message(make, arrives=arrives):
        cuts += was_cut
        first, second = roots[:2]
        with LocalPeer(str(second)) as here, wired(first) as there:
            move(here, there)
        assert len(log_of(first)) == len(log_of(second)) == 5
        assert len(history_of(first)) == len(history_of(second)) == 1
    assert cuts >= 10


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("identity", b""),
        ("identity", b"{}"),
        ("identity", b"[]\n"),
        ("identity", b"{]\n"),
        ("nothing", pack({})),
        ("__class__", pack({})),
        ("receiving", pack({})),
        ("reconcile", pack({})),
        ("reconcile", pack({"session_id": 7})),
        ("reconcile", pack({"session_id": "../../etc"})),
        ("reconcile", pack({"session_id": "jam"}, b"nonsense")),
        ("entries", pack({"session_id": "jam", "op_ids": "all"})),
        ("entries", pack({"session_id": "jam", "op_ids": ["x"]})),
        ("entries", pack({"session_id": "jam", "op_ids": [DIGEST] * 10_000})),
        ("offer", pack({"session_id": "jam"}, b"nonsense\n")),
        ("lacks", pack({"kind": "object", "ids": ["../x"]})),
        ("lacks", pack({"kind": "object", "ids": [DIGEST] * 5_000})),
        ("lacks", pack({"kind": "file", "ids": [DIGEST]})),
        ("get", pack({"kind": "object", "digest": "../../repo.json"})),
        ("get", pack({"kind": "object", "digest": DIGEST})),
        ("put", pack({"kind": "object", "digest": DIGEST}, b"anything")),
        ("put", pack({"kind": "commit", "digest": DIGEST}, b"{}")),
        ("cover", pack({"digest": DIGEST, "commit_bytes": 2}, b"{}")),
        ("cover", pack({"digest": DIGEST, "commit_bytes": 3}, b"{}")),
        ("cover", pack({"digest": DIGEST, "commit_bytes": True}, b"{}")),
        ("advance", pack({"branch": "../x", "expected": "", "new": DIGEST})),
        ("advance", pack({"branch": "main", "expected": "", "new": "x"})),
    ],
)
def test_what_is_no_message_is_refused_and_changes_nothing(tmp_path: Path, call: str, body: bytes) -> None:
    root = make_origin(tmp_path / "first")
    write(root, "jam", 1)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with LocalPeer(str(root)) as local, pytest.raises(MuseError):
        answer(local, call, body)
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    caches = {"op_index.ids", "items.sum"}
    assert {path: data for path, data in after.items() if path.name not in caches and data} == {
        path: data for path, data in before.items() if data
    }


@pytest.mark.parametrize("said", [{}, {"sessions": "jam"}, {"sessions": [1]}, {"branches": {"../x": None}}])
def test_an_answer_that_no_replica_gives_is_refused(said: dict[str, Any]) -> None:
    peer = WirePeer(lambda _call, _body: pack(said))
    with pytest.raises(MuseError):
        peer.identity()
    with pytest.raises(MuseError):
        peer.sessions()
    with pytest.raises(MuseError):
        peer.branches()


def test_an_error_of_the_other_end_goes_to_who_asked(tmp_path: Path) -> None:
    with wired(make_origin(tmp_path / "first")) as there, pytest.raises(NotFoundError):
        there.get("commit", DIGEST)


def test_what_is_packed_is_unpacked() -> None:
    assert unpack(pack({"a": [1]}, b"\n\x00{}")) == ({"a": [1]}, b"\n\x00{}")
    with pytest.raises(ProtocolError):
        unpack(b"no line")


def test_every_call_of_a_peer_has_its_message() -> None:
    names = {name for kind in (Peer, Receiver) for name in vars(kind) if not name.startswith("_")}
    assert names - {"receiving"} == set(CALLS)


def test_a_server_lets_go_of_peers_whose_clients_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[LocalPeer] = []
    monkeypatch.setattr(LocalPeer, "close", lambda peer: closed.append(peer))  # noqa: PLW0108 - as a method
    peers = Peers(str(make_origin(tmp_path / "first")))
    with peers.use("a token", "gone", is_new=True) as gone:
        pass
    peers.close_idle()
    assert closed == []
    monkeypatch.setattr("muse.server.peers._KEPT_SECONDS", 0.0)
    with peers.use("a token", "at work", is_new=True):
        peers.close_idle()
        assert closed == [gone]
    peers.close()
    assert len(closed) == 2


def test_a_peer_has_few_sessions_open_however_many_are_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muse.replication.local_peer.SESSIONS_OPEN", 3)
    root = make_origin(tmp_path / "first")
    names = [f"s-{number}" for number in range(12)]
    for name in names:
        with OpLog(root, name) as log:
            log.record("ada", "sketch", {"op": "insert", "address": name})

    def open_logs() -> int:
        found = Path("/proc/self/fd").iterdir()
        return sum(os.path.realpath(one).endswith("ops.jsonl") for one in found)

    before = open_logs()
    with LocalPeer(str(root)) as peer:
        for name in [*names, *names]:
            items = peer.items(name)
            assert len(items) == 1
            assert peer.items(name) is items
            assert open_logs() <= before + 3
    assert open_logs() == before
