"""Editing traces as scripts: what is read, what is refused, and in which order steps come."""

import gzip
import zlib
from typing import Any

import pytest

from muse.cli.replay.script import Create, Edit, ScriptStep, edits_of, schedule
from muse.cli.replay.trace import is_trace, read_trace, trace_name
from muse.errors import DomainError
from tests.samples.editing_traces import concurrent, trace


def test_a_sequential_trace_is_one_actor_each_step_upon_the_one_before() -> None:
    script = read_trace(trace([[0, 0, "ab"]], [[1, 1, ""], [0, 0, "ü"]], start="x", end="üax"), "a.txt")
    assert script.steps == (
        ScriptStep("agent-1", (), (Create("a.txt", b"x"),)),
        ScriptStep("agent-1", (0,), (Edit("a.txt", [(0, 0, "ab")]),)),
        ScriptStep("agent-1", (1,), (Edit("a.txt", [(1, 1, ""), (0, 0, "ü")]),)),
    )
    assert script.wanted == {"a.txt": "üax".encode()}


def test_a_concurrent_trace_has_an_actor_an_agent_and_its_parents() -> None:
    transactions: list[tuple[list[int], int, list[list[Any]]]] = [
        ([], 0, [[0, 0, "a"]]),
        ([0], 1, []),
        ([0], 0, []),
        ([1, 2], 1, []),
    ]
    script = read_trace(concurrent(*transactions), "a.txt")
    assert [(step.actor_id, step.parents) for step in script.steps] == [
        ("agent-1", ()),
        ("agent-1", (0,)),
        ("agent-2", (1,)),
        ("agent-1", (1,)),
        ("agent-2", (2, 3)),
    ]


def test_gzip_in_several_streams_is_read_as_one() -> None:
    data = trace([[0, 0, "hi"]], end="hi")
    packed = gzip.compress(data[:10], mtime=0) + gzip.compress(data[10:])
    assert is_trace(packed)
    assert read_trace(packed, "a.txt") == read_trace(data, "a.txt")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not an editing trace"),
        (b"[]", "Expected `object`"),
        (b'{"txns": []}', "endContent"),
        (trace([[0, 0]]), "at least 3|length 3"),
        (trace([["0", 0, ""]]), r"Expected `int`.*\$.txns\[0\].patches\[0\]"),
        (trace([[-1, 0, ""]]), r"txns\[0\]: 0 characters to delete at position -1"),
        (trace([[0, -1, ""]]), "not within"),
        (trace([[0, 0, "abc"]], [[2, 2, ""]]), r"txns\[1\]: 2 characters to delete at position 2 .* 3 char"),
        (trace([[4, 0, "x"]], start="abc"), "position 4"),
        (concurrent(([0], 0, [])), r"txns\[0\]: parent 0"),
        (concurrent(([-1], 0, [])), "parent -1"),
        (concurrent(([], 256, [])), "agent 256"),
        (concurrent(([], -1, [])), "agent -1"),
        (trace(end="x").replace(b'"x"', b'"\\ud800"'), "endContent|surrogate"),
        (trace([[0, 0, "x"]]).replace(b'"x"', b'"\\udc00"'), r"txns\[0\]|surrogate"),
        (b"[" * 100_000, "not an editing trace"),
        (gzip.compress(b"not JSON", mtime=0), "not an editing trace"),
        (gzip.compress(trace(), mtime=0)[:-12], "ends too soon"),
        (gzip.compress(trace(), mtime=0)[:15] + b"\xff\xff\xff\xff" + gzip.compress(trace())[19:], "damaged"),
        (b"\x1f\x8bnothing", "damaged"),
    ],
)
def test_what_is_no_trace_is_refused_and_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(DomainError, match=reason):
        read_trace(data, "a.txt")


def test_gzip_that_unpacks_without_end_is_refused_before_it_fills_the_memory() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    assert len(bomb) < 1 << 20
    with pytest.raises(DomainError, match="unpacks to more than 134217728 bytes"):
        read_trace(bomb, "a.txt")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (trace(), True),
        (b"  " + trace(), True),
        (gzip.compress(b"whatever", mtime=0), True),
        (b'{"name": "txns"}', False),
        (b"the word txns in a text", False),
        (b'{"txns": [', False),
        (b"", False),
    ],
)
def test_a_trace_is_known_by_its_content(data: bytes, *, expected: bool) -> None:
    assert is_trace(data) is expected


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("friends.json.gz", "friends.txt"),
        ("dir/app.svelte.json", "app.svelte"),
        (".json.gz", "trace.txt"),
        ("plain", "plain.txt"),
    ],
)
def test_the_text_of_a_trace_is_named_after_it(file: str, name: str) -> None:
    assert trace_name(file) == name


def test_at_a_rate_each_actor_waits_for_its_own_turn_and_for_its_parents() -> None:
    edit = (Edit("a", [(0, 0, "x")]),)
    steps = [
        ScriptStep("a", (), edit),
        ScriptStep("a", (0,), (Edit("a", [(0, 0, "x"), (0, 0, "y")]),)),
        ScriptStep("b", (), edit),
        ScriptStep("b", (1, 2), edit),
        ScriptStep("a", (1,), edit),
    ]
    assert list(schedule(steps, 10)) == [(0.0, 0), (0.0, 2), (0.1, 1), (0.1, 3), (pytest.approx(0.3), 4)]
    assert [place for _, place in schedule(steps, None)] == [0, 1, 2, 3, 4]
    assert edits_of(steps) == {"a": 4, "b": 2}
