"""Refs, checkpoints and logs that went back, ran ahead or were lost: nothing is hidden or comes twice."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from muse.checks.replay import replay_commits
from muse.core.coverage import OpLogCheckpoint, decode_checkpoint, encode_checkpoint
from muse.core.op_list import decode_op_list
from muse.core.op_log import OpLog
from muse.core.timestamp import now_text
from muse.errors import CorruptionError
from muse.history.commit_record import make_commit_record
from muse.history.repository import Repository
from muse.history.seal import read_seal
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession
from muse.session.recovery import LostCommitError
from muse.views.prove import prove
from tests.samples.muse_command import Muse, make_muse

NOW = "2026-01-02T03:04:05+00:00"
TEXT = "text-domain-without-plugin"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path), now=NOW)
    return tmp_path


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path) -> Muse:
    return make_muse(monkeypatch, capsys, root)


def op(number: int) -> dict[str, Any]:
    return {"op": "insert", "n": number}


def note(pitch: int) -> Note:
    return Note(pitch=pitch, velocity=80, start_tick=0, duration_ticks=480)


def edits(session: LiveSession, *numbers: int) -> list[str]:
    return [session.edit("ada", TEXT, op(number))["op_id"] for number in numbers]


def join(repository: Repository, branch: str, other: str) -> str:
    """Make a merge commit on `branch` as another tool would: the files of `other`'s head, both as parents."""
    dag = repository.dag
    ours, theirs = dag.head(branch), dag.head(other)
    assert ours is not None
    assert theirs is not None
    record = make_commit_record(
        repo_id=repository.repo_id,
        branch=branch,
        snapshot_id=dag.read_commit(theirs)["snapshot_id"],
        message=f"Merge {other}",
        committed_at=now_text(),
        parent_commit_id=ours,
        parent2_commit_id=theirs,
        author="mia",
        structured_delta=None,
    )
    dag.swap_head(branch, ours, dag.write_commit(record))
    return record["commit_id"]


def ref(root: Path, branch: str = "main") -> Path:
    return root / ".muse" / "refs" / "heads" / branch


def checkpoint_path(root: Path, session_id: str = "jam") -> Path:
    return root / ".muse" / "op_log" / session_id / "checkpoint.json"


def log_path(root: Path, session_id: str = "jam") -> Path:
    return root / ".muse" / "op_log" / session_id / "ops.jsonl"


def pending(root: Path, session_id: str = "jam") -> list[str]:
    with LiveSession(root, session_id) as session:
        return [entry["op_id"] for entry in session.log.replay_since_checkpoint()]


def committed(root: Path, branch: str = "main", session_id: str = "jam") -> list[str]:
    """Return the op ids that the commits behind a branch cover, as often as they do."""
    repository = Repository.open(str(root))
    head = repository.dag.head(branch)
    found: list[str] = []
    for record in repository.dag.history(head) if head else ():
        seal = read_seal(record["message"])
        if seal is not None and seal.session_id == session_id:
            found += decode_op_list(repository.objects.get(seal.op_list), seal.op_list)
    return found


# -- a merge commit, and an older branch ------------------------------------------------------------


@pytest.fixture
def merged(root: Path) -> tuple[Path, str]:
    """`jam` was committed on a branch that only the second parent of main's merge commit leads to now."""
    repository = Repository.open(str(root))
    with LiveSession(root, "base") as base:
        base.edit("cy", "music", insert_note("base.mid", "n0", note(50)))
        base.commit("Base")
    head = repository.dag.head("main")
    assert head is not None
    for branch in ("aaa", "feature"):  # one sorts before main and never moves on
        repository.dag.swap_head(branch, None, head)
    with LiveSession(root, "jam", branch="feature") as jam:
        op_id = jam.edit("ada", "music", insert_note("song.mid", "n1", note(60)))["op_id"]
        jam.commit("Feature work")
    join(repository, "main", "feature")
    ref(root, "feature").unlink()
    return root, op_id


@pytest.mark.parametrize("is_lost", [False, True])
def test_ops_behind_the_second_parent_of_a_merge_are_committed_once_and_proven(
    merged: tuple[Path, str],
    is_lost: bool,  # noqa: FBT001
) -> None:
    root, op_id = merged
    if is_lost:
        checkpoint_path(root).unlink()
    with LiveSession(root, "jam") as jam:
        assert jam.commit("Again").commit_ids == ()
        other = jam.edit("ada", "music", insert_note("song.mid", "n2", note(62)))["op_id"]
        assert jam.commit("More").op_count == 1
    assert committed(root) == [other, op_id]
    assert prove(Repository.open(str(root)), op_id)["entry"]["op_id"] == op_id
    assert replay_commits(Repository.open(str(root))).findings == []


# -- a branch that was moved back -------------------------------------------------------------------


@pytest.fixture
def moved_back(root: Path) -> tuple[Path, list[str]]:
    """Main is where it was before the commit of the second of two ops."""
    with LiveSession(root, "jam") as jam:
        ops = edits(jam, 1)
        first = jam.commit("One").commit_id
        ops += edits(jam, 2)
        jam.commit("Two")
    assert first is not None
    ref(root).write_text(first)
    return root, ops


