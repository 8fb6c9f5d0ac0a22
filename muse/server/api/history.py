"""History over HTTP: commits, and the files in them."""

from itertools import islice
from typing import Any

from starlette.responses import Response

from muse.disk import layout
from muse.errors import NotFoundError
from muse.history.commit_record import brief_record
from muse.server.api.calls import Call, count_of

_COMMITS_AT_MOST = 1_000


async def log(call: Call) -> Response:
    """Answer with the newest commits of a branch, 100 or `limit`."""
    branch, limit = call.query("branch", "limit")
    count = count_of("limit", limit, _COMMITS_AT_MOST) or 100
    dag = call.service.repository.dag

    def collect() -> list[dict[str, Any]]:
        name = dag.current_branch() if branch is None else layout.check_branch(branch)
        if branch is not None and branch not in dag.branches():
            raise NotFoundError(f"there is no branch {branch[:200]!r}")
        head = dag.head(name)
        return [brief_record(record) for record in islice(dag.history(head), count)] if head else []

    return await call.answer_json(lambda: {"commits": collect()})


async def show(call: Call) -> Response:
    """Answer with a commit and its files, path -> object id."""
    call.query()
    repository, text = call.service.repository, call.request.path_params["commit_id"]

    def find() -> dict[str, Any]:
        record = repository.dag.read_commit(repository.dag.resolve(text))
        return {**record, "files": repository.read_tree(record["commit_id"])}

    return await call.answer_json(find)


async def file(call: Call) -> Response:
    """Answer with the bytes of a file in a commit."""
    call.query()
    repository = call.service.repository
    text, path = call.request.path_params["commit_id"], call.request.path_params["path"]

    def find() -> tuple[str, bytes]:
        object_id = repository.read_tree(repository.dag.resolve(text)).get(path)
        if object_id is None:
            raise NotFoundError(f"there is no file {path[:200]!r} in commit {text}")
        return object_id, repository.objects.get(object_id)

    object_id, content = await call.in_thread(find)
    # Files are what somebody wrote: a browser shall not run them as pages of this server.
    headers = {
        "etag": f'"{object_id}"',
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }
    return call.answer_bytes(content, "application/octet-stream", headers)
