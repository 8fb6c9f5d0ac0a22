"""Makes small editing traces for tests."""

import json
from typing import Any


def trace(*patches: list[list[Any]], start: str = "", end: str = "", **more: Any) -> bytes:
    """Make a sequential trace, a transaction for each list of patches."""
    transactions = [{"time": "2020-01-01T00:00:00Z", "patches": each} for each in patches]
    return json.dumps({"startContent": start, "endContent": end, "txns": transactions, **more}).encode()


def concurrent(*transactions: tuple[list[int], int, list[list[Any]]], end: str = "") -> bytes:
    """Make a concurrent trace of (parents, agent, patches)."""
    return json.dumps(
        {
            "kind": "concurrent",
            "endContent": end,
            "numAgents": 2,
            "txns": [
                {"parents": parents, "numChildren": 1, "agent": agent, "patches": patches}
                for parents, agent, patches in transactions
            ],
        }
    ).encode()
