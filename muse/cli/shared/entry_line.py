"""One entry of a log as a line for people."""

from muse.core.entry import OpEntry

_SUMMARIES = ("child_summary", "content_summary", "new_summary")


def entry_line(entry: OpEntry) -> str:
    """Say when, in which order, who and what: one line."""
    op = entry["domain_op"]
    summary = next((str(op[name]) for name in _SUMMARIES if op.get(name)), "")  # type: ignore[literal-required]
    parts = [
        f"{entry['created_at'].removesuffix('+00:00'):<23}",
        f"{entry['lamport_ts']:>6}",
        f"{entry['actor_id']:<12}",
        entry["domain"],
        str(op.get("op", "other")),
        str(op.get("address", "")),
        f"({summary})" if summary else "",
    ]
    return "  ".join(part for part in parts if part)
