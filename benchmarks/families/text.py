"""Text typed by people, replayed at full speed: through the log, and by the CRDT library alone."""

import os
from time import perf_counter

from benchmarks.case import Case, Job, Metrics, Row, Scale, Target, entrant, project_root
from benchmarks.contenders.pycrdt_text import replay_script
from benchmarks.store import UnavailableError
from muse.cli.replay.replicas import Replicas
from muse.cli.replay.script import Script
from muse.cli.replay.trace import read_trace
from muse.core.timestamp import now_text
from muse.history.repository import Repository
from muse.session.live import LiveSession

PATH = "trace.txt"
_TRACES = os.path.join(os.path.dirname(project_root()), "shared", "data", "traces")


def _script(job: Job) -> Script:
    path = os.path.join(_TRACES, f"{job.case}.json.gz")
    if not os.path.exists(path):
        raise UnavailableError(f"{os.path.relpath(path, project_root())} is not there")
    with open(path, "rb") as file:
        return read_trace(file.read(), PATH)


def _check(texts: list[str], script: Script) -> None:
    if any(text.encode() != script.wanted[PATH] for text in texts):
        raise RuntimeError("the text that came out is another")


def _replay(job: Job) -> Metrics:
    script = _script(job)
    return _through_log(job, script) if job.contender == "muse" else _alone(script)


def _alone(script: Script) -> Metrics:
    start = perf_counter()
    texts = replay_script(script)
    seconds = perf_counter() - start
    _check(texts, script)
    return {"replay": seconds}


def _through_log(job: Job, script: Script) -> Metrics:
    repository = Repository.init(job.directory, now=now_text())[0]
    with LiveSession(job.directory, "bench") as live:
        start = perf_counter()
        with Replicas(repository, script.steps, os.path.join(job.directory, "replicas")) as replicas:
            made = [entry for place in range(len(script.steps)) for entry in replicas.perform(place)]
            texts = [replica.read(PATH) for replica in replicas.finish().values()]
        replayed = perf_counter()
        _check([text for text in texts if isinstance(text, str)], script)
        begin = perf_counter()
        live.log.merge(made)
        live.commit("Replayed")
        committed = perf_counter()
    with open(os.path.join(job.directory, PATH), "rb") as file:
        _check([file.read().decode()], script)
    return {"replay": replayed - start, "commit": committed - begin}


def _nothing(_: Scale) -> int:
    return 0


def _case(name: str, typists: str) -> Case:
    return Case(
        name=name,
        family="text",
        rows=(
            Row(
                "replay",
                f"{name}, typed by {typists}, to the final text",
                "s",
                (Target("under", 10), Target("at most", 3, "pycrdt-text")),
            ),
            Row("commit", f"{name}: merged into one session, and committed", "s"),
        ),
        entrants=(entrant("muse"), entrant("pycrdt-text")),
        count=_nothing,
        measure=_replay,
        sync_before=True,
        explanation="Each agent has a replica with a log of its own, and each transaction is an op in it; "
        "they merge where the trace merges and at the end. pycrdt alone keeps its documents in memory and "
        "hands the same updates on.",
    )


CASES = (_case("friendsforever", "two people at once"), _case("sveltecomponent", "one person"))
