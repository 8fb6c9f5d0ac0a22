"""Logs that are written once in a run and then only read, one for each contender and size."""

import json
import os
import random
import shutil
import uuid

from benchmarks.case import Job
from benchmarks.contenders.muse_log import SESSION
from benchmarks.workload import DOMAIN, work
from muse.core.blocks import encode_lines
from muse.core.line import encode_line
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.core.timestamp import now_text
from muse.disk.layout import checkpoint_file, ops_file
from muse.history.repository import Repository

PENDING = 1_000
_BATCH = 1_000
SNAPSHOT_ID = "0" * 64
DIFFERENT = 100
HALVES = ("one", "other")
TAIL_NAME = "tail.jsonl"
CHECKPOINT_NAME = "checkpoint.saved"


def _entries(first: int, count: int) -> list[OpEntry]:
    return [
        make_op_entry(actor, DOMAIN, op, lamport_ts)
        for lamport_ts, (actor, op) in enumerate(work(count), first)
    ]


def build(job: Job) -> None:
    """Write `job.ops` entries into `job.directory`, as the dataset's kind asks.

    "plain": just the ops. "checkpointed": see `_build_muse`. "appended": through `append_many`.
    "halves": two logs of `job.ops` entries each, half of them in common. "replicas": two of one
    repository, with `job.ops` entries in common and `DIFFERENT` more in each.
    """
    if job.dataset_kind == "halves":
        _build_halves(job)
    elif job.dataset_kind == "replicas":
        _build_replicas(job)
    elif job.contender == "muse" and job.dataset_kind != "appended":
        _build_muse(job)
    else:
        _build_other(job)


def _build_halves(job: Job) -> None:
    entries = _entries(1, job.ops + job.ops // 2)
    for half, own in zip(HALVES, (entries[: job.ops], entries[-job.ops :]), strict=True):
        directory = os.path.join(job.directory, half)
        os.makedirs(directory)
        store = job.open(directory=directory)
        for start in range(0, job.ops, _BATCH):
            store.load(own[start : start + _BATCH])
        store.close()


def _build_replicas(job: Job) -> None:
    repo_id, now = str(uuid.uuid4()), now_text()
    roots = [os.path.join(job.directory, half) for half in HALVES]
    for root in roots:
        os.makedirs(root)
        Repository.init(root, now=now, repo_id=repo_id)
        os.makedirs(os.path.dirname(ops_file(root, SESSION)))
    first = ops_file(roots[0], SESSION)
    with open(first, "wb") as file:
        for start in range(1, job.ops + 1, _BATCH):
            file.writelines(encode_line(entry) for entry in _entries(start, min(_BATCH, job.ops + 1 - start)))
    shutil.copyfile(first, ops_file(roots[1], SESSION))
    stamps = random.Random(1914)
    for root in roots:
        with open(ops_file(root, SESSION), "ab") as file:
            file.writelines(encode_lines(_entries(stamps.randint(1, job.ops), 1)) for _ in range(DIFFERENT))


def _build_other(job: Job) -> None:
    store = job.open()
    for start in range(1, job.ops + 1, _BATCH):
        store.load(_entries(start, min(_BATCH, job.ops + 1 - start)))
    store.close()


def _build_muse(job: Job) -> None:
    """Write the lines directly: append_many would keep every op id of a very long log in memory.

    "checkpointed": all but the last `PENDING` are covered by a checkpoint; the lines of those are
    kept beside the log too, so that each measurement can start from the same state.
    """
    path = ops_file(job.directory, SESSION)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    covered = job.ops - PENDING if job.dataset_kind == "checkpointed" else job.ops
    with open(path, "wb") as file:
        for start in range(1, covered + 1, _BATCH):
            file.writelines(encode_line(entry) for entry in _entries(start, min(_BATCH, covered + 1 - start)))
    if covered == job.ops:
        return
    with OpLog(job.directory, SESSION) as log:
        log.checkpoint(SNAPSHOT_ID)
    saved = os.path.join(job.directory, CHECKPOINT_NAME)
    shutil.copyfile(checkpoint_file(job.directory, SESSION), saved)
    with open(os.path.join(job.directory, TAIL_NAME), "wb") as file:
        file.writelines(encode_line(entry) for entry in _entries(covered + 1, PENDING))
    restore(job.directory)


def restore(directory: str) -> None:
    """Put a checkpointed log back as it was built: the same checkpoint, `PENDING` fresh lines behind it.

    The lines are written anew, so that a checkpoint finds them unsynced, as it would in use.
    """
    path = ops_file(directory, SESSION)
    with open(os.path.join(directory, CHECKPOINT_NAME), "rb") as file:
        checkpoint = file.read()
    with open(checkpoint_file(directory, SESSION), "wb") as file:
        file.write(checkpoint)
    with open(os.path.join(directory, TAIL_NAME), "rb") as file:
        tail = file.read()
    os.truncate(path, json.loads(checkpoint)["cut"]["offset"])
    with open(path, "ab") as file:
        file.write(tail)
