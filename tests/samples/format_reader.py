"""Reads and writes an op log, made from `docs/log_format.md` alone: it shares no code with the package."""

import hashlib
import json
import re
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

FIELDS = (
    "op_id",
    "actor_id",
    "lamport_ts",
    "parent_op_ids",
    "domain",
    "domain_op",
    "created_at",
    "intent_id",
    "reservation_id",
)
PREFIX = b'{"op_id":"'
FRAME = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
CUT_FRAME = re.compile(rb',"crc":"(?:[0-9a-f]{0,8}|[0-9a-f]{8}")\Z')
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
CUT_STRING = re.compile(
    r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z'
)
ATOM = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
NUMBER_START = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?)?\Z")


class RefusedError(Exception):
    """A log or checkpoint that must not be trusted."""


@dataclass
class Found:
    """What a log holds: (offset, entry, bytes of its leaf), and (offset, length, kind) of damage."""

    entries: list[tuple[int, dict[str, Any], bytes]] = field(default_factory=list)
    damage: list[tuple[int, int, str]] = field(default_factory=list)


# -- lines ---------------------------------------------------------------------------------------


def write_line(entry: dict[str, Any]) -> bytes:
    text = json.dumps({key: entry[key] for key in FIELDS}, separators=(",", ":"), ensure_ascii=False)
    covered = text.encode()[:-1]
    return covered + b',"crc":"%08x"}\n' % zlib.crc32(covered)


def read_log(data: bytes) -> Found:
    found = Found()
    offset = 0
    for line in data.split(b"\n")[:-1]:
        read_line(line.removesuffix(b"\r"), offset, found)
        offset += len(line) + 1
    return found


def read_line(line: bytes, offset: int, found: Found) -> None:
    if not line.strip(b" "):
        return
    whole = framed_entry(line) if FRAME.match(line, len(line) - 18) else foreign_entry(line)
    if whole is not None:
        found.entries.append((offset, whole, leaf_bytes(line, whole)))
        return
    done = 0
    for start, end, entry in entries_inside(line):
        found.damage += damage_of(line[done:start], offset + done)
        found.entries.append((offset + start, entry, leaf_bytes(line[start:end], entry)))
        done = end
    found.damage += damage_of(line[done:], offset + done)


def entries_inside(line: bytes) -> Iterator[tuple[int, int, dict[str, Any]]]:
    ends = [match.end() for match in FRAME.finditer(line)]
    position = line.find(PREFIX)
    while position >= 0:
        behind = position + 1
        for end in ends:
            entry = framed_entry(line[position:end]) if end > position else None
            if entry is not None:
                yield position, end, entry
                behind = end
                break
        position = line.find(PREFIX, behind)