def test_a_commit_on_a_branch_that_was_moved_back_is_refused_until_recover_makes_its_ops_pending(
    moved_back: tuple[Path, list[str]],
) -> None:
    root, ops = moved_back
    with LiveSession(root, "jam") as jam:
        ops += edits(jam, 3)  # edits go on
        with pytest.raises(LostCommitError, match=r"moved back or removed.*muse session recover jam"):
            jam.commit("Three")
        assert jam.recover()
        assert [entry["op_id"] for entry in jam.log.replay_since_checkpoint()] == ops[1:]
        assert jam.commit("Three").op_count == 2
    assert sorted(committed(root)) == sorted(ops)
    assert replay_commits(Repository.open(str(root))).findings == []
    assert prove(Repository.open(str(root)), ops[1])["entry"]["op_id"] == ops[1]


def test_a_branch_that_was_put_back_needs_no_recovery(moved_back: tuple[Path, list[str]]) -> None:
    root, ops = moved_back
    first = ref(root).read_text()
    (newest,) = {path.stem for path in (root / ".muse/commits").iterdir()} - {first}
    with LiveSession(root, "jam") as jam:
        with pytest.raises(LostCommitError):
            jam.commit("Three")
        ref(root).write_text(newest)
        ops += edits(jam, 3)
        assert jam.commit("Three").op_count == 1
    assert sorted(committed(root)) == sorted(ops)


def test_another_session_hides_nothing_of_a_branch_that_was_moved_back(
    moved_back: tuple[Path, list[str]],
) -> None:
    root, _ = moved_back
    with LiveSession(root, "other") as other:
        edits(other, 9)
        other.commit("On the older head")
    (finding,) = replay_commits(Repository.open(str(root))).findings
    assert (finding.kind, "session jam" in finding.message) == ("ref", True)
    with LiveSession(root, "jam") as jam, pytest.raises(LostCommitError):
        jam.commit("Three")


def test_every_command_says_that_a_branch_was_moved_back(
    moved_back: tuple[Path, list[str]], muse: Muse
) -> None:
    root, _ = moved_back
    for command in ("verify --replay", "session check jam"):
        done = muse(*command.split())
        assert done.status == 1
        assert "a branch was moved back or removed" in done.out
    for command in ("commit jam -m Three", "session archive jam"):
        done = muse(*command.split())
        assert done.status in {1, 2}
        assert "muse session recover jam" in done.complaint
    assert log_path(root).exists()
    assert muse("session", "recover", "jam").status == 0
    for command in ("verify --replay", "session check jam", "commit jam -m Again"):
        assert muse(*command.split()).status == 0


def test_a_branch_that_was_moved_back_is_found_though_the_newest_commit_is_on_another(
    root: Path, muse: Muse
) -> None:
    dag = Repository.open(str(root)).dag
    with LiveSession(root, "jam") as jam:
        ops = edits(jam, 1)
        first = jam.commit("One").commit_id
        assert first is not None
        dag.swap_head("aside", None, first)
        ops += edits(jam, 2)
        jam.commit("Two")
    with LiveSession(root, "jam", branch="aside") as jam:
        ops += edits(jam, 3)
        jam.commit("Three")
    ref(root).write_text(first)
    done = muse("verify", "--replay")
    assert (done.status, "1 ops of session jam" in done.out, ops[1] in done.out) == (1, True, True)
    assert muse("session", "recover", "jam").status == 0
    assert pending(root) == [ops[1]]
    assert muse("verify", "--replay").status == 0


# -- a checkpoint that runs ahead -------------------------------------------------------------------


def runs_ahead(root: Path, *, is_framed_anew: bool) -> list[str]:
    """Let the checkpoint say that two pending ops are covered; return them."""
    with LiveSession(root, "jam") as jam:
        edits(jam, 1)
        jam.commit("One")
        ops = edits(jam, 2, 3)
        cut = jam.log.cut()
    path = checkpoint_path(root)
    honest = decode_checkpoint(path.read_bytes(), "jam", str(path))
    forged: OpLogCheckpoint = {
        **honest,
        "lamport_ts": cut.lamport_ts,
        "op_count": 3,
        "cut": {"offset": cut.offset, "op_count": 3, "lamport_ts": cut.lamport_ts, "op_id": ops[-1]},
        "frontier": {"ada": cut.lamport_ts},
    }
    data = encode_checkpoint(forged)
    path.write_bytes(data if is_framed_anew else data[:-12] + path.read_bytes()[-12:])
    return ops


@pytest.mark.parametrize("is_framed_anew", [False, True])
def test_a_checkpoint_that_runs_ahead_is_found_and_recovered(
    root: Path,
    muse: Muse,
    is_framed_anew: bool,  # noqa: FBT001
) -> None:
    ops = runs_ahead(root, is_framed_anew=is_framed_anew)
    for command in ("verify --replay", "session check jam"):
        done = muse(*command.split())
        assert done.status == 1
        assert str(checkpoint_path(root)) in done.out
        assert "muse session recover" in done.out
    assert muse("session", "archive", "jam").status in {1, 2}
    assert log_path(root).exists()
    recovered = muse("session", "recover", "jam")
    assert (recovered.status, "rebuilt" in recovered.out) == (0, True)
    assert pending(root) == ops
    assert muse("session", "check", "jam").status == 0
    assert muse("verify", "--replay").status == 0


