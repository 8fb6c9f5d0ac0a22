"""The command `muse`: the only place that reads the environment, the home directory or the terminal."""

import gc
import sys

INTERRUPTED = 130  # what shells report for a command that Ctrl-C ended


def main() -> None:
    """Run the command that `sys.argv` asks for, and leave with its exit status."""
    # Every player of a live performance is a process that imports this package, and needs no command line.
    gc.disable()  # what is imported stays: to look through it again and again for garbage takes a quarter
    try:
        from muse.cli.shared.name_encoding import name_files_in_utf8  # noqa: PLC0415

        name_files_in_utf8()
        from muse.cli.app import run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    gc.freeze()
    gc.enable()
    sys.exit(run(sys.argv[1:]))
