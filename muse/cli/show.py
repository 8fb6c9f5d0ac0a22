"""`muse show`: one commit, and what it changed."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from muse.cli.shared.commit_text import commit_lines
from muse.cli.shared.diffs import print_diffs
from muse.cli.shared.options import Invocation, JsonOption, RepoOption, remember
from muse.cli.shared.output import count_of
from muse.history.commit_record import CommitRecord, brief_record, covered_count
from muse.history.repository import Repository
from muse.history.tree import tree_changes
from muse.plugins.op_fields import NAMES_DIRECTORY
from muse.views.file_diff import diff_commits

_OPS_SHOWN = 20


def show(
    ctx: typer.Context,
    *,
    revision: Annotated[
        str, typer.Argument(metavar="[COMMIT]", help="A commit id, a branch, HEAD or HEAD~2.")
    ] = "HEAD",
    show_ops: Annotated[
        bool, typer.Option("--ops", help="List the ops instead of what differs in the files.")
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help=f"All ops, not the first {_OPS_SHOWN}.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show the trailers of the message too.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one commit: its author, its time, and what it changed since its first parent.

    Texts are compared line by line, MIDI files note by note. With --ops or --all its ops are listed.

    Example: muse show HEAD~1

    Example: muse show HEAD --ops --all
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    record = repository.dag.read_commit(repository.dag.resolve(revision))
    changes = _changed_files(repository, record)
    diffs = diff_commits(repository, record["parent_commit_id"], record["commit_id"])
    if output.as_json:
        ops = _ops_of(record)
        output.record(
            {
                **brief_record(record),
                "files": [{"path": path, "change": change} for path, change in changes],
                "ops": ops if show_all else ops[:_OPS_SHOWN],
                "diff": [diff.as_record() for diff in diffs],
            }
        )
        return
    _print_commit(invocation, record, changes, full=full)
    if show_ops or show_all:
        _print_ops(invocation, record, show_all=show_all)
    elif changes:
        output.line()
        print_diffs(output, diffs)


def _ops_of(record: CommitRecord) -> list[Mapping[str, Any]]:
    delta = record["structured_delta"]
    return list(delta["ops"]) if delta else []


def _changed_files(repository: Repository, record: CommitRecord) -> list[tuple[str, str]]:
    """Compare a commit's tree with that of its first parent: (path, what happened to it)."""
    before = repository.read_tree(record["parent_commit_id"])
    after = repository.read_tree(record["commit_id"])
    return [
        (path, "added" if path not in before else "removed" if path not in after else "changed")
        for path in tree_changes(before, after)
    ]


def _print_commit(
    invocation: Invocation, record: CommitRecord, changes: list[tuple[str, str]], *, full: bool
) -> None:
    output = invocation.output
    for text in commit_lines(record, full=full):
        output.line(text)
    if changes:
        output.line()
    for path, change in changes:
        if not path.startswith(f"{NAMES_DIRECTORY}/"):
            output.line(f"{change:<8} {path}")
    if delta := record["structured_delta"]:
        output.line()
        count = count_of(covered_count(record), "op")
        net = " net" if delta["ops"] != [] and len(delta["ops"]) != covered_count(record) else ""
        output.line(f"{count} of domain {delta['domain']}:{net} {delta['summary']}")


def _print_ops(invocation: Invocation, record: CommitRecord, *, show_all: bool) -> None:
    output = invocation.output
    lines = [line for op in _ops_of(record) for line in _op_lines(op)]
    shown = lines if show_all else lines[:_OPS_SHOWN]
    for line in shown:
        output.line(f"  {line}")
    if len(shown) < len(lines):
        output.line(f"  ... and {len(lines) - len(shown)} more: --all shows them")


def _op_lines(op: Mapping[str, Any]) -> Iterable[str]:
    """Describe an op: one line, and one more for each change inside a file where there are several."""
    yield _op_text(op)
    children = op.get("child_ops")
    if isinstance(children, list) and len(children) > 1:
        yield from (f"  {_op_text(child)}" for child in children if isinstance(child, dict))


def _op_text(op: Mapping[str, Any]) -> str:
    summaries = (op.get(name) for name in ("child_summary", "content_summary", "new_summary"))
    summary = next((str(text) for text in summaries if text), "")
    return "  ".join(filter(None, (str(op.get("op", "other")), str(op.get("address", "")), summary)))
