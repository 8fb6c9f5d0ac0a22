"""Each promise in the list of guarantees names a test, and the test is there."""

import ast
import re

from tests.samples.project import TESTS

GUARANTEES = TESTS.parent / "docs" / "guarantees.md"


def names_of_tests() -> set[str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
        assigned = [node.targets for node in tree.body if isinstance(node, ast.Assign)]
        found |= {name.id for names in assigned for name in names if isinstance(name, ast.Name)}
    return found


def test_each_test_that_a_promise_names_is_there() -> None:
    named = set(re.findall(r"`((?:test_|Test)\w+)`", GUARANTEES.read_text(encoding="utf-8")))
    assert len(named) > 40
    assert named - names_of_tests() == set()


def test_each_line_of_the_promises_and_of_the_table_names_a_test() -> None:
    text = GUARANTEES.read_text(encoding="utf-8")
    promises = re.split(r"^\d+\. ", text.partition("## Not promised")[0], flags=re.MULTILINE)[1:]
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    numbers = re.findall(r"^(\d+)\. ", text.partition("## Not promised")[0], flags=re.MULTILINE)
    assert sorted(map(int, numbers)) == list(range(1, len(numbers) + 1))
    assert len(promises) >= 16
    assert len(rows) >= 40
    assert [line for line in (*promises, *rows) if not re.search(r"`(test_|Test)\w+`", line)] == []
