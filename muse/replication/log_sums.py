"""Keeps the sum of a log's items beside it, which is good for as long as nobody writes to its file.

By these, two replicas know that nothing is new in a log without reading it. A cache: it may be removed at any
time, and what is damaged or of a log that changed since is as good as absent. `muse verify` and `muse session
check` never look at it: they find bytes that went bad while the file's status stayed the same.
"""

import contextlib
import os
import re

import orjson

from muse.disk import layout
from muse.disk.json_file import encode_json
from muse.disk.storage import LOCAL, Storage, version_of
from muse.errors import MuseError, StorageError

_SCHEMA_VERSION = 1
_AT_MOST = 1 << 10
_SUM = re.compile("[0-9a-f]{32}")

Version = tuple[int, int, int, int]
"""What changes when a log is written to, or another takes its place."""


def log_version(root: str, session_id: str, storage: Storage = LOCAL) -> Version | None:
    """Return the version of the file of a log; None where it is not, as for an archived one."""
    found: os.stat_result | None = storage.look(layout.ops_file(root, session_id))
    return None if found is None else (*version_of(found), found.st_ctime_ns)


def kept_sum(root: str, session_id: str, storage: Storage = LOCAL) -> str:
    """Return the sum that was kept of a log as it is now; "" where none is known."""
    with contextlib.suppress(MuseError, ValueError):
        data = storage.read_bytes(layout.items_sum_file(root, session_id), at_most=_AT_MOST)
        document = orjson.loads(data)
        version = log_version(root, session_id, storage)
        match document:
            case {"schema_version": int(schema), "version": list(known), "sum": str(found)}:
                is_good = schema == _SCHEMA_VERSION and version == tuple(known)
                return found if is_good and _SUM.fullmatch(found) else ""
    return ""


def keep_sum(root: str, session_id: str, version: Version, found: bytes, storage: Storage = LOCAL) -> None:
    """Keep the sum of a log of this version, if that can be: a directory may be read-only, or a disk full."""
    path = layout.items_sum_file(root, session_id)
    document = {"schema_version": _SCHEMA_VERSION, "version": [*version], "sum": found.hex()}
    data = encode_json(document, path)
    with contextlib.suppress(StorageError):
        storage.write_atomically(path, data, sync=False)
