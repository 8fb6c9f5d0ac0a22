"""`docs/index_format.md` is true of the bytes of a snapshot."""

import re
import zlib
from hashlib import sha256
from pathlib import Path

from muse.core.file import id_file, op_index
from muse.core.file.id_file import Facts, IdFile, write_id_file
from muse.core.file.id_prints import fingerprints
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.disk.storage import LOCAL
from tests.samples.project import DOCS

DOCUMENT = (DOCS / "index_format.md").read_text(encoding="utf-8")
KEY = bytes(range(96))


def example() -> bytes:
    """The bytes of the dump in the document."""
    [dump] = re.findall(r"```text\n(.*?)```", DOCUMENT, re.DOTALL)
    lines = [line.partition("  ")[2] for line in dump.splitlines()]
    return bytes.fromhex("".join(lines))


def example_log() -> bytes:
    text = (DOCS / "log_format.md").read_text(encoding="utf-8")
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1].encode()


def print_by_the_document(op_id: str, key: bytes) -> bytes:
    a, b = (int.from_bytes(half, "big") for half in (key[:48], key[48:]))
    text = op_id if len(op_id) == 36 and op_id.isascii() else sha256(op_id.encode()).hexdigest()[:36]
    x = int.from_bytes(text.encode(), "big")
    return ((a * x + b) % 2**384 >> 320).to_bytes(8, "big")


def snapshot_by_the_document(log: bytes, key: bytes, bits: int) -> bytes:
    """A snapshot of a log of ours, made from the document alone."""
    starts = [0, *(match.end() for match in re.finditer(rb"\n", log))][:-1]
    rows = sorted(
        print_by_the_document(log[start + 10 : start + 46].decode(), key) + start.to_bytes(8, "big")
        for start in starts
    )
    covered = len(log)
    witness = sha256(b"ids %d " % covered + log[:4096] + log[max(0, covered - 4096) :]).digest()
    head = b"muse ids" + (1).to_bytes(4, "big") + bits.to_bytes(4, "big") + key
    head += covered.to_bytes(8, "big") + witness
    directory = b""
    for number in range(1 << bits):
        own = [row for row in rows if int.from_bytes(row[:8], "big") >> (64 - bits) == number]
        upto = sum(int.from_bytes(row[:8], "big") >> (64 - bits) <= number for row in rows)
        directory += upto.to_bytes(8, "big") + zlib.crc32(b"".join(own)).to_bytes(4, "big")
    count = len(rows).to_bytes(8, "big")
    crc = zlib.crc32(head + directory + count)
    return head + b"".join(rows) + directory + count + crc.to_bytes(4, "big")


def test_the_example_is_what_the_document_says() -> None:
    assert example() == snapshot_by_the_document(example_log(), KEY, 1)


def test_the_example_is_what_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "op_index.ids"
    path.write_bytes(example())
    file = IdFile(str(path), LOCAL)
    assert file.facts == Facts(1, KEY, len(example_log()), file.facts.witness)
    assert file.count == 2
    segments = [file.rows(0, 0), file.rows(1, 1)]
    assert file.rows(0, 1) == b"".join(segments)
    file.close()
    write_id_file(str(path), LOCAL, file.facts, segments)
    assert path.read_bytes() == example()


def test_what_a_log_leaves_is_what_the_document_says(tmp_path: Path) -> None:
    entries = [make_op_entry("ada", "notes", {"n": number}, number + 1) for number in range(17_000)]
    with OpLog(tmp_path, "jam") as log:
        log.append_many(entries)
        assert log.append_many(entries[:10]) == 0
    written = Path(layout.op_index_file(str(tmp_path), "jam")).read_bytes()
    log_bytes = Path(layout.ops_file(str(tmp_path), "jam")).read_bytes()
    bits = int.from_bytes(written[12:16], "big")
    assert 32 <= 17_000 >> bits <= 64
    assert op_index.SNAPSHOT_ROWS < 17_000
    assert len(written) == id_file._HEAD.size + 16 * 17_000 + 12 * (1 << bits) + 12
    starts = [0, *(match.end() for match in re.finditer(rb"\n", log_bytes))][:-1]
    prints = fingerprints([entry["op_id"] for entry in entries], written[16:112])
    rows = sorted(
        prints[8 * number : 8 * number + 8] + start.to_bytes(8, "big") for number, start in enumerate(starts)
    )
    assert written[152 : 152 + 16 * 17_000] == b"".join(rows)


def test_fingerprints_are_those_of_the_document() -> None:
    op_ids = [make_op_entry("ada", "notes", {}, 1)["op_id"] for _ in range(50)]
    for some in (op_ids, op_ids[:1], ["", "x", "é" * 36, "A" * 36, *op_ids[:3]]):
        expected = b"".join([print_by_the_document(op_id, KEY) for op_id in some])
        assert fingerprints(some, KEY) == expected
