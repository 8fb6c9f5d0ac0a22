"""Who may do what: tokens, their scopes, sessions and ends; where the server listens, and TLS."""

import ipaddress
import json
import ssl
import subprocess
import sys
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from muse.core.line import entry_json, frame
from muse.core.op_log import OpEntry, make_op_entry
from muse.core.timestamp import now_text
from muse.errors import NotFoundError, UsageError
from muse.history.repository import Repository
from muse.replication.wire import pack
from muse.server.edge.access import Tokens
from muse.server.faults import RequestError
from tests.samples.muse_command import run_muse
from tests.samples.server_process import ServerProcess, draft, raw_connection, running_server
from tests.samples.waiting import wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as server:
        owner = server.token("owner", "admin")
        with server.client(owner) as client:
            for name in ("jam-1", "jam-2", "other"):
                assert client.post("/v1/sessions", json={"session_id": name}).status_code == 201
        yield server


def status(server: ServerProcess, token: str | None, method: str, path: str, body: object = None) -> int:
    with server.client(token) as client:
        return client.request(method, path, json=body).status_code


def test_without_a_token_or_with_a_wrong_one_nothing_is_said(server: ServerProcess) -> None:
    good = server.token("ada")
    wrong = [
        None,
        "x",
        "muse__",
        good[:-1],
        good + "x",
        good.replace("muse_", "muse-"),
        "muse_" + "0" * 12 + "_x",
    ]
    for token in wrong:
        assert status(server, token, "GET", "/v1/sessions") == 401
        assert status(server, token, "POST", "/v1/sessions/jam-1/ops", [draft("ada")]) == 401
        assert status(server, token, "GET", "/metrics") == 401
    with server.client() as client:
        answer = client.get("/v1/sessions", headers={"authorization": f"Basic {good}"})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/v1/health").status_code == client.get("/v1/openapi.json").status_code == 200


def test_each_scope_may_do_what_those_before_it_may(server: ServerProcess) -> None:
    asked = {
        "read": ("GET", "/v1/sessions/jam-1/ops", None),
        "append": ("POST", "/v1/sessions/jam-1/ops", [draft()]),
        "commit": ("POST", "/v1/sessions/jam-2/commit", {"message": "x"}),
    }
    allowed = Counter(
        (scope, wanted)
        for scope in ("read", "append", "commit", "admin")
        for wanted, (method, path, body) in asked.items()
        if status(server, server.token("ada", scope), method, path, body) == 200
    )
    assert set(allowed) == {
        ("read", "read"),
        ("append", "read"),
        ("append", "append"),
        *((scope, wanted) for scope in ("commit", "admin") for wanted in asked),
    }


def test_a_token_is_for_its_sessions_only(server: ServerProcess) -> None:
    token = server.token("ada", "commit", session="jam-*")
    assert status(server, token, "POST", "/v1/sessions/jam-1/ops", [draft()]) == 200
    assert status(server, token, "POST", "/v1/sessions/other/ops", [draft()]) == 403
    assert status(server, token, "GET", "/v1/sessions/other/ops") == 403
    assert status(server, token, "POST", "/v1/sessions", {"session_id": "else"}) == 403
    assert status(server, token, "GET", "/v1/log") == 403
    assert status(server, token, "POST", "/v1/sync/sessions") == 403
    assert status(server, token, "POST", "/v1/coordination/intents", {"addresses": ["a"]}) == 403
    assert status(server, token, "POST", "/v1/coordination/forecast", {}) == 403
    with server.client(token) as client:
        assert client.get("/v1/sessions").json() == {"sessions": ["jam-1", "jam-2"]}
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(
            f"{server.websocket_url}/v1/sessions/other/live",
            additional_headers={"authorization": f"Bearer {token}"},
        ),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_a_token_speaks_as_its_own_actor_only(server: ServerProcess) -> None:
    token = server.token("ada", "admin")
    path = "/v1/sessions/jam-1/ops"
    assert status(server, token, "POST", path, [draft("bob")]) == 403
    assert status(server, token, "POST", path, [draft("ada"), draft("bob")]) == 422
    assert (
        status(server, token, "POST", "/v1/sessions/jam-1/commit", {"message": "x", "author": "bob"}) == 403
    )
    claim = {"addresses": ["a"], "actor_id": "bob"}
    assert status(server, token, "POST", "/v1/coordination/reservations", claim) == 403
    with server.client(token) as client:
        (receipt,) = client.post(path, json=[draft()]).json()["receipts"]
        (entry,) = [
            json.loads(line)
            for line in client.get(path).text.splitlines()
            if json.loads(line)["op_id"] == receipt["op_id"]
        ]
    assert entry["actor_id"] == "ada"


