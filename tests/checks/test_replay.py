"""Every commit of a session can be made anew from its log; what was changed is found and named."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from muse.checks.replay import replay_commits
from muse.checks.sealed_ops import SealedOpsCheck
from muse.checks.verify import verify_repository
from muse.core.delta import collapse
from muse.core.entry import OpEntry
from muse.core.line import encode_line
from muse.core.op_list import encode_op_list
from muse.core.timestamp import now_text
from muse.domain import StructuredDelta
from muse.errors import MuseError
from muse.history.commit_record import make_commit_record
from muse.history.repository import Repository
from muse.history.seal import add_trailers, make_seal
from muse.session.live import LiveSession
from muse.testing.failing_storage import FailingStorage
from muse.upkeep.archive import archive_session
from tests.samples.replicas import commit, make_origin, make_replica, pull_from, write
from tests.samples.sealed_sample import TEXT, SealedSample, note_op


@pytest.fixture
def sample(tmp_path: Path) -> SealedSample:
    return SealedSample(tmp_path)


def verified(sample: SealedSample) -> set[tuple[str, str]]:
    return {(finding.kind, finding.path) for finding in verify_repository(str(sample.root)).findings}


@pytest.mark.parametrize(
    "changes",
    [
        *({"author": "eve"}, {"branch": "eve"}, {"metadata": {"a": "b"}}, {"repo_id": "x"}),
        *({"agent_id": "x"}, {"model_id": "x"}, {"toolchain_id": "x"}, {"prompt_hash": "x"}),
        *({"sem_ver_bump": "major"}, {"breaking_changes": ["x"]}, {"format_version": 4}),
    ],
    ids=str,
)
def test_a_changed_field_that_the_id_leaves_open_is_named_at_the_commit(
    sample: SealedSample, changes: dict[str, Any]
) -> None:
    [commit_id] = sample.take_one
    sample.rewrite(commit_id, **changes)
    assert verified(sample) == {("commit", str(sample.commit_path(commit_id)))}


def test_a_changed_time_of_a_snapshot_is_named_at_the_snapshot(sample: SealedSample) -> None:
    path = sample.muse / "snapshots" / f"{sample.record(sample.take_two[0])['snapshot_id']}.json"
    path.write_bytes(path.read_bytes().replace(b'"created_at": "2', b'"created_at": "1'))
    assert verified(sample) | found(sample) == {("snapshot", str(path))}


@pytest.mark.parametrize("key", ["repo_id", "schema_version", "created_at", "domain"])
def test_a_changed_repo_json_is_named_once_and_at_no_commit(sample: SealedSample, key: str) -> None:
    path = sample.muse / "repo.json"
    document = json.loads(path.read_bytes())
    last = "8" if document[key].endswith("9") else "9"
    path.write_text(json.dumps({**document, key: document[key][:-1] + last}), encoding="utf-8")
    assert [(one.kind, one.path) for one in all_findings(sample.root)] == [("repo", str(path))]


def test_a_tree_that_was_there_keeps_its_time_and_that_is_sealed(sample: SealedSample) -> None:
    snapshot_id = sample.record(sample.talked[0])["snapshot_id"]
    before = sample.repository.dag.read_snapshot(snapshot_id)["created_at"]
    with LiveSession(sample.root, "talk") as talk:
        talk.edit("bo", TEXT, {"op": "insert", "n": 3})
        record = sample.record(str(talk.commit("The same files").commit_id))
    assert (record["snapshot_id"], record["committed_at"] > before) == (snapshot_id, True)
    assert all_findings(sample.root) == []


def found(sample: SealedSample) -> set[tuple[str, str]]:
    return {(finding.kind, finding.path) for finding in replay_commits(sample.repository).findings}


def all_findings(root: Path) -> list[Any]:
    """What `muse verify --replay` would list."""
    return list(verify_repository(str(root), replay=True).findings)


def rewrite_line(path: Path, number: int, change: Callable[[OpEntry], Any]) -> None:
    """Change one line of a log and frame it anew, so that its crc holds."""
    lines = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[number])
    del entry["crc"]
    change(entry)
    lines[number] = encode_line(entry)
    path.write_bytes(b"".join(lines))


def test_what_was_committed_is_made_anew_and_counted(sample: SealedSample) -> None:
    result = replay_commits(sample.repository)
    assert (result.findings, result.commits, result.ops) == ([], 4, 10)


def test_a_repository_without_sessions_has_nothing_to_make_anew(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=now_text(), any_domain=True)
    assert replay_commits(repository).findings == []


def test_an_archived_session_is_made_anew_from_its_archive(sample: SealedSample) -> None:
    archive_session(sample.root, "talk")
    assert not sample.ops_path("talk").exists()
    result = replay_commits(sample.repository)
    assert (result.findings, result.commits) == ([], 4)


def test_a_session_that_goes_on_in_another_branch_is_made_anew(sample: SealedSample) -> None:
    with LiveSession(sample.root, "jam", branch="other") as jam:
        jam.edit("ada", "music", note_op(20))
        jam.commit("Elsewhere")
    assert replay_commits(sample.repository).findings == []


@pytest.mark.parametrize("full", [False, True])
def test_a_commit_of_the_net_and_one_of_every_op_are_both_made_anew(
    sample: SealedSample, *, full: bool
) -> None:
    with LiveSession(sample.root, "jam") as jam:
        jam.edit("ada", "music", note_op(9))
        jam.commit("Again", full=full)
    assert replay_commits(sample.repository).findings == []


def test_a_line_that_stands_in_the_log_again_counts_once(sample: SealedSample) -> None:
    path = sample.ops_path()
    path.write_bytes(path.read_bytes() + encode_line(sample.first[0]))
    with LiveSession(sample.root, "jam") as jam:
        jam.edit("ada", "music", note_op(21))
        jam.commit("Take three")
    assert replay_commits(sample.repository).findings == []


CHANGES: dict[str, Callable[[Any], Any]] = {
    "op": lambda entry: entry["domain_op"].update(address="x"),
    "actor": lambda entry: entry.update(actor_id="actor-X"),
    "stamp": lambda entry: entry.update(lamport_ts=77),
    "time": lambda entry: entry.update(created_at="then"),
    "intent": lambda entry: entry.update(intent_id="i"),
    "id": lambda entry: entry.update(op_id="00000000-0000-4000-8000-000000000000"),
    "domain": lambda entry: entry.update(domain="other"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("number", [0, 4, 6, 8])
def test_an_entry_changed_under_a_good_crc_is_found_in_the_log(
    sample: SealedSample, number: int, change: Callable[[Any], Any]
) -> None:
    rewrite_line(sample.ops_path(), number, change)
    assert ("session", str(sample.ops_path())) in found(sample)


def _set_stamp(stamp: int, entry: OpEntry) -> None:
    entry["lamport_ts"] = stamp


def test_two_entries_that_changed_places_stamps_and_all_are_found(sample: SealedSample) -> None:
    lines = sample.ops_path().read_bytes().splitlines(keepends=True)
    first, second = json.loads(lines[0])["lamport_ts"], json.loads(lines[1])["lamport_ts"]
    for number, stamp in ((0, second), (1, first)):
        rewrite_line(sample.ops_path(), number, partial(_set_stamp, stamp))
    assert found(sample) == {("session", str(sample.ops_path()))}


def test_lines_of_one_commit_in_another_order_are_no_finding(sample: SealedSample) -> None:
    path = sample.ops_path()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[4::-1], *lines[5:]]))
    assert all_findings(sample.root) == []
    path.write_bytes(
        b"".join([*lines[:4], lines[5], lines[4], *lines[6:]])
    )  # across a cut: each has its list
    assert all_findings(sample.root) == []
    path.write_bytes(b"".join([lines[-1], *lines[:-1]]))  # a pending one, to where all counts as committed
    findings = replay_commits(sample.repository).findings
    assert any(one.kind == "ref" and sample.pending["op_id"] in one.message for one in findings)


def test_a_log_that_is_missing_or_cut_is_found_and_the_others_are_checked(sample: SealedSample) -> None:
    sample.ops_path("talk").unlink()
    path = sample.ops_path()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    findings = found(sample)
    assert {("session", str(path)), ("session", str(sample.ops_path("talk")))} <= findings
    assert replay_commits(sample.repository).commits == 4


def test_a_changed_delta_is_found_and_named(sample: SealedSample) -> None:
    [commit_id] = sample.take_one
    delta: Any = sample.record(commit_id)["structured_delta"]
    sample.rewrite(commit_id, structured_delta={**delta, "summary": "nothing to see"})
    assert found(sample) == {("delta", str(sample.commit_path(commit_id)))}
    sample.rewrite(commit_id, structured_delta={**delta, "ops": delta["ops"][1:]})
    assert ("delta", str(sample.commit_path(commit_id))) in found(sample)
    sample.rewrite(commit_id, structured_delta=None)
    assert ("delta", str(sample.commit_path(commit_id))) in found(sample)


@pytest.mark.parametrize(
    "changes",
    [{"repo_id": "x"}, {"sem_ver_bump": "major"}, {"breaking_changes": ["x"]}, {"format_version": 4}],
    ids=str,
)
def test_a_field_that_the_id_does_not_seal_is_compared_with_what_it_must_be(
    sample: SealedSample, changes: dict[str, Any]
) -> None:
    [commit_id] = sample.take_one
    sample.rewrite(commit_id, **changes)
    assert found(sample) == {("commit", str(sample.commit_path(commit_id)))}


def test_a_missing_object_and_a_missing_snapshot_are_found(sample: SealedSample) -> None:
    tree = sample.repository.read_tree(sample.take_one[0])
    object_id = tree["song.mid"]
    object_path = sample.muse / "objects" / object_id[:2] / object_id[2:]
    object_path.write_bytes(b"x")
    assert ("object", str(object_path)) in found(sample)


def test_a_branch_that_was_moved_back_or_removed_is_found(sample: SealedSample) -> None:
    ref = sample.muse / "refs" / "heads" / "main"
    for text in (sample.take_one[0], ""):
        ref.write_text(text)
        assert ("ref", str(ref.parent)) in found(sample)


def forge(sample: SealedSample, **changes: Any) -> None:
    """Put a commit on the branch whose hashes all hold and whose content is another."""
    dag = sample.repository.dag
    head = dag.head("main")
    assert head is not None
    with LiveSession(sample.root, "jam") as jam:
        entries = [sample.pending]
        cut = jam.log.cut().offset
        delta: StructuredDelta = changes.get("delta") or collapse(entries, "music")
        if "again" in changes:
            entries = sample.first
        seal = make_seal("jam", cut, entries, jam.log.checkpoints.frontier_after(entries), delta)
        sample.repository.objects.put(encode_op_list(entry["op_id"] for entry in entries))
    snapshot_id = dag.read_commit(head)["snapshot_id"]
    record = make_commit_record(
        repo_id=sample.repository.repo_id,
        branch="main",
        snapshot_id=changes.get("snapshot_id", snapshot_id),
        message=add_trailers("Forged", seal),
        committed_at=now_text(),
        parent_commit_id=head,
        author="eve",
        structured_delta=delta,
        metadata=changes.get("metadata", {}),
    )
    dag.swap_head("main", head, dag.write_commit(record))
    sample.take_one = (record["commit_id"],)


def test_a_commit_whose_files_are_not_what_its_ops_make_is_found(sample: SealedSample) -> None:
    forge(sample)
    assert verify_repository(str(sample.root)).is_sound
    assert found(sample) == {("snapshot", str(sample.commit_path(sample.take_one[0])))}


def test_a_commit_with_data_of_a_domain_that_it_has_no_ops_of_is_found(sample: SealedSample) -> None:
    garbage = sample.repository.objects.put(b"garbage")
    named = sample.repository.dag.write_snapshot({"files/x.json": garbage}, now_text())
    forge(sample, metadata={"state:code": named})
    findings = replay_commits(sample.repository).findings
    assert any("has other data of domain code beside its files" in finding.message for finding in findings)


def test_a_commit_that_covers_ops_again_is_found(sample: SealedSample) -> None:
    forge(sample, again=True)
    assert ("commit", str(sample.commit_path(sample.take_one[0]))) in found(sample)


def test_a_commit_with_a_delta_of_other_ops_is_found(sample: SealedSample) -> None:
    forge(sample, delta={"domain": "music", "ops": [], "summary": "no ops"})
    findings = replay_commits(sample.repository).findings
    assert any("the ops it covers make" in finding.message for finding in findings)


def test_a_commit_that_no_plugin_here_can_make_is_told_and_is_no_finding(sample: SealedSample) -> None:
    with LiveSession(sample.root, "talk") as talk:
        sample.pending = talk.edit("bo", TEXT, {"op": "insert", "n": 3})
        cut, frontier = talk.log.cut().offset, talk.log.checkpoints.frontier_after([sample.pending])
    head = sample.repository.dag.head("main")
    delta: StructuredDelta = {"domain": TEXT, "ops": [], "summary": "no ops"}
    record = make_commit_record(
        repo_id=sample.repository.repo_id,
        branch="main",
        snapshot_id=sample.record(str(head))["snapshot_id"],
        message=add_trailers("Forged", make_seal("talk", cut, [sample.pending], frontier, delta)),
        committed_at=now_text(),
        parent_commit_id=head,
        author="eve",
        structured_delta=delta,
    )
    sample.repository.objects.put(encode_op_list([sample.pending["op_id"]]))
    sample.repository.dag.swap_head("main", head, sample.repository.dag.write_commit(record))
    result = replay_commits(sample.repository)
    assert result.findings == []
    assert result.without_plugin == {TEXT}


def files_with_content(sample: SealedSample) -> list[Path]:
    wanted, caches = ("commits", "snapshots", "objects", "refs", "op_log"), {"effects.lines", "items.sum"}
    return sorted(
        path
        for name in wanted
        for path in (sample.muse / name).rglob("*")
        if path.is_file() and path.stat().st_size and path.suffix != ".lock" and path.name not in caches
    )


# What other tools write later.
UNSEALED = tuple(f'"{name}"'.encode() for name in (*("reviewed_by", "test_runs"),))


def test_any_one_changed_byte_that_something_seals_is_found(sample: SealedSample) -> None:
    files = files_with_content(sample)
    chance = random.Random(20260102)
    for _ in range(250):
        path = chance.choice(files)
        before = path.read_bytes()
        place = chance.randrange(len(before))
        changed = bytearray(before)
        changed[place] ^= chance.randrange(1, 256)
        path.write_bytes(changed)
        try:
            findings = all_findings(sample.root)
        except MuseError as error:
            findings = [error]
        line = before[before.rfind(b"\n", 0, place) + 1 : place + 1 + before[place + 1 :].find(b"\n")]
        is_free = path.suffix == ".json" and (not line.strip() or any(key in line for key in UNSEALED))
        same = (
            path.suffix == ".json" and not path.name.startswith("check") and _means_the_same(before, changed)
        )
        assert findings or same or is_free, (path, place, line)
        path.write_bytes(before)
    assert all_findings(sample.root) == []


def _means_the_same(before: bytes, after: bytearray) -> bool:
    try:
        return bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


STREAMED = """
import resource, sys
from muse.checks.replay import replay_commits
from muse.history.repository import Repository
result = replay_commits(Repository.open(sys.argv[1]))
assert not result.findings, result.findings[:3]
print(result.ops, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def replay_memory_megabytes(root: Path, ops: int, ops_a_commit: int) -> int:
    Repository.init(str(root), now=now_text(), any_domain=True)
    op: Any = {"op": "insert", "address": "a", "content_id": "c" * 64}
    with LiveSession(root, "jam") as jam:
        for commit in range(ops // ops_a_commit):
            jam.log.record_many(f"actor-{commit % 7}", TEXT, [op] * ops_a_commit)
            jam.commit("Take")
    done = subprocess.run(
        [sys.executable, "-c", STREAMED, str(root)], capture_output=True, text=True, check=True, timeout=600
    )
    counted, megabytes = done.stdout.split()
    assert int(counted) == ops
    return int(megabytes)


def test_memory_is_that_of_one_commit_however_long_the_log(tmp_path: Path) -> None:
    short = replay_memory_megabytes(tmp_path / "short", 4_000, 2_000)
    long = replay_memory_megabytes(tmp_path / "long", 60_000, 2_000)
    assert long < short + 12, (short, long)


@pytest.mark.long
def test_a_million_ops_are_made_anew_in_the_memory_of_one_commit(tmp_path: Path) -> None:
    short = replay_memory_megabytes(tmp_path / "short", 20_000, 5_000)
    long = replay_memory_megabytes(tmp_path / "long", 1_000_000, 5_000)
    sys.stderr.write(f"replay: {short} MB at 20,000 ops, {long} MB at 1,000,000{os.linesep}")
    assert long < short + 16, (short, long)


class CountingStorage(FailingStorage):
    """The disk, counting what is opened and read."""

    def __init__(self) -> None:
        super().__init__(fails_at=-1)
        self.opened = 0
        self.bytes_read = 0

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        self.opened += 1
        return super().open(path, flags, mode)

    def pread(self, descriptor: int, length: int, offset: int, /) -> bytes:
        data = super().pread(descriptor, length, offset)
        self.bytes_read += len(data)
        return data


def reads_of_replay(two: tuple[Path, Path], merges: int) -> tuple[int, int]:
    """Add so many merges to two replicas; return what a replay opens, and reads beside the check of logs."""
    for number in range(merges):
        for root in two:
            with LiveSession(root, "jam") as session:
                session.edit("ada", TEXT, {"op": "insert", "n": number, "text": "x" * 50_000})
                session.commit("Some")
        pull_from(*two)
        pull_from(two[1], two[0])
    counting = CountingStorage()
    assert replay_commits(Repository.open(str(two[0]), counting)).findings == []
    of_logs = CountingStorage()
    check = SealedOpsCheck(Repository.open(str(two[0]), of_logs))
    check.read_commits()
    check.check_session("jam")
    return counting.opened, counting.bytes_read - of_logs.bytes_read


def test_a_replay_reads_as_much_for_each_merge_however_many_there_are(tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "one")
    write(origin, "jam", 0)
    commit(origin)
    two = origin, make_replica(origin, tmp_path / "two")
    counts = [reads_of_replay(two, 5) for _ in range(3)]
    opened, read = ([late - early for early, late in pairwise(each)] for each in zip(*counts, strict=True))
    assert opened[1] == opened[0]
    assert read[1] < read[0] * 1.1
