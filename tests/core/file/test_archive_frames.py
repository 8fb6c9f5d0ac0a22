"""A log as zstd frames: any part is read, and nothing is believed that the frames say of their size."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard

from muse.core.file import archive_frames as archive_file
from muse.core.file.archive_frames import ArchiveFile, write_archive
from muse.core.file.archive_manifest import ArchiveManifest
from muse.disk.storage import LOCAL
from muse.errors import CorruptionError, StorageError
from muse.testing import FailingStorage

DATA = bytes(number * number % 251 for number in range(1050))
FRAME = 100


def packed(path: Path, data: bytes = DATA) -> ArchiveManifest:
    facts, digest = write_archive(str(path), lambda start, size: data[start : start + size], len(data), LOCAL)
    manifest: Any = {"archive": facts, "log": {"sha256": digest, "size_bytes": len(data)}}
    return manifest  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_file, "FRAME_BYTES", FRAME)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ops.jsonl.zst"


def test_any_part_is_what_was_written(path: Path) -> None:
    with closing(ArchiveFile(str(path), packed(path), LOCAL)) as archive:
        for start in (0, 1, 99, 100, 101, 950, 1000, 1049, 1050, 2000):
            for length in (0, 1, 99, 100, 101, 350, 5000):
                assert archive.read(start, length) == DATA[start : start + length]
        assert b"".join(archive.chunks()) == DATA


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200])
def test_a_log_of_any_size_comes_back(path: Path, size: int) -> None:
    with closing(ArchiveFile(str(path), packed(path, DATA[:size]), LOCAL)) as archive:
        archive.check_bytes()
        assert b"".join(archive.chunks()) == DATA[:size]
    assert zstandard.get_frame_parameters(path.read_bytes()).has_checksum


@pytest.mark.parametrize("seen", [ArchiveFile.check_bytes, lambda archive: list(archive.chunks())])
def test_each_flipped_byte_is_found(path: Path, seen: Callable[[ArchiveFile], object]) -> None:
    manifest = packed(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with (
            closing(ArchiveFile(str(path), manifest, LOCAL)) as archive,
            pytest.raises(CorruptionError, match="is damaged"),
        ):
            seen(archive)


def test_a_frame_that_would_swell_is_not_decompressed(path: Path) -> None:
    manifest = packed(path)
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    manifest["archive"]["frames"] = [0]
    manifest["archive"]["size_bytes"] = len(bomb)
    manifest["archive"]["frame_bytes"] = 1 << 22
    path.write_bytes(bomb)
    with (
        closing(ArchiveFile(str(path), manifest, LOCAL)) as archive,
        pytest.raises(CorruptionError, match="not have the size"),
    ):
        archive.read(0, 10)


def test_a_frame_without_its_size_is_refused(path: Path) -> None:
    manifest = packed(path, DATA[:50])
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(DATA[:50])
    manifest["archive"]["size_bytes"] = len(frame)
    path.write_bytes(frame)
    with (
        closing(ArchiveFile(str(path), manifest, LOCAL)) as archive,
        pytest.raises(CorruptionError, match="not have the size"),
    ):
        archive.read(0, 10)


def test_an_error_of_the_disk_is_no_damage(path: Path) -> None:
    manifest = packed(path)
    for fails_at in (1, 2):
        storage = FailingStorage(fails_at, "EIO")
        with closing(ArchiveFile(str(path), manifest, storage)) as archive, pytest.raises(StorageError):
            archive.read(0, 10)


def test_a_missing_file_is_damage(path: Path) -> None:
    manifest = packed(path)
    path.unlink()
    with (
        closing(ArchiveFile(str(path), manifest, LOCAL)) as archive,
        pytest.raises(CorruptionError, match="missing"),
    ):
        archive.read(0, 10)


def test_progress_tells_the_bytes_of_the_log(path: Path) -> None:
    told: list[int] = []
    write_archive(str(path), lambda start, size: DATA[start : start + size], 250, LOCAL, told.append)
    assert told == [100, 200, 250]
