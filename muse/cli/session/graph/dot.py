"""A graph of ops in the language of Graphviz: `dot -Tpdf` draws it."""

from collections.abc import Iterator

from muse.cli.session.graph.text import describe
from muse.cli.shared.output import printable
from muse.views.graph import OpGraph, Run


def dot_of(graph: OpGraph) -> str:
    """Write a graph for Graphviz: a box for each run, dashed edges within a lane, a frame for each commit."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: OpGraph) -> Iterator[str]:
    yield f"digraph {_quoted(graph.session_id)} {{"
    yield '  node [shape=box, style=rounded, fontname="monospace", fontsize=10];'
    framed: dict[str, list[int]] = {}
    newest: dict[str, int] = {}
    for number, run in enumerate(graph.runs):
        yield f"  n{number} [label={_label(run)}, tooltip={_quoted(run.last['op_id'])}];"
        if run.actor_id in newest:
            yield f"  n{newest[run.actor_id]} -> n{number} [style=dashed];"
        yield from (f"  n{cause} -> n{number};" for cause in run.causes)
        newest[run.actor_id] = number
        if run.commit:
            framed.setdefault(f"commit {run.commit.commit_id[:12]}  {run.commit.subject}", []).append(number)
    for number, (title, members) in enumerate(framed.items()):
        nodes = " ".join(f"n{member};" for member in members)
        yield f"  subgraph cluster_{number} {{ label={_quoted(title)}; {nodes} }}"
    yield "}"


def _label(run: Run) -> str:
    return _quoted(run.actor_id).removesuffix('"') + "\\n" + _quoted(describe(run)).removeprefix('"')


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
