"""Verification names every fault of an archive, its manifest and its tombstone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muse.checks.archives import check_archives
from muse.checks.verify import verify_repository
from muse.core.content_id import sha256_hex
from muse.core.file.archive_manifest import encode_manifest, make_tombstone
from muse.core.op_log import OpLog
from muse.disk.storage import LOCAL
from muse.upkeep.archive import archive_session
from tests.samples.sealed_session import DOMAIN, make_session

OPS, MANIFEST = "archives/jam/ops.jsonl.zst", "archives/jam/manifest.json"
TOMBSTONE = "op_log/jam/receipt.json"


@pytest.fixture
def muse(tmp_path: Path) -> Path:
    make_session(str(tmp_path))
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", DOMAIN, {"n": 1000})
    archive_session(tmp_path, "jam", abandon_pending=True)
    return tmp_path / ".muse"


def found(muse: Path) -> set[tuple[str, str]]:
    _, findings = check_archives(str(muse.parent), LOCAL, lambda _what, _count: None)
    return {(finding.kind, finding.path.removeprefix(f"{muse}/")) for finding in findings}


def test_a_sound_archive_has_no_findings_and_is_counted(muse: Path) -> None:
    report = verify_repository(str(muse.parent))
    assert (report.findings, report.archives) == ([], 1)


@pytest.mark.parametrize("name", [OPS, MANIFEST])
def test_any_flipped_byte_is_found_and_its_file_named(muse: Path, name: str) -> None:
    path = muse / name
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert found(muse) == {("archive", name)}, place
    path.write_bytes(whole)
    assert found(muse) == set()


def test_any_flipped_byte_of_a_tombstone_is_found_and_no_other_file_named(muse: Path) -> None:
    path = muse / TOMBSTONE
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert found(muse) == {("archive", TOMBSTONE)}, place
    path.write_bytes(whole)
    assert found(muse) == set()


@pytest.mark.parametrize("name", [OPS, MANIFEST, TOMBSTONE])
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_foreign_bytes_are_named(muse: Path, name: str, content: bytes) -> None:
    (muse / name).write_bytes(content)
    assert ("archive", name) in found(muse)


@pytest.mark.parametrize("name", [OPS, MANIFEST, TOMBSTONE])
def test_a_missing_file_is_named(muse: Path, name: str) -> None:
    (muse / name).unlink()
    assert found(muse) == {("archive", name)}


def test_a_truncated_or_longer_archive_is_named(muse: Path) -> None:
    whole = (muse / OPS).read_bytes()
    for content in (whole[:-1], whole + b"x", whole + whole):
        (muse / OPS).write_bytes(content)
        assert found(muse) == {("archive", OPS)}


def forge(muse: Path, change: Callable[[Any], None]) -> None:
    """Change the manifest, and give out a new tombstone for it."""
    manifest = json.loads((muse / MANIFEST).read_bytes())
    change(manifest)
    (muse / MANIFEST).write_bytes(encode_manifest(manifest))
    tombstone = json.loads((muse / TOMBSTONE).read_bytes())
    tombstone["manifest_sha256"] = make_tombstone(manifest)["manifest_sha256"]
    (muse / TOMBSTONE).write_text(json.dumps(tombstone))


def put(*keys: Any, value: Any) -> Callable[[Any], None]:
    def change(manifest: Any) -> None:
        inner = manifest
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("log", "entry_count", value=3),
        put("log", "first_lamport_ts", value=2),
        put("log", "last_lamport_ts", value=2),
        put("log", "frontier", "ada", value=1),
        put("log", "root", value=sha256_hex(b"")),
        put("commits", 0, "root", value=sha256_hex(b"")),
        put("commits", 0, "op_count", value=9),
        put("commits", 0, "cut_offset", value=9),
        put("commits", 0, "commit_id", value=sha256_hex(b"")),
        put("abandoned", "op_count", value=0),
        put("abandoned", "op_ids", value=[]),
        put("abandoned", "root", value=sha256_hex(b"")),
        put("checkpoint", value="{}"),
        put("archive", "frames", value=[0, 1]),
        put("archive", "frame_bytes", value=1 << 40),
        put("archive", "frames", value=[]),
        put("session_id", value="other"),
        put("format_version", value=2),
    ],
)
def test_a_manifest_that_is_forged_with_its_tombstone_is_found_by_what_it_speaks_of(
    muse: Path, change: Callable[[Any], None]
) -> None:
    forge(muse, change)
    findings = found(muse)
    assert findings
    assert {kind for kind, _ in findings} == {"archive"}


def test_forged_digests_of_archive_and_log_are_found(muse: Path) -> None:
    for keys in (("archive", "sha256"), ("log", "sha256"), ("archive", "size_bytes"), ("log", "size_bytes")):
        whole = (muse / MANIFEST).read_bytes()
        tombstone = (muse / TOMBSTONE).read_bytes()
        forge(muse, put(*keys, value=sha256_hex(b"") if keys[1] == "sha256" else 77))
        assert {kind for kind, _ in found(muse)} == {"archive"}
        (muse / MANIFEST).write_bytes(whole)
        (muse / TOMBSTONE).write_bytes(tombstone)


def test_a_log_beside_its_tombstone_is_named_if_it_is_another_one(muse: Path) -> None:
    path = muse / "op_log/jam/ops.jsonl"
    path.write_bytes(b"")
    assert found(muse) == set()
    path.write_bytes(b"something\n")
    assert found(muse) == {("archive", "op_log/jam/ops.jsonl")}


def test_the_rest_is_still_checked(muse: Path) -> None:
    (muse / TOMBSTONE).write_bytes(b"")
    (muse / MANIFEST).write_bytes(b"")
    (muse / "HEAD").write_bytes(b"")
    kinds = {finding.kind for finding in verify_repository(str(muse.parent)).findings}
    assert kinds >= {"archive", "head"}


def test_white_space_in_a_tombstone_that_no_tool_writes_is_found(muse: Path) -> None:
    path = muse / TOMBSTONE
    path.write_bytes(path.read_bytes().replace(b'": ', b'":\t', 1))
    assert found(muse) == {("archive", TOMBSTONE)}
