"""A proof that one op, by one actor, is in one commit: a small JSON document, checked offline. Pure.

It carries the entry, its audit path in the Merkle tree of the commit, and the parts of the commit
that its id is the hash of. The entry hashes up the path to the root in the commit's seal; the seal
is in the message; the message is hashed into the commit id. If you trust the id, you can trust the op.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypedDict, cast

import orjson

from muse.core import content_id
from muse.core.entry import OpEntry, check_entry
from muse.core.strict_json import parse_strictly
from muse.errors import CorruptionError, InvalidEntryError, MuseError
from muse.history.merkle import Inclusion, prove_inclusions, root_from
from muse.history.seal import Seal, json_digest, leaf_of, position_text, read_seal

FORMAT_NAME = "muse-proof"
FORMAT_VERSION = 1
MAX_BYTES = 1 << 22  # an entry has at most 1 MiB, so a longer file is not a proof
MAX_PATH = 64


class ProofError(CorruptionError):
    """A proof that does not hold. `field` names the part that is wrong, in dots: `commit.message`."""

    def __init__(self, message: str, *, field: str, op_id: str = "", path: str = "") -> None:
        super().__init__(message, path=path)
        self.field = field
        self.op_id = op_id


class ProvenCommit(TypedDict):
    """A commit id and the parts that it is the hash of. The parents are sorted, as they are hashed."""

    commit_id: str
    parent_ids: list[str]
    snapshot_id: str
    message: str
    committed_at: str


class Proof(TypedDict):
    """The JSON document of a proof. `leaf_index` counts from 0; `audit_path` starts at the leaf's sibling."""

    format: str
    version: int
    session_id: str
    entry: OpEntry
    leaf_index: int
    tree_size: int
    audit_path: list[str]
    commit: ProvenCommit


@dataclass(frozen=True, slots=True)
class Proven:
    """The facts that a valid proof proves."""

    op_id: str
    actor_id: str
    session_id: str
    commit_id: str
    leaf_index: int
    tree_size: int


def make_proof(commit: Mapping[str, Any], entries: Iterable[OpEntry], op_id: str) -> Proof:
    """Return the proof that `op_id` is among `entries`.

    `commit` is a commit record, `entries` are all that it covers, in the total order. Raises `ProofError`
    if the entries are not those that it seals.
    """
    return make_proofs(commit, entries, [op_id])[0]


def make_proofs(commit: Mapping[str, Any], entries: Iterable[OpEntry], op_ids: Sequence[str]) -> list[Proof]:
    """Return the proof of each of `op_ids`, in their order; see `make_proof`. Each entry is hashed once."""
    covered = list(entries)
    places = {entry["op_id"]: place for place, entry in enumerate(covered)}
    if (absent := next((op_id for op_id in op_ids if op_id not in places), None)) is not None:
        _fail(f"op {absent} is not among the ops of commit {commit['commit_id']}", "entry", absent)
    inclusions, _ = prove_inclusions(map(leaf_of, covered), [places[op_id] for op_id in op_ids])
    proofs = [_proof_of(commit, covered[inclusion.leaf_index], inclusion) for inclusion in inclusions]
    for proof in proofs:
        check_proof(proof, commit)
    return proofs


def _proof_of(commit: Mapping[str, Any], entry: OpEntry, inclusion: Inclusion) -> Proof:
    seal = read_seal(commit["message"])
    return {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "session_id": seal.session_id if seal else "",
        "entry": entry,
        "leaf_index": inclusion.leaf_index,
        "tree_size": inclusion.tree_size,
        "audit_path": [digest.hex() for digest in inclusion.audit_path],
        "commit": {
            "commit_id": commit["commit_id"],
            "parent_ids": sorted(_parents(commit)),
            "snapshot_id": commit["snapshot_id"],
            "message": commit["message"],
            "committed_at": commit["committed_at"],
        },
    }


