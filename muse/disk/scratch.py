"""Scratch files and directories are gone once their block is left."""

import tempfile
from contextlib import AbstractContextManager
from typing import IO


def scratch_directory(prefix: str) -> AbstractContextManager[str]:
    """Make a directory for the block, under a new name that begins with `prefix`."""
    return tempfile.TemporaryDirectory(prefix=prefix)


def scratch_file() -> IO[bytes]:
    """Open a file without a name, which is gone once it is closed."""
    return tempfile.TemporaryFile()
