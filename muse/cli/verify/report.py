"""Checks the logs of all sessions, and says what `muse verify` found."""

from collections.abc import Iterable
from typing import Any

from muse.checks.verify import Finding, Report
from muse.cli.shared.output import count_of
from muse.core.op_log import OpLog, list_sessions
from muse.disk import layout
from muse.errors import MuseError
from muse.history.repository import Repository


def finding_record(finding: Finding) -> dict[str, str]:
    return {"kind": finding.kind, "path": finding.path, "message": finding.message}


def check_logs(
    repository: Repository, progress: Any = lambda _done: None
) -> tuple[int, list[dict[str, str]]]:
    """Read every session's log and checkpoint; return the number of entries, and the faults."""
    entries = 0
    faults: list[dict[str, str]] = []
    for session_id in list_sessions(repository.root):
        path = layout.ops_file(repository.root, session_id)
        with OpLog(repository.root, session_id, storage=repository.storage) as log:
            try:
                for _ in log.entries(salvage=True):
                    entries += 1
                    if entries % 4096 == 0:
                        progress(entries)
                faults += _damage_faults(session_id, path, log)
                log.read_checkpoint()
                log.cut()  # sees whether the log still has what the checkpoint covers
            except MuseError as error:
                where = getattr(error, "path", "") or path
                faults.append({"kind": "session", "path": where, "message": str(error)})
    return entries, faults


def _damage_faults(session_id: str, path: str, log: OpLog) -> Iterable[dict[str, str]]:
    for damage in log.damages():
        if damage.kind == "corrupt":
            message = f"session {session_id!r} is damaged at byte {damage.offset}: {damage.reason}"
            yield {"kind": "session", "path": path, "message": message}


def report_record(report: Report, entries: int, findings: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "sound": not findings,
        "findings": findings,
        "objects": report.objects,
        "snapshots": report.snapshots,
        "commits": report.commits,
        "refs": report.refs,
        "archives": report.archives,
        "entries": entries,
        "unreachable": report.unreachable,
    }


def report_text(report: Report, entries: int, finding_count: int) -> str:
    """Say in one line what was checked, and the result."""
    state = f"{count_of(finding_count, 'fault')} found" if finding_count else "Sound"
    counted = ", ".join(
        (
            count_of(report.commits, "commit"),
            count_of(report.snapshots, "snapshot"),
            count_of(report.objects, "object"),
            count_of(report.refs, "branch", "branches"),
            count_of(entries, "log entry", "log entries"),
            *([count_of(report.archives, "archive")] if report.archives else ()),
        )
    )
    return f"{state}: {counted} checked"
