"""The process one measurement runs in: `python -m benchmarks.measure JOB` prints its result as JSON."""

import json
import resource
import sys

from benchmarks.case import Job
from benchmarks.datasets import build
from benchmarks.families import CASES
from benchmarks.store import UnavailableError

_MEMORY_LIMIT_BYTES = 6 << 30


def run(job: Job) -> dict[str, object]:
    case = CASES[job.case]
    try:
        if job.role == "prepare":
            build(job)
            return {}
        metrics = case.measure(job)
    except (UnavailableError, ModuleNotFoundError) as reason:
        return {"unavailable": str(reason)}
    return {"metrics": metrics, "notes": sorted(set(job.notes))}


def _limit_memory() -> None:
    """A contender that takes more than this fails alone, instead of taking the machine with it."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))


def main() -> None:
    _limit_memory()
    job = Job(**json.loads(sys.argv[1]))
    case = CASES[job.case]
    if job.role == "helper" and case.helper is not None:
        case.helper(job)
        return
    sys.stdout.write(json.dumps(run(job)))


if __name__ == "__main__":
    main()