def test_a_replica_brings_no_stamp_far_ahead_unless_it_may_bring_all() -> None:
    with running_server() as server:

        def offer(scope: str, *stamps: int) -> int:
            entries = (make_op_entry("eve", "text", {}, stamp) for stamp in stamps)
            lines = b"".join(frame(entry_json(entry)) for entry in entries)
            with server.client(server.token("eve", scope)) as client:
                body = pack({"session_id": "jam"}, lines)
                return client.post("/v1/sync/offer", content=body).status_code

        assert offer("commit", 1 << 32) == 422
        assert offer("append", *range(1, 1_001)) == 200
        assert offer("append", 101_001) == 200
        assert offer("append", 101_002, 201_004) == 422
        assert offer("admin", 1 << 32) == 200


def test_only_an_admin_brings_the_ops_of_others(server: ServerProcess) -> None:
    others = frame(entry_json(make_op_entry("bob", "text", {"op": "insert", "address": "a"}, 1)))
    body = pack({"session_id": "brought"}, others)
    for scope, wanted in (("commit", 403), ("admin", 200)):
        with server.client(server.token("ada", scope)) as client:
            assert client.post("/v1/sync/offer", content=body).status_code == wanted
    with server.client(server.token("ada", "admin")) as client:
        assert client.post("/v1/sync/offer", content=body[:-9]).status_code == 422
        assert client.post("/v1/sync/nonsense").status_code == 404


def test_a_synchronisation_is_no_way_past_the_quota(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, ops_per_second=10, ops_burst=20) as server:

        def offer(scope: str, *stamps: int) -> httpx.Response:
            entries = [
                make_op_entry("ada", "text", {"op": "insert", "address": "a"}, stamp) for stamp in stamps
            ]
            body = pack({"session_id": "jam"}, b"".join(frame(entry_json(entry)) for entry in entries))
            with server.client(server.token("ada", scope)) as client:
                return client.post("/v1/sync/offer", content=body)

        assert offer("append", *range(1, 101)).status_code == 200  # more than a burst: that is owed
        refused = offer("append", 101)
        assert refused.status_code == 429
        assert refused.json()["error"]["retry_after"] > 5
        assert offer("admin", 101).status_code == 200


def offered(server: ServerProcess, token: str, session: str, *entries: OpEntry) -> httpx.Response:
    body = pack({"session_id": session}, b"".join(frame(entry_json(entry)) for entry in entries))
    with server.client(token) as client:
        return client.post("/v1/sync/offer", content=body)


def test_a_synchronisation_makes_no_more_sessions_than_its_actor_may() -> None:
    with running_server(sessions_burst=2, sessions_per_hour=1) as server:
        eve = server.token("eve")
        op: dict[str, Any] = {"op": "insert", "address": "a"}
        names = ("a", "b", "a", "c", "b")
        codes = [
            offered(server, eve, name, make_op_entry("eve", "text", op, 1)).status_code for name in names
        ]
        assert codes == [200, 200, 200, 429, 200]


def test_ops_that_wait_for_their_parents_are_paid_for_each_time_they_are_written_again() -> None:
    with running_server(bytes_per_second=0.001, bytes_burst=250_000) as server:
        eve = server.token("eve")

        def offer(size: int, stamp: int, *parents: str) -> int:
            op: dict[str, Any] = {"op": "insert", "address": "a", "pad": "x" * size}
            return offered(
                server, eve, "jam", make_op_entry("eve", "text", op, stamp, parent_op_ids=parents)
            ).status_code

        assert offer(10, 1) == 200
        nowhere = str(uuid.uuid4())
        codes = [offer(60_000 if stamp == 2 else 10, stamp, nowhere) for stamp in range(2, 8)]
        assert codes == [200, 200, 200, 200, 429, 429]


