"""The parts of one handle of a log, put together."""

from muse.core.appends import Appends, Durability
from muse.core.arrivals import Arrivals
from muse.core.checkpoints import Checkpoints
from muse.core.file.checkpoint_store import CheckpointFile
from muse.core.file.cursors import Cursors
from muse.core.file.log_reader import LogReader
from muse.core.file.objects import ObjectStore
from muse.core.file.session_file import SessionFile
from muse.core.heads import Heads
from muse.core.orphan_file import OrphanFile
from muse.core.orphans import Orphans
from muse.core.reading import LogReading
from muse.core.session_directory import SessionDirectory
from muse.core.uncommitted import PendingOps


class LogParts:
    """The parts that one `OpLog` uses until it is closed, or forked into another process.

    `collapsed`: domain -> up to which byte its ops were collapsed since the last checkpoint.
    """

    def __init__(
        self,
        directory: SessionDirectory,
        durability: Durability,
        collapsed: dict[str, int],
        *,
        allow_network: bool,
    ) -> None:
        storage, limits = directory.storage, directory.limits
        self.file = SessionFile(
            directory.root,
            directory.session_id,
            storage,
            prepare=directory.prepare,
            allow_network=allow_network,
        )
        self.reader = LogReader(self.file, directory.index_path, storage)
        store = CheckpointFile(
            directory.checkpoint_path, directory.session_id, storage, self.file, self.reader
        )
        pending = PendingOps(self.reader, store, ObjectStore(directory.root, storage), limits)
        self.appends = Appends(directory, self.file, self.reader, store, durability)
        self.cursors = Cursors(self.file)
        self.reading = LogReading(
            directory, self.file, self.reader, self.appends, pending, cursors=self.cursors
        )
        orphan_file = OrphanFile(directory.orphans_path, storage)
        self.arrivals = Arrivals(directory, orphan_file, self.appends, self.file, self.reader)
        self.orphans = Orphans(orphan_file, self.arrivals, self.file, self.reader)
        self.heads = Heads(self.appends, store, self.reader)
        self.checkpoints = Checkpoints(self.appends, store, pending, self.arrivals, collapsed)
