"""The command line and a server: replicas over HTTP, and a demo whose agents work through it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from muse.cli.shared import servers
from muse.client import UnauthorizedError
from muse.core.entry import DEFAULT_LIMITS
from muse.core.op_log import OpLog, make_op_entry
from muse.replication.local_peer import LocalPeer
from tests.samples.muse_command import Muse, make_muse, run_muse
from tests.samples.project import ROOT
from tests.samples.replicas import commit, log_of, write
from tests.samples.server_process import ServerProcess
from tests.samples.waiting import wait_until


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Muse:
    return make_muse(monkeypatch, capsys, tmp_path)


def head_of(root: Path) -> str | None:
    with LocalPeer(str(root)) as peer:
        return peer.branches()["main"]


def test_a_replica_of_a_served_repository_is_cloned_synchronised_pulled_and_pushed(
    muse: Muse, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    with ServerProcess(tmp_path / "served") as server:
        write(server.root, "jam", 1, 2)
        commit(server.root)
        cloned = muse("clone", server.url, "copy")
        assert (cloned.status, cloned.err) == (0, "")
        assert f"A replica of {server.url} is in {copy}" in cloned.out
        assert head_of(copy) == head_of(server.root)

        write(copy, "jam", 3, actor="bob")
        write(server.root, "jam", 4)
        synced = muse("session", "sync", server.url, "--repo", "copy", "--json")
        assert synced.status == 0
        assert (synced.records[0]["sent"], synced.records[0]["received"]) == (1, 1)
        assert log_of(copy) == log_of(server.root)

        commit(copy)
        assert muse("push", server.url, "--repo", "copy").status == 0
        assert head_of(copy) == head_of(server.root)
        write(server.root, "jam", 5)
        commit(server.root)
        assert (
            muse("pull", server.url, "--repo", "copy", "--json").record["branches"][0]["result"]
            == "fast-forward"
        )
        assert head_of(copy) == head_of(server.root)
        assert log_of(copy) == log_of(server.root)


def test_who_may_append_pushes_ops_and_moves_no_branch(
    muse: Muse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ServerProcess(tmp_path / "served") as server:
        write(server.root, "jam", 1)
        commit(server.root)
        assert muse("clone", server.url, "copy").status == 0
        monkeypatch.setenv(servers.TOKEN_VARIABLE, server.token("bob", "append"))
        write(tmp_path / "copy", "jam", 2, actor="bob")
        pushed = muse("push", server.url, "--repo", "copy")
        assert (pushed.status, pushed.err) == (0, "")
        assert log_of(server.root) == log_of(tmp_path / "copy")
        commit(tmp_path / "copy")
        before = head_of(server.root)
        assert "commit" in muse("push", server.url, "--repo", "copy").complaint
        assert head_of(server.root) == before


def test_ops_that_a_merge_refuses_are_pushed_with_their_commit_by_who_may_bring_all(
    muse: Muse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ServerProcess(tmp_path / "served") as server:
        write(server.root, "jam", 1)
        commit(server.root)
        assert muse("clone", server.url, "copy").status == 0
        with OpLog(tmp_path / "copy", "jam") as log:  # each stamp is near the one before
            for number in (1, 2, 3):
                op = {"op": "insert", "address": f"{number}.txt"}
                log.append(make_op_entry("bob", "test", op, number * DEFAULT_LIMITS.lamport_jump))
        commit(tmp_path / "copy")
        before = head_of(server.root)
        monkeypatch.setenv(servers.TOKEN_VARIABLE, server.token("bob", "commit"))
        refused = muse("push", server.url, "--repo", "copy")
        assert (refused.status, "needs scope 'admin'" in refused.complaint) == (1, True)
        assert head_of(server.root) == before
        monkeypatch.setenv(servers.TOKEN_VARIABLE, server.token("ann", "admin"))
        muse("push", server.url, "--repo", "copy")
        assert head_of(server.root) == head_of(tmp_path / "copy")
        assert log_of(server.root) == log_of(tmp_path / "copy")
        assert muse("verify", "--replay", "--repo", str(server.root)).status == 0


def test_a_server_that_is_not_there_or_does_not_know_one_is_said_in_a_line(
    muse: Muse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert muse("init", "mine").status == 0
    with ServerProcess(tmp_path / "served") as server:
        assert muse("clone", server.url, "copy").status == 0
        stranger = muse("pull", server.url, "--repo", "mine")
        assert stranger.status == 2
        assert "unrelated" in stranger.complaint
        token = server.token("ada", "admin")
        wait_until(lambda: muse("pull", server.url, "--repo", "copy").status == 1)  # it looks now and then
        refused = muse("pull", server.url, "--repo", "copy", "--json")
        assert refused.status == 1
        assert UnauthorizedError.__name__ in refused.err
        monkeypatch.setenv(servers.TOKEN_VARIABLE, token)
        assert muse("session", "sync", server.url, "--repo", "copy").status == 0
        reading = server.token("bob", "read")
        monkeypatch.setenv(servers.TOKEN_VARIABLE, reading)
        write(tmp_path / "copy", "jam", 1)
        assert "append" in muse("session", "sync", server.url, "--repo", "copy").complaint
    monkeypatch.setattr(servers, "PATIENCE_SECONDS", 0.1)
    gone = muse("pull", server.url, "--repo", "copy")
    assert gone.status == 1
    assert "is the server up" in gone.complaint
    assert muse("pull", "http://", "--repo", "copy").status == 2


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not here"
)
def test_a_server_with_a_certificate_of_ones_own_is_trusted_if_its_authority_is_named(
    muse: Muse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "PATIENCE_SECONDS", 0.1)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make_certificate(certificate, key)
    with ServerProcess(tmp_path / "served", certificate=str(certificate), private_key=str(key)) as server:
        assert server.url.startswith("https://")
        assert muse("clone", server.url, "copy").status == 1
        monkeypatch.setenv(servers.CA_VARIABLE, str(key))
        assert "not a file of certificates" in muse("clone", server.url, "copy").complaint
        monkeypatch.setenv(servers.CA_VARIABLE, str(certificate))
        assert muse("clone", server.url, "copy").status == 0
        write(server.root, "jam", 1)
        with servers.client(server.url) as client, client.session("jam", "ada") as session:
            assert session.record("text", {"op": "insert", "address": "a"}).status == "stored"
            with session.follow() as follower:
                assert follower.batch()


def make_certificate(certificate: Path, key: Path) -> None:
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(
        [*command, "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True, timeout=60
    )


def test_the_agents_of_the_demo_work_through_a_server(tmp_path: Path) -> None:
    ran = run_muse("--json", "demo", "--serve", "--rate", "400", cwd=tmp_path, timeout_seconds=300)
    assert ran.status == 0, ran.err
    acknowledged = [
        op_id for event in ran.records if event["event"] == "acknowledged" for op_id in event["op_ids"]
    ]
    with OpLog(tmp_path / "muse-demo", "prelude") as log:
        by_actor = {entry["op_id"]: entry["actor_id"] for entry in log.entries()}
    assert {by_actor[op_id] for op_id in acknowledged} == {*(f"agent-{n}" for n in range(1, 5)), "reviser"}
    assert len(set(acknowledged)) == len(acknowledged) == len(by_actor) - 1


def test_without_an_extra_the_way_to_it_is_said(muse: Muse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert muse("init", "mine").status == 0
    ran = muse("pull", "http://127.0.0.1:9", "--repo", "mine")
    assert ran.status == 2
    assert "pip install 'muse-oplog[client]'" in ran.complaint


def test_a_benchmark_of_a_second_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("benchmarks.machine", reason="the benchmarks are not part of this copy")
    out = tmp_path / "out.json"
    command = ["-m", "benchmarks.server.run", "--seconds", "1", "--agents", "5", "--followers", "3"]
    more = ["--rounds", "1", "--round-seconds", "0.5", "--flood-seconds", "1", "--out", str(out)]
    done = run_python(*command, *more, "--scratch", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"not acknowledged": 0' in out.read_text()


def test_the_memory_of_a_server_under_load_stays_flat(tmp_path: Path) -> None:
    pytest.importorskip("benchmarks.machine", reason="the benchmarks are not part of this copy")
    out = tmp_path / "out.json"
    command = ["-m", "benchmarks.server.run", "--only", "live", "--seconds", "8", "--agents", "30"]
    done = run_python(
        *command, "--rate", "60", "--followers", "4", "--out", str(out), "--scratch", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    memory = json.loads(out.read_text())["live"]["server"]
    assert memory["second_half_mb"] - memory["first_half_mb"] < 10


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    root = ROOT
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
