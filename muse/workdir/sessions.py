"""Chooses the session that a directory works in."""

import re
from dataclasses import dataclass

from muse.core.file.live_or_archived import is_archived
from muse.core.session_directory import list_sessions
from muse.disk import layout
from muse.errors import UsageError
from muse.history.repository import Repository
from muse.workdir.base import Base, sessions_of_directories

NONE_YET = "none yet"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ChosenSession:
    """A session, and why it is this one, in words for people. Without one, `session_id` is ""."""

    session_id: str
    because: str


def choose_session(repository: Repository, base: Base, wanted: str | None, actor_id: str) -> ChosenSession:
    """Choose the session that was asked for, or the last one here, or the only one, or a new one.

    Where none has begun, it is the one that another directory waits to begin.
    """
    if wanted is not None:
        _refuse_archived(repository, layout.check_session_id(wanted))
        return ChosenSession(wanted, "as asked for")
    storage, root = repository.storage, repository.root
    last = base.session_id
    if last and not is_archived(root, last, storage=storage):
        return ChosenSession(last, "the last one of this directory")
    live = [
        name for name in list_sessions(root, storage=storage) if not is_archived(root, name, storage=storage)
    ]
    if len(live) == 1:
        return ChosenSession(live[0], "the only one that is open")
    # One in which nobody did anything yet has no log, and is worked in all the same.
    worked_in = set() if live else sessions_of_directories(root, storage)
    if len(worked_in) == 1 and not is_archived(root, only := worked_in.pop(), storage=storage):
        return ChosenSession(only, "that of another directory here")
    if not actor_id:
        return ChosenSession("", f"none: {len(live)} are open" if live else NONE_YET)
    named = session_named_after(actor_id)
    if named in live:
        return ChosenSession(named, f"that of {actor_id}")
    _refuse_archived(repository, named)
    return ChosenSession(named, f"a new one, named after {actor_id}")


def session_named_after(actor_id: str) -> str:
    """Return the id of a session that is named after an actor."""
    name = _UNFIT.sub("-", actor_id).replace("..", ".").strip(".-")[: layout.SESSION_ID_LENGTH].rstrip(".")
    return name if layout.is_session_id(name) else "session"


def _refuse_archived(repository: Repository, session_id: str) -> None:
    if is_archived(repository.root, session_id, storage=repository.storage):
        raise UsageError(
            f"session {session_id!r} is archived and takes no ops: name another with --session, or bring it "
            f"back with 'muse session restore {session_id}'"
        )
