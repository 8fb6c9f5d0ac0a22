"""Checks the files that nothing else vouches for: coordination, policies, proposals, tokens.

Reads only. A file of an earlier version, or of another tool, has no digest and passes if it can be read.
"""

from muse.checks.finding import Findings, Kind
from muse.checks.sessions import sessions_of
from muse.coordination.store import COMPANIONS, KINDS, RecordStore
from muse.disk import layout
from muse.disk.json_file import read_with_digest
from muse.disk.storage import Storage
from muse.errors import MuseError, NotFoundError
from muse.session.policy import read_policy
from muse.session.proposals import ProposalFile


def check_digested(root: str, storage: Storage) -> Findings:
    """Read every such file of a repository, and report each that is not what was written."""
    findings = Findings()
    store = RecordStore(root, storage)
    for kind in (*KINDS, *COMPANIONS.values()):
        try:
            paths = [store.path(kind, own) for own in store.ids(kind)]
        except MuseError as error:
            findings.add(layout.coordination_record_directory(root, kind), "coordination", error)
            continue
        for path in paths:
            _check(path, "coordination", storage, findings)
    _check(layout.tokens_file(root), "tokens", storage, findings)
    for session_id in sessions_of(root, storage, findings):
        try:
            read_policy(root, session_id, storage)
        except MuseError as error:
            findings.add(layout.policy_file(root, session_id), "session", error)
        proposals = layout.proposals_file(root, session_id)
        try:
            ProposalFile(proposals, storage).all()
        except MuseError as error:
            findings.add(proposals, "session", error)
    return findings


def _check(path: str, kind: Kind, storage: Storage, findings: Findings) -> None:
    try:
        read_with_digest(path, storage)
    except NotFoundError:
        pass  # it was removed meanwhile, or there is none
    except MuseError as error:
        findings.add(path, kind, error)
