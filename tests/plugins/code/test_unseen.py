"""Overlaps are looked for in the files where edits met unseen, and are those of looking at all entries."""

import random
from typing import Any

import pytest

from muse.causality import CausalHistory
from muse.core.entry import OpEntry
from muse.domain import Overlap
from muse.plugins.code import CodePlugin, provenance
from muse.plugins.code.merge import Merger
from muse.plugins.code.unseen import places_in_doubt
from tests.samples.code_samples import Head
from tests.samples.text_session import TextSession

PATHS = ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt")


def session(seed: int) -> tuple[Head, list[OpEntry]]:
    """Return a head, and entries on it by actors that see all, or only their own, now and then."""
    chance = random.Random(seed)
    made = TextSession(Head(dict.fromkeys(PATHS[:3], b"one\ntwo\nthree\n")))
    if seed % 3 == 0:  # some files were edited live before, and changed from outside since
        made.edit("ada", (0, 0, "live "), path="a.txt")
        made.edit("ada", (0, 0, "live "), path="b.txt")
        made.commit()
        made.head.files["a.txt"] = chance.choice([b"from outside\n", b"\xff\0\xfe"])
        made.head.store(made.head.files)
    before, first = made.head, len(made.entries)
    for number in range(30):
        actor = chance.choice(("ada", "bob", "eve"))
        here = [path for path in PATHS if made.tree().has(path)]
        path = chance.choice(here) if here else ""
        kind = chance.choice(("edit", "edit", "edit", "edit", "create", "move", "delete", "undo"))
        is_text = bool(path) and made.tree().open(path)[0].document is not None
        if kind == "create" or not path:
            made.create(actor, chance.choice(PATHS), f"new {number}\n".encode())
        elif kind == "edit" and is_text:
            length = len(made.text(path) or "")
            made.edit(actor, (min(length, chance.randrange(9)), 0, chance.choice("xy\n")), path=path)
        elif kind == "move":
            made.on_file(actor, "move", path, to_address=chance.choice(PATHS))
        elif kind == "delete":
            made.on_file(actor, "delete", path)
        elif kind == "undo" and len(made.entries) > first:
            made.undo([chance.choice(made.entries[first:])["op_id"]], actor)
    return before, _with_causes(made.entries[first:], chance)


def _with_causes(entries: list[OpEntry], chance: random.Random) -> list[OpEntry]:
    sees_all = chance.choice((0.5, 0.9, 0.97, 1))
    found: list[Any] = []
    for entry in entries:
        parents = [known["op_id"] for known in found] if chance.random() < sees_all else []
        found.append({**entry, "parent_op_ids": parents})
    return found


def overlaps(head: Head, entries: list[OpEntry]) -> list[Overlap]:
    return CodePlugin().overlaps(head.files, entries, head.fetch, head.state)


@pytest.mark.parametrize("seed", range(60))
def test_overlaps_are_those_of_looking_at_all_entries(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    head, entries = session(seed)
    found = overlaps(head, entries)
    monkeypatch.setattr(provenance, "places_in_doubt", lambda some, *_: list(range(len(some))))
    assert found == overlaps(head, entries)


def test_files_in_which_all_was_seen_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    made = TextSession(Head({"a.txt": b"one\n", "b.txt": b"one\n"}))
    for number in range(10):
        made.edit(("ada", "bob")[number % 2], (0, 0, "x"), path="a.txt")
        made.edit(("ada", "bob")[number % 2], (0, 0, "x"), path="b.txt")
    entries: list[Any] = []
    logged: list[Any] = list(made.entries)
    for entry in logged:
        file_id = entry["domain_op"]["file_id"]
        own = [known["op_id"] for known in entries if known["domain_op"]["file_id"] == file_id]
        is_blind = entry["domain_op"]["address"] == "b.txt" and len(own) == 9
        entries.append({**entry, "parent_op_ids": [] if is_blind else own})
    doubt = places_in_doubt(entries, CausalHistory(entries), {})
    assert {entries[place]["domain_op"]["address"] for place in doubt} == {"b.txt"}
    assert len(doubt) == 10
    taken: list[int] = []
    take = Merger.take

    def counting(merger: Merger, some: Any) -> Any:
        taken.append(len(some))
        return take(merger, some)

    monkeypatch.setattr(Merger, "take", counting)
    assert {overlap.address for overlap in overlaps(made.head, entries)} == {"b.txt"}
    assert overlaps(made.head, [entry for entry in entries if entry["domain_op"]["address"] == "a.txt"]) == []
    assert taken == [10]
