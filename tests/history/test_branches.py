"""Branches and the names of commits: a branch moves once, and only from where it was expected."""

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from muse.errors import ConflictError, CorruptionError, NotFoundError, StorageError, UsageError
from muse.history.dag import CommitDag, make_commit_record

NOW = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def dag(tmp_path: Path) -> CommitDag:
    (tmp_path / ".muse" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".muse" / "HEAD").write_text("ref: refs/heads/main\n")
    return CommitDag(str(tmp_path))


def commit(dag: CommitDag, message: str) -> str:
    record = make_commit_record(
        repo_id="0b1f7a52-6f5e-4f0a-9c3d-3f1f8f3f2b11",
        branch="main",
        snapshot_id=dag.write_snapshot({}, NOW),
        message=message,
        committed_at=NOW,
        parent_commit_id=None,
        author="nina",
        structured_delta=None,
    )
    return dag.write_commit(record)


def test_a_branch_moves_from_what_was_expected_and_from_nothing_else(tmp_path: Path, dag: CommitDag) -> None:
    first, second = commit(dag, "first"), commit(dag, "second")
    dag.swap_head("main", None, first)
    with pytest.raises(ConflictError, match="moved"):
        dag.swap_head("main", None, second)
    with pytest.raises(ConflictError):
        dag.swap_head("main", second, second)
    assert dag.head("main") == first
    dag.swap_head("main", first, second)
    dag.swap_head("main", second, second)
    assert (tmp_path / ".muse" / "refs" / "heads" / "main").read_text() == second


def test_a_branch_never_points_at_a_commit_that_is_not_stored(dag: CommitDag) -> None:
    with pytest.raises(NotFoundError, match="write it before"):
        dag.swap_head("main", None, "0" * 64)


def test_a_branch_and_a_directory_of_branches_exclude_each_other(dag: CommitDag) -> None:
    first = commit(dag, "first")
    dag.swap_head("take/1", None, first)
    assert dag.head("take") is None
    with pytest.raises(UsageError, match="branches below"):
        dag.swap_head("take", None, first)
    with pytest.raises(UsageError, match="'take/1' is a branch"):
        dag.swap_head("take/1/b", None, first)
    assert dag.branches() == {"take/1": first}


def test_branches_leaves_out_what_a_crash_left(tmp_path: Path, dag: CommitDag) -> None:
    dag.swap_head("main", None, first := commit(dag, "first"))
    (tmp_path / ".muse" / "refs" / "heads" / ".main.tmp-1-1").write_text("half")
    (tmp_path / ".muse" / "refs" / "heads" / "empty").write_text("")
    assert dag.branches() == {"empty": None, "main": first}


@pytest.mark.parametrize("text", [b"not an id", b"\xff" * 64, b"A" * 64, b"0" * 63])
def test_garbage_in_a_ref_is_corruption_and_the_branch_does_not_move(
    tmp_path: Path, dag: CommitDag, text: bytes
) -> None:
    first = commit(dag, "first")
    (tmp_path / ".muse" / "refs" / "heads" / "main").write_bytes(text)
    with pytest.raises(CorruptionError):
        dag.head("main")
    with pytest.raises(CorruptionError):
        dag.swap_head("main", None, first)
    assert (tmp_path / ".muse" / "refs" / "heads" / "main").read_bytes() == text


def test_a_ref_that_is_a_link_is_refused(tmp_path: Path, dag: CommitDag) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / ".muse" / "refs" / "heads" / "main")
    with pytest.raises(StorageError, match="symbolic link"):
        dag.head("main")


def test_head_names_the_current_branch_in_the_old_form_too(tmp_path: Path, dag: CommitDag) -> None:
    assert dag.current_branch() == "main"
    (tmp_path / ".muse" / "HEAD").write_text("refs/heads/take/2\n")
    assert dag.current_branch() == "take/2"


@pytest.mark.parametrize(
    "text", [b"", b"main", b"ref: refs/heads/", b"ref: refs/heads/../../x", b"\xff", None]
)
def test_a_head_that_names_no_branch_is_corruption(
    tmp_path: Path, dag: CommitDag, text: bytes | None
) -> None:
    path = tmp_path / ".muse" / "HEAD"
    path.unlink()
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(CorruptionError) as caught:
        dag.current_branch()
    assert caught.value.path == str(path)


def test_a_commit_is_named_by_head_by_id_by_branch_and_by_prefix(dag: CommitDag) -> None:
    first, second = commit(dag, "first"), commit(dag, "second")
    dag.swap_head("main", None, first)
    dag.swap_head("take/2", None, second)
    assert dag.resolve("HEAD") == dag.resolve(first) == dag.resolve("main") == dag.resolve(first[:8]) == first
    assert dag.resolve("take/2") == dag.resolve(second[:63]) == second
    dag.swap_head(second[:6], None, first)
    assert dag.resolve(second[:6]) == first  # a branch comes before a prefix


@pytest.mark.parametrize(
    "text", ["", "abc", "nobody", "../../etc/passwd", "f" * 64, "ffff", "*", "take", "\0"]
)
def test_a_name_of_nothing_is_not_found(dag: CommitDag, text: str) -> None:
    dag.swap_head("take/2", None, commit(dag, "first"))
    with pytest.raises(NotFoundError, match=r"names no commit or branch|not in this repository"):
        dag.resolve(text)


def test_a_branch_without_commits_says_so(dag: CommitDag) -> None:
    with pytest.raises(NotFoundError, match="no commit yet"):
        dag.resolve("HEAD")


def test_a_prefix_of_several_commits_lists_them(tmp_path: Path, dag: CommitDag) -> None:
    commits = tmp_path / ".muse" / "commits"
    commits.mkdir()
    for digit in "0123456789ab":
        (commits / f"feed{digit * 60}.json").write_text("{}")
    (commits / ".feed.tmp-1-1").write_text("")
    with pytest.raises(UsageError, match=r"12 commits: feed000.* and 2 more; give more digits") as caught:
        dag.resolve("feed")
    assert not isinstance(caught.value, NotFoundError)
    assert dag.resolve("feed0") == "feed" + "0" * 60


def _race(root: str, commit_ids: list[str], barrier: Barrier, queue: Any) -> None:
    dag = CommitDag(root)
    wins = []
    for number, commit_id in enumerate(commit_ids):
        barrier.wait(timeout=60)
        try:
            dag.swap_head(f"round-{number}", None, commit_id)
        except ConflictError:
            continue
        wins.append(number)
    queue.put((commit_ids, wins))


def test_of_two_processes_that_move_a_branch_at_once_exactly_one_wins(tmp_path: Path, dag: CommitDag) -> None:
    rounds = 200
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    sides = [[commit(dag, side)] * rounds for side in ("left", "right")]
    processes = [context.Process(target=_race, args=(str(tmp_path), side, barrier, queue)) for side in sides]
    for process in processes:
        process.start()
    results = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert sorted(results[0][1] + results[1][1]) == list(range(rounds))
    for commit_ids, wins in results:
        assert all(dag.head(f"round-{number}") == commit_ids[number] for number in wins)


@pytest.mark.parametrize("name", ["HEAD", "head"])
def test_no_new_branch_has_the_name_of_head(dag: CommitDag, name: str) -> None:
    first = commit(dag, "first")
    with pytest.raises(UsageError, match="choose another name"):
        dag.create_branch(name, first)
