"""Every way of writing, with a fault at each of its system calls, and a power cut at each."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from muse.checks.stored import check_stored
from muse.checks.verify import verify_repository
from muse.core.entry import OpEntry
from muse.core.file.objects import ObjectStore
from muse.core.line import encode_line
from muse.core.op_list import encode_op_list
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import DurabilityError, MuseError, NotFoundError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.testing import DiskModelStorage, FailingStorage, Fault

ROOT = "/repo"
NOW = "2026-01-02T03:04:05+00:00"
DIGEST = "e" * 64
DOMAIN, OTHER = "notes-domain-without-plugin", "zither-domain-without-plugin"
SEEDS = (0, 2)  # 1 keeps everything, which is the crash without a power cut
MANY_SEEDS = tuple(range(3, 60))
READY = [
    make_op_entry("eve", DOMAIN, {"n": number, "pad": "x" * 700}, 100 + number) for number in (10, 11, 12)
]

Act = Callable[[Storage, list[OpEntry]], None]
"""A way of writing: does its work on the storage, and lists the ops it was told are durable."""


def open_log(storage: Storage) -> OpLog:
    return OpLog(ROOT, "jam", durability="disk", storage=storage)


def prepared() -> tuple[DiskModelStorage, list[OpEntry]]:
    """A disk with a repository: one op in history, two pending, the last line torn; all of it durable."""
    disk = DiskModelStorage()
    disk.make_directory(ROOT)
    Repository.init(ROOT, now=NOW, storage=disk, any_domain=True)
    with LiveSession(ROOT, "jam", durability="disk", storage=disk) as session:
        first = session.edit("ada", DOMAIN, {"n": 0})
        session.commit("Before")
        entries = [first, session.edit("ada", DOMAIN, {"n": 1}), session.edit("bob", OTHER, {"n": 2})]
    descriptor = disk.open(layout.ops_file(ROOT, "jam"), os.O_WRONLY | os.O_APPEND)
    disk.write(descriptor, encode_line(READY[0])[:300])
    disk.sync_data(descriptor)
    disk.close(descriptor)
    disk.power_cut(1)
    return disk, entries


# -- the ways of writing -------------------------------------------------------------------------


def record(storage: Storage, done: list[OpEntry]) -> None:
    with open_log(storage) as log:
        done.append(log.record("ada", DOMAIN, {"n": 10, "pad": "x" * 1500}))
        done.append(log.record("ada", DOMAIN, {"n": 11, "pad": "x" * 1500}))


def record_many(storage: Storage, done: list[OpEntry]) -> None:
    with open_log(storage) as log:
        done += log.record_many("ada", DOMAIN, [{"n": 10}, {"n": 11, "pad": "x" * 1500}, {"n": 12}])


def append(storage: Storage, done: list[OpEntry]) -> None:
    with open_log(storage) as log:
        for one in READY:
            log.append(one)
            done.append(one)


def append_many(storage: Storage, done: list[OpEntry]) -> None:
    with open_log(storage) as log:
        log.append_many(READY)
        done += READY


def sync(storage: Storage, done: list[OpEntry]) -> None:
    with OpLog(ROOT, "jam", storage=storage) as log:
        written = [log.record("ada", DOMAIN, {"n": 10}), log.record("ada", OTHER, {"n": 11})]
        log.sync()
        done += written


def checkpoint(storage: Storage, done: list[OpEntry]) -> None:
    with OpLog(ROOT, "jam", storage=storage) as log:
        written = log.record("ada", DOMAIN, {"n": 10})
        log.to_structured_delta(DOMAIN)
        log.to_structured_delta(OTHER)
        log.checkpoint(DIGEST)
        done.append(written)


def adopt_commits(storage: Storage, done: list[OpEntry]) -> None:
    with OpLog(ROOT, "jam", storage=storage) as log:
        written = log.record("ada", DOMAIN, {"n": 10})
        op_ids = [entry["op_id"] for entry in log.entries()]
        op_list = ObjectStore(ROOT, storage).put(encode_op_list(op_ids))
        log.checkpoints.adopt(log.checkpoints.with_commits([op_list]), DIGEST, "")
        done.append(written)


def repair(storage: Storage, done: list[OpEntry]) -> None:
    with open_log(storage) as log:
        done.append(log.record("ada", DOMAIN, {"n": 10}))
        log.repair()


def commit(storage: Storage, _done: list[OpEntry]) -> None:
    with LiveSession(ROOT, "jam", storage=storage) as session:
        session.commit("During")


def edit_and_commit(storage: Storage, done: list[OpEntry]) -> None:
    with LiveSession(ROOT, "jam", durability="disk", storage=storage) as session:
        done.append(session.edit("ada", DOMAIN, {"n": 10}))
        session.commit("During")


def recover(storage: Storage, _done: list[OpEntry]) -> None:
    storage.remove(layout.checkpoint_file(ROOT, "jam"))
    with LiveSession(ROOT, "jam", storage=storage) as session:
        session.recover()


def init(storage: Storage, _done: list[OpEntry]) -> None:
    Repository.init(f"{ROOT}/inner", now=NOW, storage=storage, any_domain=True)


WAYS = [
    record,
    record_many,
    append,
    append_many,
    sync,
    checkpoint,
    adopt_commits,
    repair,
    commit,
    edit_and_commit,
    recover,
    init,
]
COVERS_WITHOUT_COMMIT = (checkpoint, adopt_commits)


def runs(act: Act, fault: Fault) -> Iterator[tuple[DiskModelStorage, list[OpEntry], MuseError | None]]:
    """Fail the first call of `act`, then the second, and so on; yield the disk and what must be on it."""
    for fails_at in range(1, 2000):
        disk, durable = prepared()
        storage = FailingStorage(fails_at, fault, inner=disk)
        raised = None
        try:
            act(storage, durable)
        except MuseError as error:
            raised = error
        yield disk, durable, raised
        if not storage.failed:
            assert raised is None
            return
    raise AssertionError("it makes more calls than can be")


# -- what must hold afterwards -------------------------------------------------------------------


def ops_in_history(storage: Storage) -> Counter[Any]:
    dag = Repository.open(ROOT, storage).dag
    head = dag.head("main")
    deltas: list[Any] = [commit["structured_delta"] for commit in dag.history(head)] if head else []
    return Counter(op["n"] for delta in deltas for op in delta["ops"])


def each_is_there_once(log: OpLog, durable: list[OpEntry], *, salvage: bool) -> None:
    found = log.read_all(salvage=salvage)
    by_id = {one["op_id"]: one for one in found}
    assert len(by_id) == len(found)
    assert [by_id.get(one["op_id"]) for one in durable] == durable
    assert sorted(one["op_id"] for one in log.entries(salvage=salvage)) == sorted(by_id)


def nothing_is_lost(disk: DiskModelStorage, durable: list[OpEntry], act: Act, *, salvage: bool) -> None:
    # A torn line and a lost checkpoint are looked at below.
    assert check_stored(ROOT, disk, lambda _kind, _count: None).findings == []
    history = ops_in_history(disk)
    assert set(history.values()) == {1}
    assert set(history) in ({0}, {0, 1, 2}, {0, 1, 2, 10})
    with open_log(disk) as log:
        each_is_there_once(log, durable, salvage=salvage)
        assert all(damage.kind == "torn" for damage in log.damages()) or salvage
        # Recorded here and now, so that it works again; then as a person would: repair, and go on.
        durable.append(log.record("zoe", DOMAIN, {"n": 99}))
        if act is not recover:
            assert log.read_checkpoint() is not None
        log.repair()
        assert list(log.damages()) == []
        each_is_there_once(log, durable, salvage=False)
    with LiveSession(ROOT, "jam", storage=disk) as session:
        session.commit("After")
        assert session.log.replay_since_checkpoint() == []
        numbers = {plain["domain_op"]["n"] for plain in map(as_plain, session.log.read_all())}
    assert verify_repository(ROOT, disk).findings == []
    in_history = ops_in_history(disk)
    assert set(in_history.values()) == {1}
    if act in COVERS_WITHOUT_COMMIT:
        assert set(in_history) <= numbers
    else:
        assert set(in_history) == numbers


def as_plain(value: object) -> Any:
    return value


@pytest.mark.parametrize("act", WAYS, ids=lambda act: act.__name__)
@pytest.mark.parametrize(
    "fault",
    ["short", "sync", "crash", *(pytest.param(code, marks=pytest.mark.long) for code in ("EIO", "ENOSPC"))],
)
def test_a_fault_at_any_call_loses_nothing_and_breaks_nothing(act: Act, fault: Fault) -> None:
    faults = 0
    for disk, durable, raised in runs(act, fault):
        faults += raised is not None
        nothing_is_lost(disk, durable, act, salvage=False)
    assert faults >= (1 if fault == "sync" else 5)


@pytest.mark.parametrize("act", WAYS, ids=lambda act: act.__name__)
def test_a_power_cut_at_any_call_keeps_all_that_was_durable(act: Act) -> None:
    cut_power_at_any_call(act, SEEDS)


@pytest.mark.long
@pytest.mark.parametrize("act", WAYS, ids=lambda act: act.__name__)
def test_whatever_a_power_cut_at_any_call_loses_all_that_was_durable_is_kept(act: Act) -> None:
    cut_power_at_any_call(act, MANY_SEEDS)


def cut_power_at_any_call(act: Act, seeds: tuple[int, ...]) -> None:
    cuts = 0
    for seed in seeds:
        for disk, durable, _ in runs(act, "crash"):
            disk.power_cut(seed)
            cuts += 1
            nothing_is_lost(disk, durable, act, salvage=True)
    assert cuts > 20


@pytest.mark.parametrize("act", [checkpoint, adopt_commits, commit], ids=lambda act: act.__name__)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_leaves_the_old_checkpoint_or_the_new_one_whole(act: Act, seed: int) -> None:
    counts = set()
    for disk, _, raised in runs(act, "crash"):
        disk.power_cut(seed)
        with open_log(disk) as log:
            covered = log.read_checkpoint()
            assert covered is not None
            counts.add((covered["op_count"], raised is None))
    assert {count for count, _ in counts} <= {1, 2, 3, 4}
    assert max(count for count, done in counts if done) > 1


def test_a_repository_is_there_after_a_power_cut_or_is_made_by_the_next_init() -> None:
    for seed in SEEDS:
        for disk, _, raised in runs(init, "crash"):
            disk.power_cut(seed)
            try:
                Repository.open(f"{ROOT}/inner", disk)
            except NotFoundError:
                assert raised is not None
            repository, _ = Repository.init(f"{ROOT}/inner", now=NOW, storage=disk, any_domain=True)
            assert repository.dag.current_branch() == "main"
            assert verify_repository(f"{ROOT}/inner", disk).findings == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_op_of_a_session_is_durable_with_all_the_names_on_its_path(seed: int) -> None:
    for fails_at in range(1, 200):
        disk = DiskModelStorage()
        disk.make_directory(ROOT)
        disk.sync_directory("/")
        storage = FailingStorage(fails_at, "crash", inner=disk)
        done: list[OpEntry] = []
        with contextlib.suppress(MuseError), open_log(storage) as log:
            done.append(log.record("ada", DOMAIN, {}))
        disk.power_cut(seed)
        with open_log(disk) as log:
            each_is_there_once(log, done, salvage=True)
        if not storage.failed:
            assert done
            return


# -- syncs that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(1, 5))
def test_what_a_failed_sync_left_in_doubt_is_written_anew_before_it_is_called_durable(lost: int) -> None:
    disk, durable = prepared()
    doubtful: list[OpEntry] = []
    with OpLog(ROOT, "jam", storage=disk) as log:
        log.record("ada", DOMAIN, {"n": 50}, durability="disk")
        doubtful += log.record_many("ada", DOMAIN, [{"n": 60 + number} for number in range(lost)])
        disk.fail_syncs()
        with pytest.raises(DurabilityError) as caught:
            log.record("ada", DOMAIN, {"n": 51}, durability="disk")
        assert len(caught.value.op_ids) == 1
        # The disk says yes again, and is not believed.
        for use in (log.sync, lambda: log.record("ada", DOMAIN, {}), lambda: log.checkpoint(DIGEST)):
            with pytest.raises(MuseError):
                use()
    with open_log(disk) as log:
        read = {one["op_id"]: one for one in log.read_all()}
        doubtful.append(read[caught.value.op_ids[0]])
        assert log.append_many(doubtful) == 0
    disk.power_cut(0)
    with open_log(disk) as log:
        each_is_there_once(log, durable + doubtful, salvage=True)


def test_a_failed_sync_alone_would_lose_ops_that_the_next_sync_calls_durable() -> None:
    """What the disk model does to a program that trusts a second sync: or the test above could not fail."""
    disk = DiskModelStorage()
    descriptor = disk.open("/file", os.O_RDWR | os.O_CREAT)
    disk.sync_directory("/")
    disk.write(descriptor, b"lost")
    disk.fail_syncs()
    with pytest.raises(OSError, match="Input/output"):
        disk.sync_data(descriptor)
    disk.sync_data(descriptor)
    assert disk.read_bytes("/file") == b"lost"
    disk.power_cut(0)
    assert disk.read_bytes("/file") == b""


def test_every_handle_that_was_open_at_a_failed_sync_is_told() -> None:
    disk, _ = prepared()
    with open_log(disk) as one, open_log(disk) as two:
        one.record("ada", DOMAIN, {})
        two.record("bob", DOMAIN, {})
        disk.fail_syncs()
        with pytest.raises(DurabilityError):
            one.record("ada", DOMAIN, {})
        with pytest.raises(DurabilityError):
            two.record("bob", DOMAIN, {})
