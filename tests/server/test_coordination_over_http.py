"""Claims, enforcement and proposals over HTTP, each actor with a token of its own."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from muse.coordination.reservations import Coordination, HeldError
from muse.history.repository import Repository
from tests.samples.muse_command import run_muse
from tests.samples.server_process import ServerProcess, draft, running_server

CLAIMS = "/v1/coordination/reservations"
Client = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server(claims_per_second=100_000.0) as server:
        yield server


@pytest.fixture
def session(server: ServerProcess) -> str:
    """A session that sets ops on held addresses aside, and a name for addresses that are its own."""
    name = f"jam-{uuid.uuid4()}"
    body = {"session_id": name, "policy": {"reservations": "propose", "stale_reads": "propose"}}
    with server.client(server.token("owner", "admin")) as client:
        assert client.post("/v1/sessions", json=body).status_code == 201
    return name


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with ExitStack() as stack:

        def make(actor: str, scope: str = "append") -> httpx.Client:
            return stack.enter_context(server.client(server.token(actor, scope)))

        yield make


def reserve(client: httpx.Client, address: str, **more: Any) -> dict[str, Any]:
    answer = client.post(CLAIMS, json={"addresses": [address], **more})
    assert answer.status_code == 201, answer.text
    claim: dict[str, Any] = answer.json()["reservation"]
    return claim


def append(client: httpx.Client, session: str, *ops: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post(f"/v1/sessions/{session}/ops", json={"ops": ops, **more})
    assert answer.status_code == 200, answer.text
    receipts: list[dict[str, Any]] = answer.json()["receipts"]
    return receipts


def decide(client: httpx.Client, session: str, op_id: str, decision: str, **body: Any) -> httpx.Response:
    return client.post(f"/v1/sessions/{session}/proposals/{op_id}/{decision}", json=body)


def test_of_a_thousand_racing_requests_over_http_and_beside_it_one_is_granted(
    server: ServerProcess, client: Client
) -> None:
    """By threads through the server, by this process on the files, and by the command line."""
    address = f"{uuid.uuid4()}.mid"
    granted: list[str] = []
    refused: Counter[str] = Counter()
    start = threading.Event()

    def by_http(number: int) -> None:
        bob = client(f"actor-{number}")
        start.wait()
        for _ in range(110):
            answer = bob.post(CLAIMS, json={"addresses": [f"{address}/{number}", address]})
            if answer.status_code == 201:
                granted.append(f"actor-{number}")
            else:
                assert answer.status_code == 409
                refused["http"] += 1

    def by_files() -> None:
        coordination = Coordination(str(server.root))
        start.wait()
        for _ in range(110):
            try:
                granted.append(coordination.reserve("files", [address], branch="main").actor_id)
            except HeldError:
                refused["files"] += 1

    def by_command() -> None:
        start.wait()
        ran = run_muse("coord", "reserve", f"{address}::x", "--actor", "cli", cwd=server.root)
        granted.extend(["cli"] * (ran.status == 0))
        refused["cli"] += ran.status == 1

    threads = [threading.Thread(target=by_http, args=(number,)) for number in range(8)]
    threads += [threading.Thread(target=by_files), threading.Thread(target=by_command)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
    assert len(granted) == 1
    assert refused.total() == 8 * 110 + 110 + 1 - 1
    holders = [
        claim.actor_id
        for claim in Coordination(str(server.root)).reservations()
        if address in claim.addresses[-1]
    ]
    assert holders == granted


def test_another_may_neither_renew_nor_release_a_claim_and_only_an_admin_breaks_it(client: Client) -> None:
    ada, bob, boss = client("ada"), client("bob"), client("boss", "admin")
    claim = reserve(ada, f"{uuid.uuid4()}.mid")
    path = f"{CLAIMS}/{claim['reservation_id']}"
    assert bob.post(f"{path}/renew", json={}).status_code == 409
    assert bob.post(f"{path}/renew", json={"actor_id": "ada"}).status_code == 403
    assert bob.post(f"{path}/release", json={"actor_id": "ada"}).status_code == 403
    assert bob.post(f"{path}/release").status_code == 409
    assert bob.post(f"{path}/release", json={"force": True}).status_code == 403
    assert ada.post(f"{path}/renew", json={"ttl_seconds": 900}).status_code == 200
    assert boss.post(f"{path}/release", json={"force": True}).json() == {"released": True}
    assert ada.post(f"{path}/release").json() == {"released": False}
    assert ada.post(f"{path}/renew").status_code == 409
    assert ada.post(f"{CLAIMS}/{uuid.uuid4()}/renew").status_code == 404


def test_a_request_that_is_sent_again_is_no_second_claim_or_intent(client: Client) -> None:
    ada, bob = client("ada"), client("bob")
    address, own = f"{uuid.uuid4()}.mid", str(uuid.uuid4())
    first = reserve(ada, address, reservation_id=own)
    assert reserve(ada, address, reservation_id=own) == first
    body = {"addresses": [address], "intent_id": str(uuid.uuid4()), "run_id": "bob"}
    said = [ada.post("/v1/coordination/intents", json=body).json() for _ in range(2)]
    assert said[0] == said[1]
    assert said[0]["intent"]["actor_id"] == "ada"
    assert bob.post("/v1/coordination/intents", json=body).status_code == 409
    assert bob.post(CLAIMS, json={"addresses": [address], "reservation_id": own}).status_code == 409


def test_the_holder_decides_once_and_neither_author_nor_others_do(session: str, client: Client) -> None:
    ada, bob, eve = client("ada"), client("bob"), client("eve")
    address = f"{session}.txt"
    reserve(ada, address)
    op = draft(address=f"{address}/1", op_id=str(uuid.uuid4()))
    other = draft(address=address, op_id=str(uuid.uuid4()))
    assert [receipt["status"] for receipt in append(bob, session, op, other)] == ["proposed", "proposed"]
    for who in (bob, eve):
        assert decide(who, session, op["op_id"], "accept").status_code == 409
    assert decide(eve, session, op["op_id"], "accept", actor_id="ada").status_code == 403
    assert decide(eve, session, op["op_id"], "reject").status_code == 409
    answers: list[int] = []

    def race(decision: str) -> None:
        answers.append(decide(client("ada"), session, op["op_id"], decision).status_code)

    threads = [threading.Thread(target=race, args=(decision,)) for decision in ("accept", "reject") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answers) == {200: 4, 409: 4}
    [receipt] = append(bob, session, op)
    assert receipt["status"] in {"known", "refused"}
    assert decide(bob, session, other["op_id"], "reject", reason="a slip").status_code == 200
    [receipt] = append(bob, session, other)
    assert (receipt["status"], receipt["kind"]) == ("refused", "rejected")
    [receipt] = append(eve, session, {**other, "actor_id": "eve"})
    assert (receipt["status"], receipt["kind"]) == ("refused", "conflict")
    assert decide(ada, session, str(uuid.uuid4()), "accept").status_code == 404


def test_a_stale_op_is_set_aside_and_where_nobody_claims_anyone_accepts(session: str, client: Client) -> None:
    ada, bob, eve = client("ada"), client("bob"), client("eve")
    address = f"{session}.txt"
    [first] = append(ada, session, draft(address=address))
    [stale] = append(bob, session, draft(address=address), seen_frontier={"eve": 7})
    assert (stale["status"], stale["kind"]) == ("proposed", "stale")
    assert [one["op_id"] for one in stale["overlaps"]] == [first["op_id"]]
    seen = {"ada": first["lamport_ts"]}
    assert append(bob, session, draft(address=address), seen_frontier=seen)[0]["status"] == "stored"
    assert append(bob, session, draft(address=f"{address}2"), seen_frontier={})[0]["status"] == "stored"
    accepted = decide(eve, session, stale["op_id"], "accept").json()["receipt"]
    assert (accepted["status"], accepted["op_id"]) == ("stored", stale["op_id"])


def test_claims_proposals_and_fences_outlast_a_server_that_is_killed(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        tokens = {name: server.token(name, "admin") for name in ("ada", "bob")}
        with server.client(tokens["ada"]) as ada, server.client(tokens["bob"]) as bob:
            ada.post("/v1/sessions", json={"session_id": "jam", "policy": {"reservations": "propose"}})
            lost = reserve(ada, "a.txt")["reservation_id"]
            bob.post(f"{CLAIMS}/{lost}/release", json={"force": True})
            held = reserve(bob, "a.txt")
            [proposed] = append(ada, "jam", draft(address="a.txt"))
        server.kill()
        server.start()
        with server.client(tokens["ada"]) as ada, server.client(tokens["bob"]) as bob:
            assert ada.get(CLAIMS).json()["reservations"] == [held]
            [late] = append(ada, "jam", draft(address="else.txt", reservation_id=lost))
            assert (late["status"], late["kind"]) == ("proposed", "fenced")
            assert ada.post(f"{CLAIMS}/{lost}/renew").status_code == 409
            own = draft(address="a.txt", reservation_id=held["reservation_id"])
            assert append(bob, "jam", own)[0]["status"] == "stored"
            waiting = bob.get("/v1/sessions/jam/proposals").json()["proposals"]
            assert [one["proposal_id"] for one in waiting] == [proposed["op_id"], late["op_id"]]
            assert decide(bob, "jam", proposed["op_id"], "accept").status_code == 200


def test_an_actor_that_claims_without_end_is_told_to_come_again_and_others_are_not(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path, claims_per_second=0.001) as server,
        server.client(server.token("bob")) as bob,
        server.client(server.token("ada")) as ada,
    ):
        claim = reserve(bob, "b.txt")
        own = f"{CLAIMS}/{claim['reservation_id']}"
        for path in (CLAIMS, f"{own}/renew", f"{own}/release", "/v1/coordination/intents"):
            body = {} if path.startswith(own) else {"addresses": ["c.txt"]}
            refused = bob.post(path, json=body)
            assert refused.status_code == 429, path
            assert refused.json()["error"]["retry_after"] > 0
            assert int(refused.headers["retry-after"]) > 0
        reserve(ada, "a.txt")
        assert len(bob.get(CLAIMS).json()["reservations"]) == 2
    assert len(Repository.open(str(tmp_path)).coordination.reservations()) == 2


def test_a_reservation_for_some_sessions_counts_in_no_other(server: ServerProcess, session: str) -> None:
    inside = f"x-{session}"
    with ExitStack() as stack:

        def client(actor: str, scope: str = "append", of: str = "*") -> httpx.Client:
            return stack.enter_context(server.client(server.token(actor, scope, session=of)))

        everywhere, bob, boss = client("owner", "admin"), client("bob"), client("boss", "admin", "y-*")
        policy = {"reservations": "refuse", "stale_reads": "off"}
        everywhere.post("/v1/sessions", json={"session_id": inside, "policy": policy})
        own, other = client("ada", of=f"{inside[:6]}*"), client("eve", of="y-*")
        file = f"{session}.mid"
        made = reserve(own, file)
        assert made["sessions"] == f"{inside[:6]}*"

        def outcome(name: str, **more: Any) -> tuple[str, str]:
            op = draft("bob", address=file, **more)
            (receipt,) = append(bob, name, op)
            return receipt["status"], receipt["kind"]

        assert outcome(inside) == ("refused", "held")
        assert outcome(session) == ("stored", "")
        resting = append(
            own, inside, {**draft("ada", address=file), "reservation_id": made["reservation_id"]}
        )
        assert resting[0]["status"] == "stored"
        assert [one["reservation_id"] for one in own.get(CLAIMS).json()["reservations"]] == [
            made["reservation_id"]
        ]
        assert other.get(CLAIMS).json() == {"reservations": []}
        assert bob.post(CLAIMS, json={"addresses": [file]}).status_code == 409
        theirs = reserve(other, file)
        one = f"{CLAIMS}/{made['reservation_id']}"
        assert boss.post(f"{one}/release", json={"force": True}).status_code == 404
        assert client("ada", of="y-*").post(f"{one}/renew").status_code == 404
        assert outcome(inside) == ("refused", "held")
        assert own.post(f"{one}/renew").status_code == 200
        assert own.post(f"{one}/release").json() == {"released": True}
        assert outcome(inside) == ("stored", "")
        assert other.post(f"{CLAIMS}/{theirs['reservation_id']}/release").json() == {"released": True}
