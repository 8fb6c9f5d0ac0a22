"""Every JSON value in every field that a client may send, over a real server: an answer, never a fault."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from muse.core.content_id import object_id
from muse.core.line import entry_json, frame
from muse.core.op_log import make_op_entry
from tests.samples.foreign_muse import record_id, tree_id
from tests.samples.server_process import ServerProcess, running_server

VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 2**63, "", "x", "../x", "\0", "0" * 64),
    *([], ["x"], [["x"]], [{}], {}, {"x": ["y"]}),
)
"""One of each JSON type, and those that are at an edge."""

CONTENT = b"one\ntwo\n"
DIGEST = object_id(CONTENT)
FILE_OPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("code", {"op": "insert", "address": "a.py", "content_id": DIGEST, "file_id": "f" * 32}),
    ("code", {"op": "insert", "address": "b.py", "text": "one\n", "encoding": "utf-8"}),
    ("code", {"op": "insert", "address": "a.py", "position": 0, "text": "x", "base": DIGEST, "update": "AA"}),
    ("code", {"op": "delete", "address": "a.py", "content_id": DIGEST, "seen": "AA"}),
    ("code", {"op": "replace", "address": "a.py", "new_content_id": DIGEST, "undoes": [str(uuid.uuid4())]}),
    ("code", {"op": "move", "address": "a.py", "to_address": "c.py", "base": DIGEST, "lifts": ["x"]}),
    (
        "code",
        {
            "op": "patch",
            "address": "c.py",
            "from_address": "a.py",
            "child_domain": "code_text",
            "child_ops": [{"op": "delete", "address": "a.py", "position": 0, "length": 1}],
        },
    ),
    ("music", {"op": "insert", "address": "a.mid", "content_id": DIGEST, "content": "AA==", "names": "{}"}),
    ("music", {"op": "delete", "address": "a.mid", "expected": {"content_id": DIGEST}}),
    ("music", {"op": "replace", "address": "a.mid", "new_content_id": DIGEST}),
    (
        "music",
        {
            "op": "patch",
            "address": "a.mid",
            "child_domain": "midi_notes",
            "from_address": "b.mid",
            "child_ops": [
                {
                    "op": "insert",
                    "address": "note/1",
                    "note": {"pitch": 1, "velocity": 1, "start_tick": 0, "duration_ticks": 1, "channel": 0},
                    "track": 0,
                    "expected": {"pitch": {"new": 1}},
                },
                {"op": "mutate", "address": "note/1", "fields": {"pitch": {"new": 1}}},
                {"op": "move", "address": "note/1", "to_position": 1},
            ],
        },
    ),
)


def bent(value: Any) -> Iterator[Any]:
    """Yield a JSON value with each place in it taken by every one of `VALUES`."""
    yield from VALUES
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, held in inner:
        for other in bent(held):
            changed = value.copy()
            changed[place] = other
            yield changed


def below(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects among `bent(value)`, each once."""
    found = {json.dumps(one): one for one in bent(value) if isinstance(one, dict)}
    return list(found.values())


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    big = 10**9
    quotas = dict.fromkeys(
        ("ops_per_second", "bytes_per_second", "claims_per_second", "requests_per_second"), big
    )
    with running_server(**quotas) as server:
        for rule in ("advisory", "propose"):
            policy = {"reservations": rule, "stale_reads": rule.replace("advisory", "report")}
            asked = {"session_id": rule, "policy": policy}
            with server.client() as client:
                assert client.post("/v1/sessions", json=asked).status_code == 201
        yield server


@pytest.fixture(autouse=True)
def _has_no_fault(server: ServerProcess) -> Iterator[None]:
    before = len(server.log)
    yield
    faults = [line["traceback"][-600:] for line in server.log[before:] if line.get("event") == "fault"]
    assert not faults, faults[0]
    assert server.is_running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    """Yield a client that may do all."""
    with server.client(server.token("adm", "admin")) as client:
        yield client


def sync(client: httpx.Client, call: str, asked: Any, data: bytes = b"") -> int:
    return client.post(f"/v1/sync/{call}", content=json.dumps(asked).encode() + b"\n" + data).status_code


