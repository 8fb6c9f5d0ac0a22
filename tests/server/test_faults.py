"""What a client is told of damage: which command finds it, or what the file says; no path of the machine."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.samples.server_process import ServerProcess, draft, running_server

STRICT = {"session_id": "jam", "policy": {"reservations": "propose"}}


def damage_record(root: Path) -> None:
    [path] = (root / ".muse" / "coordination" / "reservations").iterdir()
    path.write_bytes(b"{")


def damage_policy(root: Path) -> None:
    (root / ".muse" / "op_log" / "jam" / "policy.json").write_bytes(b"{}")


def damage_proposals(root: Path) -> None:
    (root / ".muse" / "op_log" / "jam" / "proposals.jsonl").write_bytes(b"rubbish\n")


def damage_head(root: Path) -> None:
    (root / ".muse" / "HEAD").write_bytes(b"rubbish")


def message_after(server: ServerProcess, damage: Callable[[Path], None]) -> str:
    with server.client() as client:
        assert client.post("/v1/sessions", json=STRICT).status_code == 201
        claim = {"actor_id": "ada", "addresses": ["a"]}
        assert client.post("/v1/coordination/reservations", json=claim).status_code == 201
        server.kill()
        damage(server.root)
        server.start()
    with server.client() as client:
        answer = client.post("/v1/sessions/jam/ops", json=[draft("bob", "b")])
    assert answer.status_code == 500
    assert str(server.root) not in answer.text
    message: str = answer.json()["error"]["message"]
    return message


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_record, "'muse coord list' on the server's machine names the record"),
        (damage_policy, "jam/policy.json is not a policy: .*'muse session policy jam .*' writes a new one"),
        (damage_proposals, "jam/proposals.jsonl is damaged in line 1: an op that was set aside may be lost"),
        (damage_head, "'muse verify' on the server's machine says where"),
    ],
)
def test_a_client_is_told_what_finds_the_damage(damage: Callable[[Path], None], told: str) -> None:
    with running_server() as server:
        assert re.search(told, message_after(server, damage))
