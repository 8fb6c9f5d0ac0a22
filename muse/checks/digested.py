"""Checks files that nothing else vouches for: coordination, policies, proposals, tokens, directories.

Reads only. A file of an earlier version, or of another tool, has no digest and passes if it can be read.
"""

import os.path
from collections.abc import Callable
from functools import partial

from muse.checks.finding import Findings, Kind
from muse.checks.sessions import sessions_of
from muse.coordination.journal import COMPANIONS, KINDS
from muse.coordination.store import RecordStore
from muse.core.content_id import is_content_id, object_id
from muse.disk import layout
from muse.disk.json_file import read_with_digest
from muse.disk.storage import Storage
from muse.errors import CorruptionError, MuseError, NotFoundError
from muse.session.policy import read_policy
from muse.session.proposals import ProposalFile


def check_digested(root: str, storage: Storage) -> Findings:
    """Read every such file of a repository, and report each that is not what was written."""
    findings = Findings()
    store = RecordStore(root, storage)
    for kind in (*KINDS, *COMPANIONS.values()):
        try:
            ids = store.ids(kind)
        except MuseError as error:
            findings.add(layout.coordination_record_directory(root, kind), "coordination", error)
            continue
        for own in ids:
            _check(store.path(kind, own), "coordination", partial(store.read, kind, own), findings)
    _check(layout.coordination_journal_file(root), "coordination", store.check_journal, findings)
    tokens = layout.tokens_file(root)
    _check(tokens, "tokens", partial(read_with_digest, tokens, storage), findings)
    _check_workdirs(layout.workdir_directory(root), storage, findings)
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


def _check_workdirs(directory: str, storage: Storage, findings: Findings) -> None:
    """Check what is remembered of working directories: each file has a digest, or is named by its own."""
    try:
        for name, is_directory in storage.list_directory(directory):
            path = os.path.join(directory, name)
            if is_directory and name.endswith(layout.PARTS_END):
                for prefix, is_inner in storage.list_directory(path):
                    inner = os.path.join(path, prefix)
                    for rest, _ in storage.list_directory(inner) if is_inner else ():
                        _check_part(os.path.join(inner, rest), prefix + rest, storage, findings)
            elif name.endswith(".json"):
                _check_remembered(path, storage, findings)
    except MuseError as error:
        findings.add(directory, "workdir", error)


def _check_remembered(path: str, storage: Storage, findings: Findings) -> None:
    try:
        read_with_digest(path, storage)
    except NotFoundError:
        pass  # what it told was done meanwhile
    except CorruptionError as error:
        advice = "the next 'muse record --session SESSION' makes it again, and takes nothing of others back"
        findings.add(path, "workdir", f"{error}; {advice}")
    except MuseError as error:
        findings.add(path, "workdir", error)


def _check_part(path: str, name: str, storage: Storage, findings: Findings) -> None:
    try:
        if not is_content_id(name) or object_id(storage.read_bytes(path)) == name:
            return
        message = "is damaged: its bytes are not those that its name says; remove it, and run 'muse record'"
        findings.add(path, "workdir", f"{path} {message}")
    except NotFoundError:
        pass  # nobody needs it any more
    except MuseError as error:
        findings.add(path, "workdir", error)


def _check(path: str, kind: Kind, read: Callable[[], object], findings: Findings) -> None:
    try:
        read()
    except NotFoundError:
        pass  # it was removed meanwhile, or there is none
    except MuseError as error:
        findings.add(path, kind, error)
