"""Ops that wait are tried when what they wait for comes: the outcome is that of trying all each time."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muse.core.entry import OpEntry, total_order
from muse.core.op_log import make_op_entry
from muse.domain import IgnoredOp
from muse.errors import PluginError
from muse.plugins.code.foresight import MOST_WAITING, CodeForesight
from muse.plugins.code.merge import Entry, Merger
from muse.plugins.code.ops import encoded
from muse.plugins.code.raw import RawOps
from muse.plugins.code.update import write_insert
from tests.plugins.code.test_convergence import PATHS, TEXTS, Actors
from tests.samples.code_samples import Head, taken_in


class TryingAll(Merger):
    """Tries all that wait, in rounds, until none of them takes effect any more."""

    def _take_all(self, waiting: dict[int, Entry], raw: RawOps | None, ignored: dict[int, IgnoredOp]) -> None:
        todo = sorted(waiting.items())
        while True:
            tried = [(index, self._attempt(index, entry, raw, ignored)[0]) for index, entry in todo]
            left = [(index, entry) for index, entry in tried if entry is not None]
            if len(left) in {0, len(todo)}:
                break
            todo = left
        waiting.clear()
        waiting.update(left)


class Counting(Merger):
    attempts = 0

    def _attempt(self, *arguments: Any) -> Any:
        self.attempts += 1
        return super()._attempt(*arguments)


def disturbed(entries: list[OpEntry], chance: random.Random) -> list[OpEntry]:
    """Entries as they never come from replicas: out of order, some lost, some forged, some raw."""
    found = [copy.deepcopy(entry) for entry in entries if chance.random() < 0.9]
    for entry in found:
        op: Any = entry["domain_op"]
        if chance.random() < 0.7:
            entry["lamport_ts"] = chance.randrange(1, 200)
        if "update" in op and chance.random() < 0.1:
            op["update"] = chance.choice([other for other in found if "update" in other["domain_op"]])[
                "domain_op"
            ]["update"]  # type: ignore[typeddict-item]
        if "file_id" in op and chance.random() < 0.05:
            op["file_id"] = chance.choice([other["domain_op"].get("file_id", "") for other in found])
        if chance.random() < 0.05:
            op.pop("file_id", None)
            op.pop("update", None)
        if "text" in op and op.get("position") is None and chance.random() < 0.1:
            del op["text"]  # its object comes later, or never
    return found


def arrivals_of(steps: int, count: int, chance: random.Random) -> tuple[list[OpEntry], Head]:
    """Return what some actors made, disturbed and in any order, and the branch that it comes into."""
    files = {path: text.encode() for path in PATHS[:3] if (text := chance.choice(("", *TEXTS)))}
    actors = Actors(count, chance, files)
    for _ in range(steps):
        actors.step()
    arrivals = disturbed(actors.entries, chance)
    chance.shuffle(arrivals)
    return arrivals, Head(files)


def batches(arrivals: list[OpEntry], chance: random.Random) -> Iterator[list[OpEntry]]:
    """Split entries into commits, each in the total order."""
    while arrivals:
        batch = sorted(arrivals[: chance.randint(1, len(arrivals))], key=total_order)
        del arrivals[: len(batch)]
        yield batch


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 3), st.integers(0, 60), st.integers(0, 2**32))
def test_what_comes_in_any_order_gives_what_trying_all_again_gives(count: int, steps: int, seed: int) -> None:
    chance = random.Random(seed)
    arrivals, head = arrivals_of(steps, count, chance)
    for batch in batches(arrivals, chance):
        outcomes = []
        for kind in (TryingAll, Merger):
            merger = kind(head.files, head.state, head.fetch, "merge")
            ignored = merger.take(batch)
            outcomes.append((ignored, merger.tree.changed_files(), merger.changed_state()))
        assert outcomes[0] == outcomes[1]
        _, changed, state = outcomes[1]
        objects = head.objects
        head = Head(taken_in(head.files, changed), taken_in(head.state, state), [], objects)
        head.store(head.files)
        if head.files and chance.random() < 0.3:
            head.files[chance.choice(list(head.files))] = chance.choice(TEXTS).encode()
        if chance.random() < 0.3:
            head.store({text: text.encode() for text in TEXTS})


def test_each_op_of_a_chain_that_comes_backwards_is_tried_a_few_times() -> None:
    file_id, length = "0" * 32, 400
    entries = []
    for number in reversed(range(length)):
        left = (7, number - 1) if number else None
        op = {"op": "insert", "address": "a.txt", "position": number, "text": "x", "file_id": file_id}
        op |= {"update": encoded(write_insert(7, number, left, None, "x"))}
        entries.append(make_op_entry("mal", "code", op, length - number))
    made = {"op": "insert", "address": "a.txt", "position": None, "text": "", "file_id": file_id}
    entries.append(make_op_entry("mal", "code", made, length + 1))
    merger = Counting({}, {}, Head().fetch, "merge")
    assert merger.take(entries) == []
    assert merger.tree.content("a.txt") == b"x" * length
    assert merger.attempts <= 4 * length


def test_no_op_is_looked_at_by_itself_where_many_wait() -> None:
    def orphan(number: int) -> OpEntry:
        op = {
            "op": "delete",
            "address": "a.txt",
            "position": None,
            "seen": "AA==",
            "file_id": f"{number:032x}",
        }
        return make_op_entry("mal", "code", op | {"content_id": "0" * 64}, number + 1)

    foresight = CodeForesight({}, Head().fetch, {})
    for number in range(MOST_WAITING + 1):
        assert "waits" in foresight.take(orphan(number))
    with pytest.raises(PluginError, match="so many ops wait"):
        foresight.take(orphan(MOST_WAITING + 1))
