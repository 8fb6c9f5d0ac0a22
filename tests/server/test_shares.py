"""What one token wants keeps no thread, session or peer from others."""

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from muse.core.timestamp import now_text
from muse.history.repository import Repository
from muse.replication.local_peer import LocalPeer
from muse.server.peers import Peers
from muse.server.shares import Shares
from tests.samples.code_samples import commit_files
from tests.samples.server_process import raw_connection, running_server
from tests.samples.waiting import wait_until

SECONDS = 30


def blocked(share: Executor, count: int) -> tuple[Callable[[], None], list[Future[int]], list[int]]:
    """Have works done that wait; return what lets them end, what they return, and those that were begun."""
    gate, begun = threading.Event(), []

    def work(number: int) -> int:
        begun.append(number)
        assert gate.wait(SECONDS)
        return number

    return gate.set, [share.submit(work, number) for number in range(count)], begun


def takes_on(threads: Executor) -> bool:
    try:
        threads.submit(int)
    except RuntimeError:
        return False
    return True


def test_what_one_holder_wants_keeps_others_from_no_thread() -> None:
    with ThreadPoolExecutor(4) as threads:
        shares = Shares(threads, 2)
        end, results, begun = blocked(shares.of("eve"), 50)
        for _ in range(20):
            assert shares.of("ada").submit(lambda: "done").result(SECONDS) == "done"
        assert sorted(begun) == [0, 1]
        results[10].cancel()
        end()
        assert [one.result(SECONDS) for one in results if one is not results[10]] == [
            number for number in range(50) if number != 10
        ]
        assert 10 not in begun


def test_an_error_goes_to_the_one_that_waits_for_it_and_the_next_is_done() -> None:
    with ThreadPoolExecutor(1) as threads:
        share = Shares(threads, 1).of("eve")
        failing: Future[int] = share.submit(int, "no number")
        assert share.submit(lambda: 1).result(SECONDS) == 1
        assert isinstance(failing.exception(SECONDS), ValueError)


def test_what_waits_when_the_threads_end_is_done() -> None:
    threads = ThreadPoolExecutor(2)
    shares = Shares(threads, 1)
    end, results, _ = blocked(shares.of("eve"), 5)
    ending = threading.Thread(target=threads.shutdown)
    ending.start()
    wait_until(lambda: not takes_on(threads))
    end()
    ending.join(SECONDS)
    assert [one.result(SECONDS) for one in results] == list(range(5))


def test_a_token_uses_so_many_sessions_at_once_and_leaves_the_rest_to_others() -> None:
    with running_server(open_sessions=4, sessions_per_token=2) as server:
        eve, ada = (server.token(name) for name in ("eve", "ada"))
        with server.client(ada) as client:
            for name in ("a", "b", "c", "d"):
                assert client.post("/v1/sessions", json={"session_id": name}).status_code == 201

        def live(session_id: str) -> AbstractContextManager[object]:
            address = f"{server.websocket_url}/v1/sessions/{session_id}/live"
            return connect(address, additional_headers={"authorization": f"Bearer {eve}"})

        with live("a"), live("a"), live("b"):
            with pytest.raises(InvalidStatus) as caught, live("c"):
                pass
            assert caught.value.response.status_code == 429
            with server.client(ada) as client:
                for name in ("a", "b", "c", "d"):
                    assert client.get(f"/v1/sessions/{name}/ops").status_code == 200
        with server.client(eve) as client:
            assert client.get("/v1/sessions/c/ops").status_code == 200


def test_what_a_work_that_failed_had_in_memory_goes_with_its_error() -> None:
    class Large:
        pass

    made: list[weakref.ref[Large]] = []

    def fail() -> None:
        large = Large()
        made.append(weakref.ref(large))
        raise ValueError

    gc.disable()
    try:
        with ThreadPoolExecutor(1) as threads:
            failed = Shares(threads, 1).of("eve").submit(fail)
            assert isinstance(failed.exception(SECONDS), ValueError)
            assert made[0]() is not None
        del failed
        assert made[0]() is None
    finally:
        gc.enable()


def test_answers_that_nobody_reads_take_bounded_memory() -> None:
    size = 32 << 20
    with running_server(bodies_bytes=2 * size, send_seconds=600) as server:
        commit_files(Repository.open(str(server.root)), {"large.bin": bytes(size)})
        eve = server.token("eve", "read")
        request = "GET /v1/commits/main/files/large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        request += f"Authorization: Bearer {eve}\r\n\r\n"
        with ExitStack() as held:
            for _ in range(2):
                connection = held.enter_context(raw_connection(server))
                connection.sendall(request.encode())
                assert connection.recv(12) == b"HTTP/1.1 200"
            with server.client(eve) as client:
                answer = client.get("/v1/commits/main/files/large.bin")
                assert (answer.status_code, "too large together" in answer.text) == (429, True)
            with server.client(server.token("ada", "read")) as client:
                assert len(client.get("/v1/commits/main/files/large.bin").content) == size
        with server.client(eve) as client:
            wait_until(lambda: client.get("/v1/commits/main/files/large.bin").status_code == 200)


def test_an_actor_makes_so_many_sessions() -> None:
    with running_server(sessions_burst=3, sessions_per_hour=1) as server:
        with server.client(server.token("eve")) as eve:
            names = ("a", "b", "c", "a", "d", "c")
            codes = [eve.post("/v1/sessions", json={"session_id": name}).status_code for name in names]
        assert codes == [201, 201, 201, 200, 429, 200]
        with server.client(server.token("ada")) as ada:
            assert ada.post("/v1/sessions", json={"session_id": "d"}).status_code == 201


def test_the_peers_of_one_token_take_the_place_of_its_own(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    peers = Peers(str(tmp_path))
    with peers.use("ada", "her replica", is_new=True) as kept:
        pass
    for number in range(100):
        with peers.use("eve", f"replica {number}", is_new=False):
            pass
    with peers.use("ada", "her replica", is_new=False) as again:
        assert again is kept
    peers.close()


def test_without_tokens_each_replica_keeps_its_peer(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text())
    peers = Peers(str(tmp_path))

    def used() -> list[LocalPeer]:
        found = []
        for number in range(20):
            with peers.use("", f"replica {number}", is_new=False) as peer:
                found.append(peer)
        return found

    assert used() == used()
    peers.close()


def test_a_peer_that_was_closed_while_its_replica_waited_for_it_is_not_used(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text())
    asked: list[str] = []

    class Hasty(Peers):
        def _take(self, *arguments: Any, **options: Any) -> Any:
            taken = super()._take(*arguments, **options)
            asked.append("took")
            if len(asked) == 1:
                self.close()  # as it happens while another thread uses the peer
            return taken

    peers = Hasty(str(tmp_path))
    with peers.use("ada", "her replica", is_new=True) as peer:
        assert asked == ["took", "took"]
        assert peer is peers._kept["ada", "her replica"].peer  # what is closed with the others
    peers.close()
