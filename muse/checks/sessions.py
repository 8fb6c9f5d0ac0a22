"""Lists the sessions that a check goes through. What hinders that is a finding, and the others are listed."""

from typing import Protocol

from muse.checks.finding import Findings
from muse.core.file.live_or_archived import session_exists
from muse.core.session_directory import names_of_sessions
from muse.disk import layout
from muse.disk.storage import Storage


class IsThere(Protocol):
    """Tells whether a session is there, in the sense of the check."""

    def __call__(self, root: str, session_id: str, *, storage: Storage) -> bool: ...


def sessions_of(
    root: str, storage: Storage, findings: Findings, is_there: IsThere = session_exists
) -> list[str]:
    """Return the ids of all sessions that are there, archived ones too, sorted."""
    found = []
    directory = layout.op_log_directory(root)
    for name in findings.each_of(lambda: names_of_sessions(root, storage=storage), directory, "session"):
        with findings.noting(layout.session_directory(root, name), "session"):
            if is_there(root, name, storage=storage):
                found.append(name)
    return found
