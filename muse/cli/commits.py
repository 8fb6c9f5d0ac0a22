"""`muse commit`, `log`, `show` and `verify`: the way into history, and what stands there."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any

import typer

from muse.checks.verify import Finding, Report
from muse.checks.verify import verify as verify_dag
from muse.cli.evidence import gather_evidence
from muse.cli.options import (
    Invocation,
    JsonOption,
    RepoOption,
    SessionArgument,
    check_session,
    current_directory,
    remember,
)
from muse.cli.output import Output, count_of
from muse.core.op_log import OpLog, list_sessions
from muse.disk import layout
from muse.errors import CorruptionError, MuseError, UsageError
from muse.history.commit_record import CommitRecord, brief_record, covered_count
from muse.history.repo_record import RepoRecord
from muse.history.repository import Repository
from muse.history.signing import Signer
from muse.session.commit import CommitOutcome
from muse.session.live import LiveSession

SHORT_ID = 12
_OPS_SHOWN = 20


def commit(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    message: Annotated[str, typer.Option("--message", "-m", help="What was done.", show_default=False)],
    author: Annotated[str, typer.Option(envvar="MUSE_AUTHOR", help="Whose commit it is.")] = "",
    salvage: Annotated[bool, typer.Option("--salvage", help="Commit the good ops of a damaged log.")] = False,
    sign: Annotated[str | None, typer.Option(metavar="KEYFILE", help="Sign with this private key.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Store every op in order, not their net.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry a session's pending ops into history.

    One commit a domain, on the branch that HEAD names; the files here follow, but those changed by hand.
    A commit stores the net of its ops: a note inserted and then moved is one insert.

    Example: muse commit jam-1 -m "First take" --author Anna
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if not message.strip():
        raise UsageError("the commit message is empty: say what was done, with -m MESSAGE")
    repository = invocation.repository()
    check_session(repository, session)
    output = invocation.output
    signer = None if sign is None else Signer.load(os.path.join(current_directory(), sign))
    with (
        LiveSession(repository.root, session, author=author, signer=signer) as live,
        output.progress("committing"),
    ):
        outcome = live.commit(message, salvage=salvage, full=full)
    if output.as_json:
        output.record(outcome.as_record())
    else:
        _print_outcome(output, session, outcome)


def _print_outcome(output: Output, session: str, outcome: CommitOutcome) -> None:
    if not outcome.commit_ids:
        output.line(f"Nothing to commit: every op of session {session} is in history.")
        return
    for commit_id in outcome.commit_ids:
        output.line(f"Commit {commit_id}")
    output.line(f"{count_of(outcome.op_count, 'op')} ({outcome.summary})")
    for verb, paths in (("wrote", outcome.written), ("removed", outcome.removed)):
        for path in paths:
            output.line(f"  {verb} {path}")
    for op in outcome.ignored:
        output.line(f"  without effect: {op.address}: {op.reason}")


def log(
    ctx: typer.Context,
    *,
    revision: Annotated[
        str, typer.Argument(metavar="[REV]", help="A branch, HEAD, or a commit id.")
    ] = "HEAD",
    count: Annotated[int | None, typer.Option("-n", min=0, help="How many commits. Default: all.")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """List commits, newest first, each before those it builds on.

    Example: muse log -n 5
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    if revision == "HEAD" and repository.dag.head(repository.dag.current_branch()) is None:
        if not invocation.output.as_json:
            invocation.output.line("No commits yet.")
        return
    history = islice(repository.dag.children_first(repository.dag.resolve(revision)), count)
    if invocation.output.as_json:
        for record in history:
            invocation.output.record(brief_record(record))
        return
    rows = [
        (
            record["commit_id"][:SHORT_ID],
            record["committed_at"][:19].replace("T", " "),
            record["author"] or "-",
            covered_count(record),
            subject(record),
        )
        for record in history
    ]
    invocation.output.table(("COMMIT", "WHEN (UTC)", "AUTHOR", "OPS", "MESSAGE"), rows)


def _ops_of(record: CommitRecord) -> list[Mapping[str, Any]]:
    delta = record["structured_delta"]
    return list(delta["ops"]) if delta else []


def subject(record: CommitRecord) -> str:
    """Return the first line of a commit's message."""
    return (record["message"].strip().splitlines() or [""])[0]


