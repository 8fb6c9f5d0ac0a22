"""Sessions are made whole: with their policy, or not at all."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from muse.disk.storage import Storage
from muse.errors import MuseError, NotFoundError
from muse.history.repository import Repository
from muse.server.metrics import Metrics
from muse.server.sessions import Sessions
from muse.server.settings import Settings
from muse.session.policy import DEFAULT_POLICY, Policy, read_policy
from muse.testing import DiskModelStorage, FailingStorage

ROOT = "/repo"
REFUSE = Policy(reservations="refuse")
OFF = Policy("off", "off")


def prepared() -> DiskModelStorage:
    disk = DiskModelStorage()
    disk.make_directory(ROOT)
    disk.sync_directory("/")
    Repository.init(ROOT, now="2026-02-02T02:40:00+00:00", storage=disk, any_domain=True)
    disk.power_cut(0)
    return disk


def sessions_on(storage: Storage) -> Sessions:
    return Sessions(Repository.open(ROOT, storage), ThreadPoolExecutor(1), Settings(), Metrics())


def test_what_is_there_keeps_its_policy_whoever_makes_it_again() -> None:
    disk = prepared()
    sessions = sessions_on(disk)
    assert [sessions.create("jam", policy) for policy in (REFUSE, OFF, None)] == [True, False, False]
    assert [sessions.create("plain", policy) for policy in (None, REFUSE)] == [True, False]
    found = [read_policy(ROOT, session_id, disk) for session_id in ("jam", "plain")]
    assert found == [REFUSE, DEFAULT_POLICY]


@pytest.mark.parametrize("seed", [None, 0, 2])
def test_a_crash_at_any_call_leaves_the_session_with_its_policy_or_none_at_all(seed: int | None) -> None:
    """A power cut follows each crash, by the seeds. Asked for again, it is there."""
    outcomes = set()
    for fails_at in range(1, 500):
        disk = prepared()
        storage = FailingStorage(fails_at, "crash", inner=disk)
        was_told = False
        with contextlib.suppress(MuseError):
            was_told = sessions_on(storage).create("jam", REFUSE)
        if seed is not None:
            disk.power_cut(seed)
        sessions = sessions_on(disk)
        is_there = True
        try:
            sessions.check("jam")
        except NotFoundError:
            is_there = False
        assert is_there or not was_told
        assert sessions.create("jam", REFUSE) != is_there
        assert read_policy(ROOT, "jam", disk) == REFUSE
        outcomes.add((is_there, was_told))
        if not storage.failed:
            break
    assert {(False, False), (True, True)} <= outcomes


def test_nothing_is_looked_up_for_a_session_that_is_open() -> None:
    storage = FailingStorage(1 << 60, inner=prepared())

    async def run() -> None:
        sessions = sessions_on(storage)
        await asyncio.to_thread(sessions.create, "jam", None)
        session = sessions.get("jam")
        before = len(storage.calls)
        for _ in range(3):
            assert sessions.get(sessions.check("jam")) is session
        assert storage.calls[before:] == []
        with pytest.raises(NotFoundError):
            sessions.check("other")
        await sessions.close()

    asyncio.run(run())
