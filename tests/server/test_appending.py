"""Appends of many clients are written together, and the actors take turns."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from muse.core.file.cursors import Cursors
from muse.core.op_ids import OP_IDS
from muse.core.op_log import OpLog, make_op_entry
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.errors import StorageError
from muse.history.repository import Repository
from muse.server.appending import AppendQueue, Written
from muse.server.metrics import Metrics
from muse.server.settings import Settings
from muse.session.guarded_log import GuardedLog, Request
from muse.session.policy import Policy
from muse.session.receipt import Receipt


def request(actor: str, ops: int) -> Request:
    op: dict[str, Any] = {
        "op": "insert",
        "address": "a",
        "position": None,
        "content_id": "",
        "content_summary": "",
    }
    return Request(actor, [{"op_id": OP_IDS.next(), "domain": "test", "domain_op": op} for _ in range(ops)])


async def append_all(
    log: OpLog, repository: Repository, requests: list[Request]
) -> list[tuple[str, list[Receipt]]]:
    """Append all at one moment; return whose receipts came, and these, in the order they came."""
    came: list[tuple[str, list[Receipt]]] = []

    def note(actor: str, done: asyncio.Future[Written]) -> None:
        came.append((actor, done.result().receipts))

    with ThreadPoolExecutor(2) as threads:
        appender = AppendQueue(GuardedLog(repository, log), log, threads, Settings(), Metrics())
        for one in requests:
            done = appender.submit(one, is_durable=False, size=100)
            done.add_done_callback(partial(note, one.actor_id))
        await appender.drained()
        await asyncio.sleep(0)
    return came


def test_nobody_waits_behind_the_flood_of_another(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    flood = [request("flooder", 100) for _ in range(60)]
    with OpLog(str(tmp_path), "jam") as log:
        came = asyncio.run(append_all(log, repository, [*flood, request("ada", 1)]))
        stored = [entry["op_id"] for entry in log.entries() if entry["actor_id"] == "flooder"]
    actors = [actor for actor, _ in came]
    assert len(came) == len(flood) + 1
    assert actors.index("ada") < len(flood) / 2
    assert stored == [op["op_id"] for one in flood for op in one.ops]


def test_what_others_wrote_is_summed_up_off_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, _ = Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    summed: list[bool] = []  # whether it was on the loop's thread, for each cursor that was not near
    at = Cursors.at

    def noting(cursors: Cursors, offset: int) -> str:
        if not cursors.is_near(offset):
            summed.append(threading.current_thread() is threading.main_thread())
        return at(cursors, offset)

    monkeypatch.setattr(Cursors, "at", noting)

    async def append(log: OpLog, other: OpLog) -> list[Written]:
        with ThreadPoolExecutor(2) as threads:
            appender = AppendQueue(GuardedLog(repository, log), log, threads, Settings(), Metrics())
            found = [await appender.submit(request("ada", 1), is_durable=False, size=100) for _ in range(2)]
            for _ in range(2):
                other.record("bob", "test", {"op": "insert", "address": "b", "pad": "x" * 300_000})
            found += [await appender.submit(request("ada", 1), is_durable=False, size=100) for _ in range(2)]
            await appender.drained()
        return found

    with OpLog(str(tmp_path), "jam") as log, OpLog(str(tmp_path), "jam") as other:
        found = asyncio.run(append(log, other))
        assert [one.receipts[0].status for one in found] == ["stored"] * 4
        assert summed == [False]
        ends = [one.receipts[0].next_position or 0 for one in found]
        assert [one.cursor for one in found] == [other.cursors.at(end) for end in ends]


def test_after_a_write_that_failed_nothing_that_waited_is_written_behind_newer_ops(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    requests = [request("ada", 600) for _ in range(5)]

    def move_log_away() -> None:
        Path(layout.ops_file(str(tmp_path), "jam")).rename(tmp_path / "elsewhere")

    async def append(log: OpLog) -> tuple[bool, list[BaseException | None]]:
        with ThreadPoolExecutor(2) as threads:
            appender = AppendQueue(GuardedLog(repository, log), log, threads, Settings(), Metrics())
            waiting = [appender.submit(one, is_durable=False, size=100) for one in requests]
            move_log_away()
            await appender.drained()
            await asyncio.sleep(0)
            return appender.has_failed, [one.exception() for one in waiting]

    with OpLog(tmp_path, "jam") as log:
        log.append(make_op_entry("ada", "test", {"op": "insert", "address": "a"}, 1))
        has_failed, errors = asyncio.run(append(log))
    assert has_failed
    assert [type(error) for error in errors] == [StorageError] * 5
    with (tmp_path / "elsewhere").open("rb") as file:
        assert len(file.readlines()) <= 1 + 1200  # what the first write took, and nothing after it


def test_what_is_kept_of_a_proposal_and_was_not_sent_is_paid_for_once(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    repository.coordination.reserve("ada", ["a"], branch="main")
    paid: list[int] = []

    async def run(log: OpLog) -> None:
        guarded = GuardedLog(repository, log, policy=Policy("propose", "report"))
        with ThreadPoolExecutor(2) as threads:
            appender = AppendQueue(guarded, log, threads, Settings(), Metrics())
            for size in (100, 100_000):
                one = request("bob", 1)
                for again in (False, True):
                    sent = Request("bob", one.ops)
                    done = await appender.submit(sent, is_durable=False, size=size, pay=paid.append)
                    assert done.receipts[0].status == "proposed"
                    assert (sent.bytes_set_aside == 0) is again
                    assert again or size == 100_000 or paid == [sent.bytes_set_aside - size]

    with OpLog(str(tmp_path), "jam") as log:
        for number in range(100):
            op = request(f"actor-{number}", 1).ops[0]["domain_op"]
            log.record(f"actor-{number}", "test", op)
        asyncio.run(run(log))
    assert len(paid) == 1
    assert paid[0] > 100 * 36


@pytest.mark.parametrize("length", [10, 10_000])
def test_an_op_with_a_long_text_is_not_looked_at_on_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    repository, _ = Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    on_the_loop: list[bool] = []
    tell = GuardedLog._tell_ineffective

    def noting(guarded: GuardedLog, *arguments: Any, **options: Any) -> None:
        on_the_loop.append(threading.current_thread() is threading.main_thread())
        tell(guarded, *arguments, **options)

    monkeypatch.setattr(GuardedLog, "_tell_ineffective", noting)
    sent = Request("ada", [{"domain": "test", "domain_op": {"op": "insert", "update": "x" * length}}])

    async def append_twice(log: OpLog) -> None:
        with ThreadPoolExecutor(2) as threads:
            appender = AppendQueue(GuardedLog(repository, log), log, threads, Settings(), Metrics())
            for one in (request("ada", 1), sent):
                await appender.submit(one, is_durable=False, size=100)

    with OpLog(str(tmp_path), "jam") as log:
        asyncio.run(append_twice(log))
    assert on_the_loop == [False, length < 8_192]