def encode_proof(proof: Proof) -> bytes:
    """Return the bytes of a proof's file: indented JSON."""
    return orjson.dumps(proof, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode_proof(data: bytes, path: str = "") -> dict[str, Any]:
    """Parse the bytes of a proof; `ProofError` if they are not a JSON object, or have a key twice."""
    name = path or "the proof"
    if len(data) > MAX_BYTES:
        raise ProofError(
            f"{name} has {len(data)} bytes: a proof has at most {MAX_BYTES}", field="", path=path
        )
    try:
        value = parse_strictly(data)
    except InvalidEntryError as error:
        raise ProofError(f"{name} is not a proof: {error}", field="", path=path) from error
    if not isinstance(value, dict):
        raise ProofError(f"{name} is not a proof: a JSON object is expected", field="", path=path)
    return value


def check_proof(proof: Mapping[str, Any], commit_record: Mapping[str, Any] | None = None) -> Proven:
    """Check a proof by itself, and against the record of its commit if that is given.

    Raises a `ProofError` that names what is wrong. The proof holds for the commit id. It does not prove
    that the commit is in a history: look for the commit there.
    """
    _check_shape(proof)
    entry, commit = cast("OpEntry", proof["entry"]), proof["commit"]
    seal = _check_commit(commit, entry["op_id"])
    _check_entry(proof, entry, seal)
    if commit_record is not None:
        _check_record(commit_record, commit, entry, seal)
    return Proven(
        op_id=entry["op_id"],
        actor_id=entry["actor_id"],
        session_id=seal.session_id,
        commit_id=commit["commit_id"],
        leaf_index=proof["leaf_index"],
        tree_size=proof["tree_size"],
    )


# -- its parts -----------------------------------------------------------------------------------


def _check_shape(proof: Mapping[str, Any]) -> None:
    if proof.get("format") != FORMAT_NAME or proof.get("version") != FORMAT_VERSION:
        _fail(
            f"this is not a proof of version {FORMAT_VERSION}: it states format {proof.get('format')!r}, "
            f"version {proof.get('version')!r}",
            "version",
        )
    kinds = {"session_id": str, "entry": dict, "leaf_index": int, "tree_size": int, "commit": dict}
    _check_fields(proof, {"format": str, "version": int, **kinds, "audit_path": list}, "")
    texts = ("commit_id", "snapshot_id", "message", "committed_at")
    _check_fields(proof["commit"], {**dict.fromkeys(texts, str), "parent_ids": list}, "commit.")
    try:
        check_entry(proof["entry"])
    except InvalidEntryError as error:
        raise ProofError(
            f"the proof's entry is not an entry: {error}", field=f"entry.{error.field}"
        ) from error
    if len(proof["audit_path"]) > MAX_PATH:
        _fail(
            f"the audit path has {len(proof['audit_path'])} steps: at most {MAX_PATH} are possible",
            "audit_path",
        )
    for place, digest in enumerate(proof["audit_path"]):
        _check_digest(digest, f"audit_path[{place}]")


def _check_fields(document: Mapping[str, Any], kinds: Mapping[str, type], prefix: str) -> None:
    for key, kind in kinds.items():
        if type(document.get(key)) is not kind:
            _fail(f"the proof has no {prefix}{key} of type {kind.__name__}", prefix + key)
    if unknown := [str(key) for key in document if key not in kinds]:
        _fail(f"the proof has an unknown field, {prefix}{unknown[0]}", prefix + unknown[0])


def _check_digest(value: object, field: str) -> None:
    if not content_id.is_content_id(value):
        _fail(f"{field} is {str(value)[:80]!r}: 64 lower-case hex digits are expected", field)


def _check_commit(commit: Mapping[str, Any], op_id: str) -> Seal:
    """Check that the id is that of the parts, and return what the message seals."""
    _check_digest(commit["commit_id"], "commit.commit_id")
    _check_digest(commit["snapshot_id"], "commit.snapshot_id")
    for parent_id in commit["parent_ids"]:
        _check_digest(parent_id, "commit.parent_ids")
    if commit["parent_ids"] != sorted(set(commit["parent_ids"])):
        _fail("the parents are not sorted, or one is there twice", "commit.parent_ids", op_id)
    expected = _commit_id(commit["parent_ids"], commit, "the proof")
    if commit["commit_id"] != expected:
        _fail(
            f"the proof states commit {commit['commit_id']}, but parents, snapshot, message and time hash "
            f"to {expected}",
            "commit.commit_id",
            op_id,
        )
    seal = read_seal(commit["message"])
    if seal is None:
        _fail("the commit's message ends in no seal: it seals no ops", "commit.message", op_id)
    return seal


def _commit_id(parent_ids: Iterable[str], commit: Mapping[str, Any], whose: str) -> str:
    for key in ("message", "committed_at"):
        if content_id.NUL in commit[key]:  # it separates what is hashed
            _fail(f"{whose} has a NUL character in {key}", f"commit.{key}")
    try:
        return content_id.commit_id(
            parent_ids, commit["snapshot_id"], commit["message"], commit["committed_at"]
        )
    except UnicodeEncodeError as error:
        raise ProofError(f"{whose} is not valid Unicode: {error}", field="commit.message") from error


def _check_entry(proof: Mapping[str, Any], entry: OpEntry, seal: Seal) -> None:
    op_id, place, size = entry["op_id"], proof["leaf_index"], proof["tree_size"]
    if proof["session_id"] != seal.session_id:
        _fail(
            f"the proof names session {proof['session_id']!r}, the commit seals {seal.session_id!r}",
            "session_id",
            op_id,
        )
    if size != seal.op_count:
        _fail(f"the proof names {size} ops, the commit seals {seal.op_count}", "tree_size", op_id)
    path = tuple(bytes.fromhex(digest) for digest in proof["audit_path"])
    try:
        root = root_from(Inclusion(place, size, path), leaf_of(entry))
    except (MuseError, ValueError, RecursionError) as error:
        raise ProofError(f"the proof's entry cannot be hashed: {error}", field="entry") from error
    if root is None:
        _fail(f"no audit path of {len(path)} steps leads from leaf {place} of {size}", "audit_path", op_id)
    if root.hex() != seal.root:
        _fail(
            f"op {op_id} does not lead to the root that commit {proof['commit']['commit_id']} seals: the "
            "entry, its place or the audit path was changed",
            "entry",
            op_id,
        )
    for end, stated in ((0, seal.first), (size - 1, seal.last)):
        if place == end and position_text(entry) != stated:
            _fail(f"op {op_id} is leaf {place}, where the commit names op {stated}", "leaf_index", op_id)


def _check_record(record: Mapping[str, Any], commit: Mapping[str, Any], entry: OpEntry, seal: Seal) -> None:
    """Check a commit record against the proof's commit, and its delta against the seal."""
    op_id = entry["op_id"]
    parts = {**{key: record.get(key) for key in commit}, "parent_ids": sorted(_parents(record))}
    for key, value in commit.items():
        if parts[key] != value:
            _fail(
                f"the commit record's {key} is {str(parts[key])[:80]!r}, the proof's {str(value)[:80]!r}",
                f"commit.{key}",
                op_id,
            )
    delta = record.get("structured_delta")
    if not isinstance(delta, dict) or delta.get("domain") != entry["domain"]:
        _fail(f"the commit record has no delta of domain {entry['domain']!r}", "structured_delta", op_id)
    if json_digest(delta) != seal.delta_digest:
        _fail("the commit record's delta is not the one its message seals", "structured_delta", op_id)


def _parents(record: Mapping[str, Any]) -> list[str]:
    found = (record.get("parent_commit_id"), record.get("parent2_commit_id"))
    return [str(parent_id) for parent_id in found if parent_id]


def _fail(message: str, field: str, op_id: str = "") -> NoReturn:
    raise ProofError(message, field=field, op_id=op_id)
