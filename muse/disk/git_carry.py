"""Git may carry a repository: what it is to leave alone, and how a file looks that it changed."""

import re

from muse.disk import layout
from muse.disk.storage import Storage

ATTRIBUTES = b"""\
# Written by muse. Git is to leave each byte in this directory as it is, and to join logs line by line.
* -text -ident -filter !working-tree-encoding -diff merge=binary
*.jsonl merge=union
"""
MARK = re.compile(rb"^(<<<<<<<|\|\|\|\|\|\|\||=======|>>>>>>>)(?: .*)?\r?$", re.MULTILINE)
"""A line that git puts into a file where it cannot merge."""


def write_attributes(root: str, storage: Storage) -> None:
    """Tell git how to treat the files of the repository at `root`; what is said already stays."""
    path = layout.git_attributes_file(root)
    if not storage.exists(path):
        storage.write_atomically(path, ATTRIBUTES)


def trace_of_git(content: bytes) -> str:
    """Say what git did to a damaged file, in words for a message; "" where nothing looks like git."""
    if MARK.search(content):
        return " (git left the marks of a merge in it: 'git checkout --ours' brings your side back)"
    if b"\r\n" in content:
        return " (its line ends were changed, as git's core.autocrlf does: check it out again)"
    return ""
