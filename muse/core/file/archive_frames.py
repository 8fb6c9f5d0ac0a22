"""A log is packed into a zstd file of frames that are compressed one by one, so any part is read alone.

Every zstd tool reads the whole file. Memory is that of one frame, whatever the log's size.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator

import zstandard

from muse.core.file.archive_manifest import FRAME_BYTES, ArchiveFacts, ArchiveManifest
from muse.disk.storage import READ_BLOCK_BYTES, Storage
from muse.disk.system_calls import storage_error, translated
from muse.errors import CorruptionError

_REPEATED_BYTES = 1 << 10

Progress = Callable[[int], None]
"""Called with how many bytes of the log are done so far."""


def silent(_done: int) -> None:
    """Tell nobody."""


def write_archive(
    path: str, read: Callable[[int, int], bytes], size: int, storage: Storage, progress: Progress = silent
) -> tuple[ArchiveFacts, str]:
    """Compress the `size` bytes that `read(offset, length)` gives into the file `path`, durable on return.

    Returns the facts of the new file and the SHA-256 of the log. A crash leaves a temporary file at most.
    """
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True, write_content_size=True)
    log_digest, digest = hashlib.sha256(), hashlib.sha256()
    frames: list[int] = []
    written = 0
    with storage.replacing(path) as write:
        for start in range(0, max(size, 1), FRAME_BYTES):
            data = read(start, min(FRAME_BYTES, size - start))
            frame = compressor.compress(data)
            frames.append(written)
            written += len(frame)
            log_digest.update(data)
            digest.update(frame)
            write(frame)
            progress(start + len(data))
    facts: ArchiveFacts = {
        "sha256": digest.hexdigest(),
        "size_bytes": written,
        "frame_bytes": FRAME_BYTES,
        "frames": frames,
    }
    return facts, log_digest.hexdigest()


class ArchiveFile:
    """The log in the zstd file `path`, as `manifest` describes it. Not for several threads at once."""

    def __init__(self, path: str, manifest: ArchiveManifest, storage: Storage) -> None:
        self.path = path
        self.size = manifest["log"]["size_bytes"]
        self._facts = manifest["archive"]
        self._log_digest = manifest["log"]["sha256"]
        self._storage = storage
        self._descriptor = -1
        self._lock = threading.Lock()
        self._last_frame = -1, b""  # the number and the bytes of the frame that was read last
        self._decompressor = zstandard.ZstdDecompressor()

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes of the log from `offset`; fewer only at its end."""
        parts = []
        stop = min(offset + length, self.size)
        while offset < stop:
            number, skip = divmod(offset, self._facts["frame_bytes"])
            part = self._frame(number)[skip : skip + stop - offset]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole log; raise `CorruptionError`, at the end at the latest, if it is another one."""
        log_digest = hashlib.sha256()
        for number in range(len(self._facts["frames"])):
            data = self._frame(number)
            log_digest.update(data)
            yield data
        if log_digest.hexdigest() != self._log_digest:
            raise self._corrupt("the log in it does not have the digest that its manifest names")

    def check_bytes(self) -> None:
        """Raise `CorruptionError` unless the file has the digest and the size that its manifest names."""
        digest, offset = hashlib.sha256(), 0
        while data := self._pread(READ_BLOCK_BYTES, offset):
            digest.update(data)
            offset += len(data)
        if offset != self._facts["size_bytes"] or digest.hexdigest() != self._facts["sha256"]:
            raise self._corrupt("it does not have the digest and size that its manifest names")

    def _frame(self, number: int) -> bytes:
        with self._lock:  # the decompressor is one thread's at a time
            if self._last_frame[0] != number:
                self._last_frame = number, self._decompress(number)
            return self._last_frame[1]

    def _decompress(self, number: int) -> bytes:
        frames, frame_bytes = self._facts["frames"], self._facts["frame_bytes"]
        start = frames[number]
        stop = frames[number + 1] if number + 1 < len(frames) else self._facts["size_bytes"]
        expected = min(frame_bytes, self.size - number * frame_bytes)
        # No frame is larger than what it holds, but for its frame: anything else is not read at all.
        if stop - start > frame_bytes + (frame_bytes >> 8) + 64:
            raise self._corrupt(f"frame {number} is too large")
        data = self._pread(stop - start, start)
        try:
            # The size it states is what would be allocated, so it is looked at first.
            if zstandard.get_frame_parameters(data).content_size == expected:
                return self._decompressor.decompress(data, max_output_size=max(expected, 1))
        except zstandard.ZstdError as error:
            raise self._corrupt(f"frame {number} at byte {start}: {error}") from error
        raise self._corrupt(f"frame {number} at byte {start} does not have the size that its manifest names")

    def _pread(self, length: int, offset: int) -> bytes:
        if self._descriptor < 0:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            try:
                self._descriptor = self._storage.open(self.path, flags)
            except FileNotFoundError as error:
                raise self._corrupt("it is missing") from error
            except OSError as error:
                raise storage_error(error, self.path, "open") from error
        with translated(self.path, "read"):
            parts = []
            while length > 0 and (part := self._storage.pread(self._descriptor, length, offset)):
                parts.append(part)
                offset += len(part)
                length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _corrupt(self, reason: str) -> CorruptionError:
        return CorruptionError(
            f"archive {self.path} is damaged: {reason}; restore it from another copy", path=self.path
        )

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        if self._descriptor >= 0:
            self._storage.close(self._descriptor)
        self._descriptor = -1
        self._last_frame = -1, b""


def salvaged(path: str, storage: Storage) -> Iterator[bytes]:
    """Yield what can be unpacked of an archive without its manifest, in blocks that repeat a little."""
    last = b""
    with contextlib.suppress(zstandard.ZstdError):
        unpacker = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        for packed in storage.blocks_of(path, 0):
            block = last + unpacker.decompress(packed)
            yield block
            last = block[-_REPEATED_BYTES:]
