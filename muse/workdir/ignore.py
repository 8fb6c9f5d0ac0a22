"""Tells which files of a directory are left out: junk of tools, and what `.museignore` names. Pure."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from muse.disk.storage import TEMPORARY_MARK
from muse.disk.tree_path import RESERVED, may_mean
from muse.errors import UsageError
from muse.plugins.op_fields import NAMES_DIRECTORY

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".museignore"
JUNK_DIRECTORIES = frozenset(
    {"node_modules", "__pycache__", ".venv", ".hg", ".svn", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
    | {".tox", ".idea", ".vs", "__MACOSX", ".ipynb_checkpoints", ".Trash", "$RECYCLE.BIN"}
)
JUNK_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "4913", "Icon\r"})
_ODD_STARTS = (".", "#")
_JUNK_ENDS = (".swp", ".swo", ".swx", "~", ".pyc", ".crdownload", ".part")

Skips = Callable[[str, bool], bool]
"""Tells of a path, and whether it is a directory, whether it is left out."""


def is_junk(path: str, is_directory: bool) -> bool:  # noqa: FBT001 - as `Skips` is called
    """Tell whether a tool left this behind, or Muse or another version control keeps it for itself."""
    name = path.rpartition("/")[2]
    names = JUNK_DIRECTORIES if is_directory else JUNK_FILES
    if name in names or (not is_directory and name.endswith(_JUNK_ENDS)):
        return True
    if name[:1] not in _ODD_STARTS and "~" not in path and path.isascii() and path[0] != ".":
        return False  # nearly all names, and each is asked for at each look through a directory
    if name.lower() in RESERVED or may_mean(path, NAMES_DIRECTORY):
        return True  # a name that some systems take for one of these is named, as one that no tree may have
    is_lock = name.startswith((".#", ".~lock.")) or (name.startswith("#") and name.endswith("#"))
    return not is_directory and (is_lock or _is_ours(name))


def _is_ours(name: str) -> bool:
    """Tell whether a crash left this temporary file of ours."""
    return name.startswith(".") and TEMPORARY_MARK in name


def skips_of(rules: bytes | None) -> Skips:
    """Return what says which paths are left out. `rules` are the bytes of the ignore file, as git has it.

    Raises `UsageError` for rules that are no text, or have a pattern that cannot be.
    """
    if rules is None:
        return is_junk
    spec = _spec(rules)

    def skips(path: str, is_directory: bool) -> bool:  # noqa: FBT001 - as `Skips` is called
        return is_junk(path, is_directory) or spec.match_file(f"{path}/" if is_directory else path)

    return skips


def _spec(rules: bytes) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - only where there is such a file

    try:
        return GitIgnoreSpec.from_lines(rules.decode().splitlines())
    except ValueError as error:  # a wrong pattern, or no UTF-8
        raise UsageError(f"{IGNORE_FILE} cannot be read as patterns: {error}") from error
