"""Raw ops of actors who did not see each other: what is committed is what the next ones go on with."""

import json
import random
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core.entry import OpEntry, total_order
from muse.core.new_entries import make_op_entry
from muse.domain import Application, RuledPlugin
from muse.errors import DomainError
from muse.plugins.code import CodePlugin
from muse.plugins.code.document import TextDocument
from muse.plugins.code.file_ids import read_index
from muse.plugins.code.merge import WAITING
from tests.samples.code_samples import Head

FILES = {"a.txt": b"one\ntwo\nthree\n"}


def raw(actor: str, lamport: int, number: int, parents: list[int], op: dict[str, Any]) -> OpEntry:
    names = [_name(parent) for parent in parents]
    entry = make_op_entry(actor, "code", {"address": "a.txt", **op}, lamport, parent_op_ids=names)
    return entry | {"op_id": _name(number)}


def _name(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


def texts_of(made: Application, files: Mapping[str, bytes]) -> dict[str, tuple[str, str]]:
    """Return of each text what its state reads, and what is committed of it."""
    state = {name: data for name, data in (made.state or {}).items() if data is not None}
    found = {}
    for file_id, placement in read_index(state).items():
        content = made.files.get(placement.shown or "", files.get(placement.shown or ""))
        if file_id in state and content is not None and placement.shown is not None:
            body = state[file_id].partition(b"\n")[2]
            found[placement.shown] = TextDocument(0, body).text, content.decode()
    return found


def merged(plugin: CodePlugin, entries: list[OpEntry]) -> Application:
    ordered: list[Any] = sorted(entries, key=total_order)
    return plugin.merge(FILES, ordered, Head(FILES).fetch, {})


CROSSED = [
    raw("y", 1, 1, [], {"op": "delete", "position": 2, "length": 1}),
    raw("z", 1, 2, [], {"op": "replace", "position": 3, "length": 1, "text": "cdcdb"}),
    raw("y", 2, 3, [1], {"op": "replace", "position": 0, "length": 3, "text": "cdcdcdcd"}),
    raw("x", 3, 4, [2, 3], {"op": "insert", "position": 0, "text": "\naa\n"}),
]


def with_ids(entries: list[OpEntry], chance: random.Random) -> list[OpEntry]:
    """Give the ops other ids: the order of what is inserted at one place comes from these."""
    ids = {entry["op_id"]: str(uuid.UUID(int=chance.getrandbits(128), version=4)) for entry in entries}
    return [
        {**entry, "op_id": ids[entry["op_id"]], "parent_op_ids": [ids[one] for one in entry["parent_op_ids"]]}
        for entry in entries
    ]


ORDERS = [with_ids(CROSSED, random.Random(seed)) for seed in range(60)]


def test_what_is_kept_of_a_text_reads_as_the_text_and_by_the_first_rule_it_did_not() -> None:
    by_first = [texts_of(merged(CodePlugin(1), entries), FILES)["a.txt"] for entries in ORDERS]
    by_last = [texts_of(merged(CodePlugin(), entries), FILES)["a.txt"] for entries in ORDERS]
    assert any(kept != text for kept, text in by_first)
    assert all(kept == text for kept, text in by_last)
    assert [text for _, text in by_first] == [text for _, text in by_last]


def test_an_unknown_rule_is_refused() -> None:
    assert isinstance(CodePlugin(), RuledPlugin)
    with pytest.raises(DomainError, match="only those up to 2 are known here"):
        CodePlugin().by_rule(3)


@given(st.integers(0, 2**32))
def test_whatever_raw_ops_meet_what_is_kept_reads_as_what_is_committed(seed: int) -> None:
    entries = session(random.Random(seed))
    for kept, text in texts_of(merged(CodePlugin(), entries), FILES).values():
        assert kept == text


def session(chance: random.Random) -> list[OpEntry]:
    """Make raw edits of three actors, each of which saw its own and some of the others'."""
    entries: list[OpEntry] = []
    own: dict[str, int] = {}
    for number in range(1, chance.randint(3, 14)):
        actor = chance.choice("xyz")
        seen = {own[actor]} if actor in own else set[int]()
        seen |= {chance.randint(1, number - 1) for _ in range(chance.choice([0, 0, 1, 2])) if number > 1}
        lamport = 1 + max((entries[one - 1]["lamport_ts"] for one in seen), default=0)
        text = "".join(chance.choice(["a", "b", "cd", "\n"]) for _ in range(chance.randint(1, 4)))
        edit: dict[str, Any] = {"position": chance.randint(0, chance.choice([0, 2, 6, 12]))}
        kind = chance.choice(["insert", "delete", "replace"])
        if kind != "insert":
            edit["length"] = chance.randint(1, 5)
        if kind != "delete":
            edit["text"] = text
        entries.append(raw(actor, lamport, number, sorted(seen), {"op": kind, **edit}))
        own[actor] = number
    return with_ids(entries, chance)


def test_a_raw_patch_that_waits_from_an_earlier_commit_keeps_no_commit_of_raw_ops_back() -> None:
    edit = {"op": "insert", "address": "a.txt", "position": 0, "text": "x"}
    patch = {"op": "patch", "child_domain": "code_text", "child_ops": [edit], "file_id": "1" * 64}
    state = {WAITING: json.dumps([raw("z", 1, 7, [], patch)]).encode()}
    made = CodePlugin().merge(FILES, CROSSED[:1], Head(FILES).fetch, state)
    assert made.files == {"a.txt": b"on\ntwo\nthree\n"}


def test_raw_insertions_at_one_place_that_know_each_other_are_not_put_in_order_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To ask what is known of each client costs what all of the ops before wrote."""
    asked = list[int]()
    known = TextDocument._known
    monkeypatch.setattr(TextDocument, "_known", lambda document: asked.append(1) or known(document))  # type: ignore[func-returns-value]
    insert = {"op": "insert", "position": 0, "text": "x"}
    entries = [
        raw("ada", number, number, [number - 1] if number > 1 else [], insert) for number in range(1, 301)
    ]
    assert merged(CodePlugin(), entries).files == {"a.txt": b"x" * 300 + FILES["a.txt"]}
    assert len(asked) < 20
