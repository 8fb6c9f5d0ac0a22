"""The server by HTTP: sessions, ops, history; what is retried, and what goes wrong in one op of many."""

import json
import resource
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from muse.core.entry import total_order
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession
from tests.samples.server_process import ServerProcess, answer_on, draft, raw_connection, running_server
from tests.samples.waiting import wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def session_id(client: httpx.Client) -> str:
    name = f"s-{uuid.uuid4()}"
    assert client.post("/v1/sessions", json={"session_id": name}).status_code == 201
    return name


def append(
    client: httpx.Client, session_id: str, ops: list[dict[str, Any]], **params: str
) -> list[dict[str, Any]]:
    answer = client.post(f"/v1/sessions/{session_id}/ops", json=ops, params=params)
    assert answer.status_code == 200, answer.text
    receipts: list[dict[str, Any]] = answer.json()["receipts"]
    return receipts


def read(client: httpx.Client, session_id: str, **params: str | int) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/sessions/{session_id}/ops", params=params)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_session_is_made_once_listed_and_shown(client: httpx.Client, session_id: str) -> None:
    again = client.post("/v1/sessions", json={"session_id": session_id})
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert session_id in client.get("/v1/sessions").json()["sessions"]
    shown = client.get(f"/v1/sessions/{session_id}").json()
    assert (shown["entries"], shown["cursor"], shown["policy"]["reservations"]) == (0, "0", "advisory")


def test_a_session_keeps_the_policy_it_was_made_with(client: httpx.Client) -> None:
    body = {"session_id": "strict", "policy": {"reservations": "refuse"}}
    client.post("/v1/sessions", json=body)
    client.post("/v1/sessions", json={"session_id": "strict", "policy": {"reservations": "off"}})
    assert client.get("/v1/sessions/strict").json()["policy"]["reservations"] == "refuse"


@pytest.mark.parametrize("ack", ["written", "durable"])
def test_a_receipt_tells_the_stamp_and_the_place_of_each_op(
    client: httpx.Client, session_id: str, server: ServerProcess, ack: str
) -> None:
    first, second = append(client, session_id, [draft("ada"), draft("ada")], ack=ack)
    assert [first["status"], second["status"], first["lamport_ts"], second["lamport_ts"]] == [
        "stored",
        "stored",
        1,
        2,
    ]
    with OpLog(server.root, session_id) as log:
        entries = list(log.entries())
        (rest,) = log.entries(since=second["position"])
    assert [entry["op_id"] for entry in entries] == [first["op_id"], second["op_id"]]
    assert rest["op_id"] == second["op_id"]


def test_json_lines_arrays_and_objects_are_the_same(client: httpx.Client, session_id: str) -> None:
    path = f"/v1/sessions/{session_id}/ops"
    lines = "\n".join(json.dumps(draft("ada")) for _ in range(3)).encode()
    answers = [
        client.post(path, content=lines, headers={"content-type": "application/x-ndjson; charset=utf-8"}),
        client.post(path, json=[draft("ada")] * 3),
        client.post(path, json={"ops": [draft("ada")] * 3, "seen_frontier": {"ada": 1}}),
    ]
    assert [len(answer.json()["receipts"]) for answer in answers] == [3, 3, 3]
    assert client.post(path, content=lines, headers={"content-type": "text/plain"}).status_code == 415


def test_the_same_ops_again_are_known_and_never_stored_twice(client: httpx.Client, session_id: str) -> None:
    ops = [draft("ada", op_id=str(uuid.uuid4())) for _ in range(3)]
    first = append(client, session_id, ops)
    again = append(client, session_id, [*ops, draft("ada", op_id=str(uuid.uuid4()))])
    assert [receipt["status"] for receipt in again] == ["known", "known", "known", "stored"]
    assert [receipt["lamport_ts"] for receipt in again[:3]] == [receipt["lamport_ts"] for receipt in first]
    assert len(read(client, session_id)) == 4


def test_an_op_at_fault_is_refused_alone(client: httpx.Client, session_id: str) -> None:
    op_id = str(uuid.uuid4())
    append(client, session_id, [draft("ada", op_id=op_id)])
    receipts = append(
        client,
        session_id,
        [
            draft("ada"),
            draft("ada", "another.txt", op_id=op_id),
            draft("ada", op_id="no-uuid"),
            draft("ada", parent_op_ids=["no-uuid"]),
            draft("ada"),
        ],
    )
    assert [receipt["status"] for receipt in receipts] == [
        "stored",
        "refused",
        "refused",
        "refused",
        "stored",
    ]
    assert [receipt["kind"] for receipt in receipts] == ["", "conflict", "invalid", "invalid", ""]
    assert all(receipt["reason"] for receipt in receipts if receipt["status"] == "refused")
    assert len(read(client, session_id)) == 3


