"""The ops every contender stores: note edits by several actors, the same on every run."""

import hashlib
import random
from collections.abc import Iterator
from itertools import chain, islice, repeat
from typing import Any

DOMAIN = "midi_notes"
ACTORS = ("ana", "benoit", "chiyo", "agent-bass", "agent-drums", "agent-harmony")
POOL_SIZE = 2_000
"""Distinct ops; a longer run goes through them again, with fresh op ids, so setting up stays cheap."""

Op = dict[str, Any]
Work = tuple[str, Op]


def _content_id(pitch: int, velocity: int, start: int, duration: int) -> str:
    return hashlib.sha256(f"{pitch}:{velocity}:{start}:{duration}:0".encode()).hexdigest()


def _note_op(random_source: random.Random, position: int) -> Op:
    pitch, velocity = random_source.randint(36, 96), random_source.randint(30, 120)
    start, duration = position * 120, random_source.choice((60, 120, 240, 480))
    content_id = _content_id(pitch, velocity, start, duration)
    address = f"note/{random_source.getrandbits(48):012x}"
    kind = random_source.choices(("insert", "delete", "move", "mutate"), (65, 10, 15, 10))[0]
    if kind == "move":
        return {
            "op": "move",
            "address": address,
            "from_position": start,
            "to_position": start + 120,
            "content_id": content_id,
        }
    if kind == "mutate":
        return {
            "op": "mutate",
            "address": address,
            "entity_id": address.removeprefix("note/"),
            "old_content_id": content_id,
            "new_content_id": _content_id(pitch, velocity - 10, start, duration),
            "fields": {"velocity": {"old": velocity, "new": velocity - 10}},
            "old_summary": "",
            "new_summary": "softer",
            "position": None,
        }
    return {
        "op": kind,
        "address": address,
        "position": None,
        "content_id": content_id,
        "content_summary": f"pitch {pitch} at {start}",
    }


def pool(count: int = POOL_SIZE) -> list[Work]:
    """Return `count` distinct (actor, op) pairs."""
    random_source = random.Random(1913)
    return [(random_source.choice(ACTORS), _note_op(random_source, position)) for position in range(count)]


def work(count: int) -> list[Work]:
    """Return `count` (actor, op) pairs, the pool again and again."""
    return list(islice(chain.from_iterable(repeat(pool(min(count, POOL_SIZE)))), count))


def batches(count: int, size: int) -> Iterator[tuple[str, list[Op]]]:
    """Yield (actor, `size` ops) until `count` ops are out."""
    ops = [op for _, op in pool()]
    for number in range(count // size):
        start = number * size % (len(ops) - size + 1)
        yield ACTORS[number % len(ACTORS)], ops[start : start + size]
