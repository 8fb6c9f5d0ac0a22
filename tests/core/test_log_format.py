"""`docs/log_format.md` is true: what is made from it alone reads what the package writes, and the reverse."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muse.core.blocks import decode_block
from muse.core.damage import is_torn
from muse.core.line import encode_line
from muse.core.op_log import OpLog, make_op_entry
from muse.errors import CorruptionError
from muse.history.repository import Repository
from muse.history.seal import leaf_of, root_of
from muse.session.live import LiveSession
from tests.samples import format_reader
from tests.samples.project import DOCS

DOCUMENT = (DOCS / "log_format.md").read_text(encoding="utf-8")
NOW = "2026-01-02T03:04:05+00:00"
DIGEST = "a" * 64

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
ops = st.dictionaries(st.sampled_from(["op", "address", "x", '{"op_id":"']), json_values, max_size=3)


def example_lines() -> list[bytes]:
    found = re.search(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return found[1].encode().splitlines(keepends=True)


def session_directory(root: Path, session_id: str = "jam") -> Path:
    return root / ".muse" / "op_log" / session_id


def line_of(domain_op: dict[str, Any], lamport_ts: int = 1) -> bytes:
    return encode_line(make_op_entry("ada", "notes", domain_op, lamport_ts))


def agrees_with_the_document(data: bytes) -> None:
    """Both readers find the same entries at the same places, and the same damage of the same kind."""
    block, found = decode_block(data, 0), format_reader.read_log(data)
    ours = list(zip(block.starts, block.entries, strict=True))
    assert ours == [(offset, entry) for offset, entry, _ in found.entries]
    assert [(damage.offset, damage.length, damage.kind) for damage in block.damages] == found.damage


# -- the page itself -----------------------------------------------------------------------------


def test_the_example_is_what_the_package_reads_and_writes() -> None:
    first, second = example_lines()
    block = decode_block(first + second, 0)
    assert block.damages == []
    assert block.starts == [0, len(first)]
    assert b"".join(map(encode_line, block.entries)) == first + second


def test_the_numbers_about_the_example_are_right() -> None:
    first, second = example_lines()
    assert f"`covered` of the first line is {len(first) - 19} bytes" in DOCUMENT
    assert f"the line {len(first)}. The second starts at offset {len(first)}." in DOCUMENT
    entries = decode_block(first + second, 0).entries
    for entry in entries:
        assert f"    {root_of([entry])}\n" in DOCUMENT
    assert f"the root over both is `{root_of(entries)}`" in DOCUMENT


def test_the_check_value_of_the_crc_is_right() -> None:
    assert "that of `123456789` is `cbf43926`" in DOCUMENT
    assert zlib.crc32(b"123456789") == 0xCBF43926


def test_the_example_is_read_by_the_documents_reader() -> None:
    first, second = example_lines()
    found = format_reader.read_log(first + second)
    assert [entry["actor_id"] for _, entry, _ in found.entries] == ["ada", "bob"]
    assert found.damage == []
    assert format_reader.write_line(found.entries[0][1]) == first
    assert format_reader.write_line(found.entries[1][1]) == second


# -- whole logs ----------------------------------------------------------------------------------


@given(st.lists(ops, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_log_of_the_package_is_read_by_the_documents_reader(domain_ops: list[dict[str, Any]]) -> None:
    entries = [make_op_entry("ada", "notes", op, stamp) for stamp, op in enumerate(domain_ops, start=1)]
    data = b"".join(map(encode_line, entries))
    found = format_reader.read_log(data)
    assert [entry for _, entry, _ in found.entries] == entries
    assert [leaf for _, _, leaf in found.entries] == [leaf_of(entry) for entry in entries]
    agrees_with_the_document(data)


@given(st.lists(ops, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_line_of_the_documents_writer_is_an_entry_of_the_package(domain_ops: list[dict[str, Any]]) -> None:
    entries = [make_op_entry("ada", "notes", op, stamp) for stamp, op in enumerate(domain_ops, start=1)]
    data = b"".join(format_reader.write_line(dict(entry)) for entry in entries)
    block = decode_block(data, 0)
    assert block.entries == entries
    assert block.damages == []


def test_a_log_of_the_documents_writer_is_a_session_of_the_package(tmp_path: Path) -> None:
    session_directory(tmp_path).mkdir(parents=True)
    entries = [make_op_entry("ada", "notes", {"n": number}, number) for number in (1, 2, 3)]
    data = b"".join(format_reader.write_line(dict(entry)) for entry in entries)
    (session_directory(tmp_path) / "ops.jsonl").write_bytes(data)
    with OpLog(tmp_path, "jam") as log:
        assert log.read_all() == entries
        assert log.next_lamport_ts() == 4


# -- damaged logs --------------------------------------------------------------------------------

RICH = {
    "text": 'é\u2028"\\\x1f🎵',
    "numbers": [0, -1.5e300, 1e-7, 2**64 - 1],
    "words": [True, False, None],
    "": {},
}


def test_both_readers_call_a_line_cut_at_any_byte_torn() -> None:
    line = line_of(RICH)
    for length in range(1, len(line) - 1):
        assert is_torn(line[:length])
        assert format_reader.is_torn(line[:length])
        agrees_with_the_document(line[:length] + b"\n" + line_of({}))
        agrees_with_the_document(line[:length] + line_of({}))


def test_both_readers_agree_on_every_flipped_bit() -> None:
    data = line_of({"n": "J*"}) + line_of(RICH, 2) + line_of({}, 3)
    for bit in range(len(data) * 8 - 8):  # the last newline is what makes these whole lines
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        agrees_with_the_document(bytes(flipped))


fragments = st.sampled_from(
    [
        line_of({"n": 1}),
        line_of({"n": 1})[:-1],
        line_of({"n": 2})[:100],
        line_of({"n": 3})[:-3],
        line_of({"n": 3})[:-10],
        line_of({"n": 4})[50:],
        line_of({"n": 5}).replace(b"\n", b"\r\n"),
        json.dumps(make_op_entry("eve", "notes", {"n": 6}, 9)).encode() + b"\n",
        json.dumps({**make_op_entry("eve", "notes", {}, 9), "more": 1}).encode() + b"\n",
        b"\0" * 20,
        b"\n",
        b"\r\n",
        b"[]\n",
        b"null\n",
        b'{"op_id":"',
        b',"crc":"00000000"}',
        b"\xff\xfe",
        b"\xef\xbb\xbf",
    ]
)


@given(st.lists(fragments, max_size=8))
@example([b'{"op_id":"', b'{"op_id":"', line_of({}), b'{"op_id":"'])
@settings(max_examples=300, deadline=None)
def test_both_readers_agree_on_any_pile_of_fragments(parts: list[bytes]) -> None:
    agrees_with_the_document(b"".join(parts) + b"\n")


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_both_readers_agree_on_overwritten_bytes(noise: bytes, place: int, removed: int) -> None:
    data = line_of(RICH) + line_of({"n": 2}, 2) + line_of({"n": 3}, 3)
    agrees_with_the_document(data[:place] + noise + data[place + removed :])


# -- checkpoints ---------------------------------------------------------------------------------

steps = st.lists(st.sampled_from(["a", "b", "c", "collapse a", "collapse b", "checkpoint"]), max_size=25)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_both_readers_find_the_same_ops_pending(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    root = tmp_path_factory.mktemp("log")
    with OpLog(root, "jam") as log:
        log.record("ada", "a", {})
        for step in steps:
            if step == "checkpoint":
                log.checkpoint(DIGEST)
            elif step.startswith("collapse"):
                log.to_structured_delta(step[-1])
            else:
                log.record("ada", step, {})
        assert format_reader.pending(session_directory(root)) == log.replay_since_checkpoint()


def test_both_readers_read_a_checkpoint_of_five_keys(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "a", {"n": number}) for number in range(4)]
    checkpoint = {
        "session_id": "jam",
        "snapshot_id": DIGEST,
        "lamport_ts": 3,
        "op_count": 3,
        "created_at": NOW,
    }
    (session_directory(tmp_path) / "checkpoint.json").write_text(json.dumps(checkpoint, indent=2))
    with OpLog(tmp_path, "jam") as log:
        assert (
            log.replay_since_checkpoint() == entries[3:] == format_reader.pending(session_directory(tmp_path))
        )


def test_both_readers_refuse_a_checkpoint_with_any_bit_flipped(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "a", {})
        log.checkpoint(DIGEST)
        path = session_directory(tmp_path) / "checkpoint.json"
        data = path.read_bytes()
        assert format_reader.read_checkpoint(data, "jam")["op_count"] == 1
        for bit in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(CorruptionError):
                log.read_checkpoint()
            with pytest.raises(format_reader.RefusedError):
                format_reader.read_checkpoint(bytes(flipped), "jam")


def test_both_readers_refuse_a_log_shorter_than_its_checkpoint(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "a", {})
        log.record("ada", "a", {})
        log.checkpoint(DIGEST)
    path = session_directory(tmp_path) / "ops.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(format_reader.RefusedError):
        format_reader.pending(session_directory(tmp_path))
    with OpLog(tmp_path, "jam") as log, pytest.raises(CorruptionError):
        log.replay_since_checkpoint()


# -- trailers ------------------------------------------------------------------------------------


def test_the_trailers_of_a_commit_are_computed_anew_from_the_log(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=NOW)
    with LiveSession(tmp_path, "jam") as session:
        for number in range(11):
            session.edit("åda" if number % 3 else "bob", "notes-domain-without-plugin", {"ö": [number, 0.5]})
        outcome = session.commit("Eleven")
    assert outcome.commit_id is not None
    record = repository.dag.read_commit(outcome.commit_id)
    data = (session_directory(tmp_path) / "ops.jsonl").read_bytes()
    entries = sorted(
        format_reader.read_log(data).entries, key=lambda item: format_reader.total_order(item[1])
    )
    first, last = entries[0][1], entries[-1][1]
    frontier: dict[str, int] = {}
    for _, entry, _ in entries:
        frontier[entry["actor_id"]] = max(frontier.get(entry["actor_id"], 0), entry["lamport_ts"])
    assert format_reader.trailers(record["message"]) == {
        "Muse-Session": "jam",
        "Muse-Cut": str(len(data)),
        "Muse-First": f"{first['lamport_ts']} {first['op_id']}",
        "Muse-Last": f"{last['lamport_ts']} {last['op_id']}",
        "Muse-Op-Count": "11",
        "Muse-Frontier": format_reader.json_digest(frontier),
        "Muse-Delta": format_reader.json_digest(record["structured_delta"]),
        "Muse-Root": format_reader.merkle_root([leaf for _, _, leaf in entries]),
        "Muse-Ops": format_reader.op_list_id([entry["op_id"] for _, entry, _ in entries]),
        "Muse-Record": format_reader.record_digest(record),
        "Muse-Snapshot": format_reader.json_digest(
            json.loads((tmp_path / ".muse" / "snapshots" / f"{record['snapshot_id']}.json").read_bytes())
        ),
        "Muse-Repository": format_reader.json_digest(
            json.loads((tmp_path / ".muse" / "repo.json").read_bytes())
        ),
    }
