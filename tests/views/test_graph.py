"""The ops of a session as a graph, drawn in characters, as SVG and for Graphviz."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.causality import CausalCycleError
from muse.cli.session.graph.dot import dot_of
from muse.cli.session.graph.svg import RADIUS, place_of, route, svg_of
from muse.cli.session.graph.text import TextGraph
from muse.cli.shared.output import Output
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note, mutate_note
from muse.session.live import LiveSession
from muse.views.graph import (
    GraphCommit,
    Mark,
    OpGraph,
    Run,
    make_graph,
    read_graph,
)
from tests.samples.muse_command import Muse, make_muse

SVG = "{http://www.w3.org/2000/svg}"
FIRST, SECOND = (GraphCommit(number, f"{number + 1}" * 64, f"Take {number + 1}", "2026") for number in (0, 1))


def op_id(place: int) -> str:
    return f"{place:08d}-0000-4000-8000-000000000000"


def log_of(*made: tuple[str, Sequence[int]]) -> list[OpEntry]:
    """Entries in the total order, each by its actor and the places of its parents."""
    return [
        {
            "op_id": op_id(place),
            "actor_id": actor,
            "lamport_ts": place + 1,
            "parent_op_ids": [op_id(parent) for parent in parents],
            "domain": "text",
            "domain_op": {"op": "insert", "address": "a.txt"},  # type: ignore[typeddict-item]
            "created_at": "2026",
            "intent_id": "",
            "reservation_id": "",
        }
        for place, (actor, parents) in enumerate(made)
    ]


def in_commits(*places: Sequence[int]) -> dict[str, GraphCommit]:
    return {
        op_id(place): commit for commit, own in zip((FIRST, SECOND), places, strict=False) for place in own
    }


def drawn(graph: OpGraph) -> list[str]:
    """The lines without what is said of each run: what is drawn comes one character at a time."""
    lines = TextGraph(graph).lines()
    return ["".join(text for text, _ in line if len(text) == 1).rstrip() for line in lines]


def stamps(graph: OpGraph) -> list[tuple[int, int]]:
    return [(run.entries[0]["lamport_ts"], run.last["lamport_ts"]) for run in graph.runs]


# -- the graph -----------------------------------------------------------------------------------


def test_ops_that_one_actor_makes_one_after_the_other_are_one_run_whoever_writes_between() -> None:
    graph = make_graph("s", log_of(("ada", ()), ("bob", ()), ("ada", ()), ("ada", (0,)), ("bob", (1,))), {})
    assert [(run.actor_id, len(run.entries)) for run in graph.runs] == [("ada", 3), ("bob", 2)]
    assert [
        len(run.entries) for run in make_graph("s", log_of(("ada", ()), ("ada", ())), {}, every_op=True).runs
    ] == [1, 1]


def test_a_run_ends_where_another_names_its_op_and_where_it_names_anothers() -> None:
    entries = log_of(("ada", ()), ("ada", ()), ("ada", ()), ("bob", ()), ("bob", (1,)), ("bob", ()))
    graph = make_graph("s", entries, {})
    assert stamps(graph) == [(1, 2), (3, 3), (4, 4), (5, 6)]
    assert [run.causes for run in graph.runs] == [[], [], [], [0]]


def test_a_run_ends_at_a_commit_and_the_mark_stands_below_what_is_in_it() -> None:
    entries = log_of(*[("ada", ()), ("bob", ())] * 3)
    graph = make_graph("s", entries, in_commits((0, 1, 2), (3,)))
    rows = [row.commit if isinstance(row, Mark) else row.actor_id for row in graph.rows]
    assert rows == ["bob", "ada", FIRST, "bob", SECOND, "ada", "bob"]


def test_ops_that_a_checkpoint_covers_stand_above_it_and_below_the_commits() -> None:
    entries = log_of(("ada", ()), ("ada", ()), ("ada", ()))
    rows = make_graph("s", entries, in_commits((0,)), [op_id(1)]).rows
    assert [row.commit if isinstance(row, Mark) else row.covered for row in rows] == [
        True,
        FIRST,
        True,
        None,
        False,
    ]


def test_an_op_whose_cause_came_into_history_after_it_says_where_it_is() -> None:
    entries = log_of(("ada", ()), ("bob", (0,)))
    graph = make_graph("s", entries, in_commits((1,), (0,)))
    assert [row.commit if isinstance(row, Mark) else row.actor_id for row in graph.rows] == [
        FIRST,
        "ada",
        "bob",
        SECOND,
    ]
    lines = ["".join(text for text, _ in line) for line in TextGraph(graph).lines()]
    assert ["[in commit 111111111111]" in line for line in lines] == [False, False, True, False]


def test_a_circle_is_an_error_that_names_its_ops() -> None:
    with pytest.raises(CausalCycleError) as caught:
        make_graph("s", log_of(("ada", (1,)), ("bob", (0,))), {})
    assert sorted(caught.value.op_ids) == [op_id(0), op_id(1)]


@st.composite
def graphs(draw: st.DrawFn) -> OpGraph:
    made: list[tuple[str, Sequence[int]]] = []
    for place in range(draw(st.integers(0, 25))):
        earlier = st.integers(max(0, place - 8), place - 1)
        parents = draw(st.lists(earlier, unique=True, max_size=3)) if place else []
        made.append((draw(st.sampled_from(["ada", "bob", "eve", "zoe"])), parents))
    commits = {}
    for place in range(len(made)):
        commit = draw(st.sampled_from([None, FIRST, SECOND]))
        if commit is not None:
            commits[op_id(place)] = commit
    return make_graph("s", log_of(*made), commits, every_op=draw(st.booleans()))


@given(graphs())
def test_every_op_stands_once_below_its_causes_and_its_actors_earlier_ops(graph: OpGraph) -> None:
    seen: list[str] = []
    newest: dict[str, int] = {}
    for place, run in enumerate(graph.runs):
        assert all(cause < place for cause in run.causes)
        for entry in run.entries:
            assert set(entry["parent_op_ids"]) <= set(seen)
            assert newest.get(run.actor_id, 0) < entry["lamport_ts"]
            newest[run.actor_id] = entry["lamport_ts"]
            seen.append(entry["op_id"])
    assert sorted(seen) == [op_id(place) for place in range(len(seen))]


@given(graphs())
def test_nothing_leads_into_or_out_of_the_middle_of_a_run(graph: OpGraph) -> None:
    runs = graph.runs
    author = {entry["op_id"]: run.actor_id for run in runs for entry in run.entries}
    for run in runs:
        named = {name for name in run.entries[0]["parent_op_ids"] if author[name] != run.actor_id}
        assert {runs[cause].last["op_id"] for cause in run.causes} == named
        for entry in run.entries[1:]:
            assert {author[name] for name in entry["parent_op_ids"]} <= {run.actor_id}


# -- in characters -------------------------------------------------------------------------------


def test_edges_lead_from_the_lane_of_a_cause_to_its_effect() -> None:
    graph = make_graph("s", log_of(("ada", ()), ("bob", (0,)), ("ada", ())), {})
    assert drawn(graph) == ["●", "├─●", "●"]


def test_several_parents_make_a_diamond_and_lines_that_do_not_end_there_pass_behind() -> None:
    graph = make_graph("s", log_of(("ada", ()), ("bob", ()), ("eve", (0,)), ("eve", (0, 1)), ("bob", ())), {})
    assert drawn(graph) == ["●", "│ ●", "├─│─●", "└─┼─◆", "  ●"]


def test_an_edge_from_an_op_that_its_actor_has_gone_on_from_goes_round() -> None:
    graph = make_graph("s", log_of(("ada", ()), ("ada", ()), ("bob", (0,)), ("ada", ())), {}, every_op=True)
    assert drawn(graph) == ["●───┐", "●   │", "│ ●─┘", "●"]


def test_a_commit_is_a_line_across_the_lanes() -> None:
    graph = make_graph("s", log_of(("ada", ()), ("bob", ()), ("ada", ())), in_commits((0, 1)))
    assert drawn(graph) == ["●", "│ ●", "┼───", "●"]


def test_edges_for_which_there_is_no_room_are_told_in_words() -> None:
    made: list[tuple[str, Sequence[int]]] = [("ada", ()) for _ in range(12)]
    graph = make_graph("s", log_of(*made, ("bob", tuple(range(11)))), {}, every_op=True)
    last = "".join(text for text, _ in list(TextGraph(graph).lines())[-1])
    assert last.endswith("after 00000008 by ada  after 00000009 by ada  after 00000010 by ada")
    outside = make_graph("s", log_of(("ada", ()), ("bob", (0,)))[1:], {})
    assert "after 1 op not shown" in "".join(text for text, _ in next(TextGraph(outside).lines()))


CORNERS = {"│": 3, "─": 12, "┘": 5, "┐": 6, "┤": 7, "└": 9, "┌": 10, "├": 11, "┴": 13, "┬": 14, "┼": 15}


@given(graphs())
def test_no_line_ends_in_nothing(graph: OpGraph) -> None:
    """What goes down from a character goes on in the one below it; what comes from above came from there."""
    above = ""
    for line in [*drawn(graph), ""]:
        for column in range(0, max(len(line), len(above)), 2):
            one = above[column : column + 1] or " "
            other = line[column : column + 1] or " "
            goes_down, comes_up = CORNERS.get(one, 0) & 2, CORNERS.get(other, 0) & 1
            if goes_down:
                assert comes_up or other in "●◆"
            if comes_up:
                assert goes_down or one in "●◆"
        above = line


def test_what_cannot_draw_lines_gets_ascii(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr("sys.stdout", out)
        for line in TextGraph(make_graph("s", log_of(("ada", ()), ("bob", (0,))), {})).lines():
            Output(as_json=False).coloured(line)
    assert [line[:3] for line in (tmp_path / "out").read_text().splitlines()] == ["*  ", "+-*"]


# -- as a picture --------------------------------------------------------------------------------


@given(graphs())
def test_no_edge_passes_through_a_run_and_nothing_overlaps(graph: OpGraph) -> None:
    lanes = {actor: lane for lane, actor in enumerate(graph.actors)}
    rows = [number for number, row in enumerate(graph.rows) if isinstance(row, Run)]
    places = [place_of(lanes[run.actor_id], row) for run, row in zip(graph.runs, rows, strict=True)]
    assert len({y for _, y in places}) == len(places)
    for run, place in zip(graph.runs, places, strict=True):
        for cause in run.causes:
            corners = route(places[cause], place)
            for one, other in pairwise(corners):
                assert one[0] == other[0] or one[1] == other[1]
                for node in places:
                    if node not in {places[cause], place}:
                        assert _distance(node, one, other) > RADIUS + 2


def _distance(point: tuple[float, float], one: tuple[float, float], other: tuple[float, float]) -> float:
    (x, y), (left, right), (top, bottom) = point, sorted((one[0], other[0])), sorted((one[1], other[1]))
    return float(max(left - x, 0, x - right) + max(top - y, 0, y - bottom))


@given(graphs())
def test_the_picture_is_xml_with_a_circle_a_run_and_text_inside_its_borders(graph: OpGraph) -> None:
    root = ET.fromstring(svg_of(graph))  # noqa: S314 - we wrote it
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == len(graph.runs)
    assert all(circle.find(f"{SVG}title") is not None for circle in circles)
    assert len(root.findall(f"{SVG}path")) == sum(len(run.causes) for run in graph.runs)
    texts = root.findall(f"{SVG}text")
    assert len(texts) == len(graph.rows) + 1
    beside = max((float(circle.attrib["cx"]) + RADIUS for circle in circles), default=0)
    for text in texts:
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        assert x + 7.2 * len("".join(text.itertext())) <= width
        assert 12 <= y <= height
        assert text is texts[0] or x > beside
    assert len({text.attrib["y"] for text in texts}) == len(texts)


NASTY = 'a<b>&"\\\x00\x1b[2J\ud800'


def test_names_that_would_break_a_picture_are_escaped() -> None:
    graph = make_graph('s"<', log_of((NASTY, ()), ("bob", (0,))), {})
    root = ET.fromstring(svg_of(graph).encode())  # noqa: S314 - we wrote it
    assert r'a<b>&"\\x00\x1b[2J\ud800' in "".join(root.itertext())
    dot = dot_of(graph)
    assert "\x1b" not in dot
    assert 'digraph "s\\"<" {' in dot
    assert "  n0 -> n1;" in dot
    assert all("\x1b" not in text for line in TextGraph(graph).lines() for text, _ in line)


def test_graphviz_gets_lanes_edges_and_commits() -> None:
    dot = dot_of(
        make_graph("s", log_of(("ada", ()), ("bob", (0,)), ("ada", ())), in_commits((0, 1)))
    ).splitlines()
    assert dot[0] == 'digraph "s" {'
    assert "  n0 -> n1;" in dot
    assert "  n0 -> n2 [style=dashed];" in dot
    assert '  subgraph cluster_0 { label="commit 111111111111  Take 1"; n0; n1; }' in dot


# -- of a session --------------------------------------------------------------------------------

C4 = Note(60, 64, 0, 480)


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00", domain="music")
    with LiveSession(tmp_path, "jam") as session:
        made = session.edit("ada", "music", insert_note("a.mid", "x", C4))
        session.commit("The first\n\nnote")
        louder: Any = mutate_note("a.mid", "x", C4, velocity=70)
        session.edit("bob", "music", louder, parent_op_ids=[made["op_id"]])
        session.edit("ada", "music", mutate_note("a.mid", "x", C4, velocity=90))
    return make_muse(monkeypatch, capsys, tmp_path)


def test_graph_draws_the_session_with_its_commits(muse: Muse) -> None:
    lines = muse("session", "graph", "jam").out.splitlines()
    assert [line[:4] for line in lines] == ["●   ", "┼───", "├─● ", "●   "]
    assert lines[1].startswith("┼─── commit ")
    assert "  The first  " in lines[1]


def test_graph_is_bounded_and_says_what_is_left_out(muse: Muse, tmp_path: Path) -> None:
    lines = muse("session", "graph", "jam", "--last", "2").out.splitlines()
    assert len(lines) == 3
    assert "after 1 op not shown" in lines[0]
    assert lines[2] == "1 op before these 2 left out: see --last and --since"
    record = muse("session", "graph", "jam", "--since", "3", "--json").record
    assert (record["left_out"], [run["first"]["lamport_ts"] for run in record["runs"]]) == (2, [3])
    assert read_graph(Repository.open(str(tmp_path)), "jam", last=1).left_out == 2
    assert muse("session", "graph", "jam", "--last", "0").status == 2


def test_graph_for_machines_has_runs_causes_and_commits(muse: Muse) -> None:
    record = muse("session", "graph", "jam", "--json").record
    head = muse("log", "--json").record["commit_id"]
    assert record["actors"] == ["ada", "bob"]
    assert [(run["actor_id"], run["causes"], run["commit_id"]) for run in record["runs"]] == [
        ("ada", [], head),
        ("bob", [0], None),
        ("ada", [], None),
    ]


def test_graph_writes_pictures_to_files(muse: Muse, tmp_path: Path) -> None:
    assert (
        muse("session", "graph", "jam", "--svg", "a.svg", "--dot", "a.dot").out == "Written to a.svg, a.dot\n"
    )
    assert len(ET.parse(tmp_path / "a.svg").getroot().findall(f"{SVG}circle")) == 3  # noqa: S314
    assert (tmp_path / "a.dot").read_text().startswith('digraph "jam" {')


def test_a_checkpoint_without_a_commit_is_a_mark_too(muse: Muse, tmp_path: Path) -> None:
    with OpLog(tmp_path, "lone") as log:
        log.record("ada", "text", {"op": "insert", "address": "a"})
        log.checkpoint("snapshot")
        log.record("ada", "text", {"op": "insert", "address": "b"})
    lines = muse("session", "graph", "lone").out.splitlines()
    assert lines[1] == "┼─ checkpoint"
    assert json.loads(muse("session", "graph", "lone", "--json").out)["runs"][0]["covered"] is True


def test_graph_of_no_session_is_misuse(muse: Muse) -> None:
    assert muse("session", "graph", "nobody").status == 2
