"""`muse show`: one commit, what it changed, and its ops."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from muse.cli.shared.options import Invocation, JsonOption, RepoOption, remember
from muse.cli.shared.output import count_of
from muse.history.commit_record import CommitRecord, brief_record, covered_count
from muse.history.repository import Repository
from muse.history.tree import tree_changes

_OPS_SHOWN = 20


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
    """Show one commit: its author, its time, what it changed, and its ops.

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
    """Describe an op: one line, and one more for each change inside a file where there are several."""
    yield _op_text(op)
    children = op.get("child_ops")
    if isinstance(children, list) and len(children) > 1:
        yield from (f"  {_op_text(child)}" for child in children if isinstance(child, dict))


def _op_text(op: Mapping[str, Any]) -> str:
    summaries = (op.get(name) for name in ("child_summary", "content_summary", "new_summary"))
    summary = next((str(text) for text in summaries if text), "")
    return "  ".join(filter(None, (str(op.get("op", "other")), str(op.get("address", "")), summary)))
