"""A collector comes in, however busy the committers are."""

import multiprocessing
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.history.garbage_lock import CommitsUnderWayError, collecting, uncollected
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.upkeep.garbage import collect_garbage
from tests.samples.sealed_session import DOMAIN, NOW

SPAWN = multiprocessing.get_context("spawn")


def test_who_comes_after_a_waiting_collector_goes_in_after_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW)
    came: list[str] = []

    def collect() -> None:
        with collecting(root, LOCAL):
            came.append("collector")

    def commit() -> None:
        with uncollected(root, LOCAL):
            came.append("committer")

    collector, committer = threading.Thread(target=collect), threading.Thread(target=commit)
    with uncollected(root, LOCAL):
        collector.start()
        is_free = True
        while is_free:  # until the collector waits
            with LOCAL.locked(layout.garbage_turnstile_file(root), wait=False) as is_free:
                pass
        committer.start()
        committer.join(0.2)
        assert came == []
    collector.join(60)
    committer.join(60)
    assert came == ["collector", "committer"]


def test_those_who_keep_garbage_from_being_collected_do_not_wait_for_one_another(tmp_path: Path) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW)
    inside = threading.Barrier(2, timeout=60)

    def commit() -> None:
        with uncollected(root, LOCAL):
            inside.wait()

    other = threading.Thread(target=commit)
    other.start()
    commit()
    other.join()
    assert not inside.broken


def test_a_collector_that_a_commit_keeps_waiting_gives_up_and_lets_others_go_on(tmp_path: Path) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW)
    with uncollected(root, LOCAL):  # as one that was stopped has it
        with (
            pytest.raises(CommitsUnderWayError, match="under way here"),
            collecting(root, LOCAL, wait_seconds=0.01),
        ):
            pass
        other = threading.Thread(target=pass_through, args=(root,))
        other.start()
        other.join(60)
        assert not other.is_alive()


def pass_through(root: str) -> None:
    with uncollected(root, LOCAL):
        pass


def commit_on_and_on(root: str, session_id: str, begun: Event, enough: Event) -> None:
    with LiveSession(root, session_id) as session:
        while not enough.is_set():
            session.edit("ada", DOMAIN, {"n": 1})
            session.commit("One more")
            begun.set()


def test_garbage_is_collected_while_two_processes_commit_on_and_on(tmp_path: Path) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW)
    enough = SPAWN.Event()
    begun = [SPAWN.Event() for _ in range(2)]
    busy = [
        SPAWN.Process(target=commit_on_and_on, args=(root, f"jam-{place}", event, enough))
        for place, event in enumerate(begun)
    ]
    for process in busy:
        process.start()
    try:
        assert all(event.wait(60) for event in begun)
        for _ in range(3):
            collect_garbage(root, grace_seconds=0)
    finally:
        enough.set()
        for process in busy:
            process.join(60)
    assert [process.exitcode for process in busy] == [0, 0]
    assert verify_repository(root).findings == []