def test_ops_are_read_from_a_cursor_filtered_sorted_and_counted(
    client: httpx.Client, session_id: str, server: ServerProcess
) -> None:
    with OpLog(server.root, session_id) as log:  # by another process
        for number in range(1200):
            log.record(
                f"actor-{number % 3}",
                "text" if number % 2 else "music",
                draft(address=f"f{number}")["domain_op"],
            )
    everything = read(client, session_id)
    assert [entry["lamport_ts"] for entry in everything] == list(range(1, 1201))
    middle = everything[599]["cursor"]
    bare = [{key: entry[key] for key in entry if key != "cursor"} for entry in everything]
    assert read(client, session_id, since=middle) == everything[600:]
    assert read(client, session_id, until=middle) == everything[:600]
    assert read(client, session_id, since=middle, limit=7) == everything[600:607]
    assert read(client, session_id, order="total") == bare
    assert read(client, session_id, order="causal", limit=3) == bare[:3]
    some = read(client, session_id, actor="actor-1", domain="text", address="f1")
    assert some == [
        entry
        for entry in everything
        if (entry["actor_id"], entry["domain"]) == ("actor-1", "text")
        and entry["domain_op"]["address"].startswith("f1")
    ]


def test_the_total_order_of_a_log_longer_than_what_is_held_is_whole(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, sorted_bytes=20_000) as server, server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
        stamps = [*range(1, 901, 3), *range(2, 901, 3), *range(900, 1, -3)]
        entries = [make_op_entry("ada", "text", draft()["domain_op"], stamp) for stamp in stamps]
        with OpLog(server.root, "jam") as log:
            log.append_many(entries)
        assert read(client, "jam", order="total") == sorted(entries, key=total_order)
        assert [entry["lamport_ts"] for entry in read(client, "jam", order="total", limit=3)] == [1, 2, 3]
        assert client.get("/v1/sessions/jam/ops", params={"order": "causal"}).status_code == 413


def test_what_is_pending_is_collapsed_committed_and_found_in_history(
    client: httpx.Client, session_id: str
) -> None:
    content = {
        "op": "insert",
        "address": "hello.txt",
        "position": None,
        "content_id": "",
        "content_summary": "",
    }
    append(client, session_id, [{"actor_id": "ada", "domain": "unknown-domain", "domain_op": content}])
    delta = client.get(f"/v1/sessions/{session_id}/delta", params={"domain": "unknown-domain"}).json()
    assert [op["address"] for op in delta["ops"]] == ["hello.txt"]
    assert client.get(f"/v1/sessions/{session_id}/checkpoint").json() == {"checkpoint": None}
    made = client.post(f"/v1/sessions/{session_id}/commit", json={"message": "First", "author": "ada"})
    assert made.status_code == 200, made.text
    (commit_id,) = made.json()["commit_ids"]
    again = client.post(f"/v1/sessions/{session_id}/commit", json={"message": "Again"}).json()
    assert again["commit_ids"] == []
    newest = client.get("/v1/log", params={"limit": 1}).json()["commits"][0]
    assert (newest["commit_id"], newest["author"], newest["op_count"]) == (commit_id, "ada", 1)
    assert client.get(f"/v1/commits/{commit_id}").json()["message"].startswith("First")
    assert client.get(f"/v1/sessions/{session_id}/checkpoint").json()["checkpoint"]["commit_id"] == commit_id
    assert client.get("/v1/commits/" + "0" * 64).status_code == 404
    assert client.get("/v1/log", params={"branch": "nope"}).status_code == 404


def test_a_file_is_shown_as_it_was_at_a_commit(client: httpx.Client, server: ServerProcess) -> None:
    with LiveSession(server.root, "notes") as session:
        note = Note(pitch=60, velocity=80, start_tick=0, duration_ticks=480)
        session.edit("ada", "music", insert_note("songs/a.mid", "n-1", note))
        commit_id = session.commit("A note").commit_id
    answer = client.get(f"/v1/commits/{commit_id}/files/songs/a.mid")
    assert answer.content == (server.root / "songs" / "a.mid").read_bytes()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"/v1/commits/{commit_id}/files/songs/b.mid").status_code == 404
    assert client.get(f"/v1/commits/{commit_id}/files/../../.muse/repo.json").status_code == 404


def test_a_claimed_address_is_reported_or_refused_and_the_holder_accepts(client: httpx.Client) -> None:
    client.post("/v1/sessions", json={"session_id": "guarded", "policy": {"reservations": "propose"}})
    claim = {"actor_id": "ada", "addresses": ["held.txt"]}
    made = client.post("/v1/coordination/reservations", json=claim)
    assert made.status_code == 201, made.text
    held = client.post("/v1/coordination/reservations", json={**claim, "actor_id": "bob"})
    assert (held.status_code, held.json()["error"]["kind"]) == (409, "Conflict")
    (receipt,) = append(client, "guarded", [draft("bob", "held.txt")])
    assert (receipt["status"], receipt["kind"]) == ("proposed", "held")
    (proposal,) = client.get("/v1/sessions/guarded/proposals").json()["proposals"]
    path = f"/v1/sessions/guarded/proposals/{receipt['op_id']}"
    assert client.post(f"{path}/accept", json={"actor_id": "bob"}).status_code == 409
    accepted = client.post(f"{path}/accept", json={"actor_id": "ada"}).json()["receipt"]
    assert (accepted["op_id"], accepted["status"]) == (proposal["proposal_id"], "stored")
    assert client.get("/v1/sessions/guarded/proposals").json()["proposals"] == []
    assert [entry["op_id"] for entry in read(client, "guarded")] == [receipt["op_id"]]
    reservation = made.json()["reservation"]["reservation_id"]
    assert client.post(
        f"/v1/coordination/reservations/{reservation}/renew", json={"actor_id": "ada", "ttl_seconds": 60}
    ).is_success
    released = client.post(f"/v1/coordination/reservations/{reservation}/release", json={"actor_id": "ada"})
    assert released.json() == {"released": True}
    assert client.get("/v1/coordination/reservations").json() == {"reservations": []}


