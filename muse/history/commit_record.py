"""Makes commit records and snapshots, and checks that a file holds one. Pure.

The keys and their order are those of the Muse repository format, version 5.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypedDict, cast

from muse.core import content_id
from muse.disk import layout
from muse.disk.json_file import field, field_items
from muse.domain import StructuredDelta
from muse.errors import CorruptionError, UsageError
from muse.history.repo_record import canonical_time
from muse.history.seal import MergeSeal, Seal, add_merge_trailers, add_trailers, json_digest, read_seal

FORMAT_VERSION = 5

SEALED_FIELDS = (
    "repo_id",
    "branch",
    "parent_commit_id",
    "parent2_commit_id",
    "author",
    "metadata",
    "sem_ver_bump",
    "breaking_changes",
    "agent_id",
    "model_id",
    "toolchain_id",
    "prompt_hash",
    "format_version",
)
"""The fields that neither the id nor another trailer covers, and that nobody changes later.

The order of the parents is among them.
"""

_RESTORE = "restore it from another copy"


class Snapshot(TypedDict):
    """A whole tree: path -> object id."""

    snapshot_id: str
    manifest: dict[str, str]
    created_at: str


class CommitRecord(TypedDict):
    """One commit, as it is stored. A missing parent has the value None, unused provenance is empty."""

    commit_id: str
    repo_id: str
    branch: str
    snapshot_id: str
    message: str
    committed_at: str
    parent_commit_id: str | None
    parent2_commit_id: str | None
    author: str
    metadata: dict[str, str]
    structured_delta: StructuredDelta | None
    sem_ver_bump: str
    breaking_changes: list[str]
    agent_id: str
    model_id: str
    toolchain_id: str
    prompt_hash: str
    signature: str
    signer_key_id: str
    format_version: int
    reviewed_by: list[str]
    test_runs: int


def make_snapshot(manifest: Mapping[str, str], created_at: str) -> Snapshot:
    """Return the snapshot of a tree, path -> object id."""
    return Snapshot(
        snapshot_id=content_id.snapshot_id(manifest),
        manifest=dict(sorted(manifest.items())),
        created_at=created_at,
    )


def make_commit_record(
    *,
    repo_id: str,
    branch: str,
    snapshot_id: str,
    message: str,
    committed_at: str,
    parent_commit_id: str | None,
    parent2_commit_id: str | None = None,
    author: str,
    structured_delta: StructuredDelta | None,
    metadata: Mapping[str, str] | None = None,
    agent_id: str = "",
    model_id: str = "",
    toolchain_id: str = "",
    prompt_hash: str = "",
) -> CommitRecord:
    """Return a new commit record with its id.

    `committed_at` is an ISO 8601 time with its offset; it is put in the form all tools hash. The
    bump and the breaking changes are those of the delta. Raises `UsageError` for a bad branch name,
    id or time, for a second parent without a first or equal to it, and for text that cannot be hashed.
    """
    layout.check_branch(branch)
    _check_sealed(snapshot_id, message, parent_commit_id, parent2_commit_id)
    committed_at = canonical_time(committed_at)
    delta: Mapping[str, Any] = structured_delta or {}
    return CommitRecord(
        commit_id=content_id.commit_id(
            _present(parent_commit_id, parent2_commit_id), snapshot_id, message, committed_at
        ),
        repo_id=repo_id,
        branch=branch,
        snapshot_id=snapshot_id,
        message=message,
        committed_at=committed_at,
        parent_commit_id=parent_commit_id,
        parent2_commit_id=parent2_commit_id,
        author=author,
        metadata=dict(metadata or {}),
        structured_delta=structured_delta,
        sem_ver_bump=delta.get("sem_ver_bump", "none"),
        breaking_changes=list(delta.get("breaking_changes", [])),
        agent_id=agent_id,
        model_id=model_id,
        toolchain_id=toolchain_id,
        prompt_hash=prompt_hash,
        signature="",
        signer_key_id="",
        format_version=FORMAT_VERSION,
        reviewed_by=[],
        test_runs=0,
    )


def seal_commit(record: CommitRecord, seal: Seal) -> CommitRecord:
    """Return `record` under a new id, with `seal` in its message; the seal then covers all its fields."""
    message = add_trailers(record["message"], replace(seal, record_digest=record_digest(record)))
    commit_id = content_id.commit_id(parents(record), record["snapshot_id"], message, record["committed_at"])
    return {**record, "commit_id": commit_id, "message": message}


def seal_merge(record: CommitRecord, seal: MergeSeal) -> CommitRecord:
    """Return a merge under a new id, with `seal` in its message; the seal then covers all its fields."""
    message = add_merge_trailers(record["message"], replace(seal, record_digest=record_digest(record)))
    commit_id = content_id.commit_id(parents(record), record["snapshot_id"], message, record["committed_at"])
    return {**record, "commit_id": commit_id, "message": message}


def record_digest(document: Mapping[str, Any]) -> str:
    """Return the digest of a commit's `SEALED_FIELDS`; one that is missing counts as null."""
    return json_digest({name: document.get(name) for name in SEALED_FIELDS})