# -- an older copy of a log -------------------------------------------------------------------------


@pytest.fixture
def old_copy(root: Path) -> tuple[Path, bytes, list[str]]:
    """The log is the copy from before the second commit, grown by other ops; its bytes before that."""
    log = log_path(root)
    with LiveSession(root, "jam") as jam:
        edits(jam, 1)
        jam.commit("One")
        old = log.read_bytes()
        edits(jam, 2, 3, 4)
        jam.commit("Two")
    whole = log.read_bytes()
    elsewhere = root / "elsewhere"
    log_path(elsewhere).parent.mkdir(parents=True)
    log_path(elsewhere).write_bytes(old)
    with OpLog(elsewhere, "jam") as other:  # a writer that knows of no checkpoint
        others = [other.record("bob", TEXT, op(number))["op_id"] for number in (5, 6, 7)]
    assert log_path(elsewhere).stat().st_size >= len(whole)
    shutil.move(log_path(elsewhere), log)
    shutil.rmtree(elsewhere)
    return root, whole, others


def test_an_older_copy_that_grew_past_the_cut_hides_nothing_and_is_refused(
    old_copy: tuple[Path, bytes, list[str]], muse: Muse
) -> None:
    root, _, others = old_copy
    with pytest.raises(CorruptionError, match="not the log that history was made from"):
        pending(root)
    for command in (
        "commit jam -m Three",
        "session recover jam",
        "session archive jam",
    ):
        for _ in range(2):
            done = muse(*command.split())
            assert done.status == 1, command
            assert "put the whole log back" in done.complaint or "muse session recover" in done.complaint
    for command in ("verify", "verify --replay", "session check jam"):
        done = muse(*command.split())
        assert done.status == 1, command
        assert str(log_path(root)) in done.out or str(checkpoint_path(root)) in done.out
    with OpLog(root, "jam") as log:
        assert {entry["op_id"] for entry in log.read_all()} >= set(others)


def test_once_the_whole_log_is_back_all_goes_on(old_copy: tuple[Path, bytes, list[str]], muse: Muse) -> None:
    root, whole, _ = old_copy
    grown = log_path(root).read_bytes()
    assert muse("session", "recover", "jam").status == 1
    log_path(root).write_bytes(whole)
    with LiveSession(root, "jam") as jam:
        before = len(committed(root))
        lines = [json.loads(line) for line in grown.splitlines()[1:]]
        entries = [{key: value for key, value in line.items() if key != "crc"} for line in lines]
        assert jam.log.merge(entries).added == 3  # type: ignore[arg-type]
        assert jam.commit("Theirs too").op_count == 3
    assert len(committed(root)) == len(set(committed(root))) == before + 3
    assert replay_commits(Repository.open(str(root))).findings == []


# -- one op in two commits --------------------------------------------------------------------------


@pytest.fixture
def twice(root: Path) -> tuple[Path, str]:
    """One op is in a commit of main and in one of the branch `there`, which a clone made."""
    with LiveSession(root, "jam") as jam:
        (op_id,) = edits(jam, 1)
    clone = root.parent / f"{root.name}-clone"
    shutil.copytree(root, clone)
    for place, message in ((root, "Here"), (clone, "There")):
        with LiveSession(place, "jam") as jam:
            jam.commit(message)
    for name in ("commits", "snapshots", "objects"):
        shutil.copytree(clone / ".muse" / name, root / ".muse" / name, dirs_exist_ok=True)
    shutil.copy(ref(clone), ref(root, "there"))
    return root, op_id


def test_one_op_on_two_lines_is_no_finding_though_a_merge_joins_them(twice: tuple[Path, str]) -> None:
    root, op_id = twice
    repository = Repository.open(str(root))
    assert replay_commits(repository).findings == []
    join(repository, "main", "there")
    assert replay_commits(repository).findings == []
    assert committed(root) == [op_id, op_id]
    with LiveSession(root, "jam") as jam:
        assert jam.commit("Nothing").commit_ids == ()


def test_one_op_twice_in_one_line_is_found(root: Path) -> None:
    with LiveSession(root, "jam") as jam:
        (op_id,) = edits(jam, 1)
        jam.commit("One")
        checkpoint = checkpoint_path(root).read_bytes()
        jam.log.checkpoints.discard()
        ops = jam.log.replay_since_checkpoint()
        head = jam.repository.dag.head("main")
        staged = jam._writer.stage(ops, jam.log.cut(), head, "One again", "eve", full=False)
        jam.repository.dag.swap_head("main", head, staged.commit_ids[-1])
        checkpoint_path(root).write_bytes(checkpoint)
    assert committed(root) == [op_id, op_id]
    findings = replay_commits(Repository.open(str(root))).findings
    assert any("its ancestor" in one.message and "covers already" in one.message for one in findings)
