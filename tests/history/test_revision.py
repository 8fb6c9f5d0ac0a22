"""Names of commits: where they begin, and the steps from there."""

from pathlib import Path

import pytest

from muse.core.content_id import object_id
from muse.errors import NotFoundError, UsageError
from muse.history.dag import CommitDag, make_commit_record
from muse.history.repository import Repository
from muse.history.revision import one_beginning_with, resolve

REPO_ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def dag(tmp_path: Path) -> CommitDag:
    return Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00")[0].dag


def commit(dag: CommitDag, name: str, *parents: str) -> str:
    now = "2026-01-02T03:04:05+00:00"
    snapshot_id = dag.write_snapshot({"a.txt": object_id(name.encode())}, now)
    first, second = (*parents, None, None)[:2]
    record = make_commit_record(
        repo_id=REPO_ID,
        branch="main",
        snapshot_id=snapshot_id,
        message=name,
        committed_at=now,
        parent_commit_id=first,
        parent2_commit_id=second,
        author="ada",
        structured_delta=None,
    )
    return dag.write_commit(record)


@pytest.fixture
def named(dag: CommitDag) -> dict[str, str]:
    """A merge on main of two lines with one root: root, left, right, merge."""
    ids = {"root": commit(dag, "root")}
    ids["left"] = commit(dag, "left", ids["root"])
    ids["right"] = commit(dag, "right", ids["root"])
    ids["merge"] = commit(dag, "merge", ids["left"], ids["right"])
    dag.swap_head("main", None, ids["merge"])
    dag.swap_head("take/2", None, ids["right"])
    return ids


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("HEAD", "merge"),
        ("HEAD^0", "merge"),
        ("HEAD~0", "merge"),
        ("HEAD~", "left"),
        ("HEAD~1", "left"),
        ("HEAD^", "left"),
        ("HEAD^1", "left"),
        ("HEAD^2", "right"),
        ("main~2", "root"),
        ("HEAD^^", "root"),
        ("HEAD^2~1", "root"),
        ("take/2", "right"),
        ("take/2^", "root"),
    ],
)
def test_steps_go_back_from_a_name(dag: CommitDag, named: dict[str, str], text: str, name: str) -> None:
    assert resolve(dag, text) == dag.resolve(text) == named[name]


def test_steps_go_back_from_an_id_and_from_its_beginning(dag: CommitDag, named: dict[str, str]) -> None:
    assert dag.resolve(named["merge"] + "^2") == named["right"]
    assert dag.resolve(named["merge"][:12] + "~2") == named["root"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("HEAD~3", "2 steps back, has no parent: it is the first"),
        ("HEAD~4000", "has no parent"),
        ("HEAD^3", "has 2 parents"),
        ("take/2^2", "has 1 parent"),
        ("HEAD~x", "steps such as"),
        ("HEAD~1foo", "steps such as"),
        ("~1", "names no commit or branch"),
        ("nobody~1", "names no commit or branch"),
        ("abc~1", "names no commit or branch"),
    ],
)
def test_a_step_to_nowhere_says_where_it_ended(
    dag: CommitDag, named: dict[str, str], text: str, reason: str
) -> None:
    assert named
    with pytest.raises(NotFoundError, match=reason):
        dag.resolve(text)


def test_a_beginning_of_several_names_lists_them() -> None:
    ids = [f"feed{number:02}{'0' * 20}" for number in range(12)]
    assert one_beginning_with("feed03", ids, "ops") == ids[3]
    assert one_beginning_with("beef", ids, "ops") is None
    with pytest.raises(UsageError, match=r"'feed' names 12 ops: feed000.*, feed090.* and 2 more"):
        one_beginning_with("feed", ids, "ops")


def test_a_branch_is_made_once_and_deleted_where_it_is(dag: CommitDag, named: dict[str, str]) -> None:
    dag.create_branch("side", named["left"])
    with pytest.raises(UsageError, match="exists already"):
        dag.create_branch("side", named["root"])
    with pytest.raises(UsageError, match="HEAD names"):
        dag.delete_branch("main", named["merge"])
    with pytest.raises(NotFoundError, match="no branch 'nobody'"):
        dag.delete_branch("nobody", None)
    dag.delete_branch("side", named["left"])
    assert dag.branches() == {"main": named["merge"], "take/2": named["right"]}


def test_a_deleted_branch_leaves_room_for_one_of_its_directory(dag: CommitDag, named: dict[str, str]) -> None:
    dag.create_branch("take/old/1", named["left"])
    dag.delete_branch("take/old/1", named["left"])
    dag.create_branch("take/old", named["left"])
    dag.delete_branch("take/old", named["left"])
    assert dag.head("take/2") == named["right"]
