"""Many threads of many processes on one session: lines stay whole, orders are kept, stamps are unique."""

import multiprocessing
import os
import random
import signal
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muse.core.file.group_commit import GroupCommit
from muse.core.op_log import OpLog, make_op_entry
from muse.errors import StorageError

SPAWN = multiprocessing.get_context("spawn")
PROCESSES, THREADS = 8, 4
LENGTHS = [200, 900, 4_000, 30_000, 300_000, 1_040_000]
"""Of the ops' padding, in bytes: from a short line to the longest that is allowed."""


def write(root: str, process: int, rounds: int, durability: Any) -> None:
    """Write from several threads with one handle, by every way of appending."""
    with OpLog(root, "jam", durability=durability) as log:

        def work(thread: int) -> None:
            actor = f"p{process}-t{thread}"
            chance = random.Random(actor)
            number = 0
            for turn in range(rounds):
                pad = "x" * LENGTHS[(turn + thread) % len(LENGTHS)]
                way = chance.randrange(3)
                if way == 0:
                    log.record(actor, "notes", {"n": number, "pad": pad})
                    number += 1
                elif way == 1:
                    log.record_many(
                        actor, "notes", [{"n": number + add, "pad": pad[:5000]} for add in (0, 1, 2)]
                    )
                    number += 3
                else:
                    entry = make_op_entry(actor, "notes", {"n": number, "pad": pad}, log.next_lamport_ts())
                    assert log.append(entry)
                    assert not log.append(entry)
                    number += 1
            log.record(actor, "done", {"n": number})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()


@pytest.mark.parametrize(("durability", "rounds"), [("os", 12), ("disk", 4)])
def test_lines_of_all_lengths_from_all_threads_are_whole_and_in_their_writers_order(
    tmp_path: Path, durability: str, rounds: int
) -> None:
    processes = [
        SPAWN.Process(target=write, args=(str(tmp_path), number, rounds, durability))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    numbers: dict[str, list[int]] = defaultdict(list)
    stamps: dict[str, list[int]] = defaultdict(list)
    with OpLog(tmp_path, "jam") as log:
        assert list(log.damages()) == []
        for entry in log.entries():
            op: Any = entry["domain_op"]
            numbers[entry["actor_id"]].append(op["n"])
            stamps[entry["actor_id"].partition("-")[0]].append(entry["lamport_ts"])
    assert len(numbers) == PROCESSES * THREADS
    for found in numbers.values():
        assert found == list(range(len(found)))  # the last names the count of those before it
    for of_handle in stamps.values():
        assert len(set(of_handle)) == len(of_handle)
    os.unlink(tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl")


# -- one sync for many ---------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_nobody_returns_before_a_sync_that_began_after_their_write() -> None:
    lock, written, on_disk = threading.Lock(), [0], [0]

    def sync() -> None:
        begun = written[0]
        threading.Event().wait(0.0005)
        on_disk[0] = begun

    shared = GroupCommit(sync)

    def work() -> None:
        for _ in range(100):
            with lock:
                written[0] += 1
                mine = written[0]
                ticket = shared.wrote()
            shared.wait(ticket)
            assert on_disk[0] >= mine

    in_threads(8, work)
    assert on_disk[0] == 800


def test_a_failed_sync_fails_all_who_waited_for_it_and_later_ones_ask_again() -> None:
    answers: list[Exception | None] = []
    begun, go_on = threading.Event(), threading.Event()

    def sync() -> None:
        begun.set()
        go_on.wait()
        if answers and (answer := answers.pop(0)):
            raise answer

    shared = GroupCommit(sync)
    answers.append(StorageError("no"))
    refused: list[str] = []

    def wait(ticket: int) -> None:
        try:
            shared.wait(ticket)
        except StorageError as error:
            refused.append(str(error))

    tickets = [shared.wrote() for _ in range(5)]
    threads = [threading.Thread(target=wait, args=(ticket,)) for ticket in tickets]
    threads[0].start()
    begun.wait()
    later = shared.wrote()
    threads.append(threading.Thread(target=wait, args=(later,)))
    for thread in threads[1:]:
        thread.start()
    while len(shared._waiting) < 5:  # until all are in the queue
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert refused == ["no"] * 5
    shared.wait(shared.wrote())


class SlowSync:
    """A sync that says when it begins, and ends when it is told."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self) -> None:
        self.begun.release()
        assert self.go_on.acquire(timeout=60)


def until_waiting(shared: GroupCommit, count: int) -> None:
    while len(shared._waiting) < count:
        threading.Event().wait(0.001)


def start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_who_is_interrupted_while_waiting_holds_up_nobody() -> None:
    sync = SlowSync()
    shared = GroupCommit(sync)
    threads = [start(lambda: shared.wait(shared.wrote()))]
    assert sync.begun.acquire(timeout=60)

    def interrupt() -> None:
        until_waiting(shared, 1)
        os.kill(os.getpid(), signal.SIGINT)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threads.append(start(interrupt))
        with pytest.raises(KeyboardInterrupt):
            shared.wait(shared.wrote())  # signals come to this thread, the main one
    finally:
        signal.signal(signal.SIGINT, previous)
    threads.append(start(lambda: shared.wait(shared.wrote())))
    until_waiting(shared, 1)
    for _ in range(2):
        sync.go_on.release()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


class InterruptedTurn:
    """Somebody's turn, who is interrupted the moment it comes."""

    def __init__(self, turn: Any) -> None:
        self._turn = turn
        self.release = turn.release

    def acquire(self) -> None:
        self._turn.acquire()
        raise KeyboardInterrupt


def test_who_is_interrupted_as_the_turn_comes_hands_it_on() -> None:
    interrupted = 2

    class Interrupting(GroupCommit):
        def _queue_up(self, ticket: int) -> Any:
            turn: Any = super()._queue_up(ticket)
            if ticket == interrupted:
                turn = InterruptedTurn(turn)
                self._waiting[-1] = ticket, turn
            return turn

    sync = SlowSync()
    shared = Interrupting(sync)
    threads = [start(lambda: shared.wait(shared.wrote()))]
    assert sync.begun.acquire(timeout=60)
    caught: list[BaseException] = []

    def wait_and_be_interrupted() -> None:
        try:
            shared.wait(shared.wrote())
        except KeyboardInterrupt as error:
            caught.append(error)

    threads.append(start(wait_and_be_interrupted))
    until_waiting(shared, 1)
    threads.append(start(lambda: shared.wait(shared.wrote())))
    until_waiting(shared, 2)
    for _ in range(2):
        sync.go_on.release()
    for thread in threads:
        thread.join(10)
    assert len(caught) == 1
    assert not any(thread.is_alive() for thread in threads)
