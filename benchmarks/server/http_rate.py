"""Requests a second of single-op appends: `python -m benchmarks.server.http_rate URL SESSION SECONDS`.

A client of a few lines, so that the server is what is measured: connections that are kept, one request at
a time on each, over HTTP.
"""

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

from benchmarks.server.load import DOMAIN, edit, now_us
from muse.core.op_ids import OpIdSource

_CONNECTIONS = 16
_WARM_UP_SECONDS = 1.0


async def _ask(url: str, session_id: str, actor: str, until: list[float]) -> int:
    """Append one op after the other; return how many were answered in the measured time."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = (
        f"POST /v1/sessions/{session_id}/ops HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        "content-type: application/x-ndjson\r\ncontent-length: "
    )
    ids, answered, number = OpIdSource(), 0, 0
    while (now := time.monotonic()) < until[1]:
        number += 1
        op = {"op_id": ids.next(), "actor_id": actor, "domain": DOMAIN, "domain_op": edit(number, now_us())}
        body = json.dumps(op, separators=(",", ":"))
        writer.write(f"{head}{len(body)}\r\n\r\n{body}".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"an append was refused: {answer.splitlines()[0].decode()}")
        lines = answer.lower().splitlines()
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        answered += now >= until[0]
    writer.close()
    return answered


async def _rate(url: str, session_id: str, seconds: float) -> float:
    start = time.monotonic() + _WARM_UP_SECONDS
    until = [start, start + seconds]
    counts = await asyncio.gather(
        *(_ask(url, session_id, f"asker-{number}", until) for number in range(_CONNECTIONS))
    )
    return sum(counts) / seconds


def main() -> None:
    url, session_id, seconds = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(_rate(url, session_id, float(seconds)))))


if __name__ == "__main__":
    main()
