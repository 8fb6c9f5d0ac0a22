"""Checks the logs of live sessions, what waits beside them, and their checkpoints. Reads only."""

from collections.abc import Callable
from contextlib import closing

from muse.checks.finding import Findings
from muse.checks.sessions import sessions_of
from muse.core.blocks import decode_block
from muse.core.file.log_file import LONGEST_LINE_BYTES, LogFile
from muse.core.line import frame_holds
from muse.core.op_log import OpLog
from muse.core.orphan_file import OrphanFile
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import MuseError

_ENTRIES_BETWEEN_CALLS = 4096


def check_logs(root: str, storage: Storage, progress: Callable[[int], None]) -> tuple[int, Findings]:
    """Check every live session; return the number of entries, and the findings."""
    findings, count = Findings(), 0
    names = sessions_of(root, storage, findings)
    for name in names:
        _check_end(root, name, storage, findings)
    for name in names:
        findings += check_orphans(root, name, storage)
    for name in names:
        path = layout.ops_file(root, name)
        with OpLog(root, name, storage=storage) as log:
            try:
                for _ in log.entries(salvage=True):
                    count += 1
                    if count % _ENTRIES_BETWEEN_CALLS == 0:
                        progress(count)
                _check_damage(name, path, log, findings)
                log.read_checkpoint()
                log.cut()  # sees whether the log still has what the checkpoint covers
            except MuseError as error:
                findings.add_error(error, path, "session")
    return count, findings


def check_orphans(root: str, session_id: str, storage: Storage) -> Findings:
    """Check the entries that wait beside the log of a session for their parents."""
    orphans, findings = OrphanFile(layout.orphans_file(root, session_id), storage), Findings()
    try:
        for fault in orphans.faults():
            findings.add(orphans.path, "session", fault)
    except MuseError as error:
        findings.add(orphans.path, "session", error)
    return findings


def _check_end(root: str, session_id: str, storage: Storage, findings: Findings) -> None:
    """Look at what follows the last newline of a log: it is no fault, unless that newline was changed."""
    path = layout.ops_file(root, session_id)
    try:
        with closing(LogFile(path, storage)) as log_file:
            start = max(0, log_file.end() - LONGEST_LINE_BYTES)
            before, newline, tail = log_file.read(start, LONGEST_LINE_BYTES).rpartition(b"\n")
    except MuseError as error:
        findings.add(path, "session", error)
        return
    if not _is_unfinished(tail):
        findings.add(
            path,
            "session",
            f"{path} has a whole line at byte {start + len(before) + len(newline)} and no newline after it: "
            f"a byte was changed; 'muse session repair {session_id}' takes it out",
        )


def _is_unfinished(tail: bytes) -> bool:
    """Tell whether a writer may have left `tail` after the last newline: a line, or the start of one.

    A writer writes nothing after a whole line except a newline.
    """
    return not tail or frame_holds(tail) or 0 not in decode_block(tail + b"\n", 0).starts


def _check_damage(session_id: str, path: str, log: OpLog, findings: Findings) -> None:
    for damage in log.damages():
        if damage.kind == "corrupt":
            message = (
                f"session {session_id!r} is damaged at byte {damage.offset}: {damage.reason}; 'muse session "
                f"repair {session_id}' moves the bytes aside, once 'muse repair --from' brought what another "
                "replica has"
            )
            findings.add(path, "session", message)
