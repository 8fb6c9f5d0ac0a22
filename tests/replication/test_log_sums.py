"""Nothing new in a log is known without reading it, and whatever changed in it is seen."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from muse.disk import layout
from muse.replication import local_peer, log_items
from muse.replication.counting_peer import CountingPeer
from muse.replication.local_peer import LocalPeer
from muse.replication.sync import SessionSync, sync_sessions
from muse.replication.wire import WirePeer, answer, pack, unpack
from tests.samples.replicas import commit, log_of, make_origin, make_replica, pull_from, sync, write

SESSIONS = ("jam", "solo", "tune")
Two = tuple[Path, Path]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """Two replicas that hold the same, and have seen so."""
    origin = make_origin(tmp_path / "origin")
    for session_id in SESSIONS:
        write(origin, session_id, 1, 2, 3)
    commit(origin)
    other = make_replica(origin, tmp_path / "other")
    sync(origin, other)
    return origin, other


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sessions whose logs are read as a whole from now on."""
    found: list[str] = []
    read_items = log_items.read_items

    def noted(file: Any, note: Callable[..., object]) -> Any:
        found.append(file._session_id)
        return read_items(file, note)

    monkeypatch.setattr(local_peer, "read_items", noted)
    return found


def log(root: Path, session_id: str = "jam") -> Path:
    return Path(layout.ops_file(str(root), session_id))


def kept(root: Path, session_id: str = "jam") -> Path:
    return Path(layout.items_sum_file(str(root), session_id))


def test_where_nothing_is_new_no_log_is_read_and_one_message_is_of_all_sessions(
    two: Two, read: list[str]
) -> None:
    with LocalPeer(str(two[0])) as here, LocalPeer(str(two[1])) as there:
        peer = CountingPeer(there)
        assert list(sync_sessions(here, peer)) == [SessionSync(session_id) for session_id in SESSIONS]
    assert read == []
    assert peer.traffic.round_trips == 2  # which repository it is, and the sessions
    assert pull_from(*two).sessions == tuple(map(SessionSync, SESSIONS))
    assert read == []


@pytest.mark.parametrize("side", [0, 1])
def test_what_is_new_on_either_side_is_brought_and_no_other_log_is_read(
    two: Two, read: list[str], side: int
) -> None:
    write(two[side], "solo", 4)
    outcome = sync(*two)
    assert (outcome["solo"].sent, outcome["solo"].received) == (1 - side, side)
    assert {*read} == {"solo"}
    assert log_of(two[0], "solo") == log_of(two[1], "solo")
    sync(*two)
    read.clear()
    assert sync(*two)["solo"] == SessionSync("solo")
    assert read == []


def test_a_byte_that_changed_under_the_same_size_and_time_is_found_and_mended(two: Two) -> None:
    before = log(two[0]).stat()
    with log(two[0]).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    os.utime(log(two[0]), ns=(before.st_atime_ns, before.st_mtime_ns))
    after = log(two[0]).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert pull_from(*two).mended
    assert sorted(entry["op_id"] for entry in log_of(two[0])) == sorted(
        entry["op_id"] for entry in log_of(two[1])
    )


def test_nothing_is_kept_of_a_log_that_is_damaged_or_changes_while_it_is_read(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log(two[0]).open("ab") as file:
        file.write(b"no entry\n")
    kept(two[0]).unlink()
    sync(*two)
    assert not kept(two[0]).exists()
    read_items = log_items.read_items

    def written_to(file: Any, note: Callable[..., object]) -> Any:
        items = read_items(file, note)
        write(two[1], "tune", 4)
        return items

    monkeypatch.setattr(local_peer, "read_items", written_to)
    kept(two[1], "tune").unlink()
    with LocalPeer(str(two[1])) as peer:
        peer.items("tune")
    assert not kept(two[1], "tune").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"\xff" * 3_000,
        lambda data: data.replace(b'"schema_version": 1', b'"schema_version": 2'),
        lambda data: data.replace(b'"sum": "', b'"sum": "x'),
        lambda _: b"[]",
    ],
)
def test_a_kept_sum_that_is_damaged_is_as_good_as_absent(
    two: Two, read: list[str], spoil: Callable[[bytes], bytes]
) -> None:
    data = kept(two[0]).read_bytes()
    assert spoil(data) != data
    kept(two[0]).write_bytes(spoil(data))
    write(two[1], "jam", 4)
    assert sync(*two)["jam"].received == 1
    assert {*read} == {"jam"}


def test_a_log_that_another_took_the_place_of_is_read(two: Two, read: list[str]) -> None:
    data = log(two[0]).read_bytes()
    log(two[0]).unlink()
    log(two[0]).write_bytes(data)
    assert sync(*two)["jam"] == SessionSync("jam")
    assert {*read} == {"jam"}


def test_a_server_that_tells_no_sums_is_asked_log_by_log(two: Two, read: list[str]) -> None:
    def earlier(call: str, body: bytes) -> bytes:
        answered = answer(there, call, body)
        return pack({"sessions": unpack(answered)[0]["sessions"]}) if call == "sessions" else answered

    with LocalPeer(str(two[0])) as here, LocalPeer(str(two[1])) as there:
        assert [*sync_sessions(here, WirePeer(earlier))] == [SessionSync(name) for name in SESSIONS]
    assert {*read} == {*SESSIONS}


def test_sums_go_over_a_wire(two: Two, read: list[str]) -> None:
    with LocalPeer(str(two[0])) as here, LocalPeer(str(two[1])) as there:
        peer = WirePeer(lambda call, body: answer(there, call, body))
        assert peer.sessions() == here.sessions()
        assert all(peer.sessions().values())
        assert [*sync_sessions(here, peer)] == [SessionSync(name) for name in SESSIONS]
    assert read == []
    assert orjson.loads(kept(two[0]).read_bytes())["sum"] == orjson.loads(kept(two[1]).read_bytes())["sum"]
