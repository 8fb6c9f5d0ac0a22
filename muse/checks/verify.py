"""Checks a whole repository: all that `muse verify` does, in one call.

Reads only, and goes on after a fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from muse.checks.archives import check_archives
from muse.checks.digested import check_digested
from muse.checks.finding import Finding, Findings, Progress
from muse.checks.logs import check_logs
from muse.checks.replay import ReplayReport, replay_commits
from muse.checks.sealed_ops import check_archived_logs
from muse.checks.signatures import check_signatures
from muse.checks.stored import StoredReport, check_stored
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, NotFoundError, StorageError
from muse.history.repo_record import RepoRecord
from muse.history.repository import Repository
from muse.history.signing import TrustedKeys

__all__ = ["Finding", "Report", "verify_repository"]


@dataclass(slots=True)
class Report:
    """What was checked, counted, and what was found.

    `unreachable` of the objects, snapshots and commits are in no branch: a crash before the branch
    moved leaves some, and they do no harm. `signed` commits have signatures that hold, `unsigned` are the
    ids of the others. `replay` tells of the commits that were made again, if that was asked for.
    """

    findings: Findings = field(default_factory=Findings)
    objects: int = 0
    snapshots: int = 0
    commits: int = 0
    refs: int = 0
    archives: int = 0
    entries: int = 0
    unreachable: int = 0
    signed: int = 0
    unsigned: list[str] = field(default_factory=list)
    replay: ReplayReport | None = None

    @property
    def is_sound(self) -> bool:
        """Whether no fault was found."""
        return not self.findings

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked for could be checked: a replay needs the plugin of each domain."""
        return self.replay is None or not self.replay.without_plugin


def verify_repository(
    root: str,
    storage: Storage = LOCAL,
    *,
    replay: bool = False,
    require_signatures: bool = False,
    key_files: Sequence[str] = (),
    progress: Progress = lambda _what, _count: None,
) -> Report:
    """Check every hash, link, log, archive and signature of the repository at `root`, and report each fault.

    With `replay`, every commit of a session is made again from its log, and compared. With
    `require_signatures`, an unsigned commit is a fault. `key_files` are public keys that are trusted too. A
    fault of the repository is never raised, always reported; `UsageError` for a file that is no key.
    """
    repository = _open(root, storage)
    keys = TrustedKeys(root, storage)
    for path in key_files:
        keys.use(path)
    stored = check_stored(root, storage, progress)
    archives, archive_findings = check_archives(root, storage, progress)
    entries, log_findings = check_logs(root, storage, lambda count: progress("entry", count))
    signatures = check_signatures(repository, keys, required=require_signatures)
    digested = check_digested(root, storage)
    replayed = replay_commits(repository, lambda count: progress("op", count)) if replay else None
    ops_findings = replayed.findings if replayed else check_archived_logs(repository)
    return Report(
        _all_of(stored, archive_findings, log_findings, signatures.findings, ops_findings, digested),
        objects=stored.objects,
        snapshots=stored.snapshots,
        commits=stored.commits,
        refs=stored.refs,
        archives=archives,
        entries=entries,
        unreachable=stored.unreachable,
        signed=signatures.signed,
        unsigned=signatures.unsigned,
        replay=replayed,
    )


def _all_of(stored: StoredReport, *others: Findings) -> Findings:
    """Join what several checks found: a fault that two of them met is told once."""
    return Findings(dict.fromkeys(finding for found in (stored.findings, *others) for finding in found))


def _open(root: str, storage: Storage) -> Repository:
    """Open a repository, even if its `repo.json` is damaged: that is a finding, and the rest is checked."""
    try:
        return Repository.open(root, storage)
    except (CorruptionError, NotFoundError, StorageError):
        record = RepoRecord(repo_id="", schema_version="", created_at="", domain="")
        return Repository(root, storage, record)
