"""A repository with one session in history, as the tests of archives want it; and what is on its disk."""

import os
from contextlib import closing

from muse.core.file.session_file import SessionFile
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.history.repository import Repository
from muse.session.live import LiveSession

NOW = "2026-01-02T03:04:05+00:00"
DOMAIN, OTHER = "notes-domain-without-plugin", "zither-domain-without-plugin"


def make_session(root: str, *, ops: int = 6, session_id: str = "jam", storage: Storage = LOCAL) -> bytes:
    """Make a repository whose session has two commits, and all its ops in them; return the log's bytes."""
    Repository.init(root, now=NOW, storage=storage, any_domain=True)
    with LiveSession(root, session_id, durability="disk", storage=storage) as session:
        for part in (ops // 2, ops - ops // 2):
            session.log.record_many(
                "ada", DOMAIN, [{"n": number, "pad": "x" * 100} for number in range(part)]
            )
            session.edit("bob", OTHER, {"n": part})
            session.commit("Some")
    return log_bytes(root, session_id, storage)


def log_bytes(root: str, session_id: str = "jam", storage: Storage = LOCAL) -> bytes:
    """Return the bytes of a session's log, wherever it is."""
    with closing(SessionFile(root, session_id, storage)) as file:
        return file.read(0, file.end())


def numbers(root: str, session_id: str = "jam", storage: Storage = LOCAL) -> list[object]:
    with OpLog(root, session_id, storage=storage) as log:
        return [dict(entry["domain_op"])["n"] for entry in log.entries()]


def files_under(directory: str, storage: Storage = LOCAL) -> set[str]:
    """Return the path of every file under a directory, below it."""
    found = set()
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        for name, is_directory in storage.list_directory(os.path.join(directory, prefix)):
            if is_directory:
                waiting.append(os.path.join(prefix, name))
            else:
                found.add(os.path.join(prefix, name))
    return found


def muse_files(root: str, storage: Storage = LOCAL) -> set[str]:
    return files_under(layout.muse_directory(root), storage)
