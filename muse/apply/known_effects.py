"""What had no effect in the commits of a session, kept once it is known: in a commit it never changes.

A cache beside the log, of a line for each commit. It may be removed at any time. A line that is damaged, or
that another version of the plugin wrote, is as good as absent. Nothing that verifies a repository reads it.
"""

import contextlib
import os
from collections.abc import Container, Iterable, Iterator, Sequence

import orjson

from muse.disk import layout
from muse.disk.crc import crc32
from muse.disk.json_file import LONGEST_FILE
from muse.disk.storage import LOCAL, Storage
from muse.disk.system_calls import translated
from muse.domain import IgnoredOp
from muse.errors import MuseError
from muse.plugins.registry import plugin_version

_FORMAT = 1
"""To be raised where a line, or what is told of an op without another version of its plugin, changes."""

_CRC_DIGITS = 8

Known = tuple[str, str, Sequence[IgnoredOp]]
"""A commit, its domain, and what had no effect in it."""


class KnownEffects:
    """What is known of the commits of one session: nothing before it is `read`."""

    def __init__(self, root: str, session_id: str, storage: Storage = LOCAL) -> None:
        self._path = layout.known_effects_file(root, session_id)
        self._storage = storage
        self._lines: dict[str, bytes] = {}  # commit id -> its line, checked
        self._line_count = 0

    def read(self) -> None:
        """Read what was kept. What cannot be read is not known."""
        with contextlib.suppress(MuseError):
            for line in self._storage.read_bytes(self._path, at_most=LONGEST_FILE).split(b"\n"):
                self._line_count += bool(line)
                if (commit_id := _commit_of(line)) is not None:
                    self._lines[commit_id] = line

    def of(self, commit_id: str) -> list[IgnoredOp] | None:
        """Return what had no effect in a commit, with the ids of the ops; None where that is not known."""
        line = self._lines.get(commit_id)
        if line is None:
            return None
        _, _, domain, version, found = orjson.loads(line[_CRC_DIGITS:])
        if version != plugin_version(domain):
            return None
        return [IgnoredOp(place, address, reason, op_id) for place, op_id, address, reason in found]

    def keep(self, known: Iterable[Known]) -> None:
        """Keep what was found, if that can be: a directory may be read-only, or a disk full.

        What a domain without a plugin ignores is a matter of what is installed, and is not kept.
        """
        lines = list(_lines_of(known))
        if not lines:
            return
        with contextlib.suppress(MuseError), translated(self._path, "append to"):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            descriptor = self._storage.open(self._path, flags)
            try:
                # One write, between newlines: what a crash tore ends here, and writers do not mix.
                self._storage.write_all(descriptor, b"\n" + b"\n".join(lines) + b"\n")
            finally:
                self._storage.close(descriptor)

    def forget_all_but(self, commit_ids: Container[str]) -> None:
        """Remove what is known of other commits, and lines that say nothing; the file, if nothing is left."""
        left = [line for commit_id, line in self._lines.items() if commit_id in commit_ids]
        if len(left) == self._line_count:
            return
        with contextlib.suppress(MuseError):  # it only takes room
            if left:
                self._storage.write_atomically(self._path, b"\n".join(left) + b"\n", sync=False)
            else:
                self._storage.remove(self._path)


def _lines_of(known: Iterable[Known]) -> Iterator[bytes]:
    for commit_id, domain, ignored in known:
        if version := plugin_version(domain):
            found = [(one.index, one.op_id, one.address, one.reason) for one in ignored]
            with contextlib.suppress(orjson.JSONEncodeError):  # of a plugin that gives no texts
                data = orjson.dumps((_FORMAT, commit_id, domain, version, found))
                yield b"%08x" % crc32(data) + data


def _commit_of(line: bytes) -> str | None:
    """Return the commit that a line is of; None for one that is damaged, or of another format."""
    data = line[_CRC_DIGITS:]
    if not data or b"%08x" % crc32(data) != line[:_CRC_DIGITS] or not data.startswith(b"[%d," % _FORMAT):
        return None
    commit_id: str = orjson.loads(data)[1]
    return commit_id
