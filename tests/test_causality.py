"""Parents before children, and what an author can have known."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse import causality
from muse.causality import CausalCycleError, CausalHistory, HeadOps, causal_order, heads_of
from muse.core.blocks import encode_lines
from muse.core.entry import OpEntry, total_order
from muse.core.op_log import OpLog, make_op_entry
from muse.errors import UsageError


def entry(name: str, parents: str = "", actor: str = "ada", stamp: int = 1) -> dict[str, Any]:
    return {"op_id": name, "actor_id": actor, "lamport_ts": stamp, "parent_op_ids": list(parents)}


def names(entries: list[dict[str, Any]]) -> str:
    return "".join(found["op_id"] for found in entries)


def are_concurrent(history: CausalHistory, one: int, other: int) -> bool:
    return not history.knows(one, other) and not history.knows(other, one)


@st.composite
def graphs(draw: st.DrawFn, *, foreign: bool = False) -> list[dict[str, Any]]:
    """Entries without circles, in the total order; `foreign`: a parent's stamp may be the higher one."""
    count = draw(st.integers(0, 12))
    made: list[dict[str, Any]] = []
    for number in range(count):
        parents = draw(st.lists(st.sampled_from(made), unique_by=id, max_size=3)) if made else []
        above = 0 if foreign else max((parent["lamport_ts"] for parent in parents), default=0)
        stamp = draw(st.integers(above + 1, above + 4))
        made.append(
            {
                "op_id": f"{draw(st.integers(0, 9))}-{number}",
                "actor_id": draw(st.sampled_from("abc")),
                "lamport_ts": stamp,
                "parent_op_ids": [parent["op_id"] for parent in parents],
            }
        )
    return sorted(made, key=total_order)  # type: ignore[arg-type]


# -- order ---------------------------------------------------------------------------------------


@given(graphs())
def test_where_stamps_exceed_those_of_parents_the_total_order_is_causal(graph: list[dict[str, Any]]) -> None:
    assert causal_order(graph) == graph


@given(graphs(foreign=True))
def test_parents_come_before_children_whatever_their_stamps(graph: list[dict[str, Any]]) -> None:
    ordered = causal_order(graph)
    assert sorted(names(ordered)) == sorted(names(graph))
    seen: set[str] = set()
    for found in ordered:
        assert seen.issuperset(found["parent_op_ids"])
        seen.add(found["op_id"])


@given(graphs(foreign=True))
def test_of_what_waits_for_nothing_the_first_in_the_total_order_comes_first(
    graph: list[dict[str, Any]],
) -> None:
    left, expected = list(graph), []
    while left:
        waiting = {found["op_id"] for found in left}
        expected.append(next(found for found in left if waiting.isdisjoint(found["parent_op_ids"])))
        left.remove(expected[-1])
    assert causal_order(graph) == expected


def test_an_entry_whose_parent_is_not_there_comes_as_if_it_had_none() -> None:
    assert names(causal_order([entry("a", "z"), entry("b", "a"), entry("c", "zd"), entry("d")])) == "abdc"


def test_ops_in_a_circle_are_named_and_those_behind_them_are_not() -> None:
    circle = [entry("a"), entry("b", "d"), entry("c", "ab"), entry("d", "c"), entry("e", "d")]
    with pytest.raises(CausalCycleError, match="in a circle: c, d, b; no tool") as caught:
        causal_order(circle)
    assert caught.value.op_ids == ["c", "d", "b"]
    assert caught.value.op_id == "c"
    with pytest.raises(CausalCycleError) as caught:
        causal_order([entry("a", "a")])
    assert caught.value.op_ids == ["a"]


