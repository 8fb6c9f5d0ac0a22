"""Lines of a log: as our writers make them, and as other tools do."""

import json
from typing import Any

from muse.core.entry import OpEntry
from muse.core.line import encode_line
from muse.core.op_log import make_op_entry


def entry(domain_op: dict[str, Any] | None = None, lamport_ts: int = 1) -> OpEntry:
    return make_op_entry("ada", "notes", {} if domain_op is None else domain_op, lamport_ts)


def line(domain_op: dict[str, Any] | None = None, lamport_ts: int = 1) -> bytes:
    return encode_line(entry(domain_op, lamport_ts))


def foreign(one: OpEntry, **changes: Any) -> bytes:
    return json.dumps({**one, **changes}).encode()


def with_op(text: str) -> bytes:
    """A line as another tool writes it, its op given as JSON text."""
    return foreign(entry()).replace(b'"domain_op": {}', b'"domain_op": ' + text.encode())
