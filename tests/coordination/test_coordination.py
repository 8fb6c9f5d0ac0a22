"""Reservations, renewals, releases, intents: who holds what, and what is on the disk."""

import contextlib
import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.coordination import forecast, reservations
from muse.coordination.holdings import CLOCK_TOLERANCE_SECONDS, INTENT_SECONDS
from muse.coordination.record import Intent, Reservation, share_sessions
from muse.coordination.reservations import Coordination, HeldError
from muse.core.address import touch
from muse.disk.json_file import read_with_digest
from muse.disk.storage import LOCAL, Storage
from muse.errors import ConflictError, CorruptionError, MuseError, NotFoundError, UsageError
from muse.testing import DiskModelStorage, FailingStorage

START = 1_770_000_000.0
SONG = ["song.mid"]


class Clock:
    """A wall clock that stands still unless it is turned."""

    def __init__(self) -> None:
        self.seconds = START

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def coordination(tmp_path: Path, clock: Clock) -> Coordination:
    return Coordination(str(tmp_path), now=clock)


def another(tmp_path: Path, clock: Clock) -> Coordination:
    """The same repository as another process sees it."""
    return Coordination(str(tmp_path), now=clock)


def record(tmp_path: Path, kind: str, own: str) -> dict[str, Any]:
    path = tmp_path / ".muse" / "coordination" / kind / f"{own}.json"
    found = read_with_digest(str(path), LOCAL)
    assert found.keys() ^ json.loads(path.read_text()).keys() == {"digest"}
    return found


def reservation_of_another_tool(tmp_path: Path, **changed: object) -> str:
    own = str(uuid.uuid4())
    document = {
        "schema_version": 1,
        "reservation_id": own,
        "run_id": "run-7",
        "branch": "main",
        "addresses": ["song.mid"],
        "created_at": "2026-02-02T02:40:00+00:00",
        "expires_at": "2026-02-02T03:40:00Z",
        "operation": None,
    }
    directory = tmp_path / ".muse" / "coordination" / "reservations"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{own}.json").write_text(json.dumps(document | changed))
    return own


# -- exclusive -----------------------------------------------------------------------------------


def test_an_address_that_is_held_is_refused_to_everyone_else(coordination: Coordination) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    for actor in ("bob", "ada"):
        with pytest.raises(HeldError, match=r"ada holds song\.mid until 20") as caught:
            coordination.reserve(actor, ["other.mid", "song.mid/note-1"], branch="main")
        assert caught.value.reservations == (reservation,)
        assert caught.value.holders == ("ada",)
    assert coordination.reservations() == [reservation]


def test_what_is_above_a_held_address_is_refused_and_what_is_beside_it_is_free(
    coordination: Coordination,
) -> None:
    coordination.reserve("ada", ["src/a.py::f"], branch="main")
    with pytest.raises(HeldError):
        coordination.reserve("bob", ["src"], branch="main")
    coordination.reserve("bob", ["src/a.py::g"], branch="main")
    coordination.reserve("bob", ["src/a.py::f"], branch="take/2")


def ask(root: str, number: int, start: Any, answers: Any) -> None:
    coordination = Coordination(root)
    start.wait()
    for attempt in range(100):
        try:
            reservation = coordination.reserve(f"actor-{number}-{attempt}", SONG, branch="main")
        except HeldError:
            continue
        answers.put((reservation.actor_id, reservation.epoch))


def test_of_a_thousand_racing_requests_of_processes_one_gets_the_address(tmp_path: Path) -> None:
    context = get_context("spawn")
    for round_number in range(2):
        root = tmp_path / str(round_number)
        root.mkdir()
        start, answers = context.Event(), context.Queue()
        processes = [
            context.Process(target=ask, args=(str(root), number, start, answers)) for number in range(10)
        ]
        for process in processes:
            process.start()
        start.set()
        for process in processes:
            process.join()
            assert process.exitcode == 0
        made = answers.get(timeout=10)
        assert answers.empty()
        [reservation] = Coordination(str(root)).reservations()
        assert made == (reservation.actor_id, reservation.epoch)
        assert len(list((root / ".muse/coordination/reservations").iterdir())) == 1


def test_of_a_thousand_racing_threads_one_gets_the_address(coordination: Coordination) -> None:
    made: list[Reservation] = []
    refused: list[HeldError] = []

    def take(number: int) -> None:
        for attempt in range(50):
            try:
                made.append(coordination.reserve(f"actor-{number}-{attempt}", SONG, branch="main"))
            except HeldError as error:
                refused.append(error)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 999)
    assert coordination.reservations() == made