def test_intents_are_kept_and_collisions_forecast(client: httpx.Client) -> None:
    for actor in ("ada", "bob"):
        body = {"actor_id": actor, "addresses": ["shared.txt"], "operation": "rewrite"}
        assert client.post("/v1/coordination/intents", json=body).status_code == 201
    assert len(client.get("/v1/coordination/intents").json()["intents"]) == 2
    collisions = client.post("/v1/coordination/forecast", json={}).json()["collisions"]
    assert [collision["address"] for collision in collisions] == ["shared.txt"]


def test_a_frontier_in_the_header_names_what_was_not_read(client: httpx.Client, session_id: str) -> None:
    append(client, session_id, [draft("ada", "a.txt")])
    path = f"/v1/sessions/{session_id}/ops"
    stale = client.post(path, json=[draft("bob", "a.txt")], headers={"muse-seen-frontier": "{}"}).json()
    fresh = client.post(
        path, json=[draft("cay", "a.txt")], headers={"muse-seen-frontier": '{"ada":1,"bob":9}'}
    ).json()
    assert [overlap["actor_id"] for overlap in stale["receipts"][0]["overlaps"]] == ["ada"]
    assert fresh["receipts"][0]["overlaps"] == []
    assert client.post(path, json=[], headers={"muse-seen-frontier": '{"ada":"x"}'}).status_code == 422


def test_health_readiness_and_metrics(client: httpx.Client, session_id: str) -> None:
    append(client, session_id, [draft("ada")], ack="durable")
    assert client.get("/v1/health").json() == {"status": "ok"}
    assert client.get("/v1/ready").json() == {"status": "ready"}
    client.get("/v1/sessions/nope")
    text = client.get("/metrics").text
    for line in (
        'muse_ops_total{status="stored"}',
        'muse_ack_seconds_bucket{ack="durable",le="+Inf"}',
        "muse_sync_seconds_count",
        'muse_followers{kind="websocket"}',
        "muse_follower_lag_bytes",
        "muse_queue_overflows_total",
        'muse_refused_total{reason="NotFound"}',
        'muse_requests_total{method="POST",status="200"}',
    ):
        assert line in text


def test_a_full_disk_is_507_and_nothing_is_acknowledged(tmp_path_factory: pytest.TempPathFactory) -> None:
    with ServerProcess(tmp_path_factory.mktemp("full")) as server, server.client() as client:
        client.post("/v1/sessions", json={"session_id": "jam"})
        append(client, "jam", [draft("ada")])
        path = server.root / ".muse" / "op_log" / "jam" / "ops.jsonl"
        limit = path.stat().st_size + 100
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        answer = client.post(
            "/v1/sessions/jam/ops", json=[draft("ada", op_id="6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f")]
        )
        assert (answer.status_code, answer.json()["error"]["kind"]) == (507, "DiskFull")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        again = append(client, "jam", [draft("ada", op_id="6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f")])
        assert [receipt["status"] for receipt in again] == ["stored"]
        assert len(read(client, "jam")) == 2


def test_a_request_that_a_stop_cuts_off_is_told_to_come_again(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, drain_seconds=0.1) as server, raw_connection(server) as connection:
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b"{")
        with server.client() as client:
            assert client.get("/v1/sessions").status_code == 200  # what was sent before is begun
        assert server.stop() == 0
        status, document = answer_on(connection)
        assert (status, document["error"]["message"]) == (503, "the server is stopping: come again")
        assert not [line for line in server.log if "traceback" in line]


def test_a_commit_that_does_not_end_keeps_no_server_from_ending(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, drain_seconds=0.1) as server:
        with server.client(server.token("ann", "commit")) as ann:
            assert ann.post("/v1/sessions", json={"session_id": "jam"}).status_code == 201
            assert ann.post("/v1/sessions/jam/ops", json=[draft("ann")]).status_code == 200
        held = LOCAL.locked(layout.session_commit_lock_file(str(tmp_path), "jam"))
        address = "/v1/sessions/jam/commit"
        with held, ThreadPoolExecutor() as threads:

            def commit() -> int:
                with server.client(server.token("bob", "commit")) as bob:
                    return bob.post(address, json={"message": "x"}).status_code

            asked = threads.submit(commit)
            wait_until(lambda: f" -> FLOCK  ADVISORY  WRITE {server.pid} " in Path("/proc/locks").read_text())
            assert server.stop() == 1
            with suppress(httpx.HTTPError):
                assert asked.result() == 503
        assert "is cut off" in server.log_path.read_text()