def snapshot_digest(document: Mapping[str, Any]) -> str:
    """Return the digest of a snapshot with its time, which its id does not cover."""
    return json_digest({name: document.get(name) for name in Snapshot.__annotations__})


def state_digests(snapshots: Iterable[Snapshot]) -> str | None:
    """Return the digests of the snapshots of what plugins keep, each with its time; None without any."""
    return " ".join(map(snapshot_digest, snapshots)) or None


def _check_sealed(snapshot_id: str, message: str, parent: str | None, parent2: str | None) -> None:
    layout.check_digest(snapshot_id, "snapshot id")
    for parent_id in _present(parent, parent2):
        layout.check_digest(parent_id, "commit id")
    if parent2 is not None and parent in {None, parent2}:
        raise UsageError(
            "a second parent needs a first parent that is another commit: check the parents of the commit"
        )
    if content_id.NUL in message:
        raise UsageError("the commit message has a NUL character: leave it out")
    try:
        message.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the commit message is not valid Unicode: {error}") from error


def parents(record: CommitRecord) -> list[str]:
    """Return the ids of the parents, the first parent first."""
    return _present(record["parent_commit_id"], record["parent2_commit_id"])


def _present(*parent_ids: str | None) -> list[str]:
    return [parent_id for parent_id in parent_ids if parent_id]


def parse_commit(document: Mapping[str, Any], path: str) -> CommitRecord:
    """Return the commit that a file holds, checked against its own id.

    A field that older tools leave out is filled in, one that newer tools add is kept. Raises
    `CorruptionError` that names `path` for a wrong type, and if the parents, snapshot, message and
    time do not hash to the id.
    """
    record = {
        "commit_id": _digest(document, "commit_id", path),
        "repo_id": field(document, "repo_id", str, path, ""),
        "branch": field(document, "branch", str, path, ""),
        "snapshot_id": _digest(document, "snapshot_id", path),
        "message": _sealed(field(document, "message", str, path), path),
        "committed_at": _sealed(field(document, "committed_at", str, path), path),
        "parent_commit_id": _digest(document, "parent_commit_id", path, optional=True),
        "parent2_commit_id": _digest(document, "parent2_commit_id", path, optional=True),
        "author": field(document, "author", str, path, ""),
        "metadata": _strings(document, "metadata", path),
        "structured_delta": _delta(document, path),
        "sem_ver_bump": field(document, "sem_ver_bump", str, path, "none"),
        "breaking_changes": field_items(document, "breaking_changes", str, path),
        "agent_id": field(document, "agent_id", str, path, ""),
        "model_id": field(document, "model_id", str, path, ""),
        "toolchain_id": field(document, "toolchain_id", str, path, ""),
        "prompt_hash": field(document, "prompt_hash", str, path, ""),
        "signature": field(document, "signature", str, path, ""),
        "signer_key_id": field(document, "signer_key_id", str, path, ""),
        "format_version": field(document, "format_version", int, path, 1),
        "reviewed_by": field_items(document, "reviewed_by", str, path),
        "test_runs": field(document, "test_runs", int, path, 0),
    }
    commit = cast("CommitRecord", record | {key: document[key] for key in document if key not in record})
    expected = content_id.commit_id(
        parents(commit), commit["snapshot_id"], commit["message"], commit["committed_at"]
    )
    _check_id(commit["commit_id"], expected, path)
    return commit


