"""Logs that come together as files do, through a shared folder or git, their lines in whatever order."""

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from muse.core.op_log import OpLog, make_op_entry
from muse.errors import ConflictError, CorruptionError
from muse.session.live import LiveSession
from tests.samples.replicas import (
    DOMAIN,
    commit,
    log_of,
    make_origin,
    make_replica,
    sync,
    write,
)

Two = tuple[Path, Path]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    first = make_origin(tmp_path / "first")
    write(first, "jam", *range(5))
    commit(first)
    second = make_replica(first, tmp_path / "second")
    for root, actor in ((first, "ada"), (second, "bob")):
        with OpLog(root, "jam") as log:
            last = log.read_all()[-1]["op_id"]
            for number in range(10):
                last = log.record(actor, DOMAIN, {"n": number}, parent_op_ids=[last])["op_id"]
    return first, second


def ops_file(root: Path) -> Path:
    return root / ".muse/op_log/jam/ops.jsonl"


def pending(root: Path) -> list[Any]:
    with LiveSession(root, "jam") as session:
        return session.log.replay_since_checkpoint()


@pytest.mark.parametrize("seed", range(5))
def test_lines_appended_in_any_order_and_many_times_are_the_same_ops_in_the_same_order(
    two: Two, seed: int
) -> None:
    chance = random.Random(seed)
    lines = [ops_file(root).read_bytes().splitlines(keepends=True) for root in two]
    for root, others in zip(two, reversed(lines), strict=True):
        mixed = others + chance.sample(others, 8)
        chance.shuffle(mixed)
        with ops_file(root).open("ab") as file:
            file.writelines(mixed)
    assert log_of(two[0]) == log_of(two[1])
    assert len(log_of(two[0])) == 25
    assert pending(two[0]) == pending(two[1])
    assert len(pending(two[0])) == 20
    assert sync(*two)["jam"].sent == sync(*two)["jam"].received == 0


def test_both_replicas_go_on_above_what_the_folder_brought(two: Two) -> None:
    with ops_file(two[0]).open("ab") as file:
        file.write(ops_file(two[1]).read_bytes())
    highest = max(entry["lamport_ts"] for entry in log_of(two[0]))
    write(two[0], "jam", 99)
    assert log_of(two[0])[-1]["lamport_ts"] > highest
    assert log_of(two[0])[-1]["domain_op"] == {"n": 99}


def test_each_op_is_in_one_commit_though_its_line_comes_again_behind_the_cut(two: Two) -> None:
    before = ops_file(two[0]).read_bytes()
    commit(two[0])
    with ops_file(two[0]).open("ab") as file:
        file.write(before)
    assert pending(two[0]) == []
    with ops_file(two[0]).open("ab") as file:
        file.write(ops_file(two[1]).read_bytes())
    assert len(pending(two[0])) == 10


def test_an_op_that_the_folder_brings_with_another_body_is_named(two: Two) -> None:
    entry = make_op_entry("eve", DOMAIN, {"n": 1}, 50)
    for root, number in zip(two, (1, 2), strict=True):
        with OpLog(root, "jam") as log:
            log.append({**entry, "domain_op": {"n": number}})  # type: ignore[typeddict-item]
    with ops_file(two[0]).open("ab") as file:
        file.write(ops_file(two[1]).read_bytes())
    with pytest.raises(ConflictError, match=entry["op_id"]):
        log_of(two[0])


# -- git ------------------------------------------------------------------------------------------


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, timeout=60)


NEEDS_GIT = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def carry_by_git(first: Path, second: Path) -> None:
    """Put both replicas' logs under git, which is to unite them line by line."""
    git(first, "init", "-q", "-b", "main")
    (first / ".gitattributes").write_text(".muse/op_log/*/ops.jsonl merge=union\n")
    names = (".gitattributes", ".muse/op_log/jam/ops.jsonl")
    git(first, "add", "-f", *names)
    git(first, "commit", "-qm", "First")
    git(second, "init", "-q", "-b", "main")
    git(second, "fetch", "-q", str(first), "main")
    git(second, "reset", "-q", "--mixed", "FETCH_HEAD")
    git(second, "checkout", "-q", "--", ".gitattributes")
    git(second, "add", "-f", *names)
    git(second, "commit", "-qm", "Second")


def git_pull(root: Path, other: Path) -> None:
    git(root, "pull", "-q", "--no-rebase", "--no-edit", str(other), "main")


@NEEDS_GIT
@pytest.mark.parametrize("rounds", [1, 3])
def test_logs_that_git_carries_and_unites_line_by_line_come_to_one_order(two: Two, rounds: int) -> None:
    first, second = two
    carry_by_git(first, second)
    for number in range(rounds):
        for root, other in ((first, second), (second, first)):
            write(root, "jam", 100 + number, actor=root.name)
            git(root, "commit", "-qam", f"Round {number}")
            git_pull(root, other)
    git_pull(first, second)
    assert log_of(first) == log_of(second)
    assert [entry["actor_id"] for entry in log_of(first)].count("first") == rounds
    assert [entry["actor_id"] for entry in log_of(first)].count("second") == rounds
    assert pending(first) == pending(second)
    assert sync(first, second)["jam"].sent == 0


@NEEDS_GIT
def test_lines_that_git_puts_before_those_in_a_commit_are_noticed_and_recover_finds_what_is_pending(
    two: Two,
) -> None:
    first, second = two
    carry_by_git(first, second)
    theirs = {entry["op_id"] for entry in log_of(second)} - {entry["op_id"] for entry in log_of(first)}
    commit(first)
    assert pending(first) == []
    write(first, "jam", 99)
    write(second, "jam", 98, actor="bob")
    for root in two:
        git(root, "commit", "-qam", "More")
    git_pull(second, first)  # puts its own lines first
    git_pull(first, second)
    assert ops_file(first).read_bytes() == ops_file(second).read_bytes()
    wanted = theirs | {
        entry["op_id"] for entry in log_of(first) if entry["domain_op"] in ({"n": 98}, {"n": 99})
    }
    with pytest.raises(CorruptionError, match="muse session recover jam"):
        pending(first)
    with LiveSession(first, "jam") as session:
        assert session.recover()
    assert {entry["op_id"] for entry in pending(first)} == wanted
