"""A graph of ops as an SVG picture: dark text on white, with tooltips that explain each thing."""

from collections.abc import Iterator, Sequence
from html import escape

from muse.cli.session.graph.text import LANES, describe, describe_mark, lanes_of, where_to_find
from muse.cli.shared.output import count_of, printable
from muse.views.graph import Mark, OpGraph, Run

ROW = 24  # pixels from one row to the next
LANE = 26
RADIUS = 6
_MARGIN = 20
_CORNER = 5
_LABEL_LENGTH = 110
_CHARACTER = 7.3  # how wide one is at most
_COLOURS = ("#0b5cad", "#b3261e", "#1b7f3b", "#7b3fa0", "#9a5b00", "#00707a", "#a3195b", "#4a5560")

Point = tuple[float, float]


def svg_of(graph: OpGraph) -> str:
    """Draw a graph, time going down: a lane for each actor, commits as dashed lines across them."""
    return "\n".join(_Picture(graph).elements()) + "\n"


def place_of(lane: int, row: int) -> Point:
    """Return where the centre of a lane is in a row; the first row is below the title."""
    return (_MARGIN + lane * LANE + LANE / 2, _MARGIN + (row + 1.5) * ROW)


def route(start: Point, end: Point) -> list[Point]:
    """Return the corners of an edge. It goes down between lanes, past other nodes: no two share a row."""
    (x, y), (end_x, end_y) = start, end
    channel = x + (LANE / 2 if end_x > x else -LANE / 2)
    return [start, (channel, y), (channel, end_y), end]


class _Picture:
    def __init__(self, graph: OpGraph) -> None:
        self._graph = graph
        self._lane_of = lanes_of(graph)
        self._marks = [row for row in graph.rows if isinstance(row, Mark)]
        self._runs = graph.runs
        rows = [number for number, row in enumerate(graph.rows) if isinstance(row, Run)]
        self._places = [
            place_of(self._lane_of[run.actor_id], row) for run, row in zip(self._runs, rows, strict=True)
        ]
        self._text_x = _MARGIN + min(len(graph.actors), LANES) * LANE + 12

    def elements(self) -> Iterator[str]:
        body = [*self._lanes(), *self._edges(), *self._rows()]
        longest = max((len(line) for line in self._labels()), default=0)
        width = self._text_x + longest * _CHARACTER + _MARGIN
        height = 2 * _MARGIN + (len(self._graph.rows) + 1) * ROW
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="12" fill="#1a1a1a" '
            'xml:space="preserve">'
        )
        yield f"<title>{_text(self._heading())}</title>"
        yield '<rect width="100%" height="100%" fill="#ffffff"/>'
        yield self._label(_MARGIN, _MARGIN + ROW / 2, self._heading(), weight="bold")
        yield from body
        yield "</svg>"

    def _heading(self) -> str:
        shown = sum(len(run.entries) for run in self._runs)
        more = f" (the last of {shown + self._graph.left_out})" if self._graph.left_out else ""
        return f"Session {self._graph.session_id}: {count_of(shown, 'op')}{more}"

    def _labels(self) -> Iterator[str]:
        yield self._heading()
        for row in self._graph.rows:
            yield self._line(row)

    def _line(self, row: Run | Mark) -> str:
        if isinstance(row, Mark):
            return _cut(describe_mark(row))
        return _cut(f"{row.actor_id}  {describe(row)}{where_to_find(row, self._marks)}")

    def _lanes(self) -> Iterator[str]:
        """Draw a line from the first run of each lane to its last."""
        ends: dict[int, list[float]] = {}
        for run, (_, y) in zip(self._runs, self._places, strict=True):
            ends.setdefault(self._lane_of[run.actor_id], []).append(y)
        for lane, rows in ends.items():
            x, _ = place_of(lane, 0)
            actors = ", ".join(actor for actor, own in self._lane_of.items() if own == lane)
            yield (
                f'<line x1="{x:g}" y1="{rows[0]:g}" x2="{x:g}" y2="{rows[-1]:g}" stroke="{_colour(lane)}" '
                f'stroke-width="2"><title>{_text(actors)}</title></line>'
            )

    def _edges(self) -> Iterator[str]:
        for run, place in zip(self._runs, self._places, strict=True):
            for cause in run.causes:
                source = self._runs[cause]
                colour = _colour(self._lane_of[source.actor_id])
                title = f"{source.last['op_id']} by {source.actor_id}, then {run.entries[0]['op_id']}"
                yield (
                    f'<path d="{_rounded(route(self._places[cause], place))}" fill="none" stroke="{colour}" '
                    f'stroke-width="1.5" opacity="0.75"><title>{_text(title)}</title></path>'
                )

    def _rows(self) -> Iterator[str]:
        places = iter(self._places)
        for number, row in enumerate(self._graph.rows):
            _, y = place_of(0, number)
            if isinstance(row, Mark):
                yield (
                    f'<line x1="{_MARGIN}" y1="{y:g}" x2="{self._text_x - 6:g}" y2="{y:g}" stroke="#555555" '
                    'stroke-dasharray="4 3"/>'
                )
                yield self._label(self._text_x, y, self._line(row), weight="bold")
            else:
                yield self._node(row, next(places))
                yield self._label(self._text_x, y, self._line(row), actor=row.actor_id)

    def _node(self, run: Run, place: Point) -> str:
        x, y = place
        colour = _colour(self._lane_of[run.actor_id])
        fill = "#ffffff" if run.merges else colour
        return (
            f'<circle cx="{x:g}" cy="{y:g}" r="{RADIUS}" fill="{fill}" stroke="{colour}" stroke-width="2">'
            f"<title>{_text(_tooltip(run))}</title></circle>"
        )

    def _label(self, x: float, y: float, line: str, *, weight: str = "normal", actor: str = "") -> str:
        """Write a line beside the graph; the `actor` that it starts with, if any, in its lane's colour."""
        name, rest = line[: len(actor)], line[len(actor) :]
        if name:
            colour = _colour(self._lane_of[actor])
            name = f'<tspan fill="{colour}" font-weight="bold">{_text(name)}</tspan>'
        return f'<text x="{x:g}" y="{y + 4:g}" font-weight="{weight}">{name}{_text(rest)}</text>'


