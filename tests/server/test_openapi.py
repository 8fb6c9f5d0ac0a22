"""The OpenAPI document against the running server: by schemathesis, and by what it must list."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muse.server.api.openapi import make_document
from muse.server.api.routes import ENDPOINTS
from tests.samples.server_process import ServerProcess, draft, running_server

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

NEVER_ENDS = "events$"
CANNOT_SAY = "positive_data_acceptance"
"""A schema cannot say which cursors, branches and addresses there are: what it allows may well be refused."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server(ops_per_second=1_000_000) as server:
        with server.client() as client:
            for name in ("0", "jam"):
                client.post("/v1/sessions", json={"session_id": name})
                client.post(f"/v1/sessions/{name}/ops", json=[draft("ada")] * 3)
        yield server


@pytest.mark.parametrize("token", [False, True], ids=["anyone", "with a token"])
def test_schemathesis_finds_nothing(server: ServerProcess, token: bool, tmp_path: Path) -> None:  # noqa: FBT001
    options = ["--header", f"Authorization: Bearer {server.token('ada', 'admin')}"] if token else []
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/v1/openapi.json"),
            *(
                "--exclude-path-regex",
                NEVER_ENDS,
                "--exclude-checks",
                CANNOT_SAY,
                "--seed",
                "1",
                "--no-color",
            ),
            *("--max-examples", "10", "--phases", "examples,coverage,fuzzing", "--wait-for-schema", "10"),
            *options,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SCHEMATHESIS_HOOKS": ""},
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert server.is_running
    assert not [line for line in server.log if line["event"] == "fault"]


def test_the_document_is_served_and_lists_every_endpoint(server: ServerProcess) -> None:
    with server.client() as client:
        document = client.get("/v1/openapi.json").json()
    listed = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert listed == {(each.method, each.path.replace(":path}", "}")) for each in ENDPOINTS}
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


def test_the_document_says_what_may_be_too_much_or_too_large() -> None:
    paths = make_document("1")["paths"]
    assert all("429" in operation["responses"] for item in paths.values() for operation in item.values())
    assert {"404", "413"} <= paths["/v1/sessions/{session_id}/delta"]["get"]["responses"].keys()


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = make_document("1")
    schemas = document["components"]["schemas"]

    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    assert {name.rpartition("/")[2] for name in references(document)} <= schemas.keys()


def test_what_a_path_lacks_is_told_with_what_it_has(server: ServerProcess) -> None:
    with server.client() as client:
        answer = client.delete("/v1/sessions/jam/ops")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
        assert client.get("/nothing").status_code == 404
