"""The newest state of a session: the branch, and on it all ops of the log that no commit has yet."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property

from muse.apply.domains import apply_entries, read_state
from muse.causality import heads_of
from muse.core.content_id import object_id
from muse.core.entry import OpEntry
from muse.core.file.live_or_archived import is_archived
from muse.core.op_log import OpLog
from muse.disk.resource import Resource
from muse.errors import CorruptionError, NotFoundError
from muse.history.repository import Repository, TreeFiles
from muse.history.tree import with_contents
from muse.plugins.code.file_ids import DOMAIN as CODE
from muse.plugins.op_fields import NAMES_DIRECTORY, names_path
from muse.session.causes import committed_heads
from muse.session.guarded_log import GuardedLog
from muse.session.live import LiveSession
from muse.session.policy import Policy
from muse.session.text_replica import CodeReplica
from muse.workdir.log_version import log_version

MUSIC = "music"


def pending_count(repository: Repository, session_id: str, branch: str) -> int:
    """Count the ops of a session that are in no commit; 0 where it is archived, or there is no log."""
    if is_archived(repository.root, session_id, storage=repository.storage):
        return 0
    with Newest(repository, session_id, branch, "") as newest:
        return len(newest.pending)


class Newest(Resource):
    """The files of a branch with the pending ops of one session, as they were at one moment.

    Contents are read when they are asked for. Pages of names are not among the `digests`.
    """

    def __init__(
        self, repository: Repository, session_id: str, branch: str, actor_id: str, *, heals: bool = True
    ) -> None:
        """Look at a session. Without `heals`, as on a disk that takes no writes, as its checkpoint has it."""
        self._heals = heals
        self.repository = repository
        self.session_id = session_id
        self.branch = branch
        self._actor_id = actor_id
        self._stack = ExitStack()
        self._live: LiveSession | None = None
        self._guarded: tuple[Policy, GuardedLog] | None = None
        self.committed: Mapping[str, str] = {}
        self._committed_at: str | None = None
        self.version = log_version(repository, session_id)
        if session_id and self.version:
            self._open_log()
        self._look()

    def _open_log(self) -> None:
        if self._live is None:
            live = LiveSession(
                self.repository.root, self.session_id, branch=self.branch, storage=self.repository.storage
            )
            self._live = self._stack.enter_context(live)

    def _look(self) -> None:
        dag = self.repository.dag
        if self._live is None:
            self.head, self.pending = dag.head(self.branch), list[OpEntry]()
        elif self._heals:
            self._live.heal()
        while self._live is not None:
            self.head = dag.head(self.branch)
            self.pending = self._live.log.replay_since_checkpoint()
            if dag.head(self.branch) == self.head:
                break
        if self._committed_at != self.head:
            self.committed = self.repository.read_tree(self.head)
            self._committed_at = self.head
        self._unstored: dict[str, bytes] = {}
        self._apply()

    def _apply(self) -> None:
        """Apply the pending ops, domain after domain, as a commit would."""
        changed: dict[str, bytes | None] = {}
        domains = sorted({entry["domain"] for entry in self.pending})
        if CODE in domains:
            changed |= self.replica.changed_files()
        for domain in domains:
            if domain != CODE:
                own = [entry for entry in self.pending if entry["domain"] == domain]
                files, state = self._with(changed), read_state(self.repository, self.head, domain)
                fetch = self.repository.objects.get
                changed |= apply_entries(domain, own, files, fetch, state).files
        self._manifest = self._with_manifest(changed)
        self.digests = {
            path: name for path, name in self._manifest.items() if not path.startswith(f"{NAMES_DIRECTORY}/")
        }

    def _with_manifest(self, changed: Mapping[str, bytes | None]) -> dict[str, str]:
        return with_contents(self.committed, changed, self._keep)

    def _keep(self, content: bytes) -> str:
        name = object_id(content)
        self._unstored[name] = content
        return name

    def _with(self, changed: Mapping[str, bytes | None]) -> TreeFiles:
        return TreeFiles(self.repository, self._with_manifest(changed), self._unstored)

    # -- looking --------------------------------------------------------------------------------

    @cached_property
    def files(self) -> TreeFiles:
        """The contents of all files, pages of names too."""
        return TreeFiles(self.repository, self._manifest, self._unstored)

    def content(self, path: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        return self.files[path] if path in self._manifest else None

    def names_of(self, path: str) -> bytes | None:
        """Return the page of names of a MIDI file, if it has one."""
        return self.content(names_path(path))

    def committed_names(self, path: str, commit_id: str) -> bytes | None:
        """Return the page of names that a MIDI file had in a commit, if it had one."""
        try:
            name = self.repository.read_tree(commit_id).get(names_path(path))
            return None if name is None else self.repository.objects.get(name)
        except (NotFoundError, CorruptionError):
            return None

    def is_committed(self, path: str) -> bool:
        """Return whether a file is as the branch has it."""
        return self.committed.get(path) == self._manifest.get(path)

    @property
    def live(self) -> LiveSession:
        """The open session; its log begins with the first op."""
        self._open_log()
        assert self._live is not None  # noqa: S101 - `_open_log` made it
        return self._live

    @property
    def log(self) -> OpLog:
        """The log of the session."""
        return self.live.log

    @cached_property
    def replica(self) -> CodeReplica:
        """A replica of the texts, and of all files that are no MIDI files."""
        # One on the live session would heal it first.
        work_on = self.live if self._heals else self.repository
        return CodeReplica(work_on, self.log, self._actor_id, branch=self.branch)

    def heads(self, domain: str) -> tuple[str, ...]:
        """Return the ops from which all of a domain here follow."""
        if not self.version:
            return ()
        if domain == CODE:
            return self.replica.version
        own = [entry for entry in self.pending if entry["domain"] == domain]
        found = heads_of(own)
        return tuple(found or committed_heads(self.repository, self.session_id, domain, self.head))

    def heads_at(self, domain: str, commit_id: str) -> tuple[str, ...]:
        """Return the ops of the session from which all of a domain in a commit follow."""
        if not self.version or not commit_id:
            return ()
        return tuple(committed_heads(self.repository, self.session_id, domain, commit_id))

    def is_of(self, session_id: str, branch: str) -> bool:
        """Return whether this is of a session and a branch, and the branch has not moved since."""
        is_same = (self.session_id, self.branch) == (session_id, branch)
        return is_same and self.repository.dag.head(branch) == self.head

    def guarded(self, policy: Policy) -> GuardedLog:
        """Return the log that holds appends to a policy."""
        if self._guarded is None or self._guarded[0] != policy:
            self._guarded = policy, GuardedLog(self.repository, self.log, policy=policy, branch=self.branch)
        return self._guarded[1]

    def refresh(self) -> None:
        """Look again, once ops were appended."""
        self.version = log_version(self.repository, self.session_id)
        if "replica" in self.__dict__:
            self.replica.refresh()
        self.__dict__.pop("files", None)
        self._open_log()
        self._look()

    def close(self) -> None:
        """Release the log."""
        self._stack.close()