def parse_snapshot(document: Mapping[str, Any], path: str) -> Snapshot:
    """Return the snapshot that a file holds, checked against its own id; `CorruptionError` for any other."""
    manifest = _strings(document, "manifest", path)
    for name, object_id in manifest.items():
        _sealed(name, path)
        if not content_id.is_content_id(object_id):
            raise CorruptionError(
                f"{path} names no object for {name!r}: 64 hex digits are expected; {_RESTORE}", path=path
            )
    snapshot = Snapshot(
        snapshot_id=_digest(document, "snapshot_id", path),
        manifest=manifest,
        created_at=field(document, "created_at", str, path, ""),
    )
    _check_id(snapshot["snapshot_id"], content_id.snapshot_id(manifest), path)
    return snapshot


def _check_id(stated: str, expected: str, path: str) -> None:
    if stated != expected:
        raise CorruptionError(
            f"{path} states the id {stated}, but its content hashes to {expected}; {_RESTORE}", path=path
        )


def _sealed(text: str, path: str) -> str:
    """Refuse NUL in `text`: it separates the parts that are hashed, so another content could get this id."""
    if content_id.NUL in text:
        raise CorruptionError(f"{path} has a NUL character in {text[:80]!r}; {_RESTORE}", path=path)
    return text


def _digest(document: Mapping[str, Any], key: str, path: str, *, optional: bool = False) -> Any:
    value = field(document, key, str, path, None) if optional else field(document, key, str, path)
    if value is not None and not content_id.is_content_id(value):
        raise CorruptionError(
            f"{path} has {value!r} as {key!r}: 64 hex digits are expected; {_RESTORE}", path=path
        )
    return value


def _strings(document: Mapping[str, Any], key: str, path: str) -> dict[str, str]:
    values = field(document, key, dict, path, {})
    return {name: field(values, name, str, path) for name in values}


def _delta(document: Mapping[str, Any], path: str) -> StructuredDelta | None:
    delta = field(document, "structured_delta", dict, path, None)
    if delta is None:
        return None
    known = {
        "domain": field(delta, "domain", str, path, ""),
        "ops": field_items(delta, "ops", dict, path),
        "summary": field(delta, "summary", str, path, ""),
    }
    return cast("StructuredDelta", known | {key: delta[key] for key in delta if key not in known})


STATE_KEY = "state:"
"""The metadata `state:<domain>` names the snapshot of what the domain's plugin keeps beside the files."""


def state_snapshots(record: CommitRecord) -> dict[str, str]:
    """Return domain -> the snapshot that the commit's metadata names; pass over other values."""
    return {
        key.removeprefix(STATE_KEY): value
        for key, value in sorted(record["metadata"].items())
        if key.startswith(STATE_KEY) and content_id.is_content_id(value)
    }


EXECUTABLE_KEY = "executable"
"""The metadata `executable` is a JSON list of the files that may be run; a snapshot has contents only."""


def executable_paths(record: CommitRecord) -> frozenset[str]:
    """Return the files of a commit that its metadata says may be run; none for a value of another kind."""
    try:
        found = json.loads(record["metadata"].get(EXECUTABLE_KEY, "[]"))
    except (ValueError, RecursionError):
        return frozenset()
    paths = found if isinstance(found, list) else ()
    return frozenset(path for path in paths if isinstance(path, str))


def executable_metadata(paths: Iterable[str]) -> dict[str, str]:
    """Return the metadata that names these files; none for no files."""
    found = sorted(paths)
    return {EXECUTABLE_KEY: json.dumps(found, ensure_ascii=False)} if found else {}


def covered_count(record: CommitRecord) -> int:
    """Return how many ops the commit covers. Its delta may hold the net of them, which is fewer."""
    seal, delta = read_seal(record["message"]), record["structured_delta"]
    return seal.op_count if seal else len(delta["ops"] if delta else ())


def brief_record(record: CommitRecord) -> dict[str, Any]:
    """Return a commit with the number of its ops instead of the ops."""
    delta = record["structured_delta"]
    brief: dict[str, Any] = {key: value for key, value in record.items() if key != "structured_delta"}
    brief["op_count"] = covered_count(record)
    brief["summary"] = delta["summary"] if delta else ""
    return brief