def show(
    ctx: typer.Context,
    *,
    revision: Annotated[
        str, typer.Argument(metavar="[COMMIT]", help="A commit id, a branch or HEAD.")
    ] = "HEAD",
    show_all: Annotated[bool, typer.Option("--all", help=f"All ops, not the first {_OPS_SHOWN}.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one commit: who, when, what it changed, and its ops.

    Example: muse show HEAD --all
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    record = repository.dag.read_commit(repository.dag.resolve(revision))
    changes = _changed_files(repository, record)
    ops = _ops_of(record)
    shown = ops if show_all else ops[:_OPS_SHOWN]
    if invocation.output.as_json:
        files = [{"path": path, "change": change} for path, change in changes]
        invocation.output.record({**brief_record(record), "files": files, "ops": shown})
    else:
        _print_commit(invocation, record, changes, show_all=show_all)


def _changed_files(repository: Repository, record: CommitRecord) -> list[tuple[str, str]]:
    """Compare a commit's tree with that of its first parent: (path, what happened to it)."""
    before = repository.read_tree(record["parent_commit_id"])
    after = repository.read_tree(record["commit_id"])
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return [
        (path, "added" if path not in before else "removed" if path not in after else "changed")
        for path in changed
    ]


def _print_commit(
    invocation: Invocation,
    record: CommitRecord,
    changes: list[tuple[str, str]],
    *,
    show_all: bool,
) -> None:
    output = invocation.output
    output.line(f"Commit    {record['commit_id']}")
    for heading, key in (("Parent", "parent_commit_id"), ("Parent", "parent2_commit_id")):
        if record[key]:  # type: ignore[literal-required]
            output.line(f"{heading:<9} {record[key]}")  # type: ignore[literal-required]
    output.line(f"Snapshot  {record['snapshot_id']}")
    output.line(f"Branch    {record['branch']}")
    output.line(f"Author    {record['author'] or '-'}")
    output.line(f"When      {record['committed_at']}")
    output.line()
    for text in record["message"].splitlines():
        output.line(f"    {text}".rstrip())
    if changes:
        output.line()
    for path, change in changes:
        output.line(f"{change:<8} {path}")
    if delta := record["structured_delta"]:
        output.line()
        count = count_of(covered_count(record), "op")
        net = " net" if delta["ops"] != [] and len(delta["ops"]) != covered_count(record) else ""
        output.line(f"{count} of domain {delta['domain']}:{net} {delta['summary']}")
    lines = [line for op in _ops_of(record) for line in _op_lines(op)]
    shown = lines if show_all else lines[:_OPS_SHOWN]
    for line in shown:
        output.line(f"  {line}")
    if len(shown) < len(lines):
        output.line(f"  ... and {len(lines) - len(shown)} more: --all shows them")


def _op_lines(op: Mapping[str, Any]) -> Iterable[str]:
    """Say what an op does: a line, and one more for each change inside a file where there are several."""
    yield _op_text(op)
    children = op.get("child_ops")
    if isinstance(children, list) and len(children) > 1:
        yield from (f"  {_op_text(child)}" for child in children if isinstance(child, dict))


def _op_text(op: Mapping[str, Any]) -> str:
    summaries = (op.get(name) for name in ("child_summary", "content_summary", "new_summary"))
    summary = next((str(text) for text in summaries if text), "")
    return "  ".join(filter(None, (str(op.get("op", "other")), str(op.get("address", "")), summary)))


def verify(
    ctx: typer.Context,
    *,
    replay: Annotated[
        bool, typer.Option("--replay", help="Make every commit anew from its log, and compare.")
    ] = False,
    require_signatures: Annotated[
        bool, typer.Option("--require-signatures", help="An unsigned commit is a fault.")
    ] = False,
    key: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Trust this public key too; may be repeated.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every hash, every link, every log and every signature.

    Each fault is a line; exit status 1 if there is one, or if commits cannot be made anew as the
    plugin of their domain is not installed here. An unfinished last line is no fault.

    Example: muse verify --replay
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = _repository_to_verify(invocation)
    done: Counter[str] = Counter()
    with output.progress("verifying") as progress:

        def count(kind: str, number: int) -> None:
            done[kind] = number
            progress(done.total())

        report = verify_dag(repository.root, repository.storage, count)
        entries, faults = check_logs(repository, lambda number: count("entry", number))
        evidence = gather_evidence(
            repository,
            replay=replay,
            require_signatures=require_signatures,
            key_files=key or [],
            progress=lambda number: count("op", number),
        )
    findings = [finding_record(finding) for finding in report.findings] + faults
    findings += [finding_record(finding) for finding in evidence.findings]
    if output.as_json:
        output.record({**report_record(report, entries, findings), **evidence.as_record()})
    else:
        for finding in findings:
            output.line(f"{finding['kind']}: {finding['message']}")
        evidence.print(output)
        output.line(report_text(report, entries, len(findings)))
    if findings or not evidence.is_complete:
        raise typer.Exit(1)


def _repository_to_verify(invocation: Invocation) -> Repository:
    """Open the repository; one whose `repo.json` is damaged too, which is then a finding among others."""
    try:
        return invocation.repository()
    except CorruptionError as error:
        root = os.path.dirname(os.path.dirname(error.path))
        return Repository(root, record=RepoRecord(repo_id="", schema_version="", created_at="", domain=""))


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
    """Say in one line what was checked and what came of it."""
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
