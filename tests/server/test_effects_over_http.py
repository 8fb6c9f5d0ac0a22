"""What an op over HTTP rests on, and what its receipt says of its effect."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from muse.client import Client
from muse.core.op_log import OpLog
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_note
from tests.samples.server_process import ServerProcess

FILE = {"op": "insert", "address": "a.txt", "position": None, "text": "one\n"}
EDIT = {"op": "insert", "address": "a.txt", "position": 4, "text": "two\n"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root: Path = tmp_path_factory.mktemp("strict")
    Repository.init(str(root), any_domain=False)  # which takes known domains only
    with ServerProcess(root) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def session_id(client: httpx.Client) -> str:
    name = f"s-{uuid.uuid4()}"
    client.post("/v1/sessions", json={"session_id": name})
    return name


def append(client: httpx.Client, session_id: str, actor: str, *ops: Any, **more: Any) -> list[dict[str, Any]]:
    drafts = [
        {"actor_id": actor, "domain": "code", "domain_op": op} if "domain_op" not in op else op for op in ops
    ]
    answer = client.post(f"/v1/sessions/{session_id}/ops", json={"ops": drafts, **more})
    assert answer.status_code == 200, answer.text
    receipts: list[dict[str, Any]] = answer.json()["receipts"]
    return receipts


def logged(server: ServerProcess, session_id: str) -> dict[str, Any]:
    with OpLog(server.root, session_id) as log:
        return {entry["op_id"]: entry for entry in log.read_all()}


def test_an_op_rests_on_the_heads_unless_it_states_its_parents(
    client: httpx.Client, session_id: str, server: ServerProcess
) -> None:
    [made] = append(client, session_id, "ada", FILE)
    first, second = append(client, session_id, "bob", EDIT, EDIT)
    stated = {"actor_id": "zoe", "domain": "code", "domain_op": FILE, "parent_op_ids": []}
    [alone] = append(client, session_id, "zoe", stated)
    [last] = append(client, session_id, "ada", EDIT)
    entries = logged(server, session_id)
    assert entries[first["op_id"]]["parent_op_ids"] == [made["op_id"]]
    assert entries[second["op_id"]]["parent_op_ids"] == [first["op_id"]]
    assert entries[alone["op_id"]]["parent_op_ids"] == []
    assert entries[last["op_id"]]["parent_op_ids"] == [second["op_id"], alone["op_id"]]


def test_an_op_rests_on_what_its_author_has_read_where_that_is_said(
    client: httpx.Client, session_id: str, server: ServerProcess
) -> None:
    made, edit = append(client, session_id, "ada", FILE, EDIT)
    append(client, session_id, "zoe", EDIT)
    seen = {"ada": made["lamport_ts"]}
    first, second = append(client, session_id, "bob", EDIT, EDIT, seen_frontier=seen)
    [third] = append(client, session_id, "bob", EDIT, seen_frontier={"ada": edit["lamport_ts"], "eve": 9})
    entries = logged(server, session_id)
    assert entries[first["op_id"]]["parent_op_ids"] == [made["op_id"]]
    assert entries[second["op_id"]]["parent_op_ids"] == [first["op_id"]]
    assert entries[third["op_id"]]["parent_op_ids"] == [edit["op_id"]]


def test_an_op_that_is_sent_again_is_the_same_op(client: httpx.Client, session_id: str) -> None:
    op = {"actor_id": "ada", "domain": "code", "domain_op": FILE, "op_id": str(uuid.uuid4())}
    assert append(client, session_id, "ada", op)[0]["status"] == "stored"
    append(client, session_id, "bob", EDIT)
    assert append(client, session_id, "ada", op)[0]["status"] == "known"
    other = {**op, "parent_op_ids": [str(uuid.uuid4())]}
    assert append(client, session_id, "ada", other)[0]["kind"] == "conflict"


def test_a_receipt_says_that_an_op_has_no_effect(client: httpx.Client, session_id: str) -> None:
    name = f"{session_id}.mid"
    patch = delete_note(name, "gone", Note(pitch=60, velocity=80, start_tick=0, duration_ticks=480))
    [lost] = append(client, session_id, "ada", {"op": "delete", "address": "no.txt", "position": None})
    assert (lost["status"], lost["kind"]) == ("stored", "ineffective")
    assert "there is no file 'no.txt'" in lost["reason"]
    ops = [{"actor_id": "ada", "domain": "music", "domain_op": patch}]
    [lost] = append(client, session_id, "ada", *ops)
    assert (lost["status"], lost["kind"]) == ("stored", "ineffective"), lost
    made, edit = append(client, session_id, "ada", FILE, EDIT)
    assert (made["kind"], edit["kind"]) == ("", "")
    done = client.post(f"/v1/sessions/{session_id}/commit", json={"message": "All"}).json()
    assert lost["op_id"] in {one["op_id"] for one in done["ignored"]}
    [again] = append(client, session_id, "bob", FILE)
    assert (again["kind"], "already there" in again["reason"]) == ("ineffective", True)
    [edit] = append(client, session_id, "bob", {**EDIT, "position": 0})
    assert edit["kind"] == ""


def test_a_domain_that_nobody_knows_is_refused(client: httpx.Client, session_id: str) -> None:
    op = {"actor_id": "ada", "domain": "zither", "domain_op": {}}
    [receipt] = append(client, session_id, "ada", op)
    assert (receipt["status"], receipt["kind"]) == ("refused", "invalid")
    assert "no domain 'zither' is known here, but 'code' and 'music'" in receipt["reason"]


@pytest.mark.parametrize("cached", [False, True])
def test_the_client_says_what_the_receipt_says(
    server: ServerProcess, tmp_path: Path, *, cached: bool
) -> None:
    with (
        Client(server.url) as ada_client,
        Client(server.url) as bob_client,
    ):
        name = f"by-client-{cached}"
        ada_client.create_session(name)
        cache = str(tmp_path) if cached else None
        with (
            ada_client.session(name, "ada") as ada,
            bob_client.session(name, "bob", cache=cache) as bob,
        ):
            made = ada.record("code", {**FILE, "address": f"{name}.txt"})
            follower = bob.follow()
            assert next(iter(follower))["op_id"] == made.op_id
            follower.close()
            seen = {"ada": made.lamport_ts or 0}
            while cached and bob.log is not None and not bob.log.find([made.op_id]):
                bob.flush()
            edit = bob.record("code", {**EDIT, "address": f"{name}.txt"}, seen_frontier=seen)
            stated = bob.record("code", {**EDIT, "address": f"{name}.txt"}, parent_op_ids=[])
            assert (edit.status, edit.kind) == ("stored", "")
            refused = bob.record("zither", {})
            assert (refused.status, "no domain 'zither'" in refused.reason) == ("refused", True)
    entries = logged(server, name)
    assert entries[edit.op_id]["parent_op_ids"] == [made.op_id]
    assert entries[stated.op_id]["parent_op_ids"] == []
    assert json.dumps(sorted(entries)) == json.dumps(sorted([made.op_id, edit.op_id, stated.op_id]))
