"""Real processes that commit one session, killed or racing: every op is in exactly one commit."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from muse.checks.replay import replay_commits
from muse.checks.verify import verify_repository
from muse.core.op_log import OpLog
from muse.disk.storage import LOCAL
from muse.history.repository import Repository
from muse.session.live import LiveSession

NOW = "2026-01-02T03:04:05+00:00"
DOMAIN = "plain"

COMMITTER = """
import sys
from muse.session import LiveSession
root, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
with LiveSession(root, "jam") as session:
    print("ready", flush=True)
    for number in range(rounds):
        session.edit(name, "plain", {"op": "insert", "address": f"{name}-{number}"})
        session.commit(f"{name} {number}")
"""


def committer(root: Path, name: str, rounds: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", COMMITTER, str(root), name, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def committed(root: Path) -> Counter[str]:
    """Count, by address, the ops in the branch's commits."""
    dag = Repository.open(str(root)).dag
    head = dag.head("main")
    found: Counter[str] = Counter()
    for commit in dag.history(head) if head else ():
        found.update(op["address"] for op in (commit["structured_delta"] or {"ops": []})["ops"])
    return found


def check(root: Path) -> None:
    """Commit what is left; then each op of the log is in one commit, and all derives anew."""
    with LiveSession(root, "jam") as session:
        session.recover()
        session.commit("The rest")
    with OpLog(root, "jam") as log:
        assert committed(root) == Counter(entry["domain_op"]["address"] for entry in log.read_all())
    assert verify_repository(str(root), LOCAL).findings == []


def kill_again_and_again(root: Path, kills: int, seed: int) -> None:
    Repository.init(str(root), now=NOW, any_domain=True)
    chance = random.Random(seed)
    for number in range(kills):
        with committer(root, f"run{number}", 1000) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        if number % 5 == 4:
            check(root)
    check(root)
    assert replay_commits(Repository.open(str(root))).findings == []


def test_a_committer_killed_at_random_leaves_every_op_in_one_commit(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "repo", 20, 1)


@pytest.mark.long
def test_a_committer_killed_hundreds_of_times_leaves_every_op_in_one_commit(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "repo", 300, 2)


def race(root: Path, rounds: int) -> None:
    Repository.init(str(root), now=NOW, any_domain=True)
    racers = [committer(root, name, rounds) for name in ("ada", "bob")]
    assert [racer.wait() for racer in racers] == [0, 0]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.close()
    check(root)
    assert committed(root) == Counter(
        f"{name}-{number}" for name in ("ada", "bob") for number in range(rounds)
    )


def test_two_committers_that_race_put_every_op_into_one_commit(tmp_path: Path) -> None:
    race(tmp_path / "repo", 40)


@pytest.mark.long
def test_two_committers_that_race_a_thousand_times_put_every_op_into_one_commit(tmp_path: Path) -> None:
    race(tmp_path / "repo", 1000)
