"""The order in which ops of several domains are applied."""

from typing import Any

from muse.apply.domain_order import excluded_by, in_domain_order, names_of_others
from muse.core.entry import OpEntry
from muse.core.op_log import make_op_entry


def come(path: str) -> dict[str, Any]:
    return {"op": "insert", "address": path, "position": None}


def go(path: str) -> dict[str, Any]:
    return {"op": "delete", "address": path, "position": None}


def entries(*ops: tuple[str, dict[str, Any]]) -> list[OpEntry]:
    return [make_op_entry("ada", domain, op, stamp) for stamp, (domain, op) in enumerate(ops, 1)]


def order(made: list[OpEntry]) -> list[tuple[str, list[int]]]:
    """The parts, each as its domain and the stamps of its entries."""
    return [(domain, [entry["lamport_ts"] for entry in own]) for domain, own in in_domain_order(made)]


def test_domains_come_by_their_names_where_none_makes_room() -> None:
    edit = {"op": "delete", "address": "b", "position": 3, "length": 1}
    assert order(entries(("music", go("a")), ("code", come("b")), ("code", edit))) == [
        ("code", [2, 3]),
        ("music", [1]),
    ]
    assert order([]) == []


def test_a_domain_that_makes_room_is_first() -> None:
    for gone, came in [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a"), ("a", "a/b/c")]:
        made = entries(("code", come(came)), ("music", go(gone)))
        assert order(made) == [("music", [2]), ("code", [1])]
        assert names_of_others("code", made) == (frozenset([gone]), frozenset())
        assert names_of_others("music", made) == (frozenset(), frozenset())
    moved = {"op": "patch", "address": "b", "from_address": "a", "child_ops": []}
    assert order(entries(("code", come("a")), ("music", moved))) == [("music", [2]), ("code", [1])]


def test_two_that_make_room_for_each_other_come_in_turns() -> None:
    made = entries(("code", go("a")), ("music", go("b")), ("code", come("b/x")), ("music", come("a/x")))
    assert order(made) == [("music", [2]), ("code", [1, 3]), ("music", [4])]


def test_names_that_are_given_and_taken_again_and_again_make_few_parts() -> None:
    again = [("code", go("a")), ("music", come("a")), ("music", go("a")), ("code", come("a"))] * 50
    made = entries(*again)
    parts = order(made)
    assert len(parts) <= 32
    assert sorted(stamp for _, own in parts for stamp in own) == [entry["lamport_ts"] for entry in made]


def test_only_what_cannot_be_beside_others_is_excluded() -> None:
    assert excluded_by(["a/b", "c"], ["a", "a/b", "a/b/c", "a/c", "ab", "c/d", "d"]) == {
        "a",
        "a/b",
        "a/b/c",
        "c/d",
    }
