"""The client against a real server: what is acknowledged is stored once, whatever happens on the way."""

import asyncio
import random
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from muse.client import (
    AsyncClient,
    AsyncSession,
    BusyError,
    Client,
    DiskFullError,
    ForbiddenError,
    InvalidRequestError,
    MissingError,
    Receipt,
    RefusedConflictError,
    ServerError,
    TooLargeError,
    UnauthorizedError,
    UnreachableError,
)
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.errors import ConflictError, InvalidEntryError, NotFoundError, UsageError
from tests.samples.project import DOCS
from tests.samples.server_process import ServerProcess
from tests.samples.waiting import wait_until

DOMAIN = "domain-without-plugin"
LONG = 120.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "served") as running:
        yield running


def make_session(server: ServerProcess, session_id: str = "jam") -> None:
    with OpLog(server.root, session_id) as log:
        log.create()


def stored(server: ServerProcess, session_id: str = "jam") -> list[OpEntry]:
    """What the log holds, in the order of the file."""
    with OpLog(server.root, session_id) as log:
        return list(log.entries())


def numbers(entries: list[OpEntry], actor: str) -> list[Any]:
    return [entry["domain_op"].get("n") for entry in entries if entry["actor_id"] == actor]


def edit(number: int, address: str = "a") -> dict[str, Any]:
    return {"op": "insert", "address": address, "n": number}


# -- appending ------------------------------------------------------------------------------------


def test_ops_are_in_the_log_in_the_order_in_which_they_were_made(server: ServerProcess) -> None:
    with Client(server.url) as client:
        client.create_session("jam")
        with client.session("jam", "ada") as session:
            futures = [session.submit(DOMAIN, edit(number)) for number in range(3000)]
            receipts = [future.result(60) for future in futures]
    assert {receipt.status for receipt in receipts} == {"stored"}
    entries = stored(server)
    assert numbers(entries, "ada") == list(range(3000))
    assert [entry["op_id"] for entry in entries] == [receipt.op_id for receipt in receipts]
    assert [entry["lamport_ts"] for entry in entries] == [receipt.lamport_ts for receipt in receipts]


def test_the_end_of_a_session_waits_for_what_is_on_its_way(server: ServerProcess) -> None:
    make_session(server)
    with Client(server.url) as client, client.session("jam", "ada") as session:
        for number in range(500):
            session.submit(DOMAIN, edit(number))
    assert numbers(stored(server), "ada") == list(range(500))


def test_an_op_that_is_asked_for_twice_is_there_once(server: ServerProcess) -> None:
    make_session(server)
    op_id = make_op_entry("ada", DOMAIN, {}, 1)["op_id"]
    with Client(server.url) as client, client.session("jam", "ada", ack="durable") as session:
        first = session.record(DOMAIN, edit(1), op_id=op_id)
        second = session.record(DOMAIN, edit(1), op_id=op_id)
        other = session.record(DOMAIN, edit(2), op_id=op_id)
    assert (first.status, second.status, other.status) == ("stored", "known", "refused")
    assert (first.lamport_ts, first.position) == (second.lamport_ts, second.position)
    assert other.kind == "conflict"
    assert not other.is_in_log
    assert len(stored(server)) == 1


def test_ready_entries_are_stored_as_they_are(server: ServerProcess) -> None:
    make_session(server)
    entries = [make_op_entry("ada", DOMAIN, edit(number), number) for number in range(1, 4)]
    with Client(server.url) as client, client.session("jam", "ada") as session:
        assert [receipt.status for receipt in session.append(entries)] == ["stored"] * 3
        assert [receipt.status for receipt in session.append(entries)] == ["known"] * 3
        with pytest.raises(UsageError, match="ada"):
            session.append([make_op_entry("bob", DOMAIN, edit(4), 4)])
    assert stored(server) == entries


