"""The file with the bytes of a session's log: `ops.jsonl`, or its archive, which takes no appends."""

from collections.abc import Callable
from typing import NoReturn

from muse.core.file.archive_frames import ArchiveFile
from muse.core.file.archive_manifest import read_manifest, read_tombstone
from muse.core.file.live_or_archived import is_archived
from muse.core.file.log_file import LogFile
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import UsageError


def _nothing() -> None:
    return None


class SessionFile(LogFile):
    """The log of `session_id`, which is read in the same way once it is archived."""

    def __init__(
        self,
        root: str,
        session_id: str,
        storage: Storage,
        *,
        prepare: Callable[[], None] = _nothing,
        allow_network: bool = False,
    ) -> None:
        path = layout.ops_file(root, session_id)
        super().__init__(path, storage, prepare=prepare, allow_network=allow_network)
        self._root = root
        self._session_id = session_id
        self._archive: ArchiveFile | None = None

    def _is_archived(self) -> bool:
        return is_archived(self._root, self._session_id, storage=self._storage)

    def _refuse_archived(self) -> NoReturn:
        raise UsageError(
            f"session {self._session_id!r} is archived and takes no ops: 'muse session restore "
            f"{self._session_id}' brings its log back"
        )

    def open_for_append(self) -> None:
        """Open the file as `LogFile` does; raise `UsageError` if the session is archived."""
        if self._writer >= 0:
            return
        if self._is_archived():
            self._refuse_archived()
        super().open_for_append()
        # An archiver keeps the file's lock until the tombstone is there: now that it is shared with
        # us, the tombstone is there or will not be. An empty file may be left, which nobody reads.
        if self._is_archived():
            super().close()
            self._refuse_archived()
        try:
            self._leave_archive()
            self._check_same()
        except BaseException:
            super().close()
            raise

    def blank(self, places: list[tuple[int, int]]) -> None:
        if self._is_archived():
            self._refuse_archived()
        super().blank(places)

    def _read(self, offset: int, length: int) -> bytes:
        archive = self._open_archive()
        return super()._read(offset, length) if archive is None else archive.read(offset, length)

    def _let_go_if_moved(self) -> None:
        if self._archive is not None and not self._is_archived():
            self._leave_archive()  # restored meanwhile
        super()._let_go_if_moved()

    def _size(self) -> int:
        archive = self._open_archive()
        return super()._size() if archive is None else archive.size

    def _open_archive(self) -> ArchiveFile | None:
        """Return the archive to read from; None if the log is where it is written to."""
        if self._archive is None and self._writer < 0 and self._reader < 0 and self._is_archived():
            tombstone = read_tombstone(self._root, self._session_id, self._storage)
            manifest = read_manifest(self._root, self._session_id, self._storage, tombstone)
            path = layout.archived_ops_file(self._root, self._session_id)
            self._archive = ArchiveFile(path, manifest, self._storage)
        return self._archive

    def _leave_archive(self) -> None:
        archive, self._archive = self._archive, None
        if archive is not None:
            try:
                self._compare_with(archive.read)
            finally:
                archive.close()

    def _forget_archive(self) -> None:
        if self._archive is not None:
            self._archive.close()
        self._archive = None

    def close(self) -> None:
        self._forget_archive()
        super().close()
