"""The registry of cases. A new family is one more module with `CASES`, named here."""

from benchmarks.case import Case
from benchmarks.families import (
    append,
    durable,
    follow,
    history,
    merge,
    read,
    reopen,
    size,
    sync,
    text,
    together,
)

FAMILIES = (append, durable, read, reopen, follow, size, history, together, merge, text, sync)
CASES: dict[str, Case] = {case.name: case for family in FAMILIES for case in family.CASES}
