"""The facts of a session: its actors, its domains, what is pending, what is damaged."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from muse.core.file.live_or_archived import is_archived
from muse.core.op_log import Damage, OpLog, OpLogCheckpoint
from muse.disk import layout
from muse.errors import CorruptionError, MuseError
from muse.history.repository import Repository

_PROGRESS_EVERY = 4096


@dataclass(slots=True)
class Actor:
    """How much one actor did, and its highest Lamport stamp."""

    entries: int = 0
    lamport_ts: int = 0


@dataclass(slots=True)
class SessionFacts:
    """The facts of one session. `faults` are lines for people: what keeps it from being read or committed.

    `held`: how many entries wait for their parents; `missing_parents`: the ids of those parents.
    """

    session_id: str
    size_bytes: int = 0
    entries: int = 0
    lamport_ts: int = 0
    actors: dict[str, Actor] = field(default_factory=dict)
    domains: Counter[str] = field(default_factory=Counter)
    pending: Counter[str] | None = None
    checkpoint: OpLogCheckpoint | None = None
    damages: list[Damage] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    archived: bool = False
    held: int = 0
    missing_parents: list[str] = field(default_factory=list)

    def as_record(self) -> dict[str, Any]:
        """Return the facts as JSON has them."""
        return {
            "session_id": self.session_id,
            "entries": self.entries,
            "lamport_ts": self.lamport_ts,
            "size_bytes": self.size_bytes,
            "actors": {
                name: {"entries": actor.entries, "lamport_ts": actor.lamport_ts}
                for name, actor in sorted(self.actors.items())
            },
            "domains": dict(sorted(self.domains.items())),
            "pending": None if self.pending is None else dict(sorted(self.pending.items())),
            "held": self.held,
            "missing_parents": self.missing_parents,
            "checkpoint": self.checkpoint,
            "damages": [asdict(damage) for damage in self.damages],
            "faults": self.faults,
            "archived": self.archived,
        }


def gather_facts(
    repository: Repository, session_id: str, progress: Callable[[int], None] = lambda _done: None
) -> SessionFacts:
    """Read the whole log of a session, however damaged. `progress` is told how many entries are read."""
    facts = SessionFacts(session_id)
    _add_size(facts, repository)
    with OpLog(repository.root, session_id, storage=repository.storage) as log:
        for entry in log.entries(salvage=True):
            actor = facts.actors.setdefault(entry["actor_id"], Actor())
            actor.entries += 1
            actor.lamport_ts = max(actor.lamport_ts, entry["lamport_ts"])
            facts.domains[entry["domain"]] += 1
            facts.entries += 1
            if facts.entries % _PROGRESS_EVERY == 0:
                progress(facts.entries)
        facts.lamport_ts = max((actor.lamport_ts for actor in facts.actors.values()), default=0)
        facts.damages = list(log.damages())
        facts.held, facts.missing_parents = len(log.orphans.entries()), log.orphans.missing_parents()
        _add_coverage(facts, log)
    return facts


def brief_facts(repository: Repository, session_id: str) -> SessionFacts:
    """Read only what a session has beyond its checkpoint: no actors, no domains, no damage before it."""
    facts = SessionFacts(session_id)
    _add_size(facts, repository)
    with OpLog(repository.root, session_id, storage=repository.storage) as log:
        try:
            cut = log.cut()
            facts.entries, facts.lamport_ts = cut.op_count, cut.lamport_ts
            facts.held = len(log.orphans.entries())
        except MuseError as error:
            facts.faults.append(str(error))
        else:
            _add_coverage(facts, log)
    return facts


def _add_size(facts: SessionFacts, repository: Repository) -> None:
    """Note the size of the log on the disk; of an archived log, that of its archive."""
    facts.archived = is_archived(repository.root, facts.session_id, storage=repository.storage)
    path = layout.archived_ops_file if facts.archived else layout.ops_file
    facts.size_bytes = repository.storage.file_size(path(repository.root, facts.session_id)) or 0


def _add_coverage(facts: SessionFacts, log: OpLog) -> None:
    try:
        facts.checkpoint = log.read_checkpoint()
        facts.pending = Counter(entry["domain"] for entry in log.replay_since_checkpoint(salvage=True))
    except CorruptionError as error:
        facts.faults.append(str(error))
