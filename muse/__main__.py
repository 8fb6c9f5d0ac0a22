"""Lets `python -m muse` be the command `muse`."""

from muse.cli import main

if __name__ == "__main__":
    main()