def framed_entry(line: bytes) -> dict[str, Any] | None:
    covered, frame = line[:-18], FRAME.fullmatch(line[-18:])
    if frame is None or zlib.crc32(covered) != int(frame[1], 16):
        return None
    try:
        value = json.loads((covered + b"}").decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not has_types(value) or len(value["op_id"]) != 36:
        return None
    return {key: item for key, item in value.items() if key in FIELDS}


def foreign_entry(line: bytes) -> dict[str, Any] | None:
    try:
        value = strict_json(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or set(value) != set(FIELDS) or not has_types(value):
        return None
    parents = value["parent_op_ids"]
    texts = [value[key] for key in FIELDS if key.endswith("_id") or key in {"domain", "created_at"}]
    within = (
        all(len(text) <= 256 for text in texts)
        and value["domain"]
        and all(UUID4.fullmatch(op_id) for op_id in [value["op_id"], *parents])
        and len(set(parents)) == len(parents) <= 256
        and value["op_id"] not in parents
    )
    return value if within else None


def has_types(value: dict[str, Any]) -> bool:
    if not set(value) >= set(FIELDS):
        return False
    texts = [key for key in FIELDS if key not in {"lamport_ts", "parent_op_ids", "domain_op"}]
    return (
        all(isinstance(value[key], str) for key in texts)
        and value["actor_id"] != ""
        and type(value["lamport_ts"]) is int
        and 1 <= value["lamport_ts"] <= 2**53 - 1
        and isinstance(value["parent_op_ids"], list)
        and all(isinstance(parent, str) for parent in value["parent_op_ids"])
        and isinstance(value["domain_op"], dict)
    )


def strict_json(data: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise ValueError("a key twice")
        return value

    def integer(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= int(digits) <= 2**64 - 1:
            raise ValueError("an integer out of range")
        return int(digits)

    def real(digits: str) -> float:
        if abs(float(digits)) == float("inf"):
            raise ValueError("a number too large")
        return float(digits)

    def constant(name: str) -> NoReturn:
        raise ValueError(name)

    value = json.loads(
        data.decode(),
        object_pairs_hook=unique,
        parse_int=integer,
        parse_float=real,
        parse_constant=constant,
    )
    json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8: UnicodeEncodeError
    return value


# -- damage --------------------------------------------------------------------------------------


def damage_of(run: bytes, offset: int) -> list[tuple[int, int, str]]:
    if not run:
        return []
    if is_torn(run):
        return [(offset, len(run), "torn")]
    parts: list[tuple[int, bytes]] = []
    end = len(run)
    for _ in range(63):
        if is_torn(run[:end]):
            return [(offset + start, len(part), "torn") for start, part in [(0, run[:end]), *reversed(parts)]]
        starts = (run.rfind(b"{", 0, end), run.rfind(PREFIX, 0, end))
        start = next((start for start in starts if start > 0 and is_torn(run[start:end])), 0)
        if start == 0:
            break
        parts.append((start, run[start:end]))
        end = start
    return [(offset, len(run), "corrupt")]


def is_torn(fragment: bytes) -> bool:
    content = fragment.rstrip(b"\0")
    if len(content) <= len(PREFIX):
        return PREFIX.startswith(content)
    if not content.startswith(PREFIX):
        return False
    framing = content.rfind(b',"crc":"')
    if framing >= 0 and not CUT_FRAME.match(content, framing) and is_json(content[:framing] + b"}"):
        return False
    for cut in range(4):
        rest = content[: len(content) - cut]
        if is_utf8(rest) and is_cut_json(rest.decode()):
            return True
        if rest[-1] < 0x80:
            return False
    return False


def is_json(data: bytes) -> bool:
    try:
        json.loads(data.decode())
    except ValueError:
        return False
    return True


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_cut_json(text: str) -> bool:
    """Whether `text` is JSON up to an end that comes too early."""
    closers: list[str] = []
    expected = "value"
    position = 0
    while position < len(text):
        character = text[position]
        if character in " \t\r":
            position += 1
        elif expected in {"value", "value or end"} and character in "{[":
            closers.append("}" if character == "{" else "]")
            expected = "key or end" if character == "{" else "value or end"
            position += 1
        elif expected in {"key or end", "value or end", "comma"} and closers and character == closers[-1]:
            closers.pop()
            expected = "comma"
            position += 1
        elif expected == "comma" and closers and character == ",":
            expected = "key" if closers[-1] == "}" else "value"
            position += 1
        elif expected == "colon" and character == ":":
            expected = "value"
            position += 1
        elif expected in {"key", "key or end", "value", "value or end"}:
            end = scalar_end(text, position, is_key=expected.startswith("key"))
            if end is None:
                return False
            if end < 0:
                return True
            expected = "colon" if expected.startswith("key") else "comma"
            position = end
        else:
            return False
    return bool(closers) or expected == "value"


def scalar_end(text: str, position: int, *, is_key: bool) -> int | None:
    """Where the string, number or literal at `position` ends: -1 if the text ends in it, None if none is."""
    if found := STRING.match(text, position):
        return found.end()
    if CUT_STRING.match(text, position):
        return -1
    rest = text[position:]
    if not is_key and (
        NUMBER_START.match(rest) or any(word.startswith(rest) for word in ("true", "false", "null"))
    ):
        return -1
    found = None if is_key else ATOM.match(text, position)
    return found.end() if found else None


# -- meaning -------------------------------------------------------------------------------------


def once_each(found: Found) -> list[tuple[int, dict[str, Any], bytes]]:
    known: dict[str, tuple[int, dict[str, Any], bytes]] = {}
    for item in found.entries:
        first = known.setdefault(item[1]["op_id"], item)
        if first[1] != item[1]:
            raise RefusedError(f"op {item[1]['op_id']} stands twice with different bodies")
    return list(known.values())


def total_order(entry: dict[str, Any]) -> tuple[int, str, str]:
    return entry["lamport_ts"], entry["actor_id"], entry["op_id"]


def read_checkpoint(data: bytes, session_id: str) -> dict[str, Any]:
    line = data.removesuffix(b"\n")
    framed = FRAME.fullmatch(line[-18:])
    if framed and zlib.crc32(line[:-18]) != int(framed[1], 16):
        raise RefusedError("the checkpoint's crc does not match")
    try:
        value = strict_json(line)
    except ValueError as error:
        raise RefusedError("the checkpoint is not JSON") from error
    if not isinstance(value, dict) or (framed is None and "cut" in value):
        raise RefusedError("the checkpoint has no crc")
    if value["session_id"] != session_id:
        raise RefusedError("the checkpoint is another session's")
    return value


def pending(directory: Path) -> list[dict[str, Any]]:
    """The entries that the checkpoint in a session's directory does not cover, in the total order."""
    data = (directory / "ops.jsonl").read_bytes()
    entries = once_each(read_log(data))
    path = directory / "checkpoint.json"
    if not path.exists():
        return sorted((entry for _, entry, _ in entries), key=total_order)
    checkpoint = read_checkpoint(path.read_bytes(), directory.name)
    if "cut" not in checkpoint:
        if len(entries) < checkpoint["op_count"]:
            raise RefusedError("the log is shorter than its checkpoint")
        left = entries[checkpoint["op_count"] :]
        return sorted((entry for _, entry, _ in left), key=total_order)
    cut, domains = checkpoint["cut"]["offset"], checkpoint["domains"]
    if len(data) < cut:
        raise RefusedError("the log is shorter than its checkpoint")
    return sorted(
        (
            entry
            for offset, entry, _ in entries
            if offset >= cut and offset >= domains.get(entry["domain"], 0)
        ),
        key=total_order,
    )


def leaf_bytes(line: bytes, entry: dict[str, Any]) -> bytes:
    if FRAME.fullmatch(line[-18:]) and set(json.loads(line)) == {*FIELDS, "crc"}:
        return line[:-18] + b"}"
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()


def merkle_root(leaves: list[bytes]) -> str:
    return tree_hash(leaves).hex()


def tree_hash(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def op_list_id(op_ids: list[str]) -> str:
    """Hash the list of a commit's ops: 16 bytes for each UUID, in the total order."""
    return hashlib.sha256(b"".join(uuid.UUID(op_id).bytes for op_id in op_ids)).hexdigest()


def json_digest(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def record_digest(record: Any) -> str:
    fields = (
        *("repo_id", "branch", "parent_commit_id", "parent2_commit_id", "author", "metadata", "sem_ver_bump"),
        *("breaking_changes", "agent_id", "model_id", "toolchain_id", "prompt_hash", "format_version"),
    )
    return json_digest({name: record[name] for name in fields})


def trailers(message: str) -> dict[str, str]:
    paragraph = message.rstrip("\n").split("\n\n")[-1]
    return dict(line.split(": ", 1) for line in paragraph.split("\n"))
