"""The file `repo.json`, which says which repository this is; a directory that has it is a repository."""

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from muse.disk import layout
from muse.disk.json_file import encode_json, field, read_json_object
from muse.disk.storage import Storage
from muse.errors import UsageError
from muse.history.seal import json_digest

SCHEMA_VERSION = "0.1.5"
ANY_DOMAIN = "any_domain"
"""A further key of `repo.json`, which no commit seals: it is a setting, and may change."""
_NAMES_FOR_OTHERS = {"music": "midi"}
_DOMAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z")


class RepoRecord(TypedDict):
    """The four keys of `repo.json`, in the order they are written."""

    repo_id: str
    schema_version: str
    created_at: str
    domain: str


def name_for_others(domain: str) -> str:
    """Return the name by which other Muse tools know a domain, for `repo.json`; ops keep ours."""
    return _NAMES_FOR_OTHERS.get(domain, domain)


def is_name_for_others(domain: str) -> bool:
    """Return whether a name in `repo.json` is one that only other Muse tools have for a domain."""
    return domain in _NAMES_FOR_OTHERS.values()


def make_repo_record(*, repo_id: str, created_at: str, domain: str) -> RepoRecord:
    """Return the record of a new repository; `UsageError` for a bad id, time or domain name."""
    if not _DOMAIN.match(domain):
        raise UsageError(f"domain {domain!r} is not allowed: use a name such as 'code' or 'music'")
    try:
        uuid.UUID(repo_id)
    except ValueError as error:
        raise UsageError(f"repo id {repo_id!r} is not a UUID: leave it out to get a new one") from error
    return RepoRecord(
        repo_id=repo_id,
        schema_version=SCHEMA_VERSION,
        created_at=canonical_time(created_at),
        domain=domain,
    )


def canonical_time(text: str) -> str:
    """Return an ISO 8601 time in the one form that is hashed, that of Python: `+00:00` and no `Z`.

    Other Muse tools parse a commit's time and print it again before they hash it. With `Z` or
    milliseconds they would get another id. The offset stays as it is. Raises `UsageError` if
    `text` is not such a time or has no offset.
    """
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise UsageError(f"time {text!r} is not ISO 8601: write 2026-01-31T12:00:00+00:00") from error
    if time.tzinfo is None:
        raise UsageError(f"time {text!r} has no offset from UTC: write 2026-01-31T12:00:00+00:00")
    return time.isoformat()


def read_repo_record(root: str, storage: Storage) -> RepoRecord:
    """Read `repo.json`; `NotFoundError` if it does not exist, `CorruptionError` if it is not a record."""
    path = layout.repo_file(root)
    document = read_json_object(path, storage)
    return RepoRecord(
        repo_id=field(document, "repo_id", str, path),
        schema_version=field(document, "schema_version", str, path, ""),
        created_at=field(document, "created_at", str, path, ""),
        domain=field(document, "domain", str, path, "code"),
    )


def repository_digest(root: str, storage: Storage) -> str:
    """Return the digest of the four keys of `repo.json` as they are there; a missing one counts as null."""
    return digest_of_record(read_json_object(layout.repo_file(root), storage))


def takes_any_domain(root: str, storage: Storage) -> bool:
    """Return whether ops of domains without a plugin may be appended: also where `repo.json` does not say."""
    path = layout.repo_file(root)
    return field(read_json_object(path, storage), ANY_DOMAIN, bool, path, default=True)


def let_any_domain(root: str, storage: Storage) -> None:
    """Write into `repo.json` that ops of domains without a plugin may be appended; all else stays."""
    path = layout.repo_file(root)
    document = {**read_json_object(path, storage), ANY_DOMAIN: True}
    storage.write_atomically(path, encode_json(document, "repo.json"))


def digest_of_record(document: Mapping[str, Any]) -> str:
    """Return the digest that commits seal of a record."""
    return json_digest({name: document.get(name) for name in RepoRecord.__annotations__})


def write_repo_record(
    root: str, record: RepoRecord, storage: Storage, *, any_domain: bool | None = None
) -> None:
    """Write `repo.json`, durably and in one step; without `any_domain`, with no word on domains."""
    document = record if any_domain is None else {**record, ANY_DOMAIN: any_domain}
    storage.write_atomically(layout.repo_file(root), encode_json(document, "repo.json"))
