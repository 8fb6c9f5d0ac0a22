"""What programs do with the library: `python -m benchmarks.growth.in_process JOB ROOT NUMBER`.

A job prints the seconds of its own part, where only that counts: starting Python does not grow.
"""

import sys
from collections.abc import Callable
from time import perf_counter

from benchmarks.growth.projects import SESSION, ready_entry
from muse.core.op_log import OpLog
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica

_TYPED_IN = "d000/f00000.txt"


def append_ready(root: str, number: int) -> float:
    """Append one entry that another made, to a log that was just opened."""
    entry = ready_entry(number)
    start = perf_counter()
    with OpLog(root, SESSION) as log:
        log.append(entry)
    return perf_counter() - start


def first_edit(root: str, number: int) -> float:
    """Begin a session beside those that there are, and edit in it."""
    start = perf_counter()
    with LiveSession(root, f"new-{number}") as live:
        CodeReplica(live, live.log, "agent").create(f"new-{number}.txt", "one line\n")
        return perf_counter() - start


def keystroke(root: str, _: int) -> float:
    """Type once in a text, in a tree whose other files were all read in before."""
    return _in_a_tree(root, lambda replica: replica.insert(_TYPED_IN, 0, "y"))


def create(root: str, number: int) -> float:
    """Make one file more in a tree."""
    return _in_a_tree(root, lambda replica: replica.create(f"more/new-{number}.txt", "one line\n"))


def _in_a_tree(root: str, edit: Callable[[CodeReplica], object]) -> float:
    with LiveSession(root, SESSION) as live:
        replica = CodeReplica(live, live.log, "agent")
        replica.insert(_TYPED_IN, 0, "x")
        start = perf_counter()
        edit(replica)
        return perf_counter() - start


JOBS = {job.__name__: job for job in (append_ready, first_edit, keystroke, create)}


def main() -> None:
    """Do a job, and print what it took."""
    name, root, number = sys.argv[1:]
    Repository.open(root)  # what is read to open one is not what is measured
    sys.stdout.write(f"{JOBS[name](root, int(number))}\n")


if __name__ == "__main__":
    main()
