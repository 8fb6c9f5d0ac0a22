"""A live session: every edit gets into history in exactly one commit, whatever happens on the way."""

import contextlib
import errno
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.checks.verify import verify_repository
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.disk.storage import Storage
from muse.errors import ConflictError, CorruptionError, DomainError, MuseError, NotFoundError, UsageError
from muse.history.commit_record import CommitRecord, executable_paths
from muse.history.repository import Repository
from muse.history.seal import Seal, read_seal, root_of
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.commit import CommitOutcome, HandEditedError
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.testing import Fault, failing_at_every_call
from tests.samples.messages import message_text

SPAWN = multiprocessing.get_context("spawn")
NOW = "2026-01-02T03:04:05+00:00"
DOMAIN = "notes-domain-without-plugin"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path), now=NOW, any_domain=True)
    return tmp_path


def note_op(number: int, path: str = "song.mid") -> Any:
    return insert_note(path, f"note-{number}", Note(60 + number % 12, 90, number * 480, 240))


def history(root: Path, branch: str = "main") -> list[CommitRecord]:
    """All commits of the branch, oldest first."""
    dag = Repository.open(str(root)).dag
    head = dag.head(branch)
    return [] if head is None else list(dag.history(head))[::-1]


def seals(root: Path) -> list[Seal]:
    found = [read_seal(commit["message"]) for commit in history(root)]
    return [seal for seal in found if seal is not None]


def ops_in_history(root: Path) -> Counter[Any]:
    """How often each op, by its number `n`, is in some commit of the branch."""
    deltas: list[Any] = [commit["structured_delta"] for commit in history(root)]
    return Counter(op["n"] for delta in deltas for op in delta["ops"])


def is_sealed_exactly(root: Path, session_id: str = "jam") -> None:
    """Each commit's trailers seal ops of the log, each op by one commit, all up to the last cut."""
    with OpLog(root, session_id) as log:
        covered = 0
        done: set[str] = set()
        for commit, seal in zip(history(root), seals(root), strict=True):
            delta = commit["structured_delta"]
            assert delta is not None
            up_to_cut = list(log.entries(until=seal.cut_offset, domain=delta["domain"]))
            entries = [one for one in log.read_all() if one in up_to_cut and one["op_id"] not in done]
            if delta["domain"] == DOMAIN:  # others squash
                assert [one["domain_op"] for one in entries] == delta["ops"]
            assert (seal.op_count, seal.root) == (len(entries), root_of(entries))
            done |= {one["op_id"] for one in entries}
            covered = max(covered, seal.cut_offset)
        assert done == {one["op_id"] for one in log.entries(until=covered)}
        assert [one["op_id"] in done for one in log.replay_since_checkpoint()].count(True) == 0


def checkpoint_file(root: Path, session_id: str = "jam") -> Path:
    return root / ".muse" / "op_log" / session_id / "checkpoint.json"


# -- commit --------------------------------------------------------------------------------------


def test_a_commit_carries_all_pending_ops_into_the_branch(root: Path) -> None:
    with LiveSession(root, "jam", author="ada") as session:
        entries = [session.edit("ada", DOMAIN, {"op": "insert", "n": number}) for number in range(3)]
        outcome = session.commit("Three")
        assert (outcome.op_count, outcome.summary) == (3, f"{DOMAIN}: 3 insert")
        assert session.log.replay_since_checkpoint() == []
        [commit] = history(root)
        assert outcome.commit_ids == (commit["commit_id"],)
        assert outcome.commit_id == commit["commit_id"]
        assert commit["author"] == "ada"
        assert message_text(commit["message"]) == "Three"
        assert commit["structured_delta"] == {
            "domain": DOMAIN,
            "ops": [one["domain_op"] for one in entries],
            "summary": "3 insert",
        }
        checkpoint = session.log.read_checkpoint()
        assert checkpoint is not None
        assert checkpoint["commit_id"] == commit["commit_id"]
        assert checkpoint["snapshot_id"] == commit["snapshot_id"]
    is_sealed_exactly(root)