def test_an_op_that_no_log_takes_is_refused_before_it_is_sent(server: ServerProcess) -> None:
    make_session(server)
    with Client(server.url) as client, client.session("jam", "ada") as session:
        with pytest.raises(InvalidEntryError):
            session.record(DOMAIN, {"n": float("nan")})
        with pytest.raises(InvalidEntryError):
            session.record("", edit(1))
        with pytest.raises(InvalidEntryError):
            session.record(DOMAIN, edit(1), op_id="mine")
        with pytest.raises(InvalidEntryError):
            session.record(DOMAIN, {"n": "x" * (1 << 21)})
        assert session.unacknowledged == 0
    assert stored(server) == []


def test_a_quota_slows_a_client_down_and_costs_it_nothing(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "served", ops_per_second=200, ops_burst=50) as server:
        make_session(server)
        with Client(server.url) as client, client.session("jam", "ada", linger_seconds=0) as session:
            futures = [session.submit(DOMAIN, edit(number)) for number in range(40)]
            assert {future.result(60).status for future in futures} == {"stored"}
            futures = [session.submit(DOMAIN, edit(number)) for number in range(40, 80)]
            assert {future.result(60).status for future in futures} == {"stored"}
        assert numbers(stored(server), "ada") == list(range(80))
        with server.client() as http:
            refused = [line for line in http.get("/metrics").text.splitlines() if "quota" in line]
    assert refused