def hand_on(root: str, actor: str, times: int) -> None:
    coordination = Coordination(root)
    while times:
        try:
            reservation = coordination.reserve(actor, SONG, branch="main")
        except HeldError:
            continue
        times -= 1
        coordination.release(reservation.reservation_id, actor)


def test_every_reservation_has_a_higher_epoch_than_the_one_before_it(tmp_path: Path) -> None:
    context = get_context("spawn")
    processes = [context.Process(target=hand_on, args=(str(tmp_path), f"actor-{n}", 20)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    directory = tmp_path / ".muse" / "coordination" / "grants"
    epochs = sorted(json.loads(path.read_text())["epoch"] for path in directory.iterdir())
    assert epochs == list(range(1, 81))
    assert Coordination(str(tmp_path)).reserve("zoe", SONG, branch="main").epoch == 81


# -- time ----------------------------------------------------------------------------------------


def test_a_reservation_holds_until_it_expires_and_others_wait_a_little_longer(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    first = coordination.reserve("ada", SONG, branch="main", ttl_seconds=60)
    other = another(tmp_path, clock)
    clock.seconds = START + 60 - 0.001
    with coordination.frozen() as frozen:
        assert frozen.fault_of(first.reservation_id, "ada") == ""
    clock.seconds = START + 60
    with coordination.frozen() as frozen:
        assert "expired at" in frozen.fault_of(first.reservation_id, "ada")
    with pytest.raises(HeldError):
        other.reserve("bob", SONG, branch="main")
    clock.seconds = START + 60 + CLOCK_TOLERANCE_SECONDS
    second = other.reserve("bob", SONG, branch="main")
    assert second.epoch > first.epoch
    assert coordination.reservations() == [second]


def test_a_renewal_holds_on_and_never_shortens(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main", ttl_seconds=60)
    clock.seconds += 30
    longer = coordination.renew(reservation.reservation_id, "ada", ttl_seconds=60)
    assert longer.expires == START + 90
    assert coordination.renew(reservation.reservation_id, "ada", ttl_seconds=1).expires == START + 90
    clock.seconds = START + 80
    assert another(tmp_path, clock).reservations() == [longer]
    assert (
        record(tmp_path, "reservations", reservation.reservation_id)["expires_at"] == reservation.expires_at
    )


def test_what_expired_or_was_released_cannot_be_renewed(coordination: Coordination, clock: Clock) -> None:
    expired = coordination.reserve("ada", ["a"], branch="main", ttl_seconds=60)
    released = coordination.reserve("ada", ["b"], branch="main", ttl_seconds=600)
    assert coordination.release(released.reservation_id, "ada")
    clock.seconds += 60
    with pytest.raises(ConflictError, match="expired at"):
        coordination.renew(expired.reservation_id, "ada")
    with pytest.raises(ConflictError, match="was released at"):
        coordination.renew(released.reservation_id, "ada")
    with pytest.raises(ConflictError, match="is ada's, not bob's"):
        coordination.renew(coordination.reserve("ada", ["c"], branch="main").reservation_id, "bob")
    with pytest.raises(NotFoundError, match="muse coord list"):
        coordination.renew(str(uuid.uuid4()), "ada")


def test_a_clock_that_goes_back_revives_nobody_who_was_replaced(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    first = coordination.reserve("ada", SONG, branch="main", ttl_seconds=60)
    clock.seconds += 100
    second = coordination.reserve("bob", SONG, branch="main", ttl_seconds=60)
    clock.seconds = START + 1
    for seen in (coordination, another(tmp_path, clock)):
        with seen.frozen() as frozen:
            assert frozen.fault_of(first.reservation_id, "ada")
            assert frozen.fault_of(second.reservation_id, "bob") == ""
        with pytest.raises(ConflictError):
            seen.renew(first.reservation_id, "ada")


# -- records -------------------------------------------------------------------------------------


def test_the_files_have_the_keys_of_the_format_and_are_never_written_again(
    coordination: Coordination, tmp_path: Path
) -> None:
    reservation = coordination.reserve(
        "ada", SONG, branch="main", run_id="run-1", operation="rewrite", ttl_seconds=60
    )
    intent = coordination.intend(
        "ada",
        ["song.mid/intro"],
        branch="main",
        run_id="run-1",
        operation="rewrite",
        detail="a slower start",
        reservation_id=reservation.reservation_id,
    )
    coordination.renew(reservation.reservation_id, "ada", ttl_seconds=90)
    coordination.release(reservation.reservation_id, "ada")
    assert record(tmp_path, "reservations", reservation.reservation_id) == {
        "schema_version": 1,
        "reservation_id": reservation.reservation_id,
        "run_id": "run-1",
        "branch": "main",
        "addresses": ["song.mid"],
        "created_at": "2026-02-02T02:40:00.000+00:00",
        "expires_at": "2026-02-02T02:41:00.000+00:00",
        "operation": "rewrite",
    }
    assert record(tmp_path, "intents", intent.intent_id) == {
        "schema_version": 1,
        "intent_id": intent.intent_id,
        "reservation_id": reservation.reservation_id,
        "run_id": "run-1",
        "branch": "main",
        "addresses": ["song.mid/intro"],
        "operation": "rewrite",
        "created_at": "2026-02-02T02:40:00.000+00:00",
        "detail": "a slower start",
    }
    directory = tmp_path / ".muse" / "coordination"
    assert {path.parent.name for path in directory.rglob("*.json")} == {
        "authors",
        "grants",
        "intents",
        "releases",
        "renewals",
        "reservations",
    }
    assert len(list(directory.rglob("*.json"))) == 6


def test_asking_again_with_the_same_id_is_no_second_reservation(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    own = str(uuid.uuid4())
    first = coordination.reserve("ada", SONG, branch="main", reservation_id=own, ttl_seconds=60)
    assert another(tmp_path, clock).reserve("ada", SONG, branch="main", reservation_id=own) == first
    with pytest.raises(ConflictError, match="is ada's"):
        coordination.reserve("bob", SONG, branch="main", reservation_id=own)
    clock.seconds += 60
    with pytest.raises(ConflictError, match="expired at"):
        coordination.reserve("ada", SONG, branch="main", reservation_id=own)
    intent_id = str(uuid.uuid4())
    said = coordination.intend("ada", SONG, branch="main", intent_id=intent_id)
    assert coordination.intend("ada", SONG, branch="main", intent_id=intent_id) == said
    assert coordination.intents() == [said]


def test_a_release_frees_at_once_twice_is_fine_and_another_may_only_by_force(
    coordination: Coordination, tmp_path: Path, clock: Clock
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    other = another(tmp_path, clock)
    with pytest.raises(HeldError, match="is ada's, not bob's"):
        other.release(reservation.reservation_id, "bob")
    assert other.release(reservation.reservation_id, "bob", force=True)
    assert not coordination.release(reservation.reservation_id, "ada")
    assert other.reserve("bob", SONG, branch="main").epoch == 2
    with pytest.raises(NotFoundError):
        coordination.release(str(uuid.uuid4()), "ada")


@pytest.mark.parametrize(
    "wrong",
    [
        {"addresses": []},
        {"addresses": "song.mid"},
        {"addresses": [""]},
        {"addresses": ["/"]},
        {"addresses": ["../song.mid"]},
        {"addresses": ["a\x00b"]},
        {"addresses": ["x" * 1025]},
        {"addresses": ["a/" * 33]},
        {"addresses": [f"a{number}" for number in range(1001)]},
        {"ttl_seconds": 0},
        {"ttl_seconds": float("nan")},
        {"ttl_seconds": 1e9},
        {"branch": "../main"},
        {"actor_id": ""},
        {"operation": "x" * 257},
        {"reservation_id": "mine"},
    ],
)
def test_what_cannot_be_reserved_is_refused_and_nothing_is_made(
    coordination: Coordination, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"actor_id": "ada", "addresses": SONG, "branch": "main"} | wrong
    with pytest.raises(UsageError):
        coordination.reserve(asked.pop("actor_id"), asked.pop("addresses"), **asked)
    assert list(tmp_path.iterdir()) == []


def test_looking_makes_nothing(coordination: Coordination, tmp_path: Path) -> None:
    assert (coordination.reservations(), coordination.intents(), coordination.forecast()) == ([], [], [])
    assert coordination.faults() == []
    assert list(tmp_path.iterdir()) == []


def test_a_reservation_is_seen_by_those_who_looked_before_without_listing_all_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = another(tmp_path, clock), another(tmp_path, clock)
    one.reserve("ada", ["a"], branch="main")
    assert len(two.reservations()) == 1
    monkeypatch.setattr(two._store, "ids", lambda _kind: pytest.fail("it listed a directory"))
    reservation = one.reserve("ada", ["b"], branch="main")
    one.renew(reservation.reservation_id, "ada", ttl_seconds=1000)
    assert [seen.expires for seen in two.reservations()] == [START + 300, START + 1000]


def test_what_a_crash_left_of_the_journal_hides_no_reservation(tmp_path: Path, clock: Clock) -> None:
    one, two = another(tmp_path, clock), another(tmp_path, clock)
    one.reserve("ada", ["a"], branch="main")
    assert len(two.reservations()) == 1
    journal = tmp_path / ".muse" / "coordination" / "journal"
    with journal.open("ab") as file:
        file.write(f"\nreservations {uuid.uuid4()}\nreserv".encode())
    one.reserve("bob", ["b"], branch="main")
    assert len(two.reservations()) == 2
    journal.unlink()
    one.reserve("eve", ["c"], branch="main")
    assert len(two.reservations()) == len(another(tmp_path, clock).reservations()) == 3


def test_a_journal_that_is_another_file_is_read_anew_however_long_it_is(tmp_path: Path, clock: Clock) -> None:
    one, two = another(tmp_path, clock), another(tmp_path, clock)
    reservation = one.reserve("ada", ["a"], branch="main")
    assert len(two.reservations()) == 1
    journal = tmp_path / ".muse" / "coordination" / "journal"
    journal.rename(journal.with_name("old"))
    one.release(reservation.reservation_id, "ada")
    one.reserve("bob", ["b"], branch="main")
    assert journal.stat().st_size > journal.with_name("old").stat().st_size
    assert [seen.actor_id for seen in two.reservations()] == ["bob"]


def test_whose_records_were_removed_holds_nothing_any_more_for_anyone(tmp_path: Path, clock: Clock) -> None:
    """Of one record, and of all: who had read them agrees with who had not."""
    records = tmp_path / ".muse" / "coordination"
    one = another(tmp_path, clock)
    for removed in ("reservations/{}.json", ""):
        reservation = one.reserve("ada", SONG, branch="main")
        path = records / removed.format(reservation.reservation_id)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        second = another(tmp_path, clock).reserve("bob", SONG, branch="main")
        assert one.reservations() == another(tmp_path, clock).reservations() == [second]
        with one.frozen() as frozen:
            assert frozen.fault_of(reservation.reservation_id, "ada")
        assert one.release(second.reservation_id, "bob")


def test_an_epoch_is_given_once_though_its_reservation_is_gone(
    coordination: Coordination, tmp_path: Path
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    (tmp_path / ".muse/coordination/reservations" / f"{reservation.reservation_id}.json").unlink()
    assert Coordination(str(tmp_path)).reserve("bob", SONG, branch="main").epoch == reservation.epoch + 1


def test_a_renewal_that_a_slow_disk_outlasts_is_no_fault(coordination: Coordination, clock: Clock) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main", ttl_seconds=1)

    class SlowStorage(Storage):
        def sync_directory(self, path: str) -> None:
            super().sync_directory(path)
            clock.seconds += 10

    coordination._store._storage = SlowStorage()
    assert coordination.renew(reservation.reservation_id, "ada", ttl_seconds=5).expires == START + 5
    assert coordination.reservations() == []


# -- other tools ---------------------------------------------------------------------------------


def test_a_reservation_of_another_tool_is_seen_keeps_others_away_and_has_no_epoch(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    coordination.reserve("ada", ["other.mid"], branch="main")
    own = reservation_of_another_tool(tmp_path)
    clock.seconds += 2
    with pytest.raises(HeldError, match="run-7 holds"):
        coordination.reserve("ada", SONG, branch="main")
    [reservation] = [
        reservation for reservation in coordination.reservations() if reservation.reservation_id == own
    ]
    assert (reservation.epoch, reservation.actor_id, reservation.operation) == (0, "run-7", "")
    with coordination.frozen() as frozen:
        assert "has no epoch" in frozen.fault_of(own, "run-7")
    assert coordination.release(own, "ada", force=True)
    coordination.reserve("ada", SONG, branch="main")


@pytest.mark.parametrize("changed", [{"addresses": "x"}, {"expires_at": "soon"}, {"reservation_id": "else"}])
def test_a_record_of_another_tool_that_is_none_is_named_and_passed_over(
    coordination: Coordination, clock: Clock, tmp_path: Path, changed: dict[str, object]
) -> None:
    own = reservation_of_another_tool(tmp_path, **changed)
    clock.seconds += 2
    assert coordination.reservations() == []
    [fault] = coordination.faults()
    assert own in fault
    coordination.reserve("ada", SONG, branch="main")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def make_release_of_another_format(path: Path) -> None:
    path.write_text(json.dumps({"reservation_id": str(uuid.uuid4()), "released_at": "2026-02-02T02:40:00Z"}))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("reservations", make_directory),
        ("reservations", make_link),
        ("intents", make_directory),
        ("releases", make_release_of_another_format),
    ],
)
def test_whatever_lies_among_the_records_stops_nobody_and_is_named_until_it_is_gone(
    coordination: Coordination, clock: Clock, tmp_path: Path, kind: str, make: Callable[[Path], None]
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    path = tmp_path / ".muse" / "coordination" / kind / f"{uuid.uuid4()}.json"
    path.parent.mkdir(exist_ok=True)
    make(path)
    clock.seconds += 2
    for seen in (coordination, another(tmp_path, clock)):
        assert seen.reservations() == [reservation]
        [fault] = seen.faults()
        assert path.name in fault
        with seen.frozen() as frozen:
            assert frozen.fault_of(reservation.reservation_id, "ada") == ""
    path.rmdir() if path.is_dir() else path.unlink()
    clock.seconds += 2
    assert coordination.faults() == []


def test_a_release_of_another_tool_counts_for_all_alike(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    path = tmp_path / ".muse" / "coordination" / "releases" / f"{uuid.uuid4()}.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps(
            {"reservation_id": reservation.reservation_id, "created_at": "2026-02-02T02:40:00Z", "more": 1}
        )
    )
    clock.seconds += 2
    assert coordination.reservations() == another(tmp_path, clock).reservations() == []


def test_who_asks_for_the_id_of_another_tools_reservation_gets_nothing(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    own = reservation_of_another_tool(tmp_path)
    clock.seconds += 2
    with pytest.raises(HeldError, match="has no epoch"):
        coordination.reserve("run-7", SONG, branch="main", reservation_id=own)


def test_with_a_reservation_that_cannot_be_read_the_others_are_listed_and_told(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    broken = coordination.reserve("ada", SONG, branch="main")
    whole = coordination.reserve("ada", ["else.mid"], branch="main")
    path = tmp_path / ".muse" / "coordination" / "reservations" / f"{broken.reservation_id}.json"
    path.write_text("{")
    fresh = another(tmp_path, clock)
    assert fresh.reservations() == [whole]
    [fault] = fresh.faults()
    assert path.name in fault
    with pytest.raises(CorruptionError, match="put the file back"), fresh.frozen():
        pass
    with fresh.frozen(first_too=False) as frozen:
        assert frozen.of_others(["else.mid"], "main", "bob") == [whole]
    path.unlink()
    assert fresh.reserve("bob", SONG, branch="main").epoch > whole.epoch


def test_a_renewal_that_is_put_back_after_the_time_it_lengthened_still_counts(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main", ttl_seconds=60)
    renewed = coordination.renew(reservation.reservation_id, "ada", ttl_seconds=600)
    [path] = (tmp_path / ".muse" / "coordination" / "renewals").iterdir()
    whole = path.read_bytes()
    path.write_bytes(b"")
    fresh = another(tmp_path, clock)
    for clock.seconds in (START, START + 100):
        with pytest.raises(CorruptionError, match=path.name):
            fresh.reserve("bob", SONG, branch="main")
    path.write_bytes(whole)
    assert fresh.reservations() == [renewed]
    with pytest.raises(HeldError):
        fresh.reserve("bob", SONG, branch="main")


def test_a_reservation_that_cannot_be_read_frees_nothing(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    path = tmp_path / ".muse" / "coordination" / "reservations" / f"{reservation.reservation_id}.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    fresh = another(tmp_path, clock)
    for _ in range(2):
        with pytest.raises(CorruptionError, match="put the file back, or remove it"):
            fresh.reserve("bob", ["else.mid"], branch="main")
    path.write_bytes(whole)
    with pytest.raises(HeldError):
        fresh.reserve("bob", SONG, branch="main")


# -- intents and forecasts -----------------------------------------------------------------------


def test_an_intent_lasts_as_long_as_its_reservation_or_for_an_hour(
    coordination: Coordination, clock: Clock
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main", run_id="run-1", ttl_seconds=60)
    tied = coordination.intend(
        "ada", SONG, branch="main", run_id="run-1", reservation_id=reservation.reservation_id
    )
    free = coordination.intend("bob", SONG, branch="main")
    assert coordination.intents() == sorted([tied, free], key=lambda intent: intent.intent_id)
    clock.seconds += 60
    assert coordination.intents() == [free]
    clock.seconds = START + INTENT_SECONDS
    assert coordination.intents() == []


def test_an_intent_rests_on_no_reservation_but_one_in_force_of_its_own_actor(
    coordination: Coordination,
) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    for reservation_id in (reservation.reservation_id, str(uuid.uuid4())):
        with pytest.raises(ConflictError):
            coordination.intend("bob", SONG, branch="main", reservation_id=reservation_id)
    assert coordination.intents() == []


def test_a_forecast_names_what_would_collide_and_nothing_else(coordination: Coordination) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main")
    coordination.intend("ada", ["song.mid/intro"], branch="main")
    theirs = coordination.intend("bob", ["song.mid/coda"], branch="main")
    coordination.intend("bob", ["song.mid/coda"], branch="take/2")
    coordination.intend("eve", ["song.midi"], branch="main")
    [found] = coordination.forecast()
    assert (found.address, found.first, found.second) == ("song.mid/coda", reservation, theirs)
    assert coordination.forecast(party="eve") == []
    assert [one.second for one in coordination.forecast(party="bob")] == [theirs]
    asked = coordination.forecast(["song.mid/coda"], party="bob", branch="main")
    assert [(one.address, one.first, one.second) for one in asked] == [("song.mid/coda", None, reservation)]
    assert {type(one.second) for one in coordination.forecast(["song.mid"])} == {Reservation, Intent}


def test_an_intent_is_of_who_said_so_whatever_run_it_names(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    coordination.reserve("ada", SONG, branch="main", run_id="run-1")
    own = str(uuid.uuid4())
    said = coordination.intend("ada", SONG, branch="main", run_id="run-1", intent_id=own)
    other = coordination.intend("bob", ["else.mid"], branch="main", run_id="ada")
    for seen in (coordination, another(tmp_path, clock)):
        assert {intent.intent_id: intent for intent in seen.intents()} == {own: said, other.intent_id: other}
        assert seen.forecast() == []
    with pytest.raises(ConflictError):
        coordination.intend("bob", SONG, branch="main", run_id="run-1", intent_id=own)


# -- limits --------------------------------------------------------------------------------------


def test_what_is_in_force_is_bounded_in_all_and_of_one_actor(
    coordination: Coordination, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MOST_RESERVATIONS_OF_ONE", "MOST_ADDRESSES_HELD", "MOST_INTENTS"):
        monkeypatch.setattr(reservations, limit, 3)
    for address in ("a", "b"):
        coordination.reserve("ada", [address], branch="main")
    with pytest.raises(UsageError, match="3 addresses are reserved"):
        coordination.reserve("bob", ["c", "d"], branch="main")
    monkeypatch.setattr(reservations, "MOST_ADDRESSES_HELD", 10)
    reservation = coordination.reserve("ada", ["c"], branch="main")
    with pytest.raises(UsageError, match="ada has 3 reservations"):
        coordination.reserve("ada", ["d"], branch="main")
    coordination.reserve("bob", ["d"], branch="main")
    coordination.release(reservation.reservation_id, "ada")
    coordination.reserve("ada", ["c"], branch="main")
    for _ in range(3):
        coordination.intend("ada", SONG, branch="main")
    with pytest.raises(UsageError, match="there are 3 intents"):
        coordination.intend("ada", SONG, branch="main")
    clock.seconds += INTENT_SECONDS
    coordination.intend("ada", SONG, branch="main")


def test_a_forecast_ends_and_one_op_is_told_of_so_many_reservations(
    coordination: Coordination, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "MOST_COLLISIONS", 5)
    monkeypatch.setattr(reservations, "RESERVATIONS_NAMED", 3)
    for number in range(4):
        coordination.intend(f"actor-{number}", SONG, branch="main")
        reservation_of_another_tool(tmp_path, addresses=[f"song.mid/{number}"], run_id="run-0")
    clock.seconds += 2
    assert len(coordination.forecast()) == len(coordination.forecast(SONG)) == 5
    reservation = coordination.reserve("zoe", ["song.mid/zoe"], branch="main")
    with coordination.frozen() as frozen:
        found = frozen.of_others([""], "main", "bob")
    assert (len(found), found[0]) == (3, reservation)


def test_the_intents_of_one_actor_are_bounded(
    coordination: Coordination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "MOST_INTENTS_OF_ONE", 2)
    monkeypatch.setattr(reservations, "MOST_ADDRESSES_OF_ONE", 4)
    monkeypatch.setattr(reservations, "MOST_ADDRESSES_INTENDED", 6)
    coordination.intend("ada", ["a", "b", "c"], branch="main")
    with pytest.raises(UsageError, match="ada names 4 addresses"):
        coordination.intend("ada", ["d", "e"], branch="main")
    coordination.intend("ada", ["d"], branch="main")
    with pytest.raises(UsageError, match="ada has 2 intents"):
        coordination.intend("ada", ["d"], branch="main")
    with pytest.raises(UsageError, match="intents name 6 addresses"):
        coordination.intend("bob", ["a", "b", "c"], branch="main")
    coordination.reserve("ada", ["a", "b", "c", "d"], branch="main")
    with pytest.raises(UsageError, match="ada names 4 addresses"):
        coordination.reserve("ada", ["e"], branch="main")
    coordination.reserve("bob", ["e"], branch="main")


addresses_near_each_other = st.lists(st.sampled_from("ab"), max_size=3).map("/".join)


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.lists(addresses_near_each_other, min_size=1))), st.data()
)
def test_a_forecast_finds_all_pairs_that_touch_and_no_others(
    named: list[tuple[str, list[str]]], data: st.DataObject
) -> None:
    plans = [
        Intent(str(place), "", actor, actor, "main", tuple(addresses), "", "", "")
        for place, (actor, addresses) in enumerate(named)
    ]

    def is_touched(one: Intent, addresses: Iterable[str]) -> bool:
        return any(touch(mine, theirs) for mine in one.addresses for theirs in addresses)

    found = {(one.first, one.second) for one in forecast.find_collisions(plans, (), "")}
    assert found == {
        (one, other)
        for one, other in combinations(plans, 2)
        if one.actor_id != other.actor_id and is_touched(one, other.addresses)
    }
    asked = data.draw(st.lists(addresses_near_each_other, min_size=1))
    near = [one.second for one in forecast.find_collisions(plans, asked, "x")]
    assert near == [one for one in plans if one.actor_id != "x" and is_touched(one, asked)]


# -- pruning -------------------------------------------------------------------------------------

DAY = 86_400.0


def files(tmp_path: Path) -> set[str]:
    return {path.parent.name for path in (tmp_path / ".muse" / "coordination").rglob("*.json")}


def test_what_is_over_is_removed_what_is_in_force_is_kept_and_epochs_go_on(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    other = another(tmp_path, clock)
    late = coordination.reserve("ada", SONG, branch="main")
    coordination.intend("ada", SONG, branch="main", reservation_id=late.reservation_id)
    coordination.renew(late.reservation_id, "ada", ttl_seconds=900)
    coordination.release(late.reservation_id, "ada")
    kept = coordination.reserve("bob", ["b"], branch="main", ttl_seconds=3 * DAY)
    clock.seconds += 2 * DAY
    recent = coordination.reserve("eve", ["e"], branch="main")
    coordination.release(recent.reservation_id, "eve")
    assert other.reservations() == [kept]
    assert coordination.prune(days=1) == 6
    assert coordination.prune(days=1) == 0
    assert files(tmp_path) == {"reservations", "grants", "releases"}
    for seen in (coordination, other, another(tmp_path, clock)):
        assert seen.reservations() == [kept]
        with seen.frozen() as frozen:
            assert "not known" in frozen.fault_of(late.reservation_id, "ada")
    clock.seconds += 9 * DAY
    coordination.prune(days=1)
    assert files(tmp_path) == {"grants"}
    assert another(tmp_path, clock).reserve("ada", SONG, branch="main").epoch == recent.epoch + 1


def test_a_crash_while_pruning_revives_no_reservation() -> None:
    for fails_at in range(1, 400):
        disk = DiskModelStorage()
        disk.make_directory("/repo")
        disk.sync_directory("/")
        clock = Clock()
        before = Coordination("/repo", storage=disk, now=clock)
        for actor in ("ada", "bob"):
            reservation = before.reserve(actor, SONG, branch="main", ttl_seconds=3 * DAY)
            before.release(reservation.reservation_id, actor)
        kept = before.reserve("eve", ["else.mid"], branch="main", ttl_seconds=3 * DAY)
        clock.seconds += 2 * DAY
        storage = FailingStorage(fails_at, "crash", inner=disk)
        with contextlib.suppress(MuseError):
            Coordination("/repo", storage=storage, now=clock).prune(days=1)
        disk.power_cut(fails_at)
        after = Coordination("/repo", storage=disk, now=clock)
        assert after.reservations() == before.reservations() == [kept]
        if not storage.failed:
            break
    assert fails_at > 10


# -- faults --------------------------------------------------------------------------------------


def reserve_renew_release(coordination: Coordination, done: list[str]) -> None:
    reservation = coordination.reserve("ada", SONG, branch="main", ttl_seconds=60)
    done.append(reservation.reservation_id)
    coordination.renew(reservation.reservation_id, "ada", ttl_seconds=120)
    done.append("renewed")
    coordination.release(reservation.reservation_id, "ada")
    done.append("released")


@pytest.mark.parametrize("seed", [0, 2, None])
def test_a_crash_at_any_call_leaves_what_was_acknowledged_and_at_most_one_holder(seed: int | None) -> None:
    """With a power cut for each seed; None: the process died and the disk went on."""
    stages: set[int] = set()
    for fails_at in range(1, 400):
        disk = DiskModelStorage()
        disk.make_directory("/repo")
        disk.sync_directory("/")
        storage = FailingStorage(fails_at, "crash", inner=disk)
        clock = Clock()
        done: list[str] = []
        with contextlib.suppress(MuseError):
            reserve_renew_release(Coordination("/repo", storage=storage, now=clock), done)
        if seed is not None:
            disk.power_cut(seed)
        stages.add(len(done))
        after = Coordination("/repo", storage=disk, now=clock)
        check_after_crash(after, done)
        if not storage.failed:
            break
    assert stages == {0, 1, 2, 3}


def check_after_crash(after: Coordination, done: list[str]) -> None:
    left = after.reservations()
    assert len(left) <= 1
    if len(done) in {1, 3}:
        assert len(left) == (len(done) == 1)
    if len(done) == 2 and left:
        assert left[0].expires == START + 120
    for reservation in left:
        with pytest.raises(HeldError):
            after.reserve("bob", SONG, branch="main")
        after.release(reservation.reservation_id, "ada")
    assert after.reserve("bob", SONG, branch="main").epoch > len(done[:1])


@pytest.mark.parametrize("fault", ["ENOSPC", "sync"])
def test_a_disk_that_fails_reserves_nothing_it_cannot_keep(tmp_path: Path, fault: Any) -> None:
    failures = 0
    for fails_at in range(1, 200):
        root = tmp_path / str(fails_at)
        root.mkdir()
        storage = FailingStorage(fails_at, fault)
        coordination = Coordination(str(root), storage=storage)
        try:
            reservation = coordination.reserve("ada", SONG, branch="main")
        except MuseError:
            failures += 1
            kept = Coordination(str(root)).reservations()
            assert len(kept) <= 1  # it may be there unacknowledged, for its time
        else:
            assert Coordination(str(root)).reservations() == [reservation]
        if not storage.failed:
            break
    assert failures >= 3


# -- the sessions of a pattern ---------------------------------------------------------------------


patterns = st.text("ab-*?[]!", min_size=1, max_size=6)


@given(patterns, patterns, st.text("ab-", min_size=1, max_size=6))
def test_patterns_that_one_session_matches_share_it(one: str, other: str, session_id: str) -> None:
    if fnmatchcase(session_id, one) and fnmatchcase(session_id, other):
        assert share_sessions(one, other)
    assert share_sessions(one, session_id) == (fnmatchcase(session_id, one) or one == session_id)


def test_a_reservation_for_some_sessions_is_one_after_a_restart(
    coordination: Coordination, clock: Clock, tmp_path: Path
) -> None:
    ada = coordination.reserve("ada", SONG, branch="main", sessions="x-*")
    bob = coordination.reserve("bob", SONG, branch="main", sessions="y-*")
    with pytest.raises(HeldError):
        coordination.reserve("eve", SONG, branch="main", sessions="*-1")
    for seen in (coordination, another(tmp_path, clock)):
        assert seen.reservations() == [ada, bob]
        assert seen.reservations(sessions="y-*") == [bob]
        assert seen.forecast() == []
        for session_id, held in (("x-1", [ada]), ("y-1", [bob]), ("z-1", [])):
            with seen.frozen(session_id) as frozen:
                assert frozen.of_others(SONG, "main", "eve") == held
        with seen.frozen("y-1") as frozen:
            assert "'x-*' only" in frozen.fault_of(ada.reservation_id, "ada")
    with pytest.raises(NotFoundError):
        coordination.renew(ada.reservation_id, "ada", sessions="y-*")
    with pytest.raises(NotFoundError):
        coordination.release(ada.reservation_id, "ada", force=True, sessions="y-*")
