"""A proof holds from itself and the commit record alone, and nothing in it can be changed."""

import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.core import content_id
from muse.core.delta import collapse
from muse.core.entry import OpEntry
from muse.history.commit_record import CommitRecord, make_commit_record
from muse.history.proof import (
    Proof,
    ProofError,
    Proven,
    check_proof,
    decode_proof,
    encode_proof,
    make_proof,
)
from muse.history.seal import add_trailers, make_seal

NOW = "2026-01-02T03:04:05+00:00"
SNAPSHOT = "5" * 64
PARENT = "a" * 64


def entry_of(number: int) -> OpEntry:
    domain_op: Any = {
        "op": "insert",
        "address": f"note/{number}",
        "velocity": 0.5,
        "tags": ["a", None, {"é": True}],
    }
    return {
        "op_id": f"00000000-0000-4000-8000-{number:012x}",
        "actor_id": f"actor-{number % 3}",
        "lamport_ts": number + 1,
        "parent_op_ids": [f"00000000-0000-4000-8000-{number - 1:012x}"] if number else [],
        "domain": "music",
        "domain_op": domain_op,
        "created_at": NOW,
        "intent_id": "",
        "reservation_id": "r",
    }


@cache
def sample(count: int = 11) -> tuple[CommitRecord, tuple[OpEntry, ...]]:
    entries = [entry_of(number) for number in range(count)]
    delta = collapse(entries, "music")
    seal = make_seal("jam", 4321, entries, {"actor-0": 9}, delta)
    record = make_commit_record(
        repo_id="r",
        branch="main",
        snapshot_id=SNAPSHOT,
        message=add_trailers("Take one", seal),
        committed_at=NOW,
        parent_commit_id=PARENT,
        author="ada",
        structured_delta=delta,
    )
    return record, tuple(entries)


def proof_of(number: int = 4, count: int = 11) -> Proof:
    record, entries = sample(count)
    return copy.deepcopy(make_proof(record, entries, entries[number]["op_id"]))


def leaves_of(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON document that holds no container, or an empty one."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, item in items:
        found = True
        yield from leaves_of(item, (*place, key))
    if not found:
        yield place


def with_value(document: Any, place: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    document = copy.deepcopy(document)
    inside = document
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = change(inside[place[-1]])
    return document


def other_value(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    if isinstance(value, int | float):
        return value + 1
    return "x" if value is None else ["x"]


PLACES = list(leaves_of(proof_of()))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9])
def test_every_op_of_a_commit_has_a_proof_that_survives_its_file(count: int) -> None:
    record, entries = sample(count)
    for number, entry in enumerate(entries):
        proof = decode_proof(encode_proof(make_proof(record, entries, entry["op_id"])))
        expected = Proven(entry["op_id"], entry["actor_id"], "jam", record["commit_id"], number, count)
        assert check_proof(proof) == check_proof(proof, record) == expected


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_proof_with_any_one_value_changed_does_not_hold(place: tuple[Any, ...]) -> None:
    with pytest.raises(ProofError) as caught:
        check_proof(with_value(proof_of(), place, other_value))
    assert caught.value.field


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("value", [None, -1, 0, 2**70, "", "\0", "\ud800", [], {}, True, 1.5, [[1]]])
def test_whatever_stands_in_a_proof_it_is_refused_as_a_proof(place: tuple[Any, ...], value: Any) -> None:
    proof = proof_of()
    changed = with_value(proof, place, lambda _old: value)
    if json.dumps(changed) != json.dumps(proof):
        with pytest.raises(ProofError):
            check_proof(changed)


@pytest.mark.parametrize("key", [*proof_of(), *[f"commit.{key}" for key in proof_of()["commit"]]])
def test_a_proof_that_lacks_a_part_does_not_hold(key: str) -> None:
    proof: Any = proof_of()
    outer, _, inner = key.partition(".")
    del (proof[outer] if inner else proof)[inner or outer]
    with pytest.raises(ProofError):
        check_proof(proof)


@pytest.mark.parametrize("where", [(), ("commit",), ("entry",)])
def test_a_proof_that_says_more_than_it_proves_does_not_hold(where: tuple[str, ...]) -> None:
    proof: Any = proof_of()
    inside = proof
    for key in where:
        inside = inside[key]
    inside["approved_by"] = "everyone"
    with pytest.raises(ProofError, match="approved_by"):
        check_proof(proof)


@given(st.data())
def test_a_proof_file_with_any_one_byte_changed_does_not_hold_or_says_the_same(data: st.DataObject) -> None:
    proof = proof_of(data.draw(st.integers(0, 10)))
    text = bytearray(encode_proof(proof))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    try:
        read = decode_proof(bytes(text))
        check_proof(read)
    except ProofError:
        return
    assert read == proof  # white space alone


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("commit_id", "b" * 64),
        ("snapshot_id", "b" * 64),
        ("message", "another"),
        ("committed_at", "2027-01-02T03:04:05+00:00"),
        ("parent_commit_id", None),
        ("parent2_commit_id", "b" * 64),
        ("structured_delta", None),
        ("structured_delta", {"domain": "code", "ops": [], "summary": ""}),
        ("structured_delta", {"domain": "music", "ops": [], "summary": ""}),
    ],
)
def test_another_commit_record_is_told_apart(field: str, changed: Any) -> None:
    record, _ = sample()
    check_proof(proof_of(), record)
    with pytest.raises(ProofError):
        check_proof(proof_of(), {**record, field: changed})


def test_a_proof_of_an_op_that_the_commit_does_not_cover_is_not_made() -> None:
    record, entries = sample()
    with pytest.raises(ProofError, match="not among"):
        make_proof(record, entries, entry_of(77)["op_id"])
    with pytest.raises(ProofError, match=r"root|seals"):
        make_proof(record, entries[::-1], entries[3]["op_id"])
    unsealed = {**record, "message": "Take one"}
    unsealed["commit_id"] = content_id.commit_id([PARENT], SNAPSHOT, "Take one", record["committed_at"])
    with pytest.raises(ProofError, match="no seal"):
        make_proof(unsealed, entries, entries[3]["op_id"])


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{", b'{"a":1,"a":1}', b"\xff", b"NaN", b"[" * 100_000, b" " * (1 << 23)]
)
def test_bytes_that_are_no_proof_are_named_as_such(data: bytes) -> None:
    with pytest.raises(ProofError, match=r"not a proof|at most"):
        decode_proof(data, "file.json")


def test_the_keys_of_the_entry_may_not_be_swapped() -> None:
    proof: Any = proof_of()
    proof["entry"] = dict(reversed(proof["entry"].items()))
    with pytest.raises(ProofError):
        check_proof(proof)
