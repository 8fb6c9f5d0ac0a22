"""`muse session graph`: draws which actor did what after what, in characters, SVG or for Graphviz."""

import os
from typing import Annotated, Any

import typer

from muse.cli.session.graph.dot import dot_of
from muse.cli.session.graph.svg import svg_of
from muse.cli.session.graph.text import TextGraph
from muse.cli.shared.options import (
    JsonOption,
    RepoOption,
    SessionArgument,
    check_session,
    current_directory,
    remember,
)
from muse.cli.shared.output import count_of
from muse.disk.storage import LOCAL
from muse.views.graph import OpGraph, Run, read_graph

_LAST = 500


def graph(
    ctx: typer.Context,
    *,
    session: SessionArgument,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="Only the last N ops.")] = _LAST,
    since: Annotated[
        int, typer.Option(min=1, metavar="LAMPORT", help="Only ops with this stamp or a higher one.")
    ] = 1,
    every_op: Annotated[
        bool, typer.Option("--every-op", help="Draw each op, not runs of one actor's.")
    ] = False,
    svg: Annotated[str | None, typer.Option(metavar="FILE", help="Draw an SVG picture.")] = None,
    dot: Annotated[str | None, typer.Option(metavar="FILE", help="Write it for Graphviz.")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a session's ops: a lane for each actor, edges from the ops that others name as parents.

    The newest are at the bottom. A row is a run of ops that one actor made one after the other. A
    diamond joins several parents; lines across the lanes are commits, which have all ops above them.

    Example: muse session graph jam-1 --last 200 --svg jam-1.svg
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = invocation.repository()
    session = check_session(repository, session)
    with output.progress("reading"):
        found = read_graph(repository, session, last=last, since=since, every_op=every_op)
    written = [(name, draw(found)) for name, draw in ((svg, svg_of), (dot, dot_of)) if name is not None]
    for name, text in written:
        LOCAL.write_atomically(os.path.join(current_directory(), name), text.encode(), sync=False)
    if output.as_json:
        output.record(_record(found))
    elif written:
        output.line(f"Written to {', '.join(name for name, _ in written)}")
    else:
        for line in TextGraph(found).lines():
            output.coloured(line)
    if found.left_out and not output.as_json:
        shown = sum(len(run.entries) for run in found.runs)
        output.line(f"{count_of(found.left_out, 'op')} before these {shown} left out: see --last and --since")


def _record(graph: OpGraph) -> dict[str, Any]:
    return {
        "session_id": graph.session_id,
        "actors": list(graph.actors),
        "left_out": graph.left_out,
        "runs": [_run_record(number, run) for number, run in enumerate(graph.runs)],
    }


def _run_record(number: int, run: Run) -> dict[str, Any]:
    first, last = run.entries[0], run.last
    return {
        "number": number,
        "actor_id": run.actor_id,
        "op_count": len(run.entries),
        "first": {"op_id": first["op_id"], "lamport_ts": first["lamport_ts"]},
        "last": {"op_id": last["op_id"], "lamport_ts": last["lamport_ts"]},
        "parent_op_ids": first["parent_op_ids"],
        "causes": run.causes,
        "commit_id": run.commit.commit_id if run.commit else None,
        "covered": run.covered,
    }
