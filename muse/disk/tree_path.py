"""One set of rules says which paths may name a file of a tree, for storage and domains. Pure."""

import re
from functools import lru_cache
from unicodedata import normalize

PATH_BYTES = 1024
NAME_BYTES = 255  # what file systems allow for one part of a path
RESERVED = (".muse", ".git")

# What Unicode calls default ignorable: some file systems compare names without these characters.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def path_fault(path: object) -> str | None:
    """Say what is wrong with `path` as the name of a file inside a tree; None if nothing is.

    It must be relative, with `/` between parts, no empty, `.` or `..` part, no NUL or backslash, and not
    under what some file system may take for `.muse` or `.git`: see `may_mean`. In UTF-8 it has at most 1024
    bytes, each part at most 255: a file system takes it, in any directory of sensible length.
    """
    if not isinstance(path, str) or not 0 < _utf8_length(path) <= PATH_BYTES:
        return f"a path is text of 1 to {PATH_BYTES} bytes in UTF-8"
    return _fault_of_parts(path)


@lru_cache(maxsize=4096)  # of at most 1 kB each; a path is checked by each room that it passes
def _fault_of_parts(path: str) -> str | None:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "a path has names, none of them '.' or '..', with '/' between them"
    for name in RESERVED:
        if any(may_mean(part, name) for part in parts):
            return (
                f"what is in '.muse' or '.git' is no part of a tree, and some file systems read {name!r} here"
            )
    if "\0" in path or "\\" in path:
        return "a name has no NUL and no backslash in it"
    if any(_utf8_length(part) > NAME_BYTES for part in parts):
        return f"a name has at most {NAME_BYTES} bytes in UTF-8"
    return None


def may_mean(name: str, reserved: str) -> bool:
    """Return whether some file system may take `name` for `reserved`, a name in ASCII and lower case.

    Some fold case and forms of letters or skip characters (APFS, HFS+, ext4 and ZFS where they are asked to).
    NTFS drops dots and spaces at the end and what follows a colon, and has a short second name: MUSE~1.
    """
    if name[:1].lower() != reserved[0] and "~" not in name and name.isascii():
        return False  # nearly all names, and a directory may have many
    folded = _folded(name)
    return folded == reserved or ("~" in folded and _short_names(reserved).fullmatch(folded) is not None)


def _folded(name: str) -> str:
    if not name.isascii():
        name = _IGNORABLE.sub("", normalize("NFKC", normalize("NFKC", _IGNORABLE.sub("", name)).casefold()))
    return name.casefold().partition(":")[0].rstrip(" .")


@lru_cache
def _short_names(reserved: str) -> re.Pattern[str]:
    """Match the names of eight characters that are made from a longer one: of its start, or with a hash."""
    start = reserved.strip(".")[:6]
    return re.compile(rf"({re.escape(start)}|{re.escape(start[:2])}[0-9a-f]{{4}})~[0-9]+")


def _utf8_length(text: str) -> int:
    """The bytes of `text` in UTF-8; 0 if it cannot be written so (lone surrogates)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0
