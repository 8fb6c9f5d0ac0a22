"""One set of rules says which paths may name a file of a tree, for storage and domains. Pure."""

PATH_BYTES = 1024
NAME_BYTES = 255  # what file systems allow for one part of a path


def path_fault(path: object) -> str | None:
    """Say what is wrong with `path` as the name of a file inside a tree; None if nothing is.

    It must be relative, with `/` between parts, no empty, `.` or `..` part, no NUL or backslash, and not
    under `.muse` or `.git` in any case (some file systems fold it). In UTF-8 it has at most 1024
    bytes, each part at most 255: a file system takes it, in any directory of sensible length.
    """
    if not isinstance(path, str) or not 0 < _utf8_length(path) <= PATH_BYTES:
        return f"a path is text of 1 to {PATH_BYTES} bytes in UTF-8"
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "a path has names, none of them '.' or '..', with '/' between them"
    if any(part.lower() in {".muse", ".git"} for part in parts):
        return "what is in '.muse' or '.git' is no part of a tree"
    if "\0" in path or "\\" in path:
        return "a name has no NUL and no backslash in it"
    if any(_utf8_length(part) > NAME_BYTES for part in parts):
        return f"a name has at most {NAME_BYTES} bytes in UTF-8"
    return None


def _utf8_length(text: str) -> int:
    """The bytes of `text` in UTF-8; 0 if it cannot be written so (lone surrogates)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0