def test_the_example_of_the_documentation_works(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (DOCS / "client.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    exec(example.replace("http://127.0.0.1:7437", server.url), {})  # noqa: S102
    assert capsys.readouterr().out.splitlines()[:2] == [
        "stored 1",
        "ada {'op': 'insert', 'address': 'notes.txt'}",
    ]


def test_a_client_without_patience_says_that_the_server_is_busy(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "served", ops_per_second=0.01, ops_burst=1) as server:
        make_session(server)
        with Client(server.url, patience_seconds=0.2) as client, client.session("jam", "ada") as session:
            assert session.record(DOMAIN, edit(1)).status == "stored"
            with pytest.raises(BusyError) as busy:
                session.record(DOMAIN, edit(2))
            assert busy.value.status == 429
            assert (busy.value.retry_after or 0) > 10
        assert numbers(stored(server), "ada") == [1]


# -- errors ---------------------------------------------------------------------------------------


def test_every_refusal_is_an_error_of_its_own_kind(server: ServerProcess) -> None:
    make_session(server)
    token = server.token("ada", "append", session="j*")
    with Client(server.url, token=token[::-1]) as client, pytest.raises(UnauthorizedError) as refused:
        client.sessions()
    assert refused.value.status == 401
    with Client(server.url, token=token) as client:
        with client.session("jam", "ada") as session:
            assert session.record(DOMAIN, edit(1)).status == "stored"
            with pytest.raises(ForbiddenError):
                session.commit("mine")
        with client.session("other", "ada") as session, pytest.raises(ForbiddenError):
            session.record(DOMAIN, edit(1))
        with client.session("jam", "bob") as session, pytest.raises(ForbiddenError):
            session.record(DOMAIN, edit(1))
        with client.session("jazz", "ada") as session, pytest.raises(MissingError) as missing:
            session.record(DOMAIN, edit(1))
        assert isinstance(missing.value, NotFoundError)
        assert len(missing.value.op_ids) == 1
    with (
        Client(server.url, token=server.token("root", "admin")) as client,
        pytest.raises(InvalidRequestError) as invalid,
    ):
        client.create_session("../up")
    assert isinstance(invalid.value, InvalidEntryError)
    assert numbers(stored(server), "ada") == [1]


def test_what_is_too_large_for_a_server_is_said_of_the_one_op(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "served", frame_bytes=1 << 20, bytes_burst=100_000) as server:
        make_session(server)
        with Client(server.url) as client, client.session("jam", "ada") as session:
            before = session.submit(DOMAIN, edit(1))
            large = session.submit(DOMAIN, {"n": "x" * 200_000})
            after = session.submit(DOMAIN, edit(2))
            with pytest.raises(TooLargeError) as refused:
                large.result(60)
            assert len(refused.value.op_ids) == 1
            assert (before.result(60).status, after.result(60).status) == ("stored", "stored")
        assert numbers(stored(server), "ada") == [1, 2]


def test_a_full_disk_is_said_and_nothing_of_it_is_acknowledged(server: ServerProcess) -> None:
    make_session(server)
    limit = 1 << 16
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    with Client(server.url) as client, client.session("jam", "ada") as session:
        with pytest.raises(DiskFullError) as full:
            session.record_many(DOMAIN, [{"n": 0, "much": "x" * (limit + 1)}])
        assert full.value.status == 507
        assert len(full.value.op_ids) == 1
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert session.record(DOMAIN, edit(1)).status == "stored"
    assert numbers(stored(server), "ada") == [1]


def test_without_a_server_the_ops_are_given_up_and_named_after_a_while(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
    with Client(server.url, patience_seconds=0.3) as client:
        with pytest.raises(UnreachableError):
            client.health()
        with client.session("jam", "ada") as session:
            with pytest.raises(UnreachableError) as failed:
                session.record(DOMAIN, edit(1))
            assert len(failed.value.op_ids) == 1
            session.submit(DOMAIN, edit(2))
            with pytest.raises(UnreachableError):
                session.flush()
            session.flush()


@pytest.mark.parametrize(
    "url", ["", "jam", "ftp://example.org", "http://", "http://me:secret@host", "http://h?x=1"]
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        AsyncClient(url)


# -- reading, history, coordination ---------------------------------------------------------------


def test_a_session_is_read_and_committed(server: ServerProcess) -> None:
    with Client(server.url) as client:
        assert client.create_session("jam") == {"session_id": "jam", "created": True}
        with client.session("jam", "ada") as ada, client.session("jam", "bob") as bob:
            ada.record_many(DOMAIN, [edit(number, f"song/{number}") for number in range(5)])
            bob.record(DOMAIN, edit(9, "text"))
            assert numbers(ada.read_all(), "ada") == [0, 1, 2, 3, 4]
            assert [entry["actor_id"] for entry in ada.read_all(actor="bob")] == ["bob"]
            assert numbers(ada.read_all(address="song/", order="total", limit=2), "ada") == [0, 1]
            assert len(ada.delta(DOMAIN)["ops"]) == 6
            done = ada.commit("All of it")
            assert ada.commit("Again")["commit_ids"] == []
        (commit,) = client.history()["commits"]
        assert done["commit_ids"] == [commit["commit_id"]]
        assert commit["author"] == "ada"
        with pytest.raises(MissingError):
            client.file(commit["commit_id"], "nothing.txt")


def test_a_reservation_that_another_holds_is_a_conflict_and_a_held_op_a_proposal(
    server: ServerProcess,
) -> None:
    with Client(server.url) as client:
        client.create_session("jam", {"reservations": "propose", "stale_reads": "report"})
        claim = client.reserve(["song"], "ada")["reservation"]
        with pytest.raises(RefusedConflictError) as held:
            client.reserve(["song"], "bob")
        assert isinstance(held.value, ConflictError)
        with client.session("jam", "bob") as bob, client.session("jam", "ada") as ada:
            receipt = bob.record(DOMAIN, edit(1, "song"))
            assert (receipt.status, receipt.kind) == ("proposed", "held")
            assert len(ada.proposals()["proposals"]) == 1
            proposal_id = ada.proposals()["proposals"][0]["proposal_id"]
            assert ada.accept(proposal_id)["receipt"]["status"] == "stored"
            large = {**edit(0, "song"), "pad": "x" * 600_000}
            more = [bob.record(DOMAIN, {**large, "n": number}).op_id for number in range(2, 7)]
            assert [one["proposal_id"] for one in ada.proposals()["proposals"]] == more
        assert [one["reservation_id"] for one in client.reservations()["reservations"]] == [
            claim["reservation_id"]
        ]
        client.intend(["song"], "bob")
        assert client.forecast()["collisions"]
        assert client.release(claim["reservation_id"], "ada")["released"]
    assert numbers(stored(server), "bob") == [1]


def test_newer_ops_that_an_author_had_not_read_are_named(server: ServerProcess) -> None:
    make_session(server)
    with (
        Client(server.url) as client,
        client.session("jam", "ada") as ada,
        client.session("jam", "bob") as bob,
    ):
        newer = ada.record(DOMAIN, edit(1))
        blind = bob.submit(DOMAIN, edit(2), seen_frontier={})
        seeing = bob.submit(DOMAIN, edit(3), seen_frontier={"ada": newer.lamport_ts or 0})
        assert [one["op_id"] for one in blind.result(60).overlaps] == [newer.op_id]
        assert seeing.result(60).overlaps == ()


# -- following ------------------------------------------------------------------------------------


def test_a_follower_goes_on_over_a_restart_with_what_others_wrote_meanwhile(server: ServerProcess) -> None:
    make_session(server)
    with Client(server.url) as client, client.session("jam", "ada") as session:
        session.record_many(DOMAIN, [edit(number) for number in range(10)])
        with session.follow() as follower:
            seen = follower.batch_within(30)
            while len(seen) < 10:
                seen += follower.batch_within(30)
            server.kill()
            with OpLog(server.root, "jam") as log:
                for number in range(10, 20):
                    log.record("ada", DOMAIN, edit(number))
            server.start()
            session.record(DOMAIN, edit(20))
            while len(seen) < 21:
                seen += follower.batch_within(30)
            assert follower.batch_within(0.1) == []
            cursor = follower.cursor
        assert seen == stored(server)
        session.record(DOMAIN, edit(21))
        with session.follow(cursor) as follower:
            assert numbers(follower.batch(), "ada") == [21]


def test_who_is_here_and_where_is_known(server: ServerProcess) -> None:
    make_session(server)
    with (
        Client(server.url) as client,
        client.session("jam", "ada") as ada,
        client.session("jam", "bob") as bob,
        ada.follow() as watching,
        bob.follow() as moving,
    ):
        moving.batch_within(0.5)
        moving.move({"bar": 7})
        while watching.present.get("bob") != {"bar": 7}:
            watching.batch_within(0.1)
        server.kill()
        server.start()
        while moving.batch_within(0.2) or watching.batch_within(0.2) or watching.present.get("bob") is None:
            pass
        assert watching.present["bob"] == {"bar": 7}


# -- kills ----------------------------------------------------------------------------------------


class Crowd:
    """Some actors and followers in one session, while the server is killed and started again at random."""

    def __init__(self, server: ServerProcess, seed: int) -> None:
        self.server = server
        self.chance = random.Random(seed)
        self.receipts: list[Receipt] = []
        self.sent: Counter[str] = Counter()

    async def edit(self, client: AsyncClient, actor: str, done: asyncio.Event) -> None:
        futures = []
        ack = self.chance.choice(["written", "durable"])
        async with client.session("jam", actor, ack=ack) as session:  # type: ignore[arg-type]
            while not done.is_set():
                for _ in range(self.chance.randint(1, 40)):
                    futures.append(await session.submit(DOMAIN, edit(self.sent[actor])))
                    self.sent[actor] += 1
                await asyncio.sleep(self.chance.uniform(0, 0.03))
            self.receipts += await asyncio.gather(*futures)

    async def follow(self, client: AsyncClient, seen: list[OpEntry], done: asyncio.Event) -> None:
        """Follow; now and then as somebody new, who was told the cursor."""
        session, cursor = client.session("jam", "watcher"), "0"
        while True:
            async with session.follow(cursor) as follower:
                for _ in range(self.chance.randint(1, 30)):
                    seen += await follower.batch_within(0.2)
                    if done.is_set() and len(seen) >= self.sent.total():
                        return
                cursor = follower.cursor

    async def disturb(self, rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.sleep(self.chance.uniform(0.05, 0.6))
            if self.chance.random() < 0.8:
                await asyncio.to_thread(self.server.kill)
            else:
                await asyncio.to_thread(self.server.stop)
            await asyncio.sleep(self.chance.uniform(0, 0.3))
            with OpLog(self.server.root, "jam") as log:
                log.record("outsider", DOMAIN, edit(self.sent["outsider"]))
            self.sent["outsider"] += 1
            await asyncio.to_thread(self.server.start)

    async def run(self, rounds: int) -> list[list[OpEntry]]:
        stopped, settled = asyncio.Event(), asyncio.Event()
        seen: list[list[OpEntry]] = [[], []]
        async with (
            AsyncClient(self.server.url, patience_seconds=LONG) as client,
            asyncio.TaskGroup() as group,
        ):
            editing = [group.create_task(self.edit(client, f"actor-{n}", stopped)) for n in range(4)]
            for one in seen:
                group.create_task(self.follow(client, one, settled))
            await self.disturb(rounds)
            stopped.set()
            await asyncio.wait(editing)
            settled.set()
        return seen


def check_killed_again_and_again(server: ServerProcess, seed: int, rounds: int) -> None:
    make_session(server)
    crowd = Crowd(server, seed)
    seen = asyncio.run(crowd.run(rounds))
    entries = stored(server)
    assert len(entries) == crowd.sent.total() > rounds
    for actor, count in crowd.sent.items():
        assert numbers(entries, actor) == list(range(count))
    by_id = {entry["op_id"]: entry for entry in entries}
    assert {receipt.status for receipt in crowd.receipts} <= {"stored", "known"}
    assert all(by_id[receipt.op_id]["lamport_ts"] == receipt.lamport_ts for receipt in crowd.receipts)
    for one in seen:
        assert one == entries


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_every_op_is_there_once_and_followers_miss_and_repeat_none(
    server: ServerProcess, seed: int
) -> None:
    check_killed_again_and_again(server, seed, rounds=6)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_killed_many_times_every_op_is_there_once(server: ServerProcess, seed: int) -> None:
    check_killed_again_and_again(server, 100 + seed, rounds=25)


# -- offline --------------------------------------------------------------------------------------


async def come_to_one(session: AsyncSession, server: ServerProcess, count: int) -> None:
    """Wait until the local log holds what the server does: `count` ops."""
    async with asyncio.timeout(60):
        await session.flush()
        await asyncio.to_thread(
            wait_until, lambda: session.log is not None and session.log.cut().op_count >= count, 60
        )
    assert session.log is not None
    assert session.log.read_all() == sorted(
        stored(server), key=lambda entry: (entry["lamport_ts"], entry["actor_id"], entry["op_id"])
    )


def test_work_goes_on_while_the_server_is_away_and_comes_together_on_its_return(tmp_path: Path) -> None:
    async def main() -> None:
        cache = str(tmp_path / "cache")
        async with AsyncClient(running.url) as client:
            async with client.session("jam", "ada", cache=cache) as session:
                assert (await session.record(DOMAIN, edit(0))).status == "stored"
                running.kill()
                away = [await session.record(DOMAIN, edit(number)) for number in range(1, 50)]
                assert {receipt.status for receipt in away} == {"local"}
                assert session.log is not None
                assert numbers(session.log.read_all(), "ada") == list(range(50))
                with OpLog(running.root, "jam") as log:
                    log.record("bob", DOMAIN, edit(1))
            # the client ends and begins anew, before the server is back
            async with client.session("jam", "ada", cache=cache) as session:
                assert (await session.record(DOMAIN, edit(50))).status == "local"
                assert session.unacknowledged >= 50
                running.start()
                await come_to_one(session, running, 52)
                assert (await session.record(DOMAIN, edit(51))).status == "stored"
                await come_to_one(session, running, 53)
            async with client.session("jam", "ada", cache=cache) as session:
                assert session.unacknowledged == 0
                await come_to_one(session, running, 53)

    with ServerProcess(tmp_path / "served") as running:
        make_session(running)
        asyncio.run(main())
        assert numbers(stored(running), "ada") == list(range(52))
        assert numbers(stored(running), "bob") == [1]


def test_an_op_made_after_another_was_taken_in_stands_above_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(running.url) as client:
            session = client.session("jam", "ada", cache=str(tmp_path / "cache"))
            async with session:
                await come_to_one(session, running, 20)
                running.kill()
                await session.record(DOMAIN, edit(1))
                assert session.log is not None
                assert [entry["lamport_ts"] for entry in session.log.read_all()][-1] == 21

    with ServerProcess(tmp_path / "served") as running:
        with OpLog(running.root, "jam") as log:
            for number in range(20):
                log.record("bob", DOMAIN, edit(number))
        asyncio.run(main())


def test_what_a_server_refuses_stays_in_the_local_log_alone_and_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muse.client.session._SAVE_SECONDS", LONG)

    async def main() -> None:
        cache = str(tmp_path / "cache")
        async with AsyncClient(running.url) as client:
            await client.create_session("jam", {"reservations": "refuse", "stale_reads": "off"})
            await client.reserve(["song"], "bob")
            async with client.session("jam", "ada", cache=cache) as session:
                assert (await session.record(DOMAIN, edit(1, "song"))).status == "refused"
                assert (await session.record(DOMAIN, edit(2, "text"))).status == "stored"
                running.kill()
                assert (await session.record(DOMAIN, edit(3, "text"))).status == "local"
            running.start()
            async with client.session("jam", "ada", cache=cache) as session:
                assert session.unacknowledged == 2  # the last two: what was refused is not among them
                await session.flush()
                assert session.log is not None
                assert numbers(session.log.read_all(), "ada") == [1, 2, 3]

    with ServerProcess(tmp_path / "served") as running:
        asyncio.run(main())
        assert numbers(stored(running), "ada") == [2, 3]


def test_a_cache_is_for_one_client_at_a_time_and_for_one_actor(server: ServerProcess, tmp_path: Path) -> None:
    make_session(server)
    cache = str(tmp_path / "cache")
    with Client(server.url) as client:
        with client.session("jam", "ada", cache=cache), pytest.raises(ConflictError, match="in use"):
            client.session("jam", "ada", cache=cache)
        with pytest.raises(UsageError, match="another cache"):
            client.session("jam", "bob", cache=cache)


def test_a_client_that_is_killed_with_ops_unsent_sends_them_when_it_begins_anew(tmp_path: Path) -> None:
    program = """
import sys
from muse.client import Client
url, cache = sys.argv[1:]
with Client(url) as client, client.session("jam", "ada", cache=cache) as session:
    for number in range(20):
        session.record("domain-without-plugin", {"n": number})
    print("done", flush=True)
    sys.stdin.read()
"""
    cache = str(tmp_path / "cache")
    with ServerProcess(tmp_path / "served") as server:
        make_session(server)
        server.kill()
        command = [sys.executable, "-c", program, server.url, cache]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as client_process:
            assert client_process.stdout is not None
            assert client_process.stdout.readline() == b"done\n"
            client_process.kill()
        server.start()
        with Client(server.url) as client, client.session("jam", "ada", cache=cache) as session:
            session.flush()
        assert numbers(stored(server), "ada") == list(range(20))


def test_the_local_log_survives_a_server_that_is_killed_at_random(tmp_path: Path) -> None:
    async def main() -> None:
        chance = random.Random(7)
        cache = str(tmp_path / "cache")
        made = 0
        async with AsyncClient(running.url) as client:
            for _ in range(5):
                async with client.session("jam", "ada", cache=cache) as session:
                    for _ in range(chance.randint(20, 120)):
                        receipt = await session.submit(DOMAIN, edit(made))
                        made += 1
                        if chance.random() < 0.1:
                            await receipt
                    if chance.random() < 0.5 and running.is_running:
                        running.kill()
                if not running.is_running:
                    with OpLog(running.root, "jam") as log:
                        log.record("bob", DOMAIN, edit(0))
                    running.start()
            async with client.session("jam", "ada", cache=cache) as session:
                await come_to_one(session, running, len(stored(running)))
        assert numbers(stored(running), "ada") == list(range(made))

    with ServerProcess(tmp_path / "served") as running:
        make_session(running)
        asyncio.run(main())


def test_a_token_is_in_no_text_of_the_client(server: ServerProcess) -> None:
    token = server.token("ada")
    client = Client(server.url, token=token, patience_seconds=0.1)
    with client:
        server.kill()
        with suppress(ServerError), client.session("jam", "ada") as session:
            session.record(DOMAIN, edit(1))
        with pytest.raises(ServerError) as failed:
            client.sessions()
    assert token not in f"{failed.value!r} {client._inner._requests.address!r}"
