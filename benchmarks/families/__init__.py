"""The registry of cases. A new family is one more module with `CASES`, named here."""

from benchmarks.case import Case
from benchmarks.families import append, durable, follow, history, read, reopen, size, together

FAMILIES = (append, durable, read, reopen, follow, size, history, together)
CASES: dict[str, Case] = {case.name: case for family in FAMILIES for case in family.CASES}