def test_a_browser_names_its_token_as_a_protocol(server: ServerProcess) -> None:
    token = server.token("ada")
    url = f"{server.websocket_url}/v1/sessions/jam-1/live?follow=false"
    protocols = ["muse.v1", f"muse.v1.token.{token}"]
    with connect(url, subprotocols=protocols) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "muse.v1"
        socket.recv()
        socket.send(json.dumps({"type": "append", "id": 1, "ops": [draft()]}))
        assert json.loads(socket.recv())["receipts"][0]["status"] == "stored"
        socket.send(json.dumps({"type": "append", "id": 2, "ops": [draft("bob")]}))
        assert json.loads(socket.recv())["error"]["status"] == 403


def test_a_revoked_token_is_refused_and_its_connections_end(server: ServerProcess) -> None:
    token = server.token("ada")
    url = f"{server.websocket_url}/v1/sessions/jam-1/live"
    with connect(url, additional_headers={"authorization": f"Bearer {token}"}) as socket:
        assert status(server, token, "GET", "/v1/sessions") == 200
        done = run_muse("token", "revoke", token.split("_")[1], cwd=server.root)
        assert done.status == 0, done.err
        wait_until(lambda: status(server, token, "GET", "/v1/sessions") == 401)
        with pytest.raises(ConnectionClosedError) as caught:
            deque(iter(lambda: socket.recv(timeout=30), None))
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008


def is_refused(server: ServerProcess, token: str) -> bool:
    return status(server, token, "GET", "/v1/sessions") == 401


def is_followed(server: ServerProcess, token: str) -> bool:
    with server.client(token) as client:
        return 'muse_followers{kind="events"} 0.0' not in client.get("/metrics").text


