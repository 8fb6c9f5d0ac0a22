"""The process one measurement runs in: `python -m benchmarks.measure JOB` prints its result as JSON."""

import json
import sys

from benchmarks.case import Job
from benchmarks.datasets import build
from benchmarks.families import CASES
from benchmarks.store import UnavailableError


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


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    case = CASES[job.case]
    if job.role == "helper" and case.helper is not None:
        case.helper(job)
        return
    sys.stdout.write(json.dumps(run(job)))


if __name__ == "__main__":
    main()
