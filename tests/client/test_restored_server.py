"""A server whose log is an older copy again: nothing acknowledged stays lost, and all is seen once."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from muse.client import Client, OtherLogCursorError, Session
from muse.client.failures import UnreachableError
from muse.client.outbox import Waiting
from muse.client.socket import Socket
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.session.receipt import Receipt
from tests.client.test_client import DOMAIN, edit, make_session, numbers, stored
from tests.samples.server_process import ServerProcess
from tests.samples.waiting import wait_until


def log_path(server: ServerProcess) -> Path:
    return server.root / ".muse/op_log/jam/ops.jsonl"


def restore(server: ServerProcess, backup: bytes, *others: int) -> None:
    """Put back an older copy of the log while the server is down; others write before anybody returns."""
    server.kill()
    log_path(server).write_bytes(backup)
    with OpLog(server.root, "jam") as log:
        for number in others:
            log.record("bob", DOMAIN, edit(number))
    server.start()


def of(entries: Iterable[OpEntry]) -> list[Any]:
    return [entry["domain_op"].get("n") for entry in entries]


def local_numbers(session: Session) -> list[int]:
    assert session.log is not None
    return sorted(of(session.log.read_all()))


def all_numbers(server: ServerProcess) -> list[int]:
    return sorted(of(stored(server)))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
        yield server


@pytest.fixture
def session(server: ServerProcess, tmp_path: Path) -> Iterator[Session]:
    """A session of ada with a local log."""
    with (
        Client(server.url) as client,
        client.session("jam", "ada", cache=str(tmp_path / "cache")) as session,
    ):
        yield session


@pytest.mark.parametrize("others", [(), (90,), (90, 91), (90, 91, 92)])
@pytest.mark.parametrize("records", [True, False])
def test_a_client_that_was_away_brings_back_what_was_lost_before_its_flush_returns(
    server: ServerProcess, tmp_path: Path, others: tuple[int, ...], *, records: bool
) -> None:
    """Others may have written as many bytes as were lost, so that the place alone looks right."""
    cache = str(tmp_path / "cache")
    with Client(server.url) as client:
        with client.session("jam", "ada", cache=cache) as session:
            session.record_many(DOMAIN, [edit(number) for number in range(10, 13)])
            session.flush()
        backup = log_path(server).read_bytes()
        with client.session("jam", "ada", cache=cache) as session:
            session.record_many(DOMAIN, [edit(13), edit(14)])
            session.flush()
        restore(server, backup, *others)
        with client.session("jam", "ada", cache=cache) as session:
            if records:
                session.record(DOMAIN, edit(15))
            session.flush()
            expected = sorted([*range(10, 15 + records), *others])
            assert all_numbers(server) == expected
            wait_until(lambda: local_numbers(session) == expected)


def test_a_flush_with_nothing_on_its_way_brings_back_what_was_acknowledged_and_lost(
    server: ServerProcess, session: Session
) -> None:
    backup = log_path(server).read_bytes()
    for number in (10, 11):
        session.record(DOMAIN, edit(number))
    session.flush()
    restore(server, backup, 90)
    session.flush()
    assert all_numbers(server) == [10, 11, 90]
    wait_until(lambda: local_numbers(session) == [10, 11, 90])


def test_a_log_that_is_replaced_while_the_server_runs_gets_back_what_it_lost(
    server: ServerProcess, session: Session
) -> None:
    backup = log_path(server).read_bytes()
    session.record(DOMAIN, edit(10))
    session.flush()
    log_path(server).with_name("new").write_bytes(backup)
    log_path(server).with_name("new").replace(log_path(server))
    session.record(DOMAIN, edit(11))
    session.flush()
    assert all_numbers(server) == [10, 11]


def test_what_was_acknowledged_and_not_read_yet_is_missed_although_the_log_reads_on_from_the_last_reading(
    server: ServerProcess, tmp_path: Path
) -> None:
    """A local log that was read up to the backup goes on in the other log, past where its own ops were."""
    cache = tmp_path / "cache"
    backup = log_path(server).read_bytes()
    with Client(server.url) as client:
        with client.session("jam", "ada", cache=str(cache)) as session:
            session.record(DOMAIN, edit(10))
            session.flush()
        (path,) = (path for path in cache.rglob("*.json") if "cursor" in path.read_text())
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "cursor": "0"}))
        restore(server, backup, 90, 91, 92)
        with client.session("jam", "ada", cache=str(cache)) as session:
            wait_until(lambda: local_numbers(session) == [10, 90, 91, 92])
            wait_until(lambda: session._inner._copy.cursor != "0")  # type: ignore[union-attr]
            session.flush()
            assert all_numbers(server) == [10, 90, 91, 92]


def test_a_flush_waits_for_what_is_sent_again_because_the_reading_found_another_log_meanwhile(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.record(DOMAIN, edit(10))
    session.flush()
    mirror = session._inner._mirror
    assert mirror is not None
    asked = mirror._requests.content
    times: list[str] = []

    async def fail_once(*given: Any, **named: Any) -> bytes:
        times.append("asked")
        if len(times) > 1:
            return await asked(*given, **named)
        await mirror.start_over()
        raise UnreachableError("cut off")

    monkeypatch.setattr(mirror._requests, "content", fail_once)
    monkeypatch.setattr(session._inner._outbox, "_linger", 1.0)
    session.flush()
    assert session.unacknowledged == 0
    assert mirror.times_started_over == 1


def test_an_answer_of_the_log_before_settles_nothing(
    server: ServerProcess, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, appender = session._inner._mirror, session._inner._appender
    assert mirror is not None
    append = appender._append
    sent: list[str] = []

    async def started_over_once(socket: Socket, batch: Sequence[Waiting]) -> dict[str, Receipt]:
        receipts = await append(socket, batch)
        sent.extend(one.op_id for one in batch)
        if len(sent) == 1:
            await mirror.start_over()
        return receipts

    monkeypatch.setattr(appender, "_append", started_over_once)
    receipt = session.record(DOMAIN, edit(10))
    session.flush()
    assert sent == [receipt.op_id] * 2
    assert receipt.status == "known"
    assert all_numbers(server) == [10]


def test_an_actors_ops_come_back_before_its_newer_ones(server: ServerProcess, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    with Client(server.url) as client:
        with client.session("jam", "ada", cache=cache) as session:
            first = session.record(DOMAIN, edit(10))
            session.flush()
        restore(server, b"")
        with client.session("jam", "ada", cache=cache) as session:
            assert session.record(DOMAIN, edit(11), parent_op_ids=[first.op_id]).status == "stored"
            session.flush()
        assert numbers(stored(server), "ada") == [10, 11]


def test_an_op_on_one_that_was_lost_reaches_every_local_log(server: ServerProcess, tmp_path: Path) -> None:
    with Client(server.url) as client:
        with client.session("jam", "ada", cache=str(tmp_path / "ada")) as ada:
            backup = log_path(server).read_bytes()
            with OpLog(server.root, "jam") as log:
                lost = log.record("bob", DOMAIN, edit(90))
            wait_until(lambda: local_numbers(ada) == [90])
            ada.record(DOMAIN, edit(10))
            ada.flush()
            restore(server, backup)
            ada.flush()
            [entry] = stored(server)
            assert entry["parent_op_ids"] == [lost["op_id"]]
        with client.session("jam", "eve", cache=str(tmp_path / "eve")) as eve:
            wait_until(lambda: local_numbers(eve) == [10])
            assert eve.record(DOMAIN, edit(11)).status == "stored"
            eve.flush()
    assert all_numbers(server) == [10, 11]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_put_back_and_whenever_both_clients_and_the_server_come_to_hold_all(
    server: ServerProcess, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    backups = [log_path(server).read_bytes()]
    made = 10
    with Client(server.url) as client, ExitStack() as stack:
        sessions: dict[str, Session] = {}

        def come(actor: str) -> None:
            sessions[actor] = client.session("jam", actor, cache=str(tmp_path / actor)).open()

        stack.callback(lambda: [session.close() for session in sessions.values()])
        for actor in ("ada", "eve"):
            come(actor)

        def write(actor: str) -> None:
            nonlocal made
            sessions[actor].record(DOMAIN, edit(made))
            made += 1

        def leave_and_come(actor: str) -> None:
            sessions[actor].close()
            come(actor)

        def put_back(_actor: str) -> None:
            nonlocal made
            others = range(made, made + chance.randrange(3))
            backup = chance.choice(backups)
            outside.intersection_update(orjson.loads(line)["domain_op"]["n"] for line in backup.splitlines())
            restore(server, backup, *others)
            outside.update(others)
            made += len(others)

        outside: set[int] = set()
        own: set[int] = set()
        steps: list[Callable[[str], None]] = [write, write, write, leave_and_come, put_back]
        for _ in range(12):
            before = made
            step, actor = chance.choice(steps), chance.choice(["ada", "eve"])
            step(actor)
            if step is write:
                own.add(before)
            if chance.random() < 0.3:
                backups.append(log_path(server).read_bytes())
        for session in sessions.values():
            session.flush()
        found = set(all_numbers(server))
        assert own <= found
        assert outside <= found
        assert len(all_numbers(server)) == len(found)
        for session in sessions.values():
            wait_until(lambda session=session: found <= set(local_numbers(session)))


# -- following ------------------------------------------------------------------------------------


def test_a_follower_goes_on_in_the_log_that_was_put_back_with_each_op_once(server: ServerProcess) -> None:
    with Client(server.url) as client, client.session("jam", "ada") as session, session.follow() as follower:
        session.record_many(DOMAIN, [edit(10), edit(11)])
        backup = log_path(server).read_bytes()
        session.record(DOMAIN, edit(12))
        seen: list[int] = []

        def see(expected: list[int]) -> None:
            while len(seen) < len(expected):
                seen.extend(of(follower.batch()))
            assert seen == expected

        see([10, 11, 12])
        restore(server, backup, 90, 91)
        see([10, 11, 12, 90, 91])
        session.record(DOMAIN, edit(13))
        see([10, 11, 12, 90, 91, 13])


def test_a_cursor_of_a_log_that_is_gone_is_refused_with_a_kind_of_its_own_and_any_other_is_good(
    server: ServerProcess,
) -> None:
    with Client(server.url) as client, client.session("jam", "ada") as session:
        session.record_many(DOMAIN, [edit(10), edit(11)])
        backup, kept = log_path(server).read_bytes(), session.end()
        session.record(DOMAIN, edit(12), parent_op_ids=[])
        gone = session.end()
        restore(server, backup, 90)
        assert len(log_path(server).read_bytes()) == int(gone.partition("-")[0])
        assert of(session.read_all(since=kept)) == [90]
        for name in ("since", "until"):
            with pytest.raises(OtherLogCursorError, match="read again from 0"):
                session.read_all(**{name: gone})
    with server.client() as http:
        for path, options in (
            ("ops", {"params": {"since": gone}}),
            ("events", {"params": {"since": gone}}),
            ("events", {"headers": {"last-event-id": gone}}),
        ):
            answer = http.get(f"/v1/sessions/jam/{path}", **options)  # type: ignore[arg-type]
            assert answer.status_code == 410
            assert answer.json()["error"]["kind"] == "CursorOfAnotherLog"


def test_every_cursor_that_the_server_gives_leads_on_from_its_place(server: ServerProcess) -> None:
    with server.client() as http:
        path = "/v1/sessions/jam"
        ops = [{"actor_id": "ada", "domain": DOMAIN, "domain_op": edit(number)} for number in range(10, 15)]
        told = http.post(f"{path}/ops", json=ops).json()
        lines = [line for line in http.get(f"{path}/ops").text.splitlines() if line]
        cursors = [orjson.loads(line)["cursor"] for line in lines]
        assert told["cursor"] == cursors[-1] == http.get(path).json()["cursor"]
        for index, cursor in enumerate(cursors):
            for text in (
                cursor,
                str(told["receipts"][index]["next_position"]),
            ):  # a number, as of an older build
                rest = http.get(f"{path}/ops", params={"since": text}).text.splitlines()
                assert rest == lines[index + 1 :]
        with http.stream("GET", f"{path}/events", params={"since": cursors[1]}) as events:
            ids = []
            for line in events.iter_lines():
                if line.startswith("id: "):
                    ids.append(line.removeprefix("id: "))
                if len(ids) == 4:
                    break
        assert ids == cursors[1:]


def test_the_state_of_a_local_log_that_an_older_client_wrote_is_read(
    server: ServerProcess, tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache")
    with Client(server.url) as client:
        with client.session("jam", "ada", cache=cache) as session:
            session.record(DOMAIN, edit(10))
            session.flush()
            wait_until(lambda: session._inner._copy.cursor != "0")  # type: ignore[union-attr]
        (path,) = (path for path in (tmp_path / "cache").rglob("*.json") if "cursor" in path.read_text())
        state = orjson.loads(path.read_bytes())
        del state["acknowledged"]
        state["cursor"] = state["cursor"].partition("-")[0]
        path.write_bytes(orjson.dumps({**state, "schema_version": 1}))
        with client.session("jam", "eve") as eve:
            eve.record(DOMAIN, edit(11))
        with client.session("jam", "ada", cache=cache) as session:
            session.flush()
            wait_until(lambda: local_numbers(session) == [10, 11])
            assert session._inner._copy.cursor == session.end()  # type: ignore[union-attr]
