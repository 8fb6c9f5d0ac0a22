"""An op that names an object which is not here waits for it, and each commit can be made again after that."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from muse.checks.replay import replay_commits
from muse.checks.verify import verify_repository
from muse.core.content_id import object_id
from muse.disk import layout
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.blame import blame_file
from tests.samples.any_ops import SCORE
from tests.samples.replicas import make_replica, pull_from
from tests.samples.sealed_session import NOW

LARGE = "line\n" * 200_000


def make(root: Path) -> Path:
    Repository.init(str(root), now=NOW, domain="code")
    with LiveSession(root, "jam") as live:
        live.edit("ada", "code", insert("small.txt", text="small\n"))
        live.edit("ada", "code", insert("b.bin", text=None, base64="/wD/"))
        live.commit("Begun")
    return root


def insert(path: str, **fields: Any) -> dict[str, Any]:
    return {"op": "insert", "address": path, "position": None, **fields}


def commit(root: Path, message: str) -> tuple[list[str], tuple[str, ...]]:
    with LiveSession(root, "jam") as live:
        outcome = live.commit(message)
    return [ignored.reason for ignored in outcome.ignored], outcome.written


def assert_sound(root: Path) -> None:
    assert verify_repository(str(root)).findings == []
    assert replay_commits(Repository.open(str(root))).findings == []


def test_replicas_agree_though_one_committed_before_the_object_came(tmp_path: Path) -> None:
    first = make(tmp_path / "first")
    second = make_replica(first, tmp_path / "second")
    with LiveSession(first, "jam") as live:
        CodeReplica(live, live.log, "ada").create("large.txt", LARGE)
    for root in (first, second):  # a shared folder brings the log, and nothing else
        if root is second:
            shutil.copy(layout.ops_file(str(first), "jam"), layout.ops_file(str(second), "jam"))
        reasons, written = commit(root, f"On {root.name}")
        assert written == (("large.txt",) if root is first else ())
        assert all("it waits for that" in reason for reason in reasons)
        assert_sound(root)
    pull_from(second, first)
    pull_from(first, second)
    for root in (first, second):
        assert (root / "large.txt").read_text() == LARGE
        assert_sound(root)
    heads = [Repository.open(str(root)).dag.head("main") for root in (first, second)]
    assert heads[0] == heads[1]


FILE_ID = "c" * 32
OPS = {
    "a raw new file": insert("late", content_id="HERE"),
    "a new file": insert("late", content_id="HERE", file_id=FILE_ID),
    "a raw new content": {"op": "replace", "address": "b.bin", "position": None, "new_content_id": "HERE"},
}


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
@pytest.mark.parametrize("content", [b"late\n", b"\xff\0late"])
def test_an_op_takes_effect_with_the_commit_after_its_object_came(
    tmp_path: Path, op: dict[str, Any], content: bytes
) -> None:
    root = make(tmp_path / "root")
    named = {key: object_id(content) if value == "HERE" else value for key, value in op.items()}
    with LiveSession(root, "jam") as live:
        live.edit("bob", "code", named)
    reasons, written = commit(root, "Without")
    assert (len(reasons), written) == (1, ())
    assert object_id(content) in reasons[0]
    reasons, written = commit_one_more(root, 1)
    assert written == ("1.txt",)
    repository = Repository.open(str(root))
    assert repository.objects.put(content) == object_id(content)
    assert_sound(root)
    path = str(named["address"])
    assert commit_one_more(root, 2)[1] == ("2.txt", path)
    assert (root / path).read_bytes() == content
    assert_sound(root)
    head = repository.dag.head("main") or ""
    if content == b"late\n" and "file_id" in named:
        assert [part.made.actor_id for part in blame_file(repository, path, head).parts] == ["bob"]


def test_an_op_that_waited_in_another_session_is_its_author_s_and_of_no_session_that_brought_it(
    tmp_path: Path,
) -> None:
    root = make(tmp_path / "root")
    content = b"late\n"
    with LiveSession(root, "jam") as live:
        op = insert("late", content_id=object_id(content), file_id=FILE_ID)
        op_id = live.edit("bob", "code", op)["op_id"]
        live.commit("Without")
    repository = Repository.open(str(root))
    repository.objects.put(content)
    with LiveSession(root, "other") as live:
        live.edit("eve", "code", insert("1.txt", text="more\n"))
        outcome = live.commit("More")
    assert outcome.written == ("1.txt", "late")
    [part] = blame_file(repository, "late", outcome.commit_id or "").parts
    made = part.made
    assert (made.actor_id, made.op_id, made.commit_id) == ("bob", op_id, outcome.commit_id)
    assert made.session_id == ""
    [own] = blame_file(repository, "1.txt", outcome.commit_id or "").parts
    assert (own.made.actor_id, own.made.session_id) == ("eve", "other")


def commit_one_more(root: Path, number: int) -> tuple[list[str], tuple[str, ...]]:
    with LiveSession(root, "jam") as live:
        live.edit("ada", "code", insert(f"{number}.txt", text="more\n"))
    return commit(root, f"More {number}")


def test_a_commit_whose_ops_do_not_wait_is_made_again_as_it_was(
    tmp_path: Path,
) -> None:
    root = make(tmp_path / "root")
    with LiveSession(root, "jam") as live:
        live.edit("bob", "music", insert("a.mid", content_id=object_id(SCORE)))
        live.edit("bob", "music", insert("b.mid", content_id=object_id(b"none")))
        assert live.commit("Without", full=True).written == ()
    assert_sound(root)
    Repository.open(str(root)).objects.put(SCORE)
    assert_sound(root)
    with LiveSession(root, "jam") as live:
        live.edit("bob", "music", insert("c.mid", content_id=object_id(SCORE)))
        assert live.commit("With").written == ("c.mid",)
    assert_sound(root)
