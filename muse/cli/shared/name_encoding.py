"""The names of files in a tree are UTF-8, whatever the locale says."""

import os
import sys


def name_files_in_utf8() -> None:
    """Begin the command again in Python's UTF-8 mode, where the locale gives file names another encoding.

    Read as Latin-1, each file whose name is not ASCII would be another one, and the one of the tree would be
    gone. What is printed keeps the encoding of the terminal.
    """
    mode = ["-X", "utf8"]
    if sys.getfilesystemencoding() == "utf-8" or sys.orig_argv[1:3] == mode:
        return
    if sys.stdout is not None:
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    command: list[str | bytes] = [sys.executable, *mode, *map(os.fsencode, sys.orig_argv[1:])]
    os.execv(sys.executable, command)  # noqa: S606 - the same command, without a shell
