"""The fields that ops of every domain share: paths, addresses, digests, and how values are shown. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from muse.core.content_id import is_content_id
from muse.disk.tree_path import may_mean, path_fault
from muse.errors import DomainError

Fetch = Callable[[str], bytes]
"""Returns the bytes of a stored object by its id; raises `NotFoundError` or `KeyError` for an unknown id."""

NAMES_DIRECTORY = ".muse_notes"
"""Where Muse keeps a page beside each score; no op of any domain may write there."""

_CARRIED = frozenset({"text", "base64", "content"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def shown(value: Any) -> str:
    """Show a JSON value in a message: short, and safe for one that is huge or deeply nested."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    return repr(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"


def address_of(op: Any) -> str:
    """Return the address that an op names, for the list of ignored ops; "" when it names none."""
    address = op.get("address") if isinstance(op, Mapping) else None
    return address if isinstance(address, str) else ""


def content_named_by(op: Any) -> str | None:
    """Return the id of the content that an op on a whole file brings without its bytes; None for any other.

    Each file that is made so takes as much room as if the bytes came with the op.
    """
    if not isinstance(op, Mapping) or op.get("position") is not None or not _CARRIED.isdisjoint(op):
        return None
    kind, named = op.get("op"), None
    if kind == "insert":
        named = op.get("content_id")
    elif kind == "replace":
        named = op.get("new_content_id")
    return named if is_content_id(named) else None


def check_rule(rule: int, last: int) -> None:
    """Raise `DomainError` for a rule that is not among those from 1 to the last one that is known here."""
    if not 1 <= rule <= last:
        raise DomainError(
            f"the files were made by rule {rule}, and only those up to {last} are known here: "
            "install a newer version"
        )


def undone_by(op: Any) -> list[str]:
    """Return the ids of the ops that an op says it takes back."""
    named = op.get("undoes") if isinstance(op, Mapping) else None
    return [name for name in named if isinstance(name, str)] if isinstance(named, list | tuple) else []


def names_path(path: str) -> str:
    """Name the page that belongs to the file at `path`, should that be a score."""
    return f"{NAMES_DIRECTORY}/{path}.json"


def check_path(path: Any) -> None:
    """Check that an op may name a file at `path`. Raises DomainError for any other place."""
    if (fault := place_fault(path)) is not None:
        raise DomainError(fault)


def place_fault(path: Any) -> str | None:
    """Say what is wrong with the place of a file, and of the page of its names; None if nothing is.

    What has no fault can be stored: a path that no tree may have is the fault of one op, not of a commit.
    """
    if (fault := path_fault(path)) is not None:
        return f"the address of a file is a path inside the tree, not {shown(path)}: {fault}"
    if _CONTROL.search(path):
        return f"{shown(path)} has control characters in it: choose another name"
    if may_mean(path.partition("/")[0], NAMES_DIRECTORY):
        return f"{shown(path)} is in a directory that Muse keeps for itself: choose another"
    if (fault := path_fault(names_path(path))) is not None:
        return f"{shown(path)} is too long for {NAMES_DIRECTORY}, its names' place: {fault}"
    return None


def parents_of(path: str) -> list[str]:
    """Return the directories that a path is in, the outermost first."""
    return [path[:end] for end, character in enumerate(path) if character == "/"]


def digest_of(op: Mapping[str, Any], name: str) -> str:
    """Return the sha256 in the field `name` of an op. Raises DomainError for anything else there."""
    digest = op.get(name)
    if not is_content_id(digest):
        raise DomainError(f"`{name}` is a sha256 in 64 hex digits, lower case, not {shown(digest)}")
    return digest


def check_patch(op: Mapping[str, Any], child_domain: str) -> None:
    """Check a patch of a file: a list of ops of `child_domain`, a new path for the file, or both."""
    child_ops, source = op.get("child_ops"), op.get("from_address")
    if not isinstance(child_ops, list | tuple):
        raise DomainError(f"`child_ops` is a list, not {shown(child_ops)}")
    if child_ops and op.get("child_domain") != child_domain:
        raise DomainError(f"`child_domain` is {child_domain!r}, not {shown(op.get('child_domain'))}")
    if source is not None:
        check_path(source)
    if not child_ops and (source is None or source == op.get("address")):
        raise DomainError("the patch has no child ops and renames nothing: give one or the other")
