"""The seal of a commit: trailers at the end of its message that say which ops it was made from. Pure.

The message is hashed into the commit id, so the id seals the trailers, and the trailers seal the
ops: their place in the log, their number, and the Merkle root over their bytes. They also seal all that
no other hash covers of the commit, its snapshot and its repository.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from muse.core.content_id import is_content_id, sha256_hex
from muse.core.entry import OpEntry
from muse.core.line import entry_json
from muse.core.op_list import encode_op_list
from muse.domain import StructuredDelta
from muse.errors import InvalidEntryError
from muse.history.merkle import root_hash

_TRAILER = re.compile(r"(Muse-[A-Za-z-]+): (.*)\Z")
_NUMBER = re.compile(r"[0-9]{1,16}\Z")


@dataclass(frozen=True, slots=True)
class Seal:
    """The covered ops of one domain of one session.

    `cut_offset`: once this commit is in history, all of the session's log before this byte is too.
    `first`, `last`: the (Lamport, op id) of the first and last covered entry in the total order.
    `frontier_digest`, `delta_digest`: SHA-256 of the session's frontier and of the stored delta, as JSON
    with sorted keys. `root`: the Merkle root over the covered entries in the total order, each as the
    JSON bytes of its log line without crc. `op_list`: the object that lists their ids, see
    `muse.core.op_list`.

    The other fields have the value None in commits of versions that did not seal them. `record_digest`,
    `snapshot_digest` and `repository_digest` cover what nothing else covers of the commit, its snapshot and
    `repo.json`. `signer_key_id` names the key that the commit was signed with, None if it was not signed.
    `state_digests` has, for each domain in order, the digest of the snapshot of what its plugin keeps.
    `rules` says by which rule the domain's files were made, "music 2"; None means rule 1.
    """

    session_id: str
    cut_offset: int
    first: str
    last: str
    op_count: int
    frontier_digest: str
    delta_digest: str
    root: str
    op_list: str
    record_digest: str | None = None
    snapshot_digest: str | None = None
    repository_digest: str | None = None
    signer_key_id: str | None = None
    rules: str | None = None
    state_digests: str | None = None


@dataclass(frozen=True, slots=True)
class MergeSeal:
    """What the message of a merge seals: the commit that both lines begin at, and digests as in `Seal`.

    All of it follows from the two commits that are merged, so it is the same wherever they are merged. Merges
    of versions that did not seal a digest have None for it. A signature is beside the commit, not in it.
    """

    base: str | None
    delta_digest: str | None = None
    record_digest: str | None = None
    snapshot_digest: str | None = None
    state_digests: str | None = None


_FIELDS = {
    "Muse-Session": "session_id",
    "Muse-Cut": "cut_offset",
    "Muse-First": "first",
    "Muse-Last": "last",
    "Muse-Op-Count": "op_count",
    "Muse-Frontier": "frontier_digest",
    "Muse-Delta": "delta_digest",
    "Muse-Root": "root",
    "Muse-Ops": "op_list",
}
_OPTIONAL_FIELDS = {
    "Muse-Record": "record_digest",
    "Muse-Snapshot": "snapshot_digest",
    "Muse-Repository": "repository_digest",
    "Muse-Signer": "signer_key_id",
    "Muse-Rules": "rules",
    "Muse-State": "state_digests",
}
_MERGE_FIELDS = {
    "Muse-Delta": "delta_digest",
    "Muse-Record": "record_digest",
    "Muse-Snapshot": "snapshot_digest",
    "Muse-State": "state_digests",
}


def make_seal(
    session_id: str,
    cut_offset: int,
    entries: list[OpEntry],
    frontier: Mapping[str, int],
    delta: StructuredDelta,
) -> Seal:
    """Return the seal of `entries`, of which there is at least one, in the total order."""
    return Seal(
        session_id=session_id,
        cut_offset=cut_offset,
        first=position_text(entries[0]),
        last=position_text(entries[-1]),
        op_count=len(entries),
        frontier_digest=json_digest(frontier),
        delta_digest=json_digest(delta),
        root=root_of(entries),
        op_list=sha256_hex(encode_op_list(entry["op_id"] for entry in entries)),
    )


def position_text(entry: OpEntry) -> str:
    """Return the place of an entry in the total order as a seal has it: its stamp and its op id."""
    return f"{entry['lamport_ts']} {entry['op_id']}"


def json_digest(value: object) -> str:
    """Return the SHA-256 of JSON with sorted keys; `InvalidEntryError` for what cannot be written as JSON."""
    try:
        return sha256_hex(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError as error:  # what other tools wrote may be nested deeper
        raise InvalidEntryError(f"what is to be sealed cannot be written as JSON here: {error}") from error


def leaf_of(entry: OpEntry) -> bytes:
    """Return the bytes of an entry that are hashed: its JSON as the log has it, without the crc."""
    try:
        return entry_json(entry)
    except TypeError as error:  # a line that another tool framed
        raise InvalidEntryError(
            f"op {entry['op_id']} holds a value that cannot be written as JSON here: {error}"
        ) from error


def root_of(entries: Iterable[OpEntry]) -> str:
    """Return the Merkle root of entries, in the order given, as 64 hex digits."""
    return root_hash(map(leaf_of, entries)).hex()


def add_trailers(message: str, seal: Seal) -> str:
    """Return `message` with the seal as its last paragraph."""
    values = {key: getattr(seal, name) for key, name in (_FIELDS | _OPTIONAL_FIELDS).items()}
    trailers = "\n".join(f"{key}: {value}" for key, value in values.items() if value is not None)
    return f"{message.rstrip()}\n\n{trailers}\n".lstrip("\n")


def add_merge_trailers(message: str, seal: MergeSeal) -> str:
    """Return the message of a merge, which ends in trailers, with what `seal` seals among them."""
    values = {key: getattr(seal, name) for key, name in _MERGE_FIELDS.items()}
    return message + "".join(f"{key}: {value}\n" for key, value in values.items() if value)


def read_merge_seal(message: str) -> MergeSeal | None:
    """Return what the message of a merge seals, None if it is not that of a merge."""
    found = _trailers(message)
    base = found.get("Muse-Merge-Base", "")
    if not is_content_id(base):
        return None
    digests = {name: found.get(key) for key, name in _MERGE_FIELDS.items()}
    return MergeSeal(base if base.strip("0") else None, **digests)


def _trailers(message: str) -> dict[str, str]:
    paragraph = message.rstrip("\n").rpartition("\n\n")[2]
    matches = filter(None, map(_TRAILER.match, paragraph.split("\n")))
    return {match[1]: match[2] for match in matches}


def without_trailers(message: str) -> str:
    """Return what a person wrote of a commit message: without the trailers at its end, if it has any."""
    text, _, paragraph = message.rstrip("\n").rpartition("\n\n")
    is_ours = all(map(_TRAILER.match, paragraph.split("\n")))
    return text if is_ours else message


def read_seal(message: str) -> Seal | None:
    """Return the seal at the end of a commit message, None if there is no complete one."""
    found = _trailers(message)
    if not set(_FIELDS) <= set(found):
        return None
    values = {name: found[key] for key, name in _FIELDS.items()}
    numbers = {name: values.pop(name) for name in ("cut_offset", "op_count")}
    if not all(_NUMBER.match(text) for text in numbers.values()):
        return None
    values |= {name: found[key] for key, name in _OPTIONAL_FIELDS.items() if key in found}
    return Seal(**values, **{name: int(text) for name, text in numbers.items()})  # type: ignore[arg-type]