def _tooltip(run: Run) -> str:
    first, last = run.entries[0], run.last
    where = f"commit {run.commit.commit_id}" if run.commit else "a checkpoint" if run.covered else "pending"
    causes = ", ".join(first["parent_op_ids"])
    lines = [run.actor_id, describe(run), f"{first['created_at']} to {last['created_at']}", where]
    return "; ".join([*lines, *([f"after {causes}"] if causes else [])])


def _colour(lane: int) -> str:
    return _COLOURS[lane % len(_COLOURS)]


def _cut(line: str) -> str:
    return line if len(line) <= _LABEL_LENGTH else line[: _LABEL_LENGTH - 1] + "…"


def _text(line: str) -> str:
    """Write text as XML has it; characters that XML does not allow are shown as escapes."""
    return escape(printable(line))


def _rounded(corners: Sequence[Point]) -> str:
    """Write a line along corners as an SVG path with rounded corners."""
    steps = [f"M{corners[0][0]:g} {corners[0][1]:g}"]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        into, out = _toward(corner, before), _toward(corner, after)
        steps.append(f"L{into[0]:g} {into[1]:g}Q{corner[0]:g} {corner[1]:g} {out[0]:g} {out[1]:g}")
    steps.append(f"L{corners[-1][0]:g} {corners[-1][1]:g}")
    return "".join(steps)


def _toward(corner: Point, other: Point) -> Point:
    """Return the point a little way from a corner, toward the next one."""
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])
    share = min(_CORNER, length / 2) / length if length else 0
    return (corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share)
