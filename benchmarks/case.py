"""What a benchmark is: a case measures entrants, its rows say what is read off, its targets what is good.

A family of cases is a module in `benchmarks/families` with a `CASES` tuple, named in its registry.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.contenders import CONTENDERS
from benchmarks.store import Store

Metrics = dict[str, float]
OUR_NAME = "muse"
PURE_NAME = "muse-pure"
"""The op log without its compiled part, in the cases where that makes a difference."""


@dataclass(frozen=True)
class Entrant:
    """A contender with its store's options in one case.

    `share` of the ops, for those too slow for all of them; `size` and kind of its `dataset`, if not
    the case's; at most so many `rounds`; not `compared` if it does less than the row asks for; `is_pure`
    if it runs without the compiled part of the op log.
    """

    name: str
    contender: str
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    size: int = 0
    dataset: str = ""
    rounds: int = 1_000
    compared: bool = True
    is_pure: bool = False


def entrant(contender: str, name: str = "", title: str = "", **settings: Any) -> Entrant:
    """Make an entrant; without a name it goes by its contender's."""
    return Entrant(name or contender, contender, title or CONTENDERS[contender].title, **settings)


def both_forms(title: str = "Muse op log", **settings: Any) -> tuple[Entrant, Entrant]:
    """Make entrants of the op log with its compiled part and without."""
    return (
        entrant(OUR_NAME, title=title, **settings),
        entrant(OUR_NAME, PURE_NAME, f"{title}, pure Python", is_pure=True, **settings),
    )


@dataclass(frozen=True)
class Target:
    """What `who` is to reach in a row. All ratios are taken within a round; their median counts.

    "at most": `who` takes at most `factor` times what `against` takes. "faster": it is `factor`
    times or more faster. "ahead": it takes less than each of the others that are compared (or of
    `peers`). "under": its median is below `factor`, in the row's unit.
    """

    kind: Literal["at most", "faster", "ahead", "under"]
    factor: float = 1.0
    against: str = ""
    peers: tuple[str, ...] = ()
    who: str = OUR_NAME


@dataclass(frozen=True)
class Row:
    """One measured quantity of a case: `metric` is its key, less is better."""

    metric: str
    title: str
    unit: str
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Scale:
    """How much is measured. `ops` is the row count of the everyday rows; the others follow from it."""

    ops: int
    rounds: int
    big_log: int
    small_log: int
    durable_ops: int
    follow_ops: int


@dataclass(frozen=True)
class Case:
    """`dataset` names what must have been written before: "" nothing, else a kind in `datasets.py`."""

    name: str
    family: str
    rows: tuple[Row, ...]
    entrants: tuple[Entrant, ...]
    count: Callable[[Scale], int]
    measure: Callable[["Job"], Metrics]
    dataset: str = ""
    dataset_size: Callable[[Scale, Entrant], int] | None = None
    helper: Callable[["Job"], None] | None = None
    sync_before: bool = False
    long: bool = False
    explanation: str = ""


@dataclass
class Job:
    """One measurement in one process. `dataset` is a directory that was prepared, or empty."""

    case: str
    entrant: str
    contender: str
    options: dict[str, Any]
    ops: int
    directory: str
    dataset: str = ""
    dataset_kind: str = ""
    role: Literal["prepare", "measure", "helper"] = "measure"
    extra: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def open(self, *, durable: bool = False, directory: str = "", **options: Any) -> Store:
        """Open the contender's store, in the job's own directory unless told otherwise."""
        module = CONTENDERS[self.contender].load()
        store: Store = module.open_store(
            directory or self.directory, durable=durable, **self.options, **options
        )
        if note := getattr(store, "note", ""):
            self.notes.append(note)
        return store

    def start_helper(self, **extra: Any) -> subprocess.Popen[str]:
        """Start another process that runs the case's helper with this job."""
        job = {**asdict(self), "role": "helper", "extra": extra}
        return subprocess.Popen(
            child_command(job), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project_root()
        )


def child_command(job: Mapping[str, Any]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.measure", json.dumps(job)]


def project_root() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
