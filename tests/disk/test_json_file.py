"""A file of one JSON object: what no writer of ours makes of it is told, however odd it is."""

import json
from pathlib import Path

import orjson
import pytest

from muse.disk.json_file import encode_with_digest, is_as_written, read_vouched, read_with_digest
from muse.disk.storage import LOCAL
from muse.errors import CorruptionError

DEEP = b'{"a":' * 300 + b"1" + b"}" * 300
"""JSON that is read, and nested deeper than Muse writes it."""


@pytest.mark.parametrize(
    "data", [json.dumps(json.loads(DEEP)).encode(), json.dumps(json.loads(DEEP), indent=2).encode()]
)
def test_json_nested_deeper_than_muse_writes_is_as_another_tool_wrote_it(data: bytes) -> None:
    with pytest.raises(orjson.JSONEncodeError):
        orjson.dumps(orjson.loads(data))
    assert is_as_written(data)
    assert not is_as_written(data.replace(b" ", b"\t", 1))


@pytest.mark.parametrize("key", ["digest", "digesu"])
def test_a_digest_of_what_muse_cannot_write_is_a_fault_of_the_file(tmp_path: Path, key: str) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(b'{"deep":%b,"%b":"%b"}' % (DEEP, key.encode(), b"a" * 64))
    if key == "digest":
        with pytest.raises(CorruptionError, match="by its digest"):
            read_with_digest(str(path), LOCAL)
    else:
        assert set(read_with_digest(str(path), LOCAL)) == {"deep", key}


def test_a_plain_document_has_the_same_bytes_whether_it_is_read_again_or_not() -> None:
    document = {"a": ["x", 1, {"b": None}], "é": {}, "c": "\n  }"}
    assert encode_with_digest(document, "it", is_plain=True) == encode_with_digest(document, "it")
    assert json.loads(encode_with_digest(document, "it"))["digest"]


def test_a_changed_byte_is_not_vouched_for(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    data = encode_with_digest({"a": ["x", 1], "b": {"digest": "no"}}, "it")
    path.write_bytes(data)
    assert read_vouched(str(path), LOCAL) == data
    assert read_with_digest(str(path), LOCAL) == {"a": ["x", 1], "b": {"digest": "no"}}
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert read_vouched(str(path), LOCAL) is None
    for other in (b"", b"{}\n", data[:-1], data + b"\n"):
        path.write_bytes(other)
        assert read_vouched(str(path), LOCAL) is None
