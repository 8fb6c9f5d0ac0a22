"""Takes log entries, as they arrive, into a live tree. Pure.

An op that names its file and brings its update means the same wherever it arrives. A raw op has
positions only and means the version that its author saw: here it is turned into the other kind, in the same
way everywhere.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from muse.domain import Application, IgnoredOp
from muse.errors import DomainError
from muse.plugins.code.live_tree import LiveTree
from muse.plugins.code.ops import AbsentCauseError, AbsentObjectError, Cause, CodeOp, read_op
from muse.plugins.code.raw import RawOps, stamp_of
from muse.plugins.code.waiting import WaitingOps
from muse.plugins.op_fields import Fetch, address_of

WAITING = "waiting"
ABSENT = "absent"
MAX_WAITING, MAX_BYTES = 10_000, 1 << 24
"""How many entries may wait, and how long they may be together: each further commit carries them."""


Entry = Mapping[str, Any]


LAST_RULE = 2
"""By rule 1 the state of a text with raw ops could read otherwise than that: see `LiveTree.keep_texts`."""


def merge_code(
    files: Mapping[str, bytes],
    entries: Sequence[Entry],
    fetch: Fetch,
    state: Mapping[str, bytes],
    rule: int = LAST_RULE,
) -> Application:
    """Take `entries`, in the total order, into a tree; see `MergingPlugin.merge`. `rule` is 1 or the last."""
    merger = Merger(files, state, fetch, "merge")
    ignored = merger.take(entries)
    if rule > 1 and any(map(is_raw, entries)):
        merger.tree.keep_texts()
    return Application(merger.tree.changed_files(), ignored, merger.changed_state())


class Merger:
    """Takes entries into a live tree, and keeps those that have to wait.

    An entry that builds on an op or an object that has not arrived waits for it, from one commit to the next
    if need be, and is listed as ignored meanwhile.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        state: Mapping[str, bytes],
        fetch: Fetch,
        seed: str,
        rank: int | None = None,
    ) -> None:
        self.tree = LiveTree(files, state, fetch, seed, rank)
        self._source = (files, state, fetch)
        self.on_taken: Callable[[int, CodeOp], None] | None = None
        self._waiting = waiting_entries(state)

    @property
    def waiting_count(self) -> int:
        """How many entries wait for what they build on."""
        return len(self._waiting)

    def take(self, entries: Sequence[Entry]) -> list[IgnoredOp]:
        """Take in entries, and those that waited for them; list those without effect, by their places.

        Raw ops mean a version of the tree as it was at first: only the first entries taken may contain them.
        """
        once: dict[str, tuple[int, Entry]] = {}
        for index, entry in enumerate(entries):
            once.setdefault(entry["op_id"], (index, entry))
        is_mixed = any(is_raw(entry) for entry in entries)
        raw = RawOps(*self._source, [entry for _, entry in once.values()]) if is_mixed else None
        ignored: dict[int, IgnoredOp] = {}
        waiting = dict(enumerate(self._waiting, -len(self._waiting))) | dict(once.values())
        self._take_all(waiting, raw, ignored)
        self._waiting = list(_with_room(sorted(waiting.items()), ignored))
        return [ignored[index] for index in sorted(ignored) if index >= 0]

    def _take_all(self, waiting: dict[int, Entry], raw: RawOps | None, ignored: dict[int, IgnoredOp]) -> None:
        """Take in entries, by their indices, and remove them from `waiting` unless they have to wait on.

        All are tried once, in order; then, in rounds, those that were woken, as long as a round lets one go.
        One that is behind the op that woke it is tried in the same round.
        """
        causes, this_round, next_round = WaitingOps(self.tree), sorted(waiting), list[int]()
        while this_round:
            count = len(waiting)
            while this_round:
                index = heappop(this_round)
                before = waiting.pop(index)
                entry, meant, cause = self._attempt(index, before, raw, ignored)
                if entry is not None:
                    waiting[index] = entry
                    if cause is None or is_raw(before):
                        next_round.append(index)  # what was derived of it is tried as that
                    else:
                        causes.add(index, cause)
                for woken in causes.woken(meant, had_effect=index not in ignored):
                    heappush(this_round if woken > index else next_round, woken)
            this_round, next_round = sorted(next_round) if len(waiting) < count else [], []

    def _attempt(
        self, index: int, entry: Entry, raw: RawOps | None, ignored: dict[int, IgnoredOp]
    ) -> tuple[Entry | None, Sequence[CodeOp], Cause | None]:
        """Take in one entry; return it if it has to wait, with what it means and what it waits for."""
        ignored.pop(index, None)
        address, meant = address_of(entry["domain_op"]), list[CodeOp]()
        try:
            op = read_op(entry["domain_op"])
            meant = raw.turn(entry, op, self.tree) if raw is not None and not op.file_id else [op]
            for part in meant:
                self.tree.take(stamp_of(entry), part)
                if self.on_taken is not None:
                    self.on_taken(index, part)
        except AbsentCauseError as error:
            ignored[index] = IgnoredOp(index, address, f"{error}; it waits for that")
            cause = error.cause or (Cause(meant[0].file_id) if meant else None)
            return _as_it_waits(entry, meant, error), meant, cause
        except DomainError as error:
            ignored[index] = IgnoredOp(index, address, str(error))
        return None, meant, None

    def changed_state(self) -> dict[str, bytes | None]:
        """Return what differs from the state: name -> bytes, None for what is gone."""
        changed = self.tree.changed_state()
        waiting = _json(self._waiting) if self._waiting else None
        if waiting != self._source[1].get(WAITING):
            changed[WAITING] = waiting
        return changed


def _as_it_waits(entry: Entry, meant: Sequence[CodeOp], error: AbsentCauseError) -> Entry:
    """Return an entry that names the file which a raw op meant, and the object that was not there."""
    waits = {key: value for key, value in entry.items() if key != ABSENT}
    if is_raw(entry) and meant:
        names = {"file_id": meant[0].file_id} | ({"base": meant[0].base} if meant[0].base else {})
        waits["domain_op"] = {**entry["domain_op"], **names}
    if isinstance(error, AbsentObjectError):
        waits[ABSENT] = error.content_id
    return waits


def waiting_entries(state: Mapping[str, bytes]) -> list[Entry]:
    """Return the entries that wait, from earlier commits, for what they build on."""
    found: list[Entry] = json.loads(state[WAITING]) if WAITING in state else []
    return found


def _with_room(waiting: Sequence[tuple[int, Entry]], ignored: dict[int, IgnoredOp]) -> Iterator[Entry]:
    """Yield the entries that may wait; note in `ignored` that the others are dropped.

    What waits already goes on waiting. Of new entries, an actor may fill half of the room that is left, so
    that no single actor fills it all.
    """
    count, size = 0, 0
    of_actor, size_of_actor = Counter[str](), Counter[str]()
    for index, entry in waiting:
        actor, own = entry["actor_id"], len(_json(entry))
        has_room = of_actor[actor] < MAX_WAITING - count and size_of_actor[actor] + own <= MAX_BYTES - size
        if index < 0 or has_room:
            count += 1
            size += own
            of_actor[actor] += 1
            size_of_actor[actor] += own
            yield entry
        else:
            reason = (
                "what it builds on has not arrived, and too many ops wait already: "
                "it is dropped, make it again"
            )
            ignored[index] = IgnoredOp(index, ignored[index].address, reason)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def is_raw(entry: Entry) -> bool:
    """Tell whether an entry's op names no file: it means a version of the tree."""
    op = entry["domain_op"]
    return not (isinstance(op, Mapping) and op.get("file_id"))