def batches(domain: str, op: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Yield drafts of all ops that differ from `op` in one place."""
    ops = [{"actor_id": "ada", "domain": domain, "domain_op": one} for one in below(op)]
    yield from (ops[start : start + 100] for start in range(0, len(ops), 100))


@pytest.mark.parametrize("session_id", ["advisory", "propose"])
@pytest.mark.parametrize("number", range(len(FILE_OPS)))
def test_any_value_in_an_op(server: ServerProcess, number: int, session_id: str) -> None:
    with server.client(server.token("ada")) as client:
        for batch in batches(*FILE_OPS[number]):
            sent = {"ops": batch, "seen_frontier": {"bob": 1}}
            answer = client.post(f"/v1/sessions/{session_id}/ops", json=sent)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["receipts"]) == len(batch)


@pytest.mark.parametrize("number", range(len(FILE_OPS)))
def test_any_value_in_an_op_that_a_replica_offers(server: ServerProcess, number: int) -> None:
    with server.client(server.token("ada")) as client:
        for batch in batches(*FILE_OPS[number]):
            entries = [make_op_entry(**draft, lamport_ts=1) for draft in batch]
            lines = b"".join(frame(entry_json(entry)) for entry in entries)
            assert sync(client, "offer", {"session_id": "offered"}, lines) == 200


def test_a_commit_of_all_of_them(client: httpx.Client) -> None:
    for session_id in ("advisory", "propose", "offered"):
        for batch in batches(*FILE_OPS[0]):
            client.post(f"/v1/sessions/{session_id}/ops", json=batch)
        answer = client.post(f"/v1/sessions/{session_id}/commit", json={"message": "All"})
        assert answer.status_code == 200, answer.text
        for read in ("", "/delta?domain=code", "/delta?domain=music", "/proposals", "/ops?order=causal"):
            assert client.get(f"/v1/sessions/{session_id}{read}").status_code < 500


def put(client: httpx.Client, kind: str, document: Any) -> tuple[str, int]:
    """Put a snapshot or a commit under the id of its content, if it has one; return that, and the status."""
    digest = "0" * 64
    if isinstance(document, dict):
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            digest = tree_id(document["manifest"]) if kind == "snapshot" else record_id(document)
        if document.get(f"{kind}_id") == "":
            document = {**document, f"{kind}_id": digest}
    data = json.dumps(document).encode()
    if kind == "commit":
        assert sync(client, "cover", {"digest": digest, "commit_bytes": len(data)}, data) < 500, document
    return digest, sync(client, "put", {"kind": kind, "digest": digest}, data)


SNAPSHOT = {"snapshot_id": "", "manifest": {"a.py": DIGEST}, "created_at": "2026-01-01T00:00:00+00:00"}
COMMIT = {
    "commit_id": "",
    "repo_id": "x",
    "branch": "main",
    "snapshot_id": tree_id({"a.py": DIGEST}),
    "message": "One",
    "committed_at": "2026-01-01T00:00:00+00:00",
    "parent_commit_id": None,
    "parent2_commit_id": None,
    "author": "ada",
    "metadata": {"state:code": DIGEST, "executable": '["a.py"]'},
    "structured_delta": {"domain": "code", "ops": [{"op": "insert", "address": "a.py"}], "summary": "1"},
    "sem_ver_bump": "none",
    "breaking_changes": ["x"],
    "agent_id": "",
    "model_id": "",
    "toolchain_id": "",
    "prompt_hash": "",
    "signature": "",
    "signer_key_id": "",
    "format_version": 5,
    "reviewed_by": ["x"],
    "test_runs": 0,
}


def test_any_value_in_a_snapshot(client: httpx.Client) -> None:
    assert sync(client, "put", {"kind": "object", "digest": DIGEST}, CONTENT) == 200
    for snapshot in bent(SNAPSHOT):
        assert put(client, "snapshot", snapshot)[1] < 500, snapshot


def test_any_value_in_a_commit(client: httpx.Client) -> None:
    assert sync(client, "put", {"kind": "object", "digest": DIGEST}, CONTENT) == 200
    assert put(client, "snapshot", SNAPSHOT)[1] == 200
    taken = 0
    for commit in bent(COMMIT):
        digest, status = put(client, "commit", commit)
        assert status < 500, commit
        if status == 200:
            taken += 1
            assert sync(client, "advance", {"branch": f"b{taken}", "expected": "", "new": digest}) < 500, (
                commit
            )
            for path in (f"log?branch=b{taken}", f"commits/{digest}"):
                assert client.get(f"/v1/{path}").status_code < 500, commit
    assert taken


SYNC_MESSAGES: dict[str, dict[str, Any]] = {
    "identity": {},
    "sessions": {},
    "reconcile": {"session_id": "advisory"},
    "entries": {"session_id": "advisory", "op_ids": [str(uuid.uuid4())]},
    "offer": {"session_id": "advisory", "check": False},
    "branches": {},
    "lacks": {"kind": "commit", "ids": [DIGEST]},
    "get": {"kind": "commit", "digest": DIGEST},
    "put": {"kind": "object", "digest": DIGEST},
    "cover": {"digest": DIGEST, "commit_bytes": 0},
    "advance": {"branch": "other", "expected": DIGEST, "new": DIGEST},
}


@pytest.mark.parametrize("call", SYNC_MESSAGES)
def test_any_value_in_a_message_between_replicas(client: httpx.Client, call: str) -> None:
    for asked in bent(SYNC_MESSAGES[call]):
        for data in (b"", b"x", b"{}\n"):
            assert sync(client, call, asked, data) < 500, (asked, data)


BODIES: dict[str, dict[str, Any]] = {
    "sessions": {"session_id": "new", "policy": {"reservations": "refuse", "schema_version": 1}},
    "sessions/advisory/ops": {
        "ops": [
            {
                "domain": "code",
                "domain_op": {"op": "x"},
                "op_id": str(uuid.uuid4()),
                "actor_id": "ada",
                "lamport_ts": 1,
                "parent_op_ids": ["x"],
                "created_at": "2026-01-01T00:00:00.000+00:00",
                "intent_id": "",
                "reservation_id": "",
            }
        ],
        "seen_frontier": {"bob": 1},
        "run_id": "r",
    },
    "sessions/advisory/commit": {"message": "x", "author": "ada", "branch": "main", "full": True},
    "sessions/propose/proposals/x/accept": {"actor_id": "ada", "reason": "x"},
    "coordination/reservations": {
        "addresses": ["a.py"],
        "actor_id": "ada",
        "branch": "main",
        "run_id": "r",
        "ttl_seconds": 1.0,
        "operation": "x",
        "reservation_id": str(uuid.uuid4()),
    },
    "coordination/reservations/x/renew": {"actor_id": "ada", "ttl_seconds": 1},
    "coordination/reservations/x/release": {"actor_id": "ada", "force": True},
    "coordination/intents": {
        "addresses": ["a.py"],
        "actor_id": "ada",
        "branch": "main",
        "run_id": "r",
        "operation": "x",
        "detail": "x",
        "reservation_id": "",
        "intent_id": str(uuid.uuid4()),
    },
    "coordination/forecast": {"addresses": ["a.py"], "party": "ada", "branch": "main"},
}


@pytest.mark.parametrize("path", BODIES)
def test_any_value_in_a_body(client: httpx.Client, path: str) -> None:
    for body in bent(BODIES[path]):
        assert client.post(f"/v1/{path}", json=body).status_code < 500, body


def test_any_value_in_a_message_of_a_websocket(server: ServerProcess) -> None:
    append = {"type": "append", "id": 1, **BODIES["sessions/advisory/ops"]}
    for message in (append, {"type": "presence", "id": 1, "where": {"x": 1}}):
        for one in bent(message):
            url = f"{server.websocket_url}/v1/sessions/advisory/live"
            with connect(
                url, additional_headers={"authorization": f"Bearer {server.token('ada')}"}
            ) as socket:
                socket.send(json.dumps(one))
                socket.ping().wait(30)