def test_a_log_is_read_in_causal_order_whatever_the_order_of_its_lines(tmp_path: Path) -> None:
    one = make_op_entry("ada", "text", {"op": "one", "address": "x/1"}, 5)
    two = make_op_entry("bob", "text", {"op": "two", "address": "x/2"}, 3, parent_op_ids=[one["op_id"]])
    three = make_op_entry("ada", "text", {"op": "three", "address": "x/3"}, 4, parent_op_ids=[two["op_id"]])
    lone = make_op_entry("eve", "text", {"op": "lone", "address": "y"}, 4)
    lines: list[list[OpEntry]] = [[one, two, three, lone], [three, lone, two, one], [lone, two, one, three]]
    for number, entries in enumerate(lines):
        directory = tmp_path / ".muse" / "op_log" / f"s{number}"
        directory.mkdir(parents=True)
        (directory / "ops.jsonl").write_bytes(encode_lines(entries))
        with OpLog(tmp_path, f"s{number}") as log:
            assert list(log.entries(order="causal")) == [lone, one, two, three]
            # What is left out is left out of the same order.
            assert list(log.entries(order="causal", address="x/", actor="ada")) == [one, three]
            assert [found["lamport_ts"] for found in log.entries(order="total")] == [3, 4, 4, 5]


def test_an_unknown_order_is_misuse(tmp_path: Path) -> None:
    with OpLog(tmp_path, "s") as log, pytest.raises(UsageError, match="'causal'"):
        log.entries(order="sideways")  # type: ignore[arg-type]


# -- knowledge -----------------------------------------------------------------------------------


@given(graphs(foreign=True), st.sampled_from([0, 2, causality._MANY]))
def test_an_author_knows_its_own_earlier_ops_the_parents_and_what_those_know(
    graph: list[dict[str, Any]], many: int
) -> None:
    known: list[set[int]] = []
    for place, found in enumerate(graph):
        direct = [
            earlier
            for earlier in range(place)
            if graph[earlier]["actor_id"] == found["actor_id"]
            or graph[earlier]["op_id"] in found["parent_op_ids"]
        ]
        known.append({place}.union(*(known[earlier] for earlier in direct)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(causality, "_MANY", many)
        history = CausalHistory(graph)
    for later in range(len(graph)):
        assert {earlier for earlier in range(len(graph)) if history.knows(later, earlier)} == known[later]
        for other in range(len(graph)):
            apart = other not in known[later] and later not in known[other]
            assert are_concurrent(history, later, other) == apart


@given(graphs())
def test_the_heads_are_the_entries_that_no_later_one_knows_and_tell_who_knows_all(
    graph: list[dict[str, Any]],
) -> None:
    history, places = CausalHistory(graph), range(len(graph))
    heads = [one for one in places if not any(history.knows(later, one) for later in places[one + 1 :])]
    assert heads_of(graph) == [graph[place]["op_id"] for place in heads]
    taken = HeadOps()
    for later in places:
        found = graph[later]
        rests_on_all = taken.take(found["op_id"], found["actor_id"], found["parent_op_ids"])
        assert rests_on_all == all(history.knows(later, earlier) for earlier in range(later))


def test_what_many_name_as_their_parents_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    join = CausalHistory._joined

    def counted(self: CausalHistory, *arguments: Any) -> Any:
        nonlocal looked_at
        looked_at += 1
        return join(self, *arguments)

    monkeypatch.setattr(CausalHistory, "_joined", counted)
    rounds = [[f"{number} {actor}" for actor in range(40)] for number in range(5)]
    entries = [
        {"op_id": op_id, "actor_id": op_id.split()[1], "parent_op_ids": before}
        for before, own in zip([[], *rounds], rounds, strict=False)
        for op_id in own
    ]
    history = CausalHistory(entries)
    assert all(history.knows(later, earlier) for later in range(160, 200) for earlier in range(160))
    assert not history.knows(199, 160)
    assert looked_at == 4 * 40  # of each round once; 4 * 40 * 40 without


def test_a_history_of_a_hundred_thousand_entries_takes_little_memory() -> None:
    """Ten actors that each take in another's last op at every tenth op of theirs."""
    entries, last = [], [""] * 10
    for number in range(100_000):
        actor = number % 10
        parents = [last[number // 10 % 10]] if number % 100 < 10 and number > 100 else []
        last[actor] = str(number)
        made = entry(str(number), actor=str(actor))
        entries.append({**made, "parent_op_ids": parents})
    tracemalloc.start()
    try:
        history = CausalHistory(entries)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 64 * len(entries)
    assert history.knows(99_999, 89_999)
    assert are_concurrent(history, 99_999, 99_998)
