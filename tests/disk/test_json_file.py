"""A file of one JSON object: what no writer of ours makes of it is told, however odd it is."""

import json
from pathlib import Path

import orjson
import pytest

from muse.disk.json_file import is_as_written, read_with_digest
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
