"""Says what `muse verify` found, for people and as JSON."""

from typing import Any

from muse.checks.verify import Finding, Report
from muse.cli.shared.output import count_of


def report_record(report: Report) -> dict[str, Any]:
    """Return what was checked and found, as JSON has it."""
    return {
        "sound": report.is_sound,
        "findings": [finding_record(finding) for finding in report.findings],
        "objects": report.objects,
        "snapshots": report.snapshots,
        "commits": report.commits,
        "refs": report.refs,
        "archives": report.archives,
        "entries": report.entries,
        "unreachable": report.unreachable,
    }


def finding_record(finding: Finding) -> dict[str, str]:
    """Return one fault, as JSON has it."""
    return {"path": finding.path, "kind": finding.kind, "message": finding.message}


def report_text(report: Report) -> str:
    """Say in one line what was checked, and the result."""
    state = "Sound" if report.is_sound else f"{count_of(len(report.findings), 'fault')} found"
    counted = ", ".join(
        (
            count_of(report.commits, "commit"),
            count_of(report.snapshots, "snapshot"),
            count_of(report.objects, "object"),
            count_of(report.refs, "branch", "branches"),
            count_of(report.entries, "log entry", "log entries"),
            *([count_of(report.archives, "archive")] if report.archives else ()),
        )
    )
    return f"{state}: {counted} checked"
