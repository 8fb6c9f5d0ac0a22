"""Every walk over a graph of commits, against what the definitions say."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from muse.history import walk

Graph = dict[str, list[str]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to a dozen commits, each with at most three parents among those before it."""
    graph: Graph = {}
    for number in range(draw(st.integers(1, 12))):
        older = draw(st.lists(st.sampled_from(sorted(graph)), max_size=3, unique=True)) if graph else []
        graph[f"{number:02}"] = older
    return graph


@st.composite
def graphs_and_some(draw: st.DrawFn) -> tuple[Graph, list[str], list[str]]:
    graph = draw(graphs())
    some = st.lists(st.sampled_from(sorted(graph)), max_size=3, unique=True)
    return graph, draw(some), draw(some)


class Asked:
    """The parents of a graph; which ids were asked for."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: list[str] = []

    def __call__(self, name: str) -> list[str]:
        self.names.append(name)
        return self.graph[name]


def behind(graph: Graph, starts: Iterable[str], stop: Iterable[str] = ()) -> set[str]:
    """What is reached from `starts`, without `stop` and what is reached through it alone."""
    found = set(starts) - set(stop)
    while more := {parent for name in found for parent in graph[name]} - found - set(stop):
        found |= more
    return found


@given(graphs_and_some())
def test_what_is_reached_comes_once_and_is_asked_for_once(case: tuple[Graph, list[str], list[str]]) -> None:
    graph, starts, stop = case
    parents = Asked(graph)
    found = list(walk.reachable(starts, parents, stop))
    assert sorted(found) == sorted(behind(graph, starts, stop))
    assert parents.names == found


@given(graphs_and_some())
def test_ancestors_are_what_is_reached_in_one_step_or_more(
    case: tuple[Graph, list[str], list[str]],
) -> None:
    graph, starts, _ = case
    direct = [parent for start in starts for parent in graph[start]]
    assert sorted(walk.ancestors(starts, graph.__getitem__)) == sorted(behind(graph, direct))


@given(graphs_and_some())
def test_descendants_are_the_ancestors_along_the_children(case: tuple[Graph, list[str], list[str]]) -> None:
    graph, starts, _ = case
    expected = {
        name for name in graph if any(start in walk.ancestors([name], graph.__getitem__) for start in starts)
    }
    assert set(walk.ancestors(starts, walk.children_of(graph))) == expected


@given(graphs())
def test_parents_come_first_where_they_are_asked_to(graph: Graph) -> None:
    parents = Asked(graph)
    ordered = walk.parents_first(list(graph)[::-1], parents)
    assert sorted(ordered) == sorted(graph) == sorted(parents.names)
    place = {name: number for number, name in enumerate(ordered)}
    assert all(place[parent] < place[name] for name in graph for parent in graph[name])


@given(graphs(), st.permutations(range(12)))
def test_children_come_first_and_of_those_that_may_come_the_highest(graph: Graph, ranks: list[int]) -> None:
    tip = max(graph)
    rank = dict(zip(graph, ranks, strict=False))
    left = behind(graph, [tip])
    for name in walk.children_first(tip, graph.__getitem__, rank.__getitem__):
        free = [other for other in left if not any(other in graph[child] for child in left)]
        assert name == max(free, key=rank.__getitem__)
        left.remove(name)
    assert left == set()


@given(graphs_and_some())
def test_lines_reach_all_and_stop_where_they_are_told(case: tuple[Graph, list[str], list[str]]) -> None:
    graph, _, stop = case
    parents = Asked(graph)
    found = list(walk.first_lines(max(graph), parents, stop))
    assert sorted(found) == sorted(behind(graph, [max(graph)], stop))
    assert parents.names == found


def test_the_line_of_first_parents_comes_first_then_that_of_the_newest_merge() -> None:
    graph = {"root": [], "old": ["root"], "one": ["root", "old"], "new": ["old"], "two": ["one", "new"]}
    assert list(walk.first_lines("two", graph.__getitem__)) == ["two", "one", "root", "new", "old"]


def test_a_walk_asks_only_as_far_as_it_is_followed() -> None:
    parents = Asked({"root": [], "a": ["root"], "b": ["a"]})
    for walked in (walk.first_lines("b", parents), walk.reachable(["b"], parents)):
        parents.names.clear()
        assert [next(walked), next(walked)] == ["b", "a"]
        assert parents.names == ["b"]


def ways(graph: Graph, name: str) -> list[set[str]]:
    """Every way from an id down to a root."""
    below = [{name, *way} for parent in graph[name] for way in ways(graph, parent)]
    return below or [{name}]


@given(graphs_and_some())
def test_the_common_dominator_is_the_newest_that_every_way_leads_through(
    case: tuple[Graph, list[str], list[str]],
) -> None:
    graph, starts, _ = case
    found = walk.common_dominator(starts, graph.__getitem__)
    shared = set.intersection(*(way for start in starts for way in ways(graph, start))) if starts else set()
    newest = [name for name in shared if not any(name in behind(graph, graph[other]) for other in shared)]
    assert ([] if found is None else [found]) == newest


def test_links_stay_among_those_that_are_given() -> None:
    links = {"b": ["a", "elsewhere"], "a": ["older"]}
    assert walk.parents_first(links, walk.links_among(links)) == ["a", "b"]
