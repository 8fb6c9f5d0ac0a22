"""The newest state of a session: the branch, and on it all ops of the log that no commit has yet."""

from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from muse.apply.domain_order import in_domain_order, names_of_others
from muse.apply.domains import States, apply_entries
from muse.causality import HeadOps, heads_of
from muse.core.content_id import object_id
from muse.core.entry import OpEntry
from muse.core.file.live_or_archived import is_archived
from muse.core.op_log import OpLog
from muse.disk.resource import Resource
from muse.errors import CorruptionError, NotFoundError
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import read_seal
from muse.history.tree import with_contents
from muse.plugins.code.file_ids import DOMAIN as CODE
from muse.plugins.op_fields import NAMES_DIRECTORY, names_path
from muse.session.guarded_log import GuardedLog
from muse.session.policy import Policy
from muse.session.receipt import Receipt
from muse.workdir.base import Base
from muse.workdir.documents import Documents
from muse.workdir.log_version import log_version

if TYPE_CHECKING:
    from muse.session.live import LiveSession
    from muse.session.text_replica import CodeReplica

MUSIC = "music"

Drafts = Sequence[Mapping[str, Any]]
"""Ops as a log takes them, in their order."""


def pending_count(repository: Repository, session_id: str, branch: str) -> int:
    """Count the ops of a session that are in no commit; 0 where it is archived, or there is no log."""
    if is_archived(repository.root, session_id, storage=repository.storage):
        return 0
    with Newest(repository, session_id, branch, "") as newest:
        return len(newest.pending)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a session from the last look: the digests of its files, and the heads of domains.

    It is so as long as the branch is at `head`, and the log has the `version`. Each head
    comes with its actor.
    """

    head: str | None
    version: tuple[int, ...]
    digests: Mapping[str, str]
    heads: Mapping[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at a session found: the ops that no commit has, and what the files are by them."""

    pending: list[OpEntry]
    committed: Mapping[str, str]
    manifest: dict[str, str]
    digests: Mapping[str, str]
    unstored: dict[str, bytes]


