"""The client where a program begins, ends, forks, gives up waiting or asks for much at once."""

import asyncio
import json
import os
import shutil
import signal
import threading
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from muse.client import (
    AsyncClient,
    Client,
    DamagedError,
    OtherRepositoryError,
    Receipt,
    ServerError,
    Session,
    UnauthorizedError,
)
from muse.client.appender import Appender
from muse.client.local_copy import LocalCopy
from muse.client.socket import Socket, opened
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.errors import ConflictError, UsageError
from muse.history.repository import Repository
from muse.server.edge.access import Tokens
from tests.client.test_client import DOMAIN, edit, make_session, numbers, stored
from tests.samples.server_process import ServerProcess, running_server
from tests.samples.waiting import wait_until

_ENOUGH_SECONDS = 60


@pytest.fixture(scope="module")
def running() -> Iterator[ServerProcess]:
    with running_server() as server:
        yield server


@pytest.fixture
def jam(running: ServerProcess) -> tuple[ServerProcess, str]:
    """A server, and a session of this test's own."""
    session_id = f"jam-{uuid.uuid4()}"
    make_session(running, session_id)
    return running, session_id


def in_child(work: Callable[[], None]) -> int:
    """Do `work` in a forked child; return its process."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(_ENOUGH_SECONDS)
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing of pytest may run on in the child
        traceback.print_exc()
    finally:
        os._exit(1)


def test_processes_that_were_forked_make_no_op_id_twice(jam: tuple[ServerProcess, str]) -> None:
    server, session_id = jam
    with Client(server.url) as client, client.session(session_id, "parent") as session:
        session.record(DOMAIN, edit(0))

    def work() -> None:
        with Client(server.url) as client, client.session(session_id, "child") as session:
            assert [session.record(DOMAIN, edit(n)).status for n in range(3)] == ["stored"] * 3

    children = [in_child(work) for _ in range(3)]
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert len(stored(server, session_id)) == 10


def test_a_forked_child_is_told_that_the_client_of_its_parent_is_none_of_its_own(
    jam: tuple[ServerProcess, str],
) -> None:
    server, session_id = jam

    with Client(server.url) as client, client.session(session_id, "ada") as session:

        def work() -> None:
            with pytest.raises(UsageError, match="fork"):
                session.record(DOMAIN, edit(1))
            client.close()

        session.record(DOMAIN, edit(0))
        assert os.waitpid(in_child(work), 0)[1] == 0
        session.record(DOMAIN, edit(2))
    assert numbers(stored(server, session_id), "ada") == [0, 2]


def test_a_session_that_is_not_open_is_an_error_and_no_wait_without_end(
    jam: tuple[ServerProcess, str], tmp_path: Path
) -> None:
    server, session_id = jam
    client = Client(server.url)
    for cache in (None, str(tmp_path / "cache")):
        session = client.session(session_id, "ada", cache=cache)
        with pytest.raises(UsageError, match="not open"):
            session.record(DOMAIN, edit(1))
        with session:
            with pytest.raises(UsageError, match="open already"):
                session.open()
            session.record(DOMAIN, edit(2))
        with pytest.raises(UsageError, match="not open"):
            session.record(DOMAIN, edit(3))
        with pytest.raises(UsageError, match="not open"):
            session.flush()
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.sessions()
    assert numbers(stored(server, session_id), "ada") == [2, 2]


def test_whatever_ends_the_sending_nobody_waits_for_it_in_vain(
    jam: tuple[ServerProcess, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, session_id = jam

    async def broken(appender: Appender) -> None:
        await appender._outbox.some()
        raise ZeroDivisionError

    monkeypatch.setattr(Appender, "run", broken)

    async def main() -> None:
        async with AsyncClient(server.url) as client, asyncio.timeout(_ENOUGH_SECONDS):
            session = await client.session(session_id, "ada").open()
            with pytest.raises(ServerError, match="ZeroDivisionError") as failed:
                await session.record(DOMAIN, edit(1))
            assert len(failed.value.op_ids) == 1
            with pytest.raises(ServerError, match="ZeroDivisionError"):
                await session.record(DOMAIN, edit(2))
            await session.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["http://h:x", "http://127.0.0.1:99999", "http://[::1", f"http://{'a' * 70}", "http://a..b"]
)
def test_an_address_that_nothing_can_connect_to_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="address of a server"):
        AsyncClient(url)


def test_more_than_a_client_holds_keeps_its_order(
    jam: tuple[ServerProcess, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, session_id = jam
    monkeypatch.setattr("muse.client.outbox.WAITING_AT_MOST", 50)

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            session = client.session(session_id, "bob", linger_seconds=0)
            async with session, asyncio.TaskGroup() as group:
                for number in range(3_000):
                    group.create_task(session.submit(DOMAIN, edit(number)))

    with Client(server.url) as client, client.session(session_id, "ada", linger_seconds=0) as session:
        for number in range(3_000):
            session.submit(DOMAIN, edit(number))
    asyncio.run(main())
    for actor in ("ada", "bob"):
        assert numbers(stored(server, session_id), actor) == list(range(3_000))


def test_patience_is_for_a_server_that_stores_nothing_not_for_a_long_queue(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, ops_per_second=1_000, ops_burst=1_000) as server:
        make_session(server)
        with Client(server.url, patience_seconds=1.5) as client, client.session("jam", "ada") as session:
            futures = [session.submit(DOMAIN, edit(number)) for number in range(5_000)]
            assert {future.result(_ENOUGH_SECONDS).status for future in futures} == {"stored"}
        assert numbers(stored(server), "ada") == list(range(5_000))


def test_who_gives_up_waiting_costs_no_op_and_doubles_none(jam: tuple[ServerProcess, str]) -> None:
    server, session_id = jam

    async def main() -> None:
        async with AsyncClient(server.url) as client, client.session(session_id, "ada") as session:
            for number in range(200):
                try:
                    async with asyncio.timeout(0.0002 * (number % 10)):
                        await session.record(DOMAIN, edit(number))
                except TimeoutError:
                    pass
                if number % 20 == 0:
                    try:
                        async with asyncio.timeout(0.001):
                            await session.flush()
                    except TimeoutError:
                        pass
            await session.record(DOMAIN, edit(200))

    asyncio.run(main())
    found = numbers(stored(server, session_id), "ada")
    assert found == sorted(set(found))
    assert set(found) >= {number for number in range(200) if number % 10} | {200}


# -- with a local log -----------------------------------------------------------------------------


def test_an_op_id_of_ones_own_counts_with_a_local_log_too(
    jam: tuple[ServerProcess, str], tmp_path: Path
) -> None:
    server, session_id = jam
    op_id = str(uuid.uuid4())
    with Client(server.url) as client:
        for status in ("stored", "known"):
            with client.session(session_id, "ada", cache=str(tmp_path / "cache")) as session:
                receipt = session.record(DOMAIN, edit(1), op_id=op_id)
                assert (receipt.op_id, receipt.status) == (op_id, status)
                with pytest.raises(ConflictError, match=op_id):
                    session.record(DOMAIN, edit(2), op_id=op_id)
    assert [entry["op_id"] for entry in stored(server, session_id)] == [op_id]


def test_who_gives_up_waiting_keeps_no_other_from_a_local_receipt(tmp_path: Path) -> None:
    async def main() -> tuple[Receipt, Receipt]:
        async with AsyncClient(server.url) as client:
            session = client.session("jam", "ada", cache=str(tmp_path / "cache"))
            async with session, asyncio.timeout(_ENOUGH_SECONDS):
                first = await session.submit(DOMAIN, edit(1))
                (await session.submit(DOMAIN, edit(2))).cancel()
                third = await session.submit(DOMAIN, edit(3))
                (await session.submit(DOMAIN, edit(4))).cancel()
                return await first, await third

    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
        server.kill()
        assert [receipt.status for receipt in asyncio.run(main())] == ["local", "local"]
        server.start()
        with (
            Client(server.url) as client,
            client.session("jam", "ada", cache=str(tmp_path / "cache")) as session,
        ):
            session.flush()
        assert numbers(stored(server), "ada") == [1, 2, 3, 4]


def test_leaving_a_session_with_a_local_log_sends_what_is_on_its_way_if_the_server_is_there(
    tmp_path: Path,
) -> None:
    cache = str(tmp_path / "cache")
    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
        with Client(server.url) as client:
            with client.session("jam", "ada", cache=cache) as session:
                there = session.submit(DOMAIN, edit(1))
            assert there.result(_ENOUGH_SECONDS).status == "stored"
            server.kill()
            with client.session("jam", "ada", cache=cache) as session:
                away = session.submit(DOMAIN, edit(2))
            assert away.result(_ENOUGH_SECONDS).status == "local"
        assert numbers(stored(server), "ada") == [1]


def test_a_log_that_was_restored_from_a_backup_gets_back_what_a_local_log_has(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
        log_path = server.root / ".muse" / "op_log" / "jam" / "ops.jsonl"
        with (
            Client(server.url) as client,
            client.session("jam", "ada", cache=str(tmp_path / "cache")) as session,
        ):
            session.record_many(DOMAIN, [edit(number) for number in range(3)])
            backup = log_path.read_bytes()
            session.record_many(DOMAIN, [edit(number) for number in range(3, 6)])
            assert session.log is not None
            wait_until(lambda: int(session._inner._copy.cursor.partition("-")[0]) > len(backup))  # type: ignore[union-attr]
            server.kill()
            log_path.write_bytes(backup)
            with OpLog(server.root, "jam") as log:
                log.record("bob", DOMAIN, edit(7))
            server.start()
            session.record(DOMAIN, edit(6))
            wait_until(lambda: len(stored(server)) == len(session.log.read_all()) == 8)
        assert sorted(numbers(stored(server), "ada")) == list(range(7))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("put_back", ["log", "state", "both", "other log"])
def test_a_local_log_or_its_state_that_was_put_back_loses_nothing(
    tmp_path: Path, put_back: str, version: int
) -> None:
    """Version 2 noted no cursor of the local log: where it is longer than what was sent, nothing tells."""
    cache = tmp_path / "cache"
    with ServerProcess(tmp_path / "served") as server, Client(server.url) as client:
        make_session(server)

        def ids(entries: list[Any]) -> set[str]:
            return {entry["op_id"] for entry in entries}

        def work(first: int) -> None:
            with (
                client.session("jam", "ada", cache=str(cache)) as session,
                client.session("jam", "bob") as other,
            ):
                other.record_many(DOMAIN, [edit(first + number) for number in range(3)])
                session.record_many(DOMAIN, [edit(first + number) for number in range(3)])
                session.flush()
                assert session.log is not None
                wait_until(lambda: ids(session.log.read_all()) >= ids(stored(server)))

        work(0)
        directory = cache / ".muse" / "op_log" / "jam"
        backup = {path.name: path.read_bytes() for path in directory.glob("*.json*")}
        work(10)
        log, state = directory / "ops.jsonl", directory / "client.json"
        if put_back != "state":
            log.write_bytes(backup["ops.jsonl"])
        if put_back in {"state", "both"}:
            state.write_bytes(backup["client.json"])
        if put_back == "other log" and version == 3:
            with OpLog(str(cache), "jam") as own:
                own.record_many("eve", DOMAIN, [edit(number) for number in range(50)])
        if version == 2:
            document = json.loads(state.read_bytes())
            del document["log"]
            state.write_text(json.dumps({**document, "schema_version": 2}))
        work(20)
        wanted = sorted([*range(3), *range(10, 13), *range(20, 23)])
        assert sorted(numbers(stored(server), "ada")) == sorted(numbers(stored(server), "bob")) == wanted


def test_a_token_that_is_revoked_is_said_and_costs_a_local_log_nothing(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
        text, token = Tokens(str(server.root)).create("ada", "append")
        with Client(server.url, token=text) as client, client.session("jam", "ada", cache=cache) as session:
            assert session.record(DOMAIN, edit(0)).status == "stored"
            Tokens(str(server.root)).revoke(token.token_id)
            made = 1
            with pytest.raises(UnauthorizedError):  # noqa: PT012 - first the connection ends
                while made < 100_000:
                    session.record(DOMAIN, edit(made))
                    made += 1
            made += 1  # it is in the local log all the same
            with pytest.raises(UnauthorizedError):
                session.flush()
        anew = server.token("ada")
        with Client(server.url, token=anew) as client, client.session("jam", "ada", cache=cache) as session:
            session.flush()
        assert numbers(stored(server), "ada") == list(range(made))


def refused_as_other(session: Session) -> bool:
    try:
        session.flush()
    except OtherRepositoryError:
        return True
    return False


@pytest.mark.parametrize("count", [0, 3])
def test_a_local_log_is_not_mixed_with_another_repository_behind_the_same_url(
    tmp_path: Path, count: int
) -> None:
    cache = str(tmp_path / "cache")
    with ServerProcess(tmp_path / "first") as first:
        make_session(first)
        with Client(first.url) as client, client.session("jam", "ada", cache=cache) as session:
            copy = session._inner._copy
            assert copy is not None
            session.record_many(DOMAIN, [edit(number) for number in range(count)])
            wait_until(lambda: copy._repo_id and len(stored(first)) == count == len(copy.log.read_all()))
            wait_until(lambda: (copy.cursor != "0") == (count > 0))
            first.kill()
            cursor = copy.cursor
            Repository.init(str(tmp_path / "second"))
            with OpLog(tmp_path / "second", "jam") as log:
                log.record("bob", DOMAIN, edit(0))
            with ServerProcess(tmp_path / "second", port=first.port) as second:
                wait_until(lambda: refused_as_other(session))  # there is nothing to send: it reads
                assert copy.cursor == cursor
                with suppress(OtherRepositoryError):  # "local", where it finds the old connection broken
                    assert session.record(DOMAIN, edit(count)).status == "local"
                with pytest.raises(OtherRepositoryError, match="another cache directory"):
                    session.flush()
                with pytest.raises(OtherRepositoryError):
                    session.record(DOMAIN, edit(count + 1))
                assert numbers(stored(second), "bob") == [0]
                assert len(stored(second)) == 1
                assert numbers(copy.log.read_all(), "bob") == []
            first.start()
            wait_until(lambda: session.unacknowledged == 0)
            wait_until(lambda: not refused_as_other(session))
        assert numbers(stored(first), "ada") == list(range(count + 2))


def test_a_cache_that_names_no_repository_takes_over_that_of_the_first_server(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with ServerProcess(tmp_path / "first") as first, ServerProcess(tmp_path / "second") as second:
        for server in (first, second):
            make_session(server)
        with Client(first.url) as client, client.session("jam", "ada", cache=str(cache)) as session:
            session.record(DOMAIN, edit(0))
        (state,) = (path for path in cache.rglob("*.json") if "cursor" in path.read_text())
        document = json.loads(state.read_text())
        repo_id = document.pop("repo_id")
        state.write_text(json.dumps(document))
        with Client(first.url) as client, client.session("jam", "ada", cache=str(cache)) as session:
            session.record(DOMAIN, edit(1))
            assert client.session("jam", "bob").show()["repo_id"] == repo_id
            assert json.loads(state.read_text())["repo_id"] == repo_id  # before the first op was sent
        with (
            Client(second.url) as client,
            client.session("jam", "ada", cache=str(cache)) as session,
            pytest.raises(OtherRepositoryError, match=repo_id),
        ):
            session.record(DOMAIN, edit(2))
        assert stored(second) == []
        with Client(first.url) as client, client.session("jam", "ada", cache=str(cache)) as session:
            session.flush()
        assert numbers(stored(first), "ada") == [0, 1, 2]


def test_a_cache_goes_on_where_its_repository_is_served_under_another_url(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
        with Client(server.url) as client, client.session("jam", "ada", cache=cache) as session:
            copy = session._inner._copy
            session.record_many(DOMAIN, [edit(number) for number in range(3)])
            shutil.copytree(server.root, tmp_path / "moved")
            for number in range(3, 6):
                session.record(DOMAIN, edit(number), parent_op_ids=[])
            wait_until(lambda: copy is not None and copy.cursor == session.end())
            server.kill()
            assert session.record(DOMAIN, edit(6)).status == "local"
    with ServerProcess(tmp_path / "moved") as moved:
        assert moved.url != server.url
        with OpLog(moved.root, "jam") as log:  # as many bytes, so that the cursor looks good there
            for number in range(3, 6):
                log.record("bob", DOMAIN, edit(number))
        size = (moved.root / ".muse/op_log/jam/ops.jsonl").stat().st_size
        assert copy is not None
        assert size == int(copy.cursor.partition("-")[0])
        with Client(moved.url) as client, client.session("jam", "ada", cache=cache) as session:
            session.flush()
            wait_until(lambda: session.log is not None and len(session.log.read_all()) == 10)
        assert numbers(stored(moved), "ada") == list(range(7))


# -- following ------------------------------------------------------------------------------------


def test_a_follower_that_is_asked_in_short_turns_connects_all_the_same(
    jam: tuple[ServerProcess, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, session_id = jam
    connects = 0
    may_connect = threading.Event()

    @asynccontextmanager
    async def slowly(*arguments: Any) -> AsyncIterator[Socket]:
        nonlocal connects
        connects += 1
        await asyncio.to_thread(may_connect.wait)
        async with opened(*arguments) as socket:
            yield socket

    monkeypatch.setattr("muse.client.follower.opened", slowly)
    with Client(server.url) as client, client.session(session_id, "ada") as session:
        session.record(DOMAIN, edit(1))
        with session.follow() as follower:
            for _ in range(5):
                assert follower.batch_within(0.02) == []
            may_connect.set()
            wait_until(lambda: bool(follower.batch_within(0.02)))
        assert connects == 1
        may_connect.clear()
        with session.follow() as unfinished:
            assert unfinished.batch_within(0.02) == []
        may_connect.set()
    assert connects == 2


@pytest.mark.parametrize("read", [0, 1])
def test_a_follower_does_not_wait_for_a_damaged_log_to_mend_itself(
    jam: tuple[ServerProcess, str], read: int
) -> None:
    server, session_id = jam
    path = server.root / ".muse" / "op_log" / session_id / "ops.jsonl"
    with Client(server.url) as client, client.session(session_id, "ada") as session:
        session.record(DOMAIN, edit(0))
        with session.follow() as follower:
            if read:
                assert len(follower.batch()) == read
            path.write_bytes(path.read_bytes().replace(b'"n":0}', b'"n":8}'))
            with path.open("ab") as log:
                log.write(b"damage\n")
            for _ in range(2):  # asked again, it looks again
                with pytest.raises(DamagedError, match="'muse verify'") as failed:
                    follower.batch_within(_ENOUGH_SECONDS)
            assert (failed.value.status, failed.value.kind) == (500, "Damaged")


def test_a_stream_that_fails_on_its_way_says_why(jam: tuple[ServerProcess, str]) -> None:
    server, session_id = jam
    with Client(server.url) as client, client.session(session_id, "ada") as session:
        session.record_many(DOMAIN, [edit(number) for number in range(3)])
        path = server.root / ".muse" / "op_log" / session_id / "ops.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"n":1}', b'"n":8}'))
        with pytest.raises(DamagedError, match="damaged"):
            session.read_all()


def test_a_local_log_writes_down_how_far_it_is_only_where_that_changed(tmp_path: Path) -> None:
    with LocalCopy(str(tmp_path), "jam", "ada", "http://localhost:1") as copy:
        file = Path(layout.client_state_file(str(tmp_path), "jam"))

        def saved() -> int:
            copy.save()
            return file.stat().st_ino

        first = saved()
        assert saved() == first
        copy.note_acknowledged("12-00000000")
        assert saved() != first
        assert b"12-00000000" in file.read_bytes()
        file.unlink()
    with LocalCopy(str(tmp_path), "jam", "ada", "http://localhost:1") as copy:
        copy.save()
        assert file.exists()


def test_a_local_log_takes_in_what_the_server_has_however_its_entries_are_parted(tmp_path: Path) -> None:
    lost = make_op_entry("bob", DOMAIN, edit(1), 5)
    child = make_op_entry("ada", DOMAIN, edit(2), 8, parent_op_ids=[lost["op_id"]])
    again = {**lost, "lamport_ts": 9, "parent_op_ids": [child["op_id"]]}
    for parts in ([[child, again]], [[child], [again]]):
        directory = str(tmp_path / str(len(parts)))
        with OpLog(directory, "jam") as log:
            log.merge([child])  # kept back, as an earlier build did
        with LocalCopy(directory, "jam", "eve", "http://localhost:1") as copy:
            for part in parts:
                copy.take(part, "1")  # type: ignore[arg-type]
            assert [entry["op_id"] for entry in copy.log.entries()] == [child["op_id"], again["op_id"]]
            assert not copy.log.orphans.entries()


def test_a_local_log_is_changed_by_its_session_alone(tmp_path: Path) -> None:
    entry = make_op_entry("ada", DOMAIN, edit(1), 5)
    with LocalCopy(str(tmp_path), "jam", "ada", "http://localhost:1") as copy:
        for change in (copy.log.append, copy.log.merge, copy.log.append_many):
            with pytest.raises(UsageError, match="record with the session"):
                change([entry])
        assert not copy.log.read_all()
