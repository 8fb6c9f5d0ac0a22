"""The checkpoint of one log on disk is a cache of the commits: if it is lost, they give it again."""

from collections.abc import Iterable

from muse.core.blocks import Position
from muse.core.coverage import (
    NOTHING,
    Coverage,
    OpLogCheckpoint,
    coverage_of,
    decode_checkpoint,
    encode_checkpoint,
    make_checkpoint,
)
from muse.core.file.log_file import LogFile
from muse.core.file.log_reader import LogReader
from muse.core.timestamp import now_text
from muse.disk.json_file import LONGEST_FILE
from muse.disk.storage import Storage
from muse.errors import CorruptionError, NotFoundError


class CheckpointFile:
    """Reads and replaces the checkpoint at `path`. Replacing is atomic and durable."""

    def __init__(
        self, path: str, session_id: str, storage: Storage, log_file: LogFile, reader: LogReader
    ) -> None:
        self._path = path
        self._session_id = session_id
        self._storage = storage
        self._file = log_file
        self._reader = reader

    def read(self) -> OpLogCheckpoint | None:
        """Return the checkpoint, or None without one; raise `CorruptionError` if it cannot be trusted."""
        try:
            data = self._storage.read_bytes(self._path, at_most=LONGEST_FILE)
        except NotFoundError as error:
            if self._storage.exists(self._mark):
                raise CorruptionError(
                    f"{self._path} is lost, though there was one: 'muse session recover "
                    f"{self._session_id}' makes it again from the commits",
                    path=self._path,
                ) from error
            return None
        return decode_checkpoint(data, self._session_id, self._path)

    def trusted(self) -> OpLogCheckpoint | None:
        """Return the checkpoint; None if it does not exist, or cannot be trusted."""
        try:
            return self.read()
        except CorruptionError:
            return None

    def check_cut(self, checkpoint: OpLogCheckpoint | None) -> None:
        """Raise `CorruptionError` if the line that ends at the cut is not the one it was made with."""
        cut = checkpoint.get("cut") if checkpoint else None
        expected = cut.get("op_id") if cut else ""
        if cut and expected and self._reader.op_id_before(cut["offset"]) != expected:
            raise CorruptionError(
                f"{self._file.path} is not the log that history was made from: op {expected} does not end at "
                f"byte {cut['offset']}; an older copy was put back, or lines were moved; put the whole log "
                f"back, or 'muse session recover {self._session_id}' finds what is in history by the ops "
                "themselves",
                path=self._file.path,
                offset=cut["offset"],
            )

    def coverage(self) -> Coverage:
        """Return what the checkpoint covers; nothing without one."""
        return self.covered_by(self.read())

    def trusted_coverage(self) -> Coverage:
        """Return what the checkpoint covers; nothing if it is lost or damaged.

        For readers to whom a lost checkpoint costs time only: the clock need not read what is before a cut.
        """
        return self.covered_by(self.trusted())

    def covered_by(self, checkpoint: OpLogCheckpoint | None) -> Coverage:
        """Return what a checkpoint that was read covers; nothing without one."""
        if checkpoint is None:
            return NOTHING
        return coverage_of(checkpoint) or self._coverage_by_count(checkpoint)

    def _coverage_by_count(self, checkpoint: OpLogCheckpoint) -> Coverage:
        """Read a checkpoint without a cut, as other tools write it: the first `op_count` entries."""
        left = checkpoint["op_count"]
        covered: list[Position] = []
        end = self._file.end()
        for position in self._reader.positions(0, end):
            if left == 0:
                return NOTHING.advance(covered, position.offset)
            covered.append(position)
            left -= 1
        if left:
            raise CorruptionError(
                f"{self._file.path} has {len(covered)} entries, but its checkpoint covers "
                f"{checkpoint['op_count']}: put the whole log back, or go on in a new session",
                path=self._file.path,
            )
        return NOTHING.advance(covered, end)

    def write(
        self, snapshot_id: str, coverage: Coverage, commit_id: str, tips: Iterable[str] = ()
    ) -> OpLogCheckpoint:
        """Replace the checkpoint. The log must have been synced up to what `coverage` says."""
        last = self._reader.op_id_before(coverage.cut.offset)
        checkpoint = make_checkpoint(
            self._session_id,
            snapshot_id,
            coverage,
            now_text(),
            commit_id=commit_id,
            tips=tips,
            last_op_id=last,
        )
        self._storage.write_atomically(self._path, encode_checkpoint(checkpoint))
        if not self._storage.exists(self._mark):
            self._storage.write_atomically(self._mark, b"")
        return checkpoint

    @property
    def _mark(self) -> str:
        """The file that says there was a checkpoint, so that a lost one never means "replay everything"."""
        return self._path.removesuffix(".json") + ".made"

    def distrust(self) -> None:
        """Remove the checkpoint, so that it counts as lost. A crash leaves it as it was, or lost."""
        if not self._storage.exists(self._mark):
            self._storage.write_atomically(self._mark, b"")
        self._storage.remove(self._path)

    def discard(self) -> None:
        """Remove the checkpoint of a session that has no commit in history."""
        self._storage.remove(self._mark)
        self._storage.remove(self._path)
