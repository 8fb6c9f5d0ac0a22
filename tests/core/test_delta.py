"""Entries collapse into a delta of one domain, in the total order, with a line for people."""

import random
from typing import Any

import pytest

from muse.core.delta import collapse, summarize
from muse.core.op_log import make_op_entry


def ops(**counts: int) -> list[Any]:
    return [{"op": kind} for kind, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "summary"),
    [
        ({}, "no ops"),
        ({"insert": 3, "delete": 1}, "3 insert, 1 delete"),
        ({"delete": 1, "insert": 3}, "3 insert, 1 delete"),
        ({"patch": 1, "mutate": 2, "replace": 3, "move": 4}, "4 move, 3 replace, 2 mutate, 1 patch"),
        ({"zip": 1, "bend": 2, "insert": 1}, "1 insert, 2 bend, 1 zip"),
    ],
)
def test_a_summary_counts_ops_by_kind_in_a_fixed_order(counts: dict[str, int], summary: str) -> None:
    assert summarize(ops(**counts)) == summary


@pytest.mark.parametrize("op", [{}, {"op": ""}, {"op": None}, {"op": ["insert"]}])
def test_an_op_without_a_kind_counts_as_other(op: Any) -> None:
    assert summarize([op, op]) == "2 other"


def test_a_delta_holds_the_ops_of_one_domain_in_the_total_order() -> None:
    entries = [make_op_entry(f"actor-{n % 3}", "ab"[n % 2], {"n": n}, n // 4 + 1) for n in range(20)]
    delta = collapse(entries, "a")
    random.Random(2).shuffle(entries)
    assert collapse(entries, "a") == delta
    assert delta["domain"] == "a"
    assert len(delta["ops"]) == 10
    assert [op["n"] // 4 for op in delta["ops"]] == sorted(op["n"] // 4 for op in delta["ops"])  # type: ignore[typeddict-item]


def test_ops_are_in_the_delta_as_they_were_made() -> None:
    op = {"op": "insert", "address": "a", "extra": {"kept": [1, None]}}
    delta: Any = collapse([make_op_entry("ada", "a", op, 1)], "a")
    assert delta["ops"] == [op]


def test_a_domain_without_ops_gives_an_empty_delta() -> None:
    delta: Any = collapse([], "a")
    assert delta == {"domain": "a", "ops": [], "summary": "no ops"}
