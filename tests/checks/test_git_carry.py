"""A repository that git carries: no byte of it is changed on the way, and older damage is named."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.disk.git_carry import ATTRIBUTES
from muse.errors import MuseError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from tests.samples.replicas import DOMAIN, commit, log_of, make_origin, write

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(root: Path, *arguments: str, check: bool = True) -> int:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=root, env=environment, check=check, capture_output=True).returncode


def lay_down(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "-qm", "More")


@pytest.fixture
def carried(tmp_path: Path) -> Path:
    """A repository with a text of several lines, all of it in git, which is asked for other line ends."""
    root = make_origin(tmp_path / "carried")
    with LiveSession(root, "words") as session:
        op = {"op": "insert", "address": "a.txt", "position": None, "text": "one\ntwo\n"}
        session.edit("ada", "code", op)
        session.commit("A text")
    write(root, "jam", 1, 2)
    commit(root)
    git(root, "init", "-q", "-b", "main")
    (root / ".gitattributes").write_text("* text=auto eol=crlf\n*.json text ident\n")
    lay_down(root)
    return root


def messages(root: Path) -> str:
    return "\n".join(finding.message for finding in verify_repository(str(root)).findings)


def test_no_setting_of_git_changes_a_byte_of_what_it_carries(carried: Path, tmp_path: Path) -> None:
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "-q", carried.name, "clone")
    assert messages(tmp_path / "clone") == ""


def test_git_joins_logs_by_lines_and_leaves_all_else_whole(carried: Path, tmp_path: Path) -> None:
    clones = tmp_path / "x", tmp_path / "y"
    for number, root in enumerate(clones):
        git(tmp_path, "clone", "-q", carried.name, str(root))
        write(root, "jam", 10 + number, actor=root.name)
        commit(root)
        lay_down(root)
    assert git(clones[0], "pull", "-q", "--no-rebase", "--no-edit", "../y", "main", check=False) != 0
    lay_down(clones[0])  # the branch is that of this side: git asks a person about it
    assert messages(clones[0]) == ""
    assert sorted(entry["domain_op"]["n"] for entry in log_of(clones[0])) == [1, 2, 10, 11]
    with LiveSession(clones[0], "jam") as session:
        assert [entry["actor_id"] for entry in session.log.replay_since_checkpoint()] == ["y"]
        session.commit("Both")
    assert messages(clones[0]) == ""


def test_a_repository_of_an_earlier_version_tells_git_once_it_is_written(carried: Path) -> None:
    attributes = carried / ".muse" / ".gitattributes"
    attributes.unlink()
    assert messages(carried) == ""
    write(carried, "jam", 3)
    assert not attributes.exists()
    commit(carried)
    assert attributes.read_bytes() == ATTRIBUTES
    attributes.unlink()
    Repository.init(str(carried))
    assert attributes.read_bytes() == ATTRIBUTES


def test_what_git_damaged_before_it_was_told_is_explained(tmp_path: Path) -> None:
    root = make_origin(tmp_path / "old")
    write(root, "jam", 1)
    commit(root)
    (root / ".muse" / ".gitattributes").unlink()
    for path in (root / ".muse").rglob("*.json"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = verify_repository(str(root)).findings
    assert {finding.kind for finding in found if "core.autocrlf" in finding.message} >= {"commit", "repo"}
    assert [each for each in found if "core.autocrlf" not in each.message and each.kind != "session"] == []


def test_the_marks_of_a_merge_are_named_and_a_repair_takes_them_out_of_a_log(tmp_path: Path) -> None:
    root = make_origin(tmp_path / "old")
    write(root, "jam", 1, 2)
    log = root / ".muse/op_log/jam/ops.jsonl"
    one, two = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"<<<<<<< HEAD\n" + one + b"=======\n" + two + b">>>>>>> 1234567 (a branch)\n")
    assert messages(root).count("a mark that git left in a merge") == 3
    branch = root / ".muse/refs/heads/main"
    branch.write_bytes(b"<<<<<<< HEAD\n" + b"1" * 64 + b"\n=======\n" + b"2" * 64 + b"\n>>>>>>> x\n")
    with pytest.raises(MuseError, match="git checkout --ours"):
        Repository.open(str(root)).dag.head("main")
    branch.write_bytes(b"")
    with LiveSession(root, "jam") as session:
        session.log.repair()
        assert [entry["domain"] for entry in session.log.read_all()] == [DOMAIN, DOMAIN]