def test_what_streams_to_a_token_that_is_revoked_is_cut_short(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        owner = server.token("owner", "admin")
        op = draft("owner", "x" * 100_000)
        with server.client(owner) as client:
            client.post("/v1/sessions", json={"session_id": "long"})
            for _ in range(20):
                client.post("/v1/sessions/long/ops", json=[op] * 10)
        for path in ("ops", "events?since=0", "delta?domain=text"):
            token = server.token("ada", "read")
            with (
                server.client(token) as client,
                client.stream("GET", f"/v1/sessions/long/{path}") as answer,
            ):
                parts = answer.iter_raw()
                next(parts)
                Tokens(str(tmp_path)).revoke(token.split("_")[1])
                wait_until(partial(is_refused, server, token))
                wait_until(lambda: not is_followed(server, owner))
                with pytest.raises(httpx.TransportError):
                    deque(parts)
                assert answer.num_bytes_downloaded < 20 * 10 * 100_000


def test_tokens_that_cannot_be_read_for_a_while_let_nobody_in_and_are_looked_at_again(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        token = server.token("ada", "admin")
        with server.client(token) as client:
            client.post("/v1/sessions", json={"session_id": "jam"})
        path = tmp_path / ".muse" / "server" / "tokens.json"
        good = path.read_bytes()
        headers = {"authorization": f"Bearer {token}"}
        with connect(f"{server.websocket_url}/v1/sessions/jam/live", additional_headers=headers) as socket:
            path.write_bytes(b"damaged")
            wait_until(lambda: status(server, token, "GET", "/v1/sessions") == 500)
            wait_until(lambda: len([line for line in server.log if line["event"] == "failed"]) > 2)
            with pytest.raises(ConnectionClosedError) as caught:  # and nobody stay
                deque(iter(lambda: socket.recv(timeout=30), None))
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1008
        path.write_bytes(good)
        wait_until(lambda: status(server, token, "GET", "/v1/sessions") == 200)
        with connect(f"{server.websocket_url}/v1/sessions/jam/live", additional_headers=headers) as socket:
            Tokens(str(tmp_path)).revoke(token.split("_")[1])
            with pytest.raises(ConnectionClosedError):
                deque(iter(lambda: socket.recv(timeout=30), None))


def test_a_server_on_every_address_goes_by_the_names_of_its_own_machine(tmp_path: Path) -> None:
    token = ServerProcess(tmp_path).token("ada", "read")
    with ServerProcess(tmp_path, host="0.0.0.0", allowed_hosts=["muse.example.org"]) as server:  # noqa: S104
        for host, wanted in (("localhost", 200), ("muse.example.org", 200), ("evil.example", 400)):
            headers = {"host": host, "authorization": f"Bearer {token}"}
            answer = httpx.get(
                f"http://127.0.0.1:{server.port}/v1/sessions", headers=headers, trust_env=False
            )
            assert answer.status_code == wanted


def test_nothing_secret_is_in_the_logs_or_the_file(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, log_level="debug") as server:
        token = server.token("ada")
        status(server, token, "GET", f"/v1/sessions?token={token}")
        status(server, token + "x", "GET", "/v1/sessions")
        url = f"{server.websocket_url}/v1/sessions/nope/live?token={token}"
        with (
            pytest.raises(InvalidStatus),
            connect(url, additional_headers={"authorization": f"Bearer {token}"}),
        ):
            pass
        server.stop()
        path = tmp_path / ".muse" / "server" / "tokens.json"
        secret = token.split("_", 2)[2]
        assert secret not in server.log_path.read_text()
        assert secret not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_ends_when_it_expires(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    now = [1_000.0]
    tokens = Tokens(str(tmp_path), clock=lambda: now[0])
    text, _ = tokens.create("ada", "read", lasts_seconds=60)
    principal = tokens.principal(text)
    now[0] += 59
    assert tokens.is_valid(principal)
    now[0] += 1
    assert not tokens.is_valid(principal)
    with pytest.raises(RequestError, match="expired"):
        tokens.principal(text)
    with pytest.raises(NotFoundError):
        tokens.revoke("nope")
    with pytest.raises(UsageError, match="scope"):
        tokens.create("ada", "everything")


def test_from_the_first_token_on_nobody_comes_in_without_one(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    seen_by_server = Tokens(str(tmp_path))
    assert seen_by_server.is_empty()
    Tokens(str(tmp_path)).create("ada", "read")
    assert not seen_by_server.is_empty()


def test_tokens_are_made_listed_and_revoked_by_command(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    made = run_muse(
        "token",
        "create",
        "--actor",
        "ada",
        "--scope",
        "commit",
        "--session",
        "jam-*",
        "--expires",
        "12h",
        "--json",
        cwd=tmp_path,
    ).record
    assert made["token"].startswith(f"muse_{made['token_id']}_")
    (listed,) = run_muse("token", "list", "--json", cwd=tmp_path).records
    assert listed == {key: made[key] for key in made if key != "token"}
    left = datetime.fromisoformat(listed["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=11) < left <= timedelta(hours=12)
    assert run_muse("token", "create", "--actor", "ada", "--expires", "soon", cwd=tmp_path).status == 2
    assert run_muse("token", "revoke", made["token_id"], cwd=tmp_path).status == 0
    assert run_muse("token", "revoke", made["token_id"], cwd=tmp_path).status == 2
    assert "no tokens" in run_muse("token", "list", cwd=tmp_path).out


def test_without_tokens_it_serves_this_machine_and_says_so_and_no_other(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    refused = run_muse("serve", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path)  # noqa: S104
    assert (refused.status, "there are no tokens" in refused.complaint) == (2, True)
    command = [sys.executable, "-m", "muse", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        lines = process.stdout.readline() + process.stdout.readline()
        process.terminate()
    assert b"There are no tokens: everyone on this machine may do everything." in lines
    assert process.returncode == 0


def test_the_last_token_revoked_opens_nothing(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert status(server, None, "GET", "/v1/sessions") == 200
        token = server.token("ada")
        wait_until(lambda: status(server, None, "GET", "/v1/sessions") == 401)
        Tokens(str(tmp_path)).revoke(token.split("_")[1])
        wait_until(lambda: status(server, token, "GET", "/v1/sessions") == 401)
        assert status(server, None, "GET", "/v1/sessions") == 401


def test_misuse_of_the_command_is_said_in_a_line(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    (tmp_path / "bad.toml").write_text("surprise = 1\n")
    (tmp_path / "worse.toml").write_text("port = 'x'\n")
    for arguments, said in (
        (["--config", "bad.toml"], "surprise"),
        (["--config", "worse.toml"], "port"),
        (["--config", "none.toml"], "none.toml"),
        (["--certificate", "x.pem"], "private key"),
        (["--certificate", "x.pem", "--private-key", "y.pem", "--port", "0"], "certificate"),
        (["--port", "99999"], "port"),
    ):
        done = run_muse("serve", *arguments, cwd=tmp_path)
        assert (done.status, said in done.complaint) == (2, True), done.err


def test_a_port_that_is_taken_is_said(tmp_path: Path, server: ServerProcess) -> None:
    Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    done = run_muse("serve", "--port", str(server.port), cwd=tmp_path)
    assert (done.status, "could not listen" in done.complaint) == (2, True)


def test_it_speaks_tls_with_a_certificate(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with ServerProcess(tmp_path, certificate=str(certificate), private_key=str(key)) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(base_url=server.url, verify=context, trust_env=False) as client:
            assert client.post("/v1/sessions", json={"session_id": "jam"}).status_code == 201
        with connect(f"{server.websocket_url}/v1/sessions/jam/live?actor=ada", ssl=context) as socket:
            assert json.loads(socket.recv())["type"] == "presence"
        with pytest.raises(httpx.HTTPError):
            httpx.get(server.url.replace("https", "http") + "/v1/health", trust_env=False)


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "muse")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sessions/jam-1/ops", [draft("eve")]),
        ("/v1/sessions", {"session_id": "jam-after"}),
        ("/v1/coordination/reservations", {"addresses": ["a"]}),
    ],
)
def test_a_request_whose_token_is_revoked_before_its_body_has_come_is_refused(
    server: ServerProcess, path: str, body: object
) -> None:
    token = server.token("eve")
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    with raw_connection(server) as connection:
        connection.sendall(head.encode() + data[:5])
        assert status(server, token, "GET", "/v1/sessions") == 200
        Tokens(str(server.root)).revoke(token.split("_")[1])
        wait_until(lambda: is_refused(server, token))
        connection.sendall(data[5:])
        assert b" 401 " in connection.recv(1 << 16)


@pytest.mark.parametrize("by", ["revoked", "gone"])
def test_a_server_whose_last_token_is_gone_lets_nobody_in_and_says_so(tmp_path: Path, by: str) -> None:
    with ServerProcess(tmp_path) as server:
        token = server.token("ada", "admin")
        assert status(server, token, "GET", "/v1/sessions") == 200
        if by == "revoked":
            Tokens(str(tmp_path)).revoke(token.split("_")[1])
        else:
            (tmp_path / ".muse" / "server" / "tokens.json").unlink()
        wait_until(lambda: is_refused(server, token))
        with server.client() as client:
            answer = client.post("/v1/sessions", json={"session_id": "jam"})
        assert answer.status_code == 401
        assert "muse token create" in answer.json()["error"]["message"]
        wait_until(lambda: any(line["event"] == "shut" for line in server.log))
        again = server.token("ada", "admin")
        wait_until(lambda: status(server, again, "GET", "/v1/sessions") == 200)


def test_no_answer_names_a_path_of_the_machine(server: ServerProcess) -> None:
    token = server.token("boss", "admin")
    lost = "0" * 64
    with server.client(token) as client:
        answers = [
            client.post("/v1/sync/get", content=json.dumps({"kind": kind, "digest": lost}).encode() + b"\n")
            for kind in ("object", "snapshot", "commit")
        ]
        answers.append(client.get(f"/v1/commits/{lost}"))
        put = json.dumps({"kind": "commit", "digest": lost}).encode()
        answers.append(client.post("/v1/sync/put", content=put + b"\n{}"))
    assert all(answer.status_code >= 400 for answer in answers)
    assert not [answer.text for answer in answers if str(server.root) in answer.text]
