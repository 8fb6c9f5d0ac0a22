"""The commit DAG: what is written is readable by all, what is read is checked, a branch moves once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from muse.disk.storage import Storage
from muse.domain import StructuredDelta
from muse.errors import ConflictError, CorruptionError, NotFoundError, UsageError
from muse.history.dag import CommitDag, CommitRecord, make_commit_record
from muse.history.repository import Repository
from muse.testing import Fault, failing_at_every_call
from tests.samples.foreign_muse import ForeignMuse

NOW = "2026-01-02T03:04:05+00:00"
DELTA: StructuredDelta = {"domain": "code", "ops": [], "summary": "nothing yet"}
KEYS = [
    "commit_id",
    "repo_id",
    "branch",
    "snapshot_id",
    "message",
    "committed_at",
    "parent_commit_id",
    "parent2_commit_id",
    "author",
    "metadata",
    "structured_delta",
    "sem_ver_bump",
    "breaking_changes",
    "agent_id",
    "model_id",
    "toolchain_id",
    "prompt_hash",
    "signature",
    "signer_key_id",
    "format_version",
    "reviewed_by",
    "test_runs",
]


@pytest.fixture
def dag(tmp_path: Path) -> CommitDag:
    (tmp_path / ".muse" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".muse" / "HEAD").write_text("ref: refs/heads/main\n")
    return CommitDag(str(tmp_path))


def record_for(
    dag: CommitDag, message: str, parent: str | None = None, parent2: str | None = None, **changes: Any
) -> CommitRecord:
    arguments = {
        "repo_id": "0b1f7a52-6f5e-4f0a-9c3d-3f1f8f3f2b11",
        "branch": "main",
        "snapshot_id": dag.write_snapshot({"a.txt": "0" * 64}, NOW),
        "message": message,
        "committed_at": NOW,
        "parent_commit_id": parent,
        "parent2_commit_id": parent2,
        "author": "nina",
        "structured_delta": DELTA,
    }
    return make_commit_record(**(arguments | changes))


def commit(dag: CommitDag, message: str, parent: str | None = None, parent2: str | None = None) -> str:
    return dag.write_commit(record_for(dag, message, parent, parent2))


def commit_path(root: Path, commit_id: str) -> Path:
    return root / ".muse" / "commits" / f"{commit_id}.json"


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- the format -------------------------------------------------------------------------------------


def test_another_tool_reads_what_is_written_here(tmp_path: Path, dag: CommitDag) -> None:
    foreign = ForeignMuse(tmp_path)
    (tmp_path / ".muse" / "objects").mkdir()
    object_id = foreign.add_object("Prélude".encode())
    snapshot_id = dag.write_snapshot({"b/é.txt": object_id, "a.txt": object_id}, NOW)
    first = dag.write_commit(record_for(dag, "first\n\nline", snapshot_id=snapshot_id))
    second = commit(dag, "second", first)
    merge = commit(dag, "merge", second, first)
    dag.swap_head("main", None, merge)
    assert foreign.read_branch("main") == merge
    assert foreign.read_commit(merge)["parent2_commit_id"] == first
    assert foreign.read_commit(first)["structured_delta"] == DELTA
    assert foreign.read_files(snapshot_id) == {"a.txt": "Prélude".encode(), "b/é.txt": "Prélude".encode()}


def test_what_another_tool_wrote_is_read_with_its_gaps_filled_and_its_extras_kept(tmp_path: Path) -> None:
    foreign = ForeignMuse(tmp_path)
    foreign.make()
    first = foreign.add_commit({"x": b"1"}, "erste Fuge ♩")
    second = foreign.add_commit({"x": b"2"}, "b", first, mood="blue", structured_delta={"ops": [], "n": 1})
    merge = foreign.add_commit({"x": b"3"}, "c", second, first, metadata=None)
    foreign.set_branch("take/2", merge)
    dag = CommitDag(str(tmp_path))
    assert dag.branches() == {"main": None, "take/2": merge}
    records = list(dag.history(merge))
    assert [record["commit_id"] for record in records] == [merge, second, first]
    assert records[1]["mood"] == "blue"  # type: ignore[typeddict-item]
    assert records[1]["structured_delta"] == {"domain": "", "ops": [], "summary": "", "n": 1}
    assert (records[2]["author"], records[2]["metadata"], records[2]["format_version"]) == ("", {}, 1)
    assert list(dag.read_snapshot(records[0]["snapshot_id"])["manifest"]) == ["x"]


def test_a_commit_file_has_the_keys_in_order_and_is_readable_by_people(
    tmp_path: Path, dag: CommitDag
) -> None:
    text = commit_path(tmp_path, commit(dag, "one")).read_text()
    document = json.loads(text)
    assert list(document) == KEYS
    assert text.startswith('{\n  "commit_id": "')
    assert text.endswith("}\n")
    assert document["parent_commit_id"] is None
    assert (document["format_version"], document["sem_ver_bump"], document["test_runs"]) == (5, "none", 0)


def test_the_bump_and_the_breaking_changes_are_those_of_the_delta(dag: CommitDag) -> None:
    delta: StructuredDelta = {**DELTA, "sem_ver_bump": "major", "breaking_changes": ["f is gone"]}
    record = record_for(dag, "one", structured_delta=delta)
    assert (record["sem_ver_bump"], record["breaking_changes"]) == ("major", ["f is gone"])


@pytest.mark.parametrize(
    "changes",
    [
        {"committed_at": "2026-01-02T03:04:05"},
        {"committed_at": "yesterday"},
        {"message": "a\0b"},
        {"message": "\ud800"},
        {"branch": "../main"},
        {"snapshot_id": "f" * 63},
        {"parent_commit_id": "HEAD"},
        {"parent2_commit_id": "1" * 64},
        {"parent_commit_id": "1" * 64, "parent2_commit_id": "1" * 64},
    ],
)
def test_a_commit_whose_id_would_not_be_sound_is_refused(dag: CommitDag, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        record_for(dag, **({"message": "one"} | changes))


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05.120+00:00", "2026-01-02T03:04:05.120000+00:00"),
        ("2026-01-02T03:04:05.000+00:00", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05+02:00"),
    ],
)
def test_a_time_is_stored_in_the_form_that_every_tool_hashes(
    tmp_path: Path, dag: CommitDag, given: str, stored: str
) -> None:
    commit_id = dag.write_commit(record_for(dag, "one", committed_at=given))
    assert ForeignMuse(tmp_path).read_commit(commit_id)["committed_at"] == stored


# -- writing ----------------------------------------------------------------------------------------


def test_the_same_tree_is_one_snapshot_and_stays_as_it_was(dag: CommitDag) -> None:
    snapshot_id = dag.write_snapshot({"b": "1" * 64, "a": "2" * 64}, NOW)
    assert dag.write_snapshot({"a": "2" * 64, "b": "1" * 64}, "2027-01-01T00:00:00+00:00") == snapshot_id
    assert dag.read_snapshot(snapshot_id)["created_at"] == NOW


@pytest.mark.parametrize("path", ["../x", "/x", ".muse/HEAD", "a/.GIT/hook", "", "a\0b", "\ud800", "x" * 256])
def test_a_snapshot_with_a_path_outside_the_tree_is_refused(dag: CommitDag, path: str) -> None:
    with pytest.raises(UsageError, match="does not name a file inside"):
        dag.write_snapshot({path: "0" * 64}, NOW)


def test_a_commit_is_written_only_after_its_snapshot_and_parents(dag: CommitDag) -> None:
    with pytest.raises(NotFoundError, match="snapshot"):
        dag.write_commit(record_for(dag, "one", snapshot_id="1" * 64))
    with pytest.raises(NotFoundError, match="parent"):
        commit(dag, "one", "2" * 64)


def test_writing_a_commit_again_keeps_the_notes_that_others_added(tmp_path: Path, dag: CommitDag) -> None:
    record = record_for(dag, "one")
    commit_id = dag.write_commit(record)
    edit(commit_path(tmp_path, commit_id), metadata={"key": "D minor"}, reviewed_by=["nina"])
    assert dag.write_commit(record) == commit_id
    assert dag.read_commit(commit_id)["metadata"] == {"key": "D minor"}


def test_another_commit_with_the_same_id_is_a_conflict_and_is_not_written(dag: CommitDag) -> None:
    commit_id = commit(dag, "one")
    with pytest.raises(ConflictError):
        dag.write_commit(record_for(dag, "one", author="mallory"))
    assert dag.read_commit(commit_id)["author"] == "nina"


def test_writing_a_damaged_commit_or_snapshot_again_mends_it(tmp_path: Path, dag: CommitDag) -> None:
    record = record_for(dag, "one")
    path = commit_path(tmp_path, dag.write_commit(record))
    path.write_bytes(path.read_bytes()[:100])
    dag.write_commit(record)
    assert dag.read_commit(record["commit_id"]) == record
    snapshot = tmp_path / ".muse" / "snapshots" / f"{record['snapshot_id']}.json"
    snapshot.write_bytes(b"")
    dag.write_snapshot({"a.txt": "0" * 64}, NOW)
    assert dag.read_snapshot(record["snapshot_id"])["manifest"] == {"a.txt": "0" * 64}


def test_a_record_that_does_not_match_its_id_is_refused(dag: CommitDag) -> None:
    record = record_for(dag, "one")
    record["message"] = "two"
    with pytest.raises(UsageError, match="hashes to"):
        dag.write_commit(record)


@pytest.mark.parametrize("value", [float("nan"), (1, 2), 1 << 64, {1}, "\udc80", {1: 2}, b"x"])
def test_a_delta_that_json_would_change_is_refused_and_nothing_is_written(
    dag: CommitDag, tmp_path: Path, value: object
) -> None:
    op: Any = {"op": "insert", "address": "a", "value": value}
    record = record_for(dag, "one", structured_delta={"domain": "code", "ops": [op], "summary": ""})
    with pytest.raises(UsageError, match="the commit"):
        dag.write_commit(record)
    assert not commit_path(tmp_path, record["commit_id"]).exists()


# -- reading garbage --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 5000, b"{}", b'{"commit_id": 1}']
)
def test_garbage_in_place_of_a_commit_is_corruption_that_names_the_file(
    tmp_path: Path, dag: CommitDag, garbage: bytes
) -> None:
    commit_id = commit(dag, "one")
    commit_path(tmp_path, commit_id).write_bytes(garbage)
    with pytest.raises(CorruptionError) as caught:
        dag.read_commit(commit_id)
    assert caught.value.path == str(commit_path(tmp_path, commit_id))


@pytest.mark.parametrize("value", [7, "x", [1], {"a": 1}, True, 1.5, None, ["\0"]])
@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_under_any_key_is_corruption_or_harmless(
    tmp_path: Path, dag: CommitDag, key: str, value: object
) -> None:
    commit_id = commit(dag, "one", commit(dag, "zero"))
    edit(commit_path(tmp_path, commit_id), **{key: value})
    try:
        record = dag.read_commit(commit_id)
    except CorruptionError:
        return
    assert record["message"] == "one"
    nullable = key.startswith("parent") or key == "structured_delta"
    assert nullable or type(record[key]) is type(record_for(dag, "x")[key])  # type: ignore[literal-required]


@pytest.mark.parametrize("key", ["message", "committed_at", "snapshot_id", "parent_commit_id"])
def test_a_commit_whose_sealed_parts_were_changed_is_corruption(
    tmp_path: Path, dag: CommitDag, key: str
) -> None:
    commit_id = commit(dag, "one", commit(dag, "zero"))
    edit(commit_path(tmp_path, commit_id), **{key: "a" * 64})
    with pytest.raises(CorruptionError, match="hashes to"):
        dag.read_commit(commit_id)


def test_moving_a_nul_between_the_sealed_parts_is_corruption(tmp_path: Path) -> None:
    foreign = ForeignMuse(tmp_path)
    foreign.make()
    commit_id = foreign.add_commit({}, "ok\0 ok", committed_at=NOW)
    edit(commit_path(tmp_path, commit_id), message="ok", committed_at=f" ok\0{NOW}")
    with pytest.raises(CorruptionError, match="NUL"):
        CommitDag(str(tmp_path)).read_commit(commit_id)


def test_a_commit_under_another_name_is_corruption(tmp_path: Path, dag: CommitDag) -> None:
    commit_id = commit(dag, "one")
    commit_path(tmp_path, commit_id).rename(commit_path(tmp_path, "b" * 64))
    with pytest.raises(CorruptionError, match="its name and its content differ"):
        dag.read_commit("b" * 64)


@pytest.mark.parametrize(
    "manifest",
    [{"a.txt": "1" * 64}, {"a.txt": 5}, {"a.txt": "../../x"}, {"a\0b": "0" * 64}, [], "x", {}, None],
)
def test_a_wrong_manifest_is_corruption(tmp_path: Path, dag: CommitDag, manifest: object) -> None:
    snapshot_id = dag.write_snapshot({"a.txt": "0" * 64}, NOW)
    edit(path := tmp_path / ".muse" / "snapshots" / f"{snapshot_id}.json", manifest=manifest)
    with pytest.raises(CorruptionError) as caught:
        dag.read_snapshot(snapshot_id)
    assert caught.value.path == str(path)


def test_what_is_not_stored_is_not_found(dag: CommitDag) -> None:
    with pytest.raises(NotFoundError, match="commit"):
        dag.read_commit("0" * 64)
    with pytest.raises(NotFoundError, match="snapshot"):
        dag.read_snapshot("0" * 64)


# -- history ----------------------------------------------------------------------------------------


def messages(dag: CommitDag, commit_id: str) -> list[str]:
    return [record["message"] for record in dag.history(commit_id)]


def test_history_goes_down_the_first_parents_then_the_merged_sides_newest_first(dag: CommitDag) -> None:
    root = commit(dag, "root")
    old_side = commit(dag, "old side", root)
    old_merge = commit(dag, "old merge", root, old_side)
    new_side = commit(dag, "new side", old_side)
    new_merge = commit(dag, "new merge", old_merge, new_side)
    assert messages(dag, new_merge) == ["new merge", "old merge", "root", "new side", "old side"]


def test_history_meets_each_commit_once_however_many_ways_lead_to_it(dag: CommitDag) -> None:
    tip = commit(dag, "root")
    for level in range(30):  # 2 ** 30 ways down
        tip = commit(
            dag, f"merge {level}", commit(dag, f"left {level}", tip), commit(dag, f"right {level}", tip)
        )
    found = messages(dag, tip)
    assert len(found) == len(set(found)) == 91


def test_children_come_first_and_of_several_the_newest(dag: CommitDag) -> None:
    def at(minute: int, *parents: str) -> str:
        time = NOW.replace(":04:05", f":{minute:02}:05")
        return dag.write_commit(record_for(dag, f"at {minute}", *parents, committed_at=time))

    root = at(10)
    left, right = at(12, root), at(11, root)
    skewed = at(3, left)  # a clock that is behind: a child all the same
    later = at(14, right)
    merge = at(20, skewed, later)
    found = [record["message"] for record in dag.children_first(at(5, merge))]
    assert found == ["at 5", "at 20", "at 14", "at 11", "at 3", "at 12", "at 10"]


def test_children_first_reads_one_line_as_it_goes(tmp_path: Path, dag: CommitDag) -> None:
    first = commit(dag, "first")
    second = commit(dag, "second", first)
    commit_path(tmp_path, first).unlink()
    walk = dag.children_first(second)
    assert next(walk)["message"] == "second"
    with pytest.raises(CorruptionError, match="history is broken"):
        next(walk)


def test_history_is_read_only_as_far_as_it_is_asked_for(tmp_path: Path, dag: CommitDag) -> None:
    first = commit(dag, "first")
    second = commit(dag, "second", first)
    commit_path(tmp_path, first).unlink()
    walk: Iterator[CommitRecord] = dag.history(second)
    assert next(walk)["message"] == "second"
    with pytest.raises(CorruptionError, match="history is broken"):
        next(walk)
    with pytest.raises(NotFoundError):
        next(dag.history(first))


# -- faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["EIO", "short", "crash"])
def test_a_fault_at_any_call_of_a_commit_leaves_the_branch_whole_and_a_rerun_succeeds(
    tmp_path: Path, dag: CommitDag, fault: Fault
) -> None:
    base = commit(dag, "base")
    dag.swap_head("main", None, base)
    number = 0

    def commit_on_base(storage: Storage) -> str:
        faulty = CommitDag(str(tmp_path), storage)
        snapshot_id = faulty.write_snapshot({"n.txt": f"{number:064x}"}, NOW)
        record = record_for(dag, f"commit {number}", base, snapshot_id=snapshot_id)
        faulty.write_commit(record)
        faulty.swap_head("main", base, record["commit_id"])
        return record["commit_id"]

    outcomes = set()
    for raised in failing_at_every_call(commit_on_base, fault):
        tip = dag.head("main")
        assert tip is not None
        found = messages(dag, tip)
        assert found in (["base"], [f"commit {number}", "base"])
        assert raised or len(found) == 2
        outcomes.add((raised, len(found)))
        for _, name in _stored_ids(tmp_path):
            dag.read_commit(name)
        if tip == base:
            commit_on_base(Storage())
        rerun = dag.head("main")
        assert rerun is not None
        assert messages(dag, rerun) == [f"commit {number}", "base"]
        dag.swap_head("main", rerun, base)
        number += 1
    assert {(True, 1), (True, 2), (False, 2)} <= outcomes
    assert number > 30


def _stored_ids(root: Path) -> list[tuple[Path, str]]:
    return [(path, path.stem) for path in (root / ".muse" / "commits").glob("[0-9a-f]*.json")]


def test_of_two_that_store_the_same_tree_at_once_the_first_ones_time_stays(tmp_path: Path) -> None:
    """Its commit seals that time."""
    Repository.init(str(tmp_path), now=NOW)
    later = "2026-01-02T03:04:06+00:00"

    class Raced(Storage):
        @contextmanager
        def locked(self, path: str, *, exclusive: bool = True, wait: bool = True) -> Iterator[bool]:
            CommitDag(str(tmp_path)).write_snapshot({}, NOW)
            with super().locked(path, exclusive=exclusive, wait=wait) as taken:
                yield taken

    dag = CommitDag(str(tmp_path), Raced())
    assert dag.read_snapshot(dag.write_snapshot({}, later))["created_at"] == NOW
