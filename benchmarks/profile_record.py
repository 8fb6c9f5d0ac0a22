"""Where the time of one `record` goes: `python -m benchmarks.profile_record [--ops N]`.

The whole is measured on a real log. Each part is then measured alone, in a tight loop on the same
ops and the same disk, with the loop itself taken off. What is left of the whole is what stands
between the parts: calls, attributes, bookkeeping, and caches that a tight loop keeps warmer.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import perf_counter
from typing import Any

import orjson

from benchmarks.workload import DOMAIN, Work, work
from muse.core.clock import LamportClock
from muse.core.line import encode_line
from muse.core.op_ids import OpIdSource
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.core.timestamp import now_text
from muse.disk.crc import crc32
from muse.disk.path_watch import watch_path

_ROUNDS = 7
_BAR_WIDTH = 30
_HOME = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True)
class Part:
    """`microseconds` of `what`; parts inside another part are below it, one level deeper."""

    what: str
    microseconds: float
    depth: int = 1


def _per_call(call: Callable[..., object], *arguments: Iterable[Any], count: int) -> float:
    """Return the microseconds of one call, the median of some rounds, the loop's own time taken off."""
    columns = [list(column) for column in arguments]

    def loop(function: Callable[..., object]) -> float:
        start = perf_counter()
        if not columns:
            for _ in repeat(None, count):
                function()
        elif len(columns) == 1:
            for value in columns[0]:
                function(value)
        else:
            for values in zip(*columns, strict=True):
                function(*values)
        return perf_counter() - start

    return median(loop(call) for _ in range(_ROUNDS)) / count * 1e6 - _loop_microseconds(columns, count)


def _loop_microseconds(columns: list[list[Any]], count: int) -> float:
    def loop() -> float:
        start = perf_counter()
        for _ in (
            columns[0]
            if len(columns) == 1
            else zip(*columns, strict=True)
            if columns
            else repeat(None, count)
        ):
            pass
        return perf_counter() - start

    return median(loop() for _ in range(_ROUNDS)) / count * 1e6


def _whole(directory: str, ops: list[Work]) -> float:
    with OpLog(directory, "whole") as log:
        record = log.record
        record(ops[0][0], DOMAIN, ops[0][1])

        def loop() -> float:
            start = perf_counter()
            for actor, op in ops:
                record(actor, DOMAIN, op)
            return perf_counter() - start

        return median(loop() for _ in range(_ROUNDS)) / len(ops) * 1e6


def _literal(actor: str, op: Any) -> OpEntry:
    return {
        "op_id": "",
        "actor_id": actor,
        "lamport_ts": 1,
        "parent_op_ids": [],
        "domain": DOMAIN,
        "domain_op": op,
        "created_at": "",
        "intent_id": "",
        "reservation_id": "",
    }


def _nothing(actor: str, op: Any) -> None:
    """Cost a call with two arguments, to be taken off `_literal`."""


def _framed(covered: bytes) -> bytes:
    return b'%b,"crc":"%08x"}\n' % (covered, 3_735_928_559)


def _unframed(covered: bytes) -> None:
    """Cost a call with one argument, to be taken off `_framed`."""


def measure(directory: str, count: int) -> list[Part]:
    ops = work(count)
    entries = [make_op_entry(actor, DOMAIN, op, 123_456) for actor, op in ops]
    lines = [encode_line(entry) for entry in entries]
    covered = [line[:-18] for line in lines]
    actors, bodies = [actor for actor, _ in ops], [op for _, op in ops]
    whole = _whole(directory, ops)
    encode = _per_call(encode_line, entries, count=count)
    dumps = _per_call(orjson.dumps, entries, count=count)
    check = _per_call(crc32, covered, count=count)
    frame = _per_call(_framed, covered, count=count) - _per_call(_unframed, covered, count=count)
    entry = _per_call(_literal, actors, bodies, count=count) - _per_call(
        _nothing, actors, bodies, count=count
    )
    lock = threading.RLock()
    path = os.path.join(directory, "lines")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    parts = [
        Part("record", whole, 0),
        Part("write: one os.write", _per_call(os.write, repeat(descriptor, count), lines, count=count)),
        Part("line: encode_line", encode),
        Part("orjson.dumps", dumps, 2),
        Part("crc32", check, 2),
        Part("crc and newline put behind it", frame, 2),
        Part("checks that JSON gives the op back, limits, the call", encode - dumps - check - frame, 2),
        Part("clock: lseek to the end", _per_call(lambda: os.lseek(descriptor, 0, os.SEEK_END), count=count)),
        Part("clock: tick", _per_call(LamportClock().tick, count=count)),
        Part("entry: op id", _per_call(OpIdSource().next, count=count)),
        Part("entry: timestamp", _per_call(now_text, count=count)),
        Part("entry: the dict itself", entry),
        Part("rename watch: FIONREAD", _per_call(watch_path(path).ask, count=count)),
        Part("lock: take and give back", _per_call(lambda: lock.acquire() and lock.release(), count=count)),
    ]
    os.close(descriptor)
    rest = whole - sum(part.microseconds for part in parts if part.depth == 1)
    return [*parts, Part("the rest: calls, attributes, bookkeeping", rest)]


def table(parts: list[Part]) -> str:
    whole = parts[0].microseconds
    width = max(len(part.what) + 2 * part.depth for part in parts)
    rows = [f"{'':{width}}   us/op  share"]
    for part in parts:
        share = part.microseconds / whole
        bar = "#" * round(max(share, 0) * _BAR_WIDTH)
        name = "  " * part.depth + part.what
        rows.append(f"{name:{width}}  {part.microseconds:6.3f}  {share:5.1%}  {bar}".rstrip())
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_record")
    parser.add_argument("--ops", type=int, default=50_000)
    parser.add_argument(
        "--scratch", default=os.path.join(_HOME, ".scratch"), help="on the disk to be measured"
    )
    arguments = parser.parse_args()
    os.makedirs(arguments.scratch, exist_ok=True)
    directory = tempfile.mkdtemp(dir=arguments.scratch)
    try:
        sys.stdout.write(table(measure(directory, arguments.ops)))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
