"""A repository: the stores under one root directory, opened together."""

import os.path
import sys
import uuid
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from muse.core.file.objects import ObjectStore
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.disk.git_carry import write_attributes
from muse.disk.storage import LOCAL, Storage
from muse.errors import NotFoundError, UsageError
from muse.history.dag import CommitDag
from muse.history.repo_record import (
    RepoRecord,
    let_any_domain,
    make_repo_record,
    read_repo_record,
    takes_any_domain,
    write_repo_record,
)

if TYPE_CHECKING:
    from muse.coordination.reservations import Coordination

FIRST_BRANCH = "main"
_SESSIONS_NAMED = 3
_KEPT_MANIFESTS = 4


class Repository:
    """The repository whose working tree is `root`: its identity, objects, commit DAG and coordination."""

    def __init__(self, root: str, storage: Storage = LOCAL, record: RepoRecord | None = None) -> None:
        """Open `root`. `record` takes the place of a `repo.json` that is damaged.

        Raises `UsageError` where Python gives file names another encoding than UTF-8, the one of a tree.
        """
        _check_encoding_of_names()
        self.any_domain = record is None and takes_any_domain(root, storage)
        record = record or read_repo_record(root, storage)
        self.root = root
        self.storage = storage
        self.repo_id = record["repo_id"]
        self.domain = record["domain"]
        self.created_at = record["created_at"]
        self.objects = ObjectStore(root, storage)
        self.dag = CommitDag(root, storage)
        self._manifests: dict[str, dict[str, str]] = {}

    @cached_property
    def coordination(self) -> "Coordination":
        """The reservations and intents of the repository."""
        from muse.coordination.reservations import Coordination  # noqa: PLC0415 - few commands need it

        return Coordination(self.root, storage=self.storage)

    @classmethod
    def init(
        cls,
        root: str,
        *,
        now: str | None = None,
        domain: str = "code",
        repo_id: str | None = None,
        any_domain: bool | None = None,
        storage: Storage = LOCAL,
    ) -> tuple["Repository", bool]:
        """Make a repository at `root`; return it, and whether it was made by this call.

        A repository that is there already keeps everything, its domain too. One that a crash left
        half-made is completed: `repo.json` is written last, and without it there is no repository.
        `now` is an ISO 8601 time with its offset, by default the present. `any_domain` says whether ops of
        domains that no plugin knows may be appended; where nobody says, as in older ones, they may.
        Raises `UsageError` for a bad argument, and `CorruptionError` for a damaged `repo.json`, which is not
        replaced.
        """
        record = make_repo_record(
            repo_id=repo_id or str(uuid.uuid4()), created_at=now or now_text(), domain=domain
        )
        storage.make_directories(layout.muse_directory(root), sync=True)
        # Of two at once, the second finds what the first made.
        with storage.locked(layout.refs_lock_file(root)):
            _make_furniture(root, storage)
            write_attributes(root, storage)
            created = not storage.exists(layout.repo_file(root))
            if created:
                write_repo_record(root, record, storage, any_domain=any_domain)
            elif any_domain and not takes_any_domain(root, storage):
                let_any_domain(root, storage)
        return cls(root, storage), created

    @classmethod
    def open(cls, root: str, storage: Storage = LOCAL) -> "Repository":
        """Open the repository at `root` itself; `NotFoundError` if there is no repository."""
        if not storage.exists(layout.repo_file(root)):
            raise NotFoundError(
                _logs_without_repository(root, storage) or f"{root} is not a Muse repository: run 'muse init'"
            )
        return cls(root, storage)

    @classmethod
    def find(cls, start: str, storage: Storage = LOCAL) -> "Repository":
        """Open the repository that `start` is in: the nearest directory upward that holds one."""
        directory, missing = os.path.abspath(start), ""
        while not storage.exists(layout.repo_file(directory)):
            missing = missing or _logs_without_repository(directory, storage)
            directory, name = os.path.split(directory)
            if not name:
                raise NotFoundError(
                    missing or f"{start} is not a Muse repository (or any parent): run 'muse init'"
                )
        return cls(directory, storage)

    def read_tree(self, commit_id: str | None) -> dict[str, str]:
        """Return the tree of a commit, path -> object id; without a commit, the empty tree."""
        if commit_id is None:
            return {}
        return self.read_manifest(self.dag.read_commit(commit_id)["snapshot_id"])

    def read_manifest(self, snapshot_id: str) -> dict[str, str]:
        """Return the manifest of a snapshot, name -> object id.

        Several parts of one command ask for the same, so the last few are kept; the caller gets a copy.
        """
        found = self._manifests.get(snapshot_id)
        if found is None:
            found = self.dag.read_snapshot(snapshot_id)["manifest"]
            # Made new and put in the place of the old one: other threads read it meanwhile.
            kept = [*self._manifests.items()][1 - _KEPT_MANIFESTS :]
            self._manifests = dict([*kept, (snapshot_id, found)])
        return dict(found)


def _check_encoding_of_names() -> None:
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise UsageError(
            f"Python reads file names as {encoding} here, and those of a repository are UTF-8: start it with "
            "PYTHONUTF8=1, or in a UTF-8 locale"
        )


def _logs_without_repository(root: str, storage: Storage) -> str:
    """Say what is missing where programs have begun logs without a repository; "" elsewhere."""
    if not storage.is_directory(layout.op_log_directory(root)):
        return ""
    from muse.core.session_directory import list_sessions  # noqa: PLC0415 - only an error says them

    found = list_sessions(root, storage=storage)
    if not found:
        return ""
    more = f" and {len(found) - _SESSIONS_NAMED} more" if len(found) > _SESSIONS_NAMED else ""
    return (
        f"{root} is not a Muse repository yet: run 'muse init {root}' to make one around the session"
        f"{'s' * (len(found) > 1)} {', '.join(found[:_SESSIONS_NAMED])}{more}"
    )


def _make_furniture(root: str, storage: Storage) -> None:
    """Make the directories, the empty first branch and HEAD where they are missing."""
    for directory in (
        layout.branches_directory(root),
        layout.objects_directory(root),
        layout.snapshots_directory(root),
        layout.commits_directory(root),
        layout.op_log_directory(root),
    ):
        storage.make_directories(directory, sync=True)
    if storage.exists(layout.head_file(root)):
        return
    # The branch before HEAD, so that HEAD always names a branch that is there.
    if not storage.exists(layout.branch_file(root, FIRST_BRANCH)):
        storage.write_atomically(layout.branch_file(root, FIRST_BRANCH), b"")
    CommitDag(root, storage).set_current_branch(FIRST_BRANCH)


class TreeFiles(Mapping[str, bytes]):
    """The files of a manifest, each read and checked when it is first asked for.

    `unstored` has the contents that are not in the object store yet, by object id.
    """

    def __init__(
        self, repository: Repository, manifest: Mapping[str, str], unstored: Mapping[str, bytes] | None = None
    ) -> None:
        self._repository = repository
        self._manifest = manifest
        self._unstored = unstored or {}
        self._read: dict[str, bytes] = {}

    def __getitem__(self, path: str) -> bytes:
        if path not in self._read:
            object_id = self._manifest[path]
            stored = self._unstored.get(object_id)
            self._read[path] = self._repository.objects.get(object_id) if stored is None else stored
        return self._read[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._manifest)

    def __len__(self) -> int:
        return len(self._manifest)

    def __contains__(self, path: object) -> bool:
        return path in self._manifest
