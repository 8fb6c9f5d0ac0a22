"""What `muse verify` says of signatures, and of the commits that it made again."""

from typing import Any

from muse.checks.verify import Report
from muse.cli.shared.commit_text import SHORT_ID
from muse.cli.shared.output import Output, count_of

_IDS_SHOWN = 10


def evidence_record(report: Report) -> dict[str, Any]:
    """Return what a report tells of signatures and of a replay, as JSON has it."""
    record: dict[str, Any] = {"signed": report.signed, "unsigned": report.unsigned}
    if report.replay is not None:
        record["replayed"] = {
            "commits": report.replay.commits,
            "ops": report.replay.ops,
            "not_made": report.replay.not_made,
            "without_plugin": sorted(report.replay.without_plugin),
        }
    return record


def print_evidence(report: Report, output: Output) -> None:
    """Print what was replayed, and how many commits are signed."""
    replay = report.replay
    if replay is not None:
        commits, ops = count_of(replay.commits - replay.not_made, "commit"), count_of(replay.ops, "op")
        output.line(f"Replayed: {commits} of {ops} made anew from the logs")
        if replay.not_made:
            domains = ", ".join(sorted(replay.without_plugin))
            output.line(
                f"Not made: {count_of(replay.not_made, 'commit')}, as no plugin is installed here "
                f"of domain {domains}; only their logs and deltas were compared with the seals"
            )
    if report.signed and report.unsigned:
        shown = [commit_id[:SHORT_ID] for commit_id in report.unsigned[:_IDS_SHOWN]]
        more = len(report.unsigned) - len(shown)
        output.line(f"Unsigned: {', '.join(shown)}" + (f" and {more} more" if more else ""))
    if report.signed:
        output.line(f"Signed:   {count_of(report.signed, 'commit')}, by trusted keys")