class Newest(Resource):
    """The files of a branch with the pending ops of one session, as they were at one moment.

    The session is read once something is asked for that is not `known`; contents are, when they are asked
    for. Pages of names are not among the `digests`.
    """

    def __init__(
        self,
        repository: Repository,
        session_id: str,
        branch: str,
        actor_id: str,
        *,
        heals: bool = True,
        known: Known | None = None,
    ) -> None:
        """Look at a session. Without `heals`, as on a disk that takes no writes, as its checkpoint has it."""
        self._heals = heals
        self.repository = repository
        self.session_id = session_id
        self.branch = branch
        self.documents = Documents()
        self._actor_id = actor_id
        self._stack = ExitStack()
        self._log: OpLog | None = None
        self._guarded: tuple[Policy, GuardedLog] | None = None
        self._replica: CodeReplica | None = None
        self._others_names: tuple[frozenset[str], ...] = (frozenset(), frozenset())
        self._committed: tuple[str | None, Mapping[str, str]] = (None, {})
        self.refresh(known)

    def refresh(self, known: Known | None = None) -> None:
        """Look again, once ops may have been appended."""
        self.version = log_version(self.repository, self.session_id)
        self.head = self.repository.dag.head(self.branch)
        is_so = known is not None and (known.head, known.version) == (self.head, self.version)
        self._known = known if is_so else None
        self._found: _Look | None = None
        self._is_replica_old = True
        self.__dict__.pop("files", None)
        self.__dict__.pop("_worked_on", None)

    @property
    def _look(self) -> _Look:
        if self._found is None:
            self._found, self._known = self._looked(), None
        return self._found

    def _looked(self) -> _Look:
        dag, pending = self.repository.dag, list[OpEntry]()
        is_there = bool(self.version) or self._log is not None
        while self.session_id and is_there:
            log = self._healed_log()
            self.head = dag.head(self.branch)
            pending = log.replay_since_checkpoint()
            if dag.head(self.branch) == self.head:
                break
        if self._committed[0] != self.head:
            self._committed = self.head, self.repository.read_tree(self.head)
        return self._applied(pending, self._committed[1])

    def _applied(self, pending: list[OpEntry], committed: Mapping[str, str]) -> _Look:
        """Apply the pending ops, domain after domain, as a commit would."""
        changed: dict[str, bytes | None] = {}
        unstored: dict[str, bytes] = {}

        def keep(content: bytes) -> str:
            name = object_id(content)
            unstored[name] = content
            return name

        if (names := names_of_others(CODE, pending)) != self._others_names:
            self._replica, self._others_names = None, names  # it places its files among those
        states = States(self.repository, self.head)
        parts, of_replica = in_domain_order(pending), set[str]()
        last = max((place for place, (domain, _) in enumerate(parts) if domain == CODE), default=-1)
        for place, (domain, own) in enumerate(parts):
            if place == last:  # the replica tells what comes of all parts of its domain
                changed = {path: changed[path] for path in changed if path not in of_replica}
                changed |= self.replica.changed_files()
                continue
            files = TreeFiles(self.repository, with_contents(committed, changed, keep), unstored)
            applied = apply_entries(domain, own, files, self.repository.objects.get, states.of(domain))
            changed |= applied.files
            own_paths = applied.files.keys()
            of_replica = of_replica | own_paths if domain == CODE else of_replica - own_paths
            states.take(domain, applied.state)
        manifest = with_contents(committed, changed, keep)
        digests = {
            path: name for path, name in manifest.items() if not path.startswith(f"{NAMES_DIRECTORY}/")
        }
        return _Look(pending, committed, manifest, digests, unstored)

    # -- looking --------------------------------------------------------------------------------

    @property
    def is_known(self) -> bool:
        """Whether the session is as it was at the last look, and nothing of it was read since."""
        return self._known is not None

    @property
    def is_seen(self) -> bool:
        """Whether its files are known, or were looked at."""
        return self._known is not None or self._found is not None

    @property
    def digests(self) -> Mapping[str, str]:
        """The digests of all files, path -> digest."""
        return self._look.digests if self._known is None else self._known.digests

    @property
    def pending(self) -> list[OpEntry]:
        """The ops that no commit has."""
        return self._look.pending

    @property
    def committed(self) -> Mapping[str, str]:
        """The tree of the branch, path -> digest."""
        return self._look.committed

    @cached_property
    def files(self) -> TreeFiles:
        """The contents of all files, pages of names too."""
        return TreeFiles(self.repository, self._look.manifest, self._look.unstored)

    def content(self, path: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        return self.files[path] if path in self._look.manifest else None

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
        """Return whether a file is as the branch has it, and no pending op is about it."""
        is_same = self._look.committed.get(path) == self._look.manifest.get(path)
        return is_same and path not in self._worked_on

    @property
    def log(self) -> OpLog:
        """The log of the session; it begins with the first op."""
        return self._open_log() if self.is_known else self._healed_log()

    def _open_log(self) -> OpLog:
        if self._log is None:
            log = OpLog(self.repository.root, self.session_id, storage=self.repository.storage)
            self._log = self._stack.enter_context(log)
        return self._log

    def _healed_log(self) -> OpLog:
        """Return the log once its checkpoint agrees with the branches, as for a session that is known."""
        if self._heals:
            self._live.heal()
        return self._open_log()

    @cached_property
    def _live(self) -> "LiveSession":
        from muse.session.live import LiveSession  # noqa: PLC0415 - it is not needed where all is known

        repository, log = self.repository, self._open_log()
        return LiveSession(
            repository.root, self.session_id, branch=self.branch, storage=repository.storage, log=log
        )

    @property
    def replica(self) -> "CodeReplica":
        """A replica of the texts, and of all files that are no MIDI files."""
        if self._replica is None:
            from muse.session.text_replica import CodeReplica  # noqa: PLC0415 - nor is this

            log = self._healed_log()
            self._replica = CodeReplica(self.repository, log, self._actor_id, branch=self.branch)
        elif self._is_replica_old:
            self._replica.refresh()
        self._is_replica_old = False
        return self._replica

    def heads(self, domain: str) -> tuple[str, ...]:
        """Return the ops from which all of a domain here follow."""
        if not self.version:
            return ()
        if domain in (known := self.known_heads()):
            return tuple(known[domain])
        if domain == CODE:
            return self.replica.version
        from muse.session.causes import committed_heads  # noqa: PLC0415 - nor is this

        own = [entry for entry in self.pending if entry["domain"] == domain]
        found = heads_of(own)
        return tuple(found or committed_heads(self.repository, self.session_id, domain, self.head))

    def known_heads(self) -> Mapping[str, dict[str, str]]:
        """Return, of the domains of which that is known, the ops from which all follows, and their actors."""
        if self._known is not None:
            return self._known.heads
        return {} if self._replica is None or self._is_replica_old else {CODE: self._replica.heads}

    def heads_at(self, domain: str, commit_id: str) -> tuple[str, ...]:
        """Return the ops of the session from which all of a domain in a commit follow."""
        from muse.session.causes import committed_heads  # noqa: PLC0415

        if not self.version or not commit_id:
            return ()
        return tuple(committed_heads(self.repository, self.session_id, domain, commit_id))

    @cached_property
    def _worked_on(self) -> Container[str]:
        return self._places_of(entry for entry in self.pending if entry["domain"] == CODE)

    def _places_of(self, entries: Iterable[OpEntry]) -> set[str]:
        """Return the ids and the paths of the files that ops are about."""
        ops = [entry["domain_op"] for entry in entries]
        ids = {str(op.get("file_id", "")) for op in ops}
        paths = (self.replica.path_of(file_id) for file_id in ids)  # no replica is read where there is none
        return {*ids, *(str(op.get("address", "")) for op in ops), *filter(None, paths)} - {""}

    def is_only_by_actor(self, path: str, file_id: str) -> bool:
        """Return whether the actor made a file in this session, and nobody else did anything to it.

        The first actor counts where none is named.
        """
        entries = self.log.entries(domain=CODE) if self.version else ()
        ops = ((one["actor_id"], one["domain_op"]) for one in entries)
        own = [(actor, op) for actor, op in ops if op.get("file_id") == file_id or op.get("address") == path]
        is_made = any(op["op"] == "insert" and op.get("file_id") == file_id for _, op in own)
        return is_made and {actor for actor, _ in own} == {self._actor_id or own[0][0]}

    def touched_since(self, base: Base) -> Container[str] | None:
        """Return ids and paths of the files that others' ops were about since a base was written.

        None if that may be any file. The ops of the plan of the base are our own.
        """
        seen, dag = base.seen, self.repository.dag
        if (base.session_id, base.branch) != (self.session_id, self.branch) or not self.version:
            return None
        if self.head is not None and self.head != seen.head:
            seals = (read_seal(one["message"]) for one in dag.history(self.head, stop={seen.head}))
            if any(seal is None or seal.session_id != self.session_id for seal in seals):
                return None
        own = {draft["op_id"] for step in (base.plan or {}).get("steps", ()) for draft in step["drafts"]}
        entries = self.log.entries(since=seen.log[0] if seen.log else 0, domain=CODE)
        try:
            others = [entry for entry in entries if entry["op_id"] not in own]
        except CorruptionError:  # the log ended within a line
            return None
        return self._places_of(others) if all("file_id" in entry["domain_op"] for entry in others) else None

    def is_of(self, session_id: str, branch: str) -> bool:
        """Return whether this is of a session and a branch, and the branch has not moved since."""
        is_same = (self.session_id, self.branch) == (session_id, branch)
        return is_same and self.repository.dag.head(branch) == self.head

    def guarded(self, policy: Policy) -> GuardedLog:
        """Return the log that holds appends to a policy."""
        if self._guarded is None or self._guarded[0] != policy:
            guarded = GuardedLog(self.repository, self.log, policy=policy, branch=self.branch, foresees=False)
            self._guarded = policy, guarded
        return self._guarded[1]

    def take_own(self, digests: Mapping[str, str], drafts: Drafts, receipts: Iterable[Receipt]) -> None:
        """Take in ops on texts that were appended here just now; `digests` are what their files are by them.

        If anything else came, the session is looked at again. The files were as their authors had them.
        """
        before, (size, *_) = self._known_now(), self.version or (0,)
        self.refresh()
        for one in sorted(receipts, key=attrgetter("position")):
            if one.position != size or one.next_position is None:
                return
            size = one.next_position
        if before.head != self.head or self.version[:1] != (size,):
            return
        heads = dict(before.heads)
        if CODE in heads:
            following = HeadOps(heads[CODE])
            for draft in drafts:
                following.take(draft["op_id"], self._actor_id, draft["parent_op_ids"])
            heads[CODE] = following.actors
        self._known = Known(self.head, self.version, {**before.digests, **digests}, heads)

    def _known_now(self) -> Known:
        return Known(self.head, self.version, self.digests, self.known_heads())

    def close(self) -> None:
        """Release the log."""
        self._stack.close()
