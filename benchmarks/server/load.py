"""The load, in processes of its own: agents that edit, followers that watch, a flood, people.

`python -m benchmarks.server.load ROLE JOB` prints its result as JSON.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
import uvloop
from websockets.asyncio.client import connect

from benchmarks.server.latencies import Latencies, joined
from muse.client import AsyncClient, AsyncSession, Receipt
from muse.client.address import Address
from muse.client.failures import ServerError
from muse.disk.crc import crc32

DOMAIN = "benchmark"
_QUIET_SECONDS = 5.0
_PACE_SECONDS = 0.001
_MESSAGES_KEPT = 100


@dataclass(frozen=True)
class Job:
    """`rate` edits a second of each of `actors`, for `seconds`. `ops`: how many a follower waits for.

    Before them each agent makes one, numbered 0, which is not measured.
    """

    url: str
    session_id: str
    actors: int
    rate: float
    seconds: float
    name: str
    ops: int = 0


async def ready() -> float:
    """Say that all is prepared, and wait for the moment to start, which is the same for all processes."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    return float(await asyncio.to_thread(sys.stdin.readline))


def now_us() -> int:
    return time.monotonic_ns() // 1000


def edit(number: int, made_at_us: int) -> dict[str, Any]:
    """Return an op of about a note's size: it carries when it was made, on the clock of all processes."""
    return {
        "op": "insert",
        "address": f"song.mid/{number % 1000}",
        "position": None,
        "content_id": "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        "content_summary": "a note",
        "n": number,
        "made_at_us": made_at_us,
    }


@dataclass
class Tally:
    """What came back of the edits that were made."""

    latencies: Latencies = field(default_factory=Latencies)
    failures: list[str] = field(default_factory=list)

    def note(self, made_at_us: int, done: "asyncio.Future[Receipt]") -> None:
        if (error := done.exception()) is not None or not done.result().is_in_log:
            self.failures.append(str(error or done.result()))
        else:
            self.latencies.add(now_us(), [made_at_us])


async def make_edits(sessions: Sequence[AsyncSession], job: Job, starts_at: float, tally: Tally) -> None:
    """Make every edit at its moment, whatever became of those before it; the agents take turns.

    A latency counts from the moment at which the edit was to be made, so that a late load hides nothing.
    """
    step = 1 / job.rate / job.actors
    for place in range(int(job.rate * job.seconds) * job.actors):
        due = starts_at + place * step
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(max(wait, _PACE_SECONDS))
        number, turn = divmod(place, job.actors)
        made_at_us = int(due * 1e6)
        receipt = await sessions[turn].submit(DOMAIN, edit(number + 1, made_at_us))
        receipt.add_done_callback(partial(tally.note, made_at_us))


async def agents(job: Job) -> dict[str, Any]:
    tally = Tally()
    async with AsyncClient(job.url) as client:
        sessions = [client.session(job.session_id, f"{job.name}-{number}") for number in range(job.actors)]
        for session in sessions:
            await session.open()
            await session.record(DOMAIN, edit(0, now_us()))  # connects
        await make_edits(sessions, job, await ready(), tally)
        await asyncio.gather(*(session.flush() for session in sessions), return_exceptions=True)
        await asyncio.gather(*(session.close() for session in sessions))
    return {
        "acknowledged": tally.latencies.steps.total(),
        "failures": len(tally.failures),
        "reasons": tally.failures[:5],
        "latency": tally.latencies.record(),
        "cpu_seconds": round(time.process_time(), 1),
    }


def moments_of(entries: Iterable[Any]) -> list[int]:
    """Return when each edit that is measured was made."""
    ops = [entry["domain_op"] for entry in entries]
    return [op["made_at_us"] for op in ops if op["n"]]


@dataclass
class Watcher:
    """One follower. `order` is a CRC-32 of all entries, each with a comma, in the order they came."""

    latencies: Latencies = field(default_factory=Latencies)
    order: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0

    def saw(self, entries: bytes, moments: list[int]) -> None:
        self.begun.set()
        self.latencies.add(now_us(), moments)
        self.order = crc32(entries, self.order)
        self.count += len(moments)

    async def decode(self, client: AsyncClient, job: Job) -> None:
        """Follow as a program that uses the client does."""
        async with client.session(job.session_id, "watcher").follow() as follower:
            while self.count < job.ops:
                batch = await follower.batch_within(job.seconds + _QUIET_SECONDS)
                if not batch:
                    break
                self.saw(b"".join([orjson.dumps(entry) + b"," for entry in batch]), moments_of(batch))

    async def read(self, job: Job, moments: "Moments") -> None:
        """Follow, and take all bytes in, making no objects of them: a load is not to outweigh its server."""
        uri = f"{Address(job.url).websocket}/sessions/{job.session_id}/live?since=0"
        async with connect(uri, compression=None, max_size=None) as socket:
            while self.count < job.ops:
                try:
                    async with asyncio.timeout(job.seconds + _QUIET_SECONDS):
                        message = await socket.recv(decode=False)
                except TimeoutError:
                    break
                head, found, rest = message.partition(b'"entries":[')
                if found and head == b'{"type":"ops",':
                    entries, _, cursor = rest.rpartition(b"]")
                    self.saw(entries + b",", moments.of(message, cursor))


@dataclass
class Moments:
    """When the edits in a message were made: found once for all who read it."""

    _found: dict[tuple[int, bytes], list[int]] = field(default_factory=dict)

    def of(self, message: bytes, cursor: bytes) -> list[int]:
        key = len(message), cursor
        if key not in self._found:
            if len(self._found) > _MESSAGES_KEPT:
                self._found.clear()
            self._found[key] = moments_of(orjson.loads(message)["entries"])
        return self._found[key]


async def followers(job: Job) -> dict[str, Any]:
    """One decodes what it gets, as programs do; all others read bytes."""
    watchers = [Watcher() for _ in range(job.actors)]
    moments = Moments()
    async with AsyncClient(job.url) as client:
        running = [
            asyncio.create_task(watcher.read(job, moments) if place else watcher.decode(client, job))
            for place, watcher in enumerate(watchers)
        ]
        await asyncio.gather(*(watcher.begun.wait() for watcher in watchers))
        await ready()
        await asyncio.gather(*running)
    return {
        "received": sum(watcher.count for watcher in watchers),
        "orders": sorted({watcher.order for watcher in watchers}),
        "latency": joined(watcher.latencies for watcher in watchers).record(),
        "cpu_seconds": round(time.process_time(), 1),
    }


async def flood(job: Job) -> dict[str, Any]:
    """Append as fast as it goes, and further: one actor that does not know when to stop."""
    sent = acknowledged = 0
    async with AsyncClient(job.url, patience_seconds=job.seconds) as client:
        session = client.session(job.session_id, job.name, linger_seconds=0)
        await session.open()
        ends_at = await ready() + job.seconds
        while time.monotonic() < ends_at:
            futures = [await session.submit(DOMAIN, edit(sent + n, now_us())) for n in range(1, 501)]
            sent += len(futures)
            try:
                acknowledged += sum(receipt.is_in_log for receipt in await asyncio.gather(*futures))
            except ServerError:
                continue
        await session.close()
    return {"sent": sent, "acknowledged": acknowledged}


ROLES = {"agents": agents, "people": agents, "followers": followers, "flood": flood}


def main() -> None:
    """Do a role. The load is to load, not to be measured: a quicker loop, and a collector that rests."""
    role, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    gc.set_threshold(100_000, 50, 100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(runner.run(ROLES[role](job))))


if __name__ == "__main__":
    main()