def test_a_commit_of_nothing_makes_nothing_and_says_so(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        assert session.commit("Nothing") == CommitOutcome()
        session.edit("ada", DOMAIN, {"n": 1})
        session.commit("One")
        assert session.commit("Nothing").commit_id is None
    assert len(history(root)) == 1


def test_an_edit_has_its_causes_and_its_intent(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        first = session.edit("ada", DOMAIN, {})
        second = session.edit(
            "bob", DOMAIN, {}, parent_op_ids=[first["op_id"]], intent_id="i", reservation_id="r"
        )
        assert session.log.read_all() == [first, second]
        assert (second["parent_op_ids"], second["intent_id"]) == ([first["op_id"]], "i")


def test_each_commit_has_the_ops_since_the_one_before(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        for number in range(6):
            session.edit("ada", DOMAIN, {"n": number})
            if number % 2:
                session.commit(f"Up to {number}")
    assert [seal.op_count for seal in seals(root)] == [2, 2, 2]
    assert ops_in_history(root) == Counter(range(6))
    is_sealed_exactly(root)


def test_two_domains_give_two_commits_with_one_update_of_the_branch(root: Path) -> None:
    swaps: list[str] = []

    class Counting(Storage):
        def replace(self, source: str, target: str) -> None:
            swaps.extend([target] if target.endswith("refs/heads/main") else [])
            super().replace(source, target)

    with LiveSession(root, "jam", storage=Counting()) as session:
        session.edit("ada", "zither", {"n": 1})
        session.edit("ada", DOMAIN, {"n": 2})
        session.edit("bob", "zither", {"n": 3})
        outcome = session.commit("Both")
    first, second = history(root)
    assert outcome.commit_ids == (first["commit_id"], second["commit_id"])
    assert second["parent_commit_id"] == first["commit_id"]
    deltas: list[Any] = [first["structured_delta"], second["structured_delta"]]
    assert [delta["domain"] for delta in deltas] == [DOMAIN, "zither"]
    assert outcome.summary == f"{DOMAIN}: 1 other; zither: 2 other"
    assert len(swaps) == 1
    is_sealed_exactly(root)


def test_another_session_does_not_disturb(root: Path) -> None:
    with LiveSession(root, "jam") as jam, LiveSession(root, "duet") as duet:
        for number in range(4):
            (jam, duet)[number % 2].edit("ada", DOMAIN, {"n": number})
            (jam, duet)[number % 2].commit("One")
        assert not jam.recover()
        assert not duet.recover()
    assert ops_in_history(root) == Counter(range(4))
    assert [seal.session_id for seal in seals(root)] == ["jam", "duet", "jam", "duet"]


def test_a_straggler_gets_into_the_next_commit(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        for number in range(3):
            session.edit("ada", DOMAIN, {"n": number})
        session.commit("Three")
        late: OpEntry = {
            **session.log.read_all()[0],
            "op_id": "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f",
            "domain_op": {"n": 3},  # type: ignore[typeddict-item]
        }
        session.log.append(late)
        assert session.commit("Late").op_count == 1
    assert ops_in_history(root) == Counter(range(4))
    is_sealed_exactly(root)


def test_a_directory_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        LiveSession(tmp_path, "jam")


def test_a_damaged_log_blocks_a_commit_unless_it_is_salvaged(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 1})
        with (root / ".muse" / "op_log" / "jam" / "ops.jsonl").open("ab") as log:
            log.write(b"rubbish\n")
        session.edit("ada", DOMAIN, {"n": 2})
        with pytest.raises(CorruptionError):
            session.commit("No")
        assert history(root) == []
        assert session.commit("Yes", salvage=True).op_count == 2
        assert session.commit("Nothing more").op_count == 0
    assert ops_in_history(root) == Counter([1, 2])


# -- recovery ------------------------------------------------------------------------------------


def damage_deleted(path: Path) -> None:
    path.unlink()


def damage_corrupted(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"op_count":', b'"op_count":1'))


def damage_emptied(path: Path) -> None:
    path.write_bytes(b"")


def damage_of_another(path: Path) -> None:
    root = path.parents[3]
    with OpLog(root, "other") as log:
        log.record("ada", DOMAIN, {})
        log.checkpoint("f" * 64)
    path.write_bytes(checkpoint_file(root, "other").read_bytes())


def damage_stale(path: Path) -> None:
    path.write_bytes(path.with_name("old.json").read_bytes())


@pytest.mark.parametrize(
    "damage", [damage_deleted, damage_corrupted, damage_emptied, damage_of_another, damage_stale]
)
@pytest.mark.parametrize("by_recover", [True, False])
def test_a_checkpoint_that_is_lost_or_wrong_is_rebuilt_from_the_commits(
    root: Path, damage: Callable[[Path], None], *, by_recover: bool
) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        session.commit("First")
        checkpoint_file(root).with_name("old.json").write_bytes(checkpoint_file(root).read_bytes())
        session.edit("ada", DOMAIN, {"n": 1})
        session.commit("Second")
        session.edit("ada", DOMAIN, {"n": 2})
        right = checkpoint_file(root).read_bytes()
    damage(checkpoint_file(root))
    assert checkpoint_file(root).exists() is (damage is not damage_deleted)
    with LiveSession(root, "jam") as session:
        if by_recover:
            assert session.recover()
            assert not session.recover()
            rebuilt = session.log.read_checkpoint()
            assert rebuilt is not None
            assert f'"commit_id":"{rebuilt["commit_id"]}"'.encode() in right
        session.commit("Third")
        assert session.commit("Nothing").op_count == 0
    assert ops_in_history(root) == Counter(range(3))
    is_sealed_exactly(root)


def test_a_damaged_checkpoint_before_any_commit_is_thrown_away(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        checkpoint_file(root).write_bytes(b"rubbish")
        assert not session.recover()
        session.commit("First")
    assert ops_in_history(root) == Counter([0])


def test_a_lost_checkpoint_does_not_commit_again_what_another_branch_has(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        session.commit("On main")
    checkpoint_file(root).unlink()
    with LiveSession(root, "jam", branch="dev") as session:
        session.edit("ada", DOMAIN, {"n": 1})
        session.commit("On dev")
    [commit] = history(root, "dev")
    delta: Any = commit["structured_delta"]
    assert delta["ops"] == [{"n": 1}]


def everything_in(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(directory.rglob("*"))
    }


def test_a_session_that_is_made_writes_nothing_until_it_is_healed(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        session.commit("First")
    checkpoint_file(root).unlink()
    before = everything_in(root)
    with LiveSession(root, "jam"), LiveSession(root, "new"):
        assert everything_in(root) == before
    assert everything_in(root) == before
    with LiveSession(root, "jam") as session:
        session.heal()
        assert checkpoint_file(root).exists()


def test_the_first_edit_heals_what_a_crash_left(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        session.commit("First")
        right = session.log.checkpoints.coverage()
    checkpoint_file(root).unlink()
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 1})
        assert checkpoint_file(root).exists()
        assert session.log.checkpoints.coverage() == right


def test_a_log_shorter_than_history_is_refused(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        for number in range(3):
            session.edit("ada", DOMAIN, {"n": number})
        session.commit("Three")
    path = checkpoint_file(root).with_name("ops.jsonl")
    path.write_bytes(path.read_bytes()[:-50])
    for lost_too in (False, True):
        if lost_too:
            checkpoint_file(root).unlink()
        with (
            pytest.raises(CorruptionError, match="put the whole log back"),
            LiveSession(root, "jam") as session,
        ):
            session.commit("More")


def test_an_older_copy_of_a_session_that_was_put_back_is_refused_and_hides_nothing(
    root: Path, tmp_path: Path
) -> None:
    directory = checkpoint_file(root).parent
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        session.commit("One")
        shutil.copytree(directory, tmp_path / "backup")
        session.edit("ada", DOMAIN, {"n": 1})
        session.commit("Two")
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "backup", directory)
    with pytest.raises(CorruptionError, match="put the whole log back"), LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 2})
    with OpLog(root, "jam") as log:  # as long as the one that was committed, and longer
        for number in (2, 3):
            log.record("ada", DOMAIN, {"n": number})
    with (
        pytest.raises(CorruptionError, match="an older copy was put back"),
        LiveSession(root, "jam") as session,
    ):
        session.heal()


def test_a_checkpoint_that_goes_back_under_an_open_session_commits_nothing_twice(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        session.commit("One")
        older = checkpoint_file(root).read_bytes()
        session.edit("ada", DOMAIN, {"n": 1})
        session.commit("Two")
        checkpoint_file(root).write_bytes(older)
        session.edit("ada", DOMAIN, {"n": 2})
        assert session.commit("Three").op_count == 1
    assert ops_in_history(root) == Counter(range(3))


class LateLog(Storage):
    """Lets another process append its first op once it was seen that there is no log yet."""

    def __init__(self, root: Path) -> None:
        self._directory = str(checkpoint_file(root).parent)
        self._root = root
        self.late = False

    def exists(self, path: str) -> bool:
        found = super().exists(path)
        if self.late and path == self._directory:
            self.late = False
            with OpLog(self._root, "jam") as log:
                log.record("bob", DOMAIN, {"n": 0})
        return found


def test_what_comes_into_a_log_that_was_not_there_is_committed_only_under_the_lock(root: Path) -> None:
    storage = LateLog(root)
    with LiveSession(root, "jam", storage=storage) as session:
        storage.late = True
        assert session.commit("Nothing yet").commit_ids == ()
        assert not storage.late
        assert ops_in_history(root) == Counter()
        assert session.commit("One").op_count == 1
    assert ops_in_history(root) == Counter([0])


# -- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["EIO", "short", "crash"])
def test_a_fault_at_any_call_of_a_commit_leaves_none_or_one_and_the_next_converges(
    tmp_path: Path, fault: Fault
) -> None:
    run = faults = 0

    def prepare() -> Path:
        root = tmp_path / str(run)
        Repository.init(str(root), now=NOW, any_domain=True)
        with LiveSession(root, "jam") as session:
            session.edit("ada", DOMAIN, {"n": 0})
            session.commit("Before")
            session.edit("ada", DOMAIN, {"n": 1})
            session.edit("bob", "zither", {"n": 2})
        return root

    def commit(storage: Storage) -> None:
        with LiveSession(tmp_path / str(run), "jam", storage=storage) as session:
            session.commit("During")

    root = prepare()
    for raised in failing_at_every_call(commit, fault):
        faults += raised
        assert len(history(root)) in {1, 3}
        with LiveSession(root, "jam") as session:
            session.edit("ada", DOMAIN, {"n": 3})
            session.commit("After")
            assert session.log.replay_since_checkpoint() == []
        assert ops_in_history(root) == Counter(range(4))
        is_sealed_exactly(root)
        run += 1
        root = prepare()
    assert faults > 30


class FullDisk(Storage):
    full = False

    def write(self, descriptor: int, data: Any, /) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, data)


def test_a_full_disk_leaves_the_branch_and_the_ops_as_they_were(root: Path) -> None:
    storage = FullDisk()
    with LiveSession(root, "jam", storage=storage) as session:
        session.edit("ada", DOMAIN, {"n": 0})
        storage.full = True
        with pytest.raises(MuseError):
            session.commit("No room")
        assert history(root) == []
        assert len(session.log.replay_since_checkpoint()) == 1
        storage.full = False
        session.commit("Room")
    assert ops_in_history(root) == Counter([0])


# -- several committers --------------------------------------------------------------------------


def edit_and_commit(root: str, actor: str, count: int) -> None:
    with LiveSession(root, "jam") as session:
        for number in range(count):
            session.edit(actor, DOMAIN, {"n": f"{actor}-{number}"})
            if number % 3 == 0:
                session.commit(f"{actor} {number}")
        session.commit(f"{actor} done")


def test_racing_committers_bring_every_op_into_exactly_one_commit(root: Path) -> None:
    processes = [SPAWN.Process(target=edit_and_commit, args=(str(root), name, 12)) for name in ("ada", "bob")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    expected = Counter(f"{name}-{number}" for name in ("ada", "bob") for number in range(12))
    assert ops_in_history(root) == expected
    is_sealed_exactly(root)
    with LiveSession(root, "jam") as session:
        assert session.commit("Nothing").op_count == 0


def test_the_second_of_two_committers_cuts_again(root: Path) -> None:
    with LiveSession(root, "jam") as slow, LiveSession(root, "other") as fast:
        slow.edit("ada", DOMAIN, {"n": 0})
        swap = slow.repository.dag.swap_head

        def after_the_other(branch: str, expected: str | None, new: str) -> None:
            slow.repository.dag.swap_head = swap  # type: ignore[method-assign]
            fast.edit("bob", DOMAIN, {"n": 1})
            fast.commit("Fast")
            slow.edit("ada", DOMAIN, {"n": 2})
            swap(branch, expected, new)

        slow.repository.dag.swap_head = after_the_other  # type: ignore[method-assign]
        assert slow.commit("Slow").op_count == 2
    assert [message_text(commit["message"]) for commit in history(root)] == ["Fast", "Slow"]
    assert ops_in_history(root) == Counter(range(3))


def test_a_branch_that_moves_at_every_attempt_is_given_up(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})

        def never(branch: str, expected: str | None, new: str) -> None:
            raise ConflictError(f"{branch}: {expected} {new}")

        session.repository.dag.swap_head = never  # type: ignore[method-assign]
        with contextlib.suppress(AttributeError), pytest.MonkeyPatch.context() as patch:
            patch.setattr("muse.session.live._COMMIT_ATTEMPTS", 3)
            with pytest.raises(ConflictError, match="moved at each of 3 attempts"):
                session.commit("Never")
    assert history(root) == []


@pytest.fixture
def overtaken(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LiveSession, LiveSession]]:
    """Two sessions: when the first has moved the branch, the second commits before the first goes on."""
    with LiveSession(root, "jam") as first, LiveSession(root, "other") as second:
        swap = first.repository.dag.swap_head

        def swap_and_be_overtaken(branch: str, expected: str | None, new: str) -> None:
            swap(branch, expected, new)
            monkeypatch.undo()
            second.edit("bob", "music", note_op(1))
            second.commit("Second")

        monkeypatch.setattr(first.repository.dag, "swap_head", swap_and_be_overtaken)
        yield first, second


def test_a_committer_overtaken_after_its_commit_sees_no_hand_edit_in_the_others_files(
    root: Path, overtaken: tuple[LiveSession, LiveSession]
) -> None:
    first, _ = overtaken
    first.edit("ada", "music", note_op(0))
    assert first.commit("First").kept == ()
    assert [message_text(commit["message"]) for commit in history(root)] == ["First", "Second"]


# -- the working tree ----------------------------------------------------------------------------


def test_a_commit_writes_the_files_of_its_domain(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", note_op(0))
        outcome = session.commit("One note")
        assert "song.mid" in outcome.written
        assert (root / "song.mid").read_bytes().startswith(b"MThd")
        tree = session.repository.read_tree(outcome.commit_id)
        assert session.repository.objects.get(tree["song.mid"]) == (root / "song.mid").read_bytes()
        assert session.commit("Nothing").written == ()
    is_sealed_exactly(root)


def test_commits_in_any_steps_give_the_same_files(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    Repository.init(str(other), now=NOW, any_domain=True)
    for place, every in ((root, 1), (other, 5)):
        with LiveSession(place, "jam") as session:
            for number in range(5):
                session.edit("ada", "music", note_op(number))
                if number % every == every - 1:
                    session.commit("Some")
    assert (root / "song.mid").read_bytes() == (other / "song.mid").read_bytes()


def test_ops_without_effect_are_named_and_do_not_stand_in_the_way(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", {"op": "delete", "address": "none.mid"})
        session.edit("ada", "music", note_op(0))
        outcome = session.commit("Both")
        assert outcome.op_count == 2
        assert [(ignored.index, ignored.address) for ignored in outcome.ignored] == [(0, "none.mid")]


def test_a_file_changed_by_hand_is_kept_and_named_after_the_commit(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", note_op(0))
        session.commit("One")
        (root / "song.mid").write_bytes(b"by hand")
        session.edit("ada", "music", note_op(1))
        with pytest.raises(HandEditedError, match=r"song\.mid") as caught:
            session.commit("Two")
        assert caught.value.paths == ("song.mid",)
        assert caught.value.outcome.op_count == 1
        assert (root / "song.mid").read_bytes() == b"by hand"
        assert len(history(root)) == 2
        assert caught.value.outcome.commit_id == history(root)[-1]["commit_id"]
        assert session.commit("Nothing").op_count == 0
    is_sealed_exactly(root)


def test_a_checkpoint_that_is_made_again_is_there_until_the_new_one_is(root: Path) -> None:
    class Dying(Storage):
        """The process dies where it would write the checkpoint."""

        def write_atomically(self, path: str, data: bytes, **options: Any) -> None:
            if path.endswith("checkpoint.json"):
                raise KeyboardInterrupt
            super().write_atomically(path, data, **options)

    with LiveSession(root, "jam") as session:
        session.edit("ada", DOMAIN, {"n": 0})
        session.commit("First")
    with LiveSession(root, "jam", storage=Dying()) as session, pytest.raises(KeyboardInterrupt):
        session.recover()
    assert verify_repository(str(root)).findings == []
    with LiveSession(root, "jam") as session:
        assert not session.recover()


def test_recovery_writes_the_files_that_a_crash_left_out(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", note_op(0))
        session.commit("One")
        first, checkpoint = (root / "song.mid").read_bytes(), checkpoint_file(root).read_bytes()
        session.edit("ada", "music", note_op(1))
        session.commit("Two")
        second = (root / "song.mid").read_bytes()
    (root / "song.mid").write_bytes(first)
    checkpoint_file(root).write_bytes(checkpoint)
    with LiveSession(root, "jam") as session:
        assert session.recover()
    assert (root / "song.mid").read_bytes() == second


def test_a_commit_on_another_branch_leaves_the_working_tree_alone(root: Path) -> None:
    with LiveSession(root, "jam", branch="dev") as session:
        session.edit("ada", "music", note_op(0))
        assert session.commit("On dev").written == ()
    assert os.listdir(root) == [".muse"]
    assert len(history(root, "dev")) == 1
    assert history(root) == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "sub/.muse/x.mid",
        ".MUSE/x",
        "a\\b.mid",
        "/".join(["c" * 202] * 5),
        "/".join(["🎵" * 61] * 16),
    ],
)
def test_an_op_whose_path_no_tree_may_have_is_ignored_and_the_rest_is_committed(
    root: Path, path: str
) -> None:
    deep = root / ("d" * 200)
    Repository.init(str(deep), now=NOW, any_domain=True)
    with LiveSession(deep, "jam") as session:
        session.edit("ada", "music", note_op(0))
        session.edit("eve", "music", note_op(1, path))
        outcome = session.commit("Both")
        assert (outcome.op_count, len(outcome.ignored)) == (2, 1)
        assert outcome.written == (".muse_notes/song.mid.json", "song.mid")
        assert session.commit("Nothing").op_count == 0


def test_an_edit_of_a_domain_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), any_domain=False)
    with LiveSession(tmp_path, "jam") as session:
        with pytest.raises(DomainError, match="no domain 'zither' is known here, but 'code' and 'music'"):
            session.edit("ada", "zither", {})
        assert session.log.read_all() == []
        session.log.record("ada", "zither", {})  # by a program that asks nobody
        outcome = session.commit("All")
    assert [(one.op_id != "", "'zither'" in one.reason) for one in outcome.ignored] == [(True, True)]
    with LiveSession(tmp_path, "jam", any_domain=True) as session:
        session.edit("ada", "zither", {})


def test_a_commit_takes_its_time_and_its_executable_files_from_its_caller(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        CodeReplica(session, session.log, "ada").create("run.sh", "#!/bin/sh\n")
        session.commit("First", at="2020-01-02T03:04:05+01:00", executable=["run.sh", "none.sh"])
        [record] = history(root)
        assert record["committed_at"] == "2020-01-02T03:04:05+01:00"
        assert executable_paths(record) == {"run.sh"}
        CodeReplica(session, session.log, "ada").insert("run.sh", 10, "true\n")
        session.commit("Second")
        assert executable_paths(history(root)[-1]) == {"run.sh"}
        assert (root / "run.sh").stat().st_mode & 0o111 == 0o111
        session.edit("ada", DOMAIN, {"n": 0})
        with pytest.raises(UsageError, match="ISO 8601"):
            session.commit("Third", at="yesterday")
        session.commit("Third", executable=[])
        assert executable_paths(history(root)[-1]) == frozenset()
        assert (root / "run.sh").stat().st_mode & 0o111 == 0
