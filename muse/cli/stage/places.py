"""Free places and names: directories, sessions, and file names turned into session ids."""

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterable

from muse.cli.shared.options import current_directory
from muse.core.op_log import list_sessions
from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.errors import UsageError
from muse.history.repo_record import name_for_others
from muse.history.repository import Repository

_NAME_LENGTH = 80  # leaves room for a number
_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")


def next_free(name: str, is_taken: Callable[[str], bool]) -> str:
    """Return `name`, or the first of `name-2`, `name-3` and so on that is not taken."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if not is_taken(candidate))


def free_directory(name: str) -> str:
    """Return the path of a directory with this name, or a numbered one, that does not exist here yet."""
    here = current_directory()
    return os.path.join(here, next_free(name, lambda candidate: LOCAL.exists(os.path.join(here, candidate))))


def free_session_id(repository: Repository, name: str) -> str:
    """Return `name`, or a numbered form of it, as the id of a new session."""
    taken = {session_id.casefold() for session_id in list_sessions(repository.root)}
    return next_free(name, lambda candidate: candidate.casefold() in taken)


def session_id_from(text: str, default: str) -> str:
    """Turn any text, a file's name for example, into a session id."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("-", ascii_text)[:_NAME_LENGTH].strip("-") or default


def open_or_make(root: str, domain: str) -> Repository:
    """Open the repository at `root`, or make one if there is nothing yet, or only an empty directory."""
    root = os.path.abspath(root)
    if LOCAL.exists(layout.repo_file(root)):
        return Repository.open(root)
    is_free = not LOCAL.exists(root) or (LOCAL.is_directory(root) and not LOCAL.list_directory(root))
    if not is_free:
        raise UsageError(
            f"{root} has files and is not a Muse repository: run 'muse init' in it, or name another directory"
        )
    return Repository.init(root, domain=name_for_others(domain))[0]


def require_free_paths(repository: Repository, paths: Iterable[str], advice: str) -> None:
    """Raise `UsageError`, with `advice`, if one of `paths` is in the branch's tree or on disk."""
    tree = repository.read_tree(repository.dag.head(repository.dag.current_branch()))
    for path in paths:
        if path in tree or LOCAL.exists(os.path.join(repository.root, path)):
            raise UsageError(f"{path} is already there in {repository.root}: {advice}")
