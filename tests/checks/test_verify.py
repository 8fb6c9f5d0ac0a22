"""Verification finds every fault, names its file, and goes on."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from muse.checks.verify import Report, verify_repository
from muse.core.op_log import OpLog
from muse.history.dag import make_commit_record
from muse.history.repository import Repository
from tests.samples.foreign_muse import ForeignMuse
from tests.samples.sealed_session import make_session

NOW = "2026-01-02T03:04:05+00:00"


class Sample:
    """A repository with two commits on `main` and one unreachable, and the paths of its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository, _ = Repository.init(str(root), now=NOW)
        self.object_id = self.repository.objects.put(b"content")
        self.snapshot_id = self.repository.dag.write_snapshot({"a.txt": self.object_id}, NOW)
        self.first = self.commit("first", None, self.snapshot_id)
        other = self.repository.objects.put(b"other")
        self.second = self.commit(
            "second", self.first, self.repository.dag.write_snapshot({"a.txt": other}, NOW)
        )
        self.repository.dag.swap_head("main", None, self.second)

    def commit(self, message: str, parent: str | None, snapshot_id: str) -> str:
        record = make_commit_record(
            repo_id=self.repository.repo_id,
            branch="main",
            snapshot_id=snapshot_id,
            message=message,
            committed_at=NOW,
            parent_commit_id=parent,
            author="nina",
            structured_delta=None,
        )
        return self.repository.dag.write_commit(record)

    @property
    def muse(self) -> Path:
        return self.root / ".muse"

    @property
    def object_path(self) -> Path:
        return self.muse / "objects" / self.object_id[:2] / self.object_id[2:]

    @property
    def snapshot_path(self) -> Path:
        return self.muse / "snapshots" / f"{self.snapshot_id}.json"

    @property
    def commit_path(self) -> Path:
        return self.muse / "commits" / f"{self.first}.json"

    @property
    def second_path(self) -> Path:
        return self.muse / "commits" / f"{self.second}.json"

    @property
    def ref_path(self) -> Path:
        return self.muse / "refs" / "heads" / "main"


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path)


def found(report: Report) -> set[tuple[str, str]]:
    return {(finding.kind, finding.path) for finding in report.findings}


def test_a_sound_repository_has_no_findings_and_is_counted(sample: Sample) -> None:
    report = verify_repository(str(sample.root))
    unsigned = sorted([sample.first, sample.second])
    assert report == Report(objects=2, snapshots=2, commits=2, refs=1, unsigned=unsigned)
    assert report.is_sound


def test_a_repository_without_commits_is_sound(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=NOW)
    assert verify_repository(str(tmp_path)) == Report(refs=1)


def test_a_repository_of_another_tool_is_sound(tmp_path: Path) -> None:
    foreign = ForeignMuse(tmp_path)
    foreign.make()
    first = foreign.add_commit({"x": b"1"}, "one")
    foreign.set_branch("a/b", foreign.add_commit({"x": b"2"}, "two", first))
    assert verify_repository(str(tmp_path)).is_sound


def test_what_no_branch_leads_to_is_counted_and_is_no_fault(sample: Sample) -> None:
    lost = sample.repository.objects.put(b"lost")
    sample.commit("lost", sample.second, sample.repository.dag.write_snapshot({"a": lost}, NOW))
    report = verify_repository(str(sample.root))
    assert (report.is_sound, report.unreachable) == (True, 3)


def test_a_tree_that_no_directory_can_hold_is_a_fault(sample: Sample) -> None:
    tree = {"a/b": sample.object_id, "a/b/c/d": sample.object_id}
    sample.commit("odd", sample.second, sample.repository.dag.write_snapshot(tree, NOW))
    [finding] = verify_repository(str(sample.root)).findings
    assert (finding.kind, "'a/b' and files below it" in finding.message) == ("snapshot", True)


def test_what_a_crash_left_half_written_is_no_fault(sample: Sample) -> None:
    for path in (sample.object_path, sample.snapshot_path, sample.commit_path, sample.ref_path):
        (path.parent / f".{path.name}.tmp-1-1").write_bytes(b"half")
    report = verify_repository(str(sample.root))
    assert (report.is_sound, report.objects, report.commits) == (True, 2, 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def link(path: Path) -> None:
    copy = path.parent.parent / "copy"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    os.symlink(copy, path)


@pytest.mark.parametrize("damage", [flip, cut, empty, link])
@pytest.mark.parametrize("kind", ["object", "snapshot", "commit"])
def test_any_damage_to_a_stored_file_is_found_and_named(
    sample: Sample, kind: str, damage: Callable[[Path], None]
) -> None:
    path: Path = getattr(sample, f"{kind}_path")
    damage(path)
    assert (kind, str(path)) in found(verify_repository(str(sample.root)))


def test_a_change_in_any_sealed_part_of_a_commit_is_found(sample: Sample) -> None:
    original = sample.second_path.read_bytes()
    for key in ("commit_id", "snapshot_id", "message", "committed_at", "parent_commit_id"):
        document = json.loads(original)
        document[key] = document[key][:-1] + chr(ord(document[key][-1]) ^ 1)
        sample.second_path.write_text(json.dumps(document))
        assert found(verify_repository(str(sample.root))) == {("commit", str(sample.second_path))}, key


def test_what_is_missing_is_found_where_it_is_referred_to(sample: Sample) -> None:
    sample.object_path.unlink()
    assert found(verify_repository(str(sample.root))) == {("snapshot", str(sample.snapshot_path))}
    sample.snapshot_path.unlink()
    assert found(verify_repository(str(sample.root))) == {("commit", str(sample.commit_path))}
    sample.commit_path.unlink()
    assert found(verify_repository(str(sample.root))) == {("commit", str(sample.second_path))}
    sample.second_path.unlink()
    assert found(verify_repository(str(sample.root))) == {("ref", str(sample.ref_path))}
    sample.ref_path.unlink()
    assert found(verify_repository(str(sample.root))) == {("head", str(sample.muse / "HEAD"))}
    (sample.muse / "HEAD").unlink()
    assert found(verify_repository(str(sample.root))) == {("head", str(sample.muse / "HEAD"))}
    (sample.muse / "repo.json").unlink()
    report = verify_repository(str(sample.root))
    assert found(report) == {("head", str(sample.muse / "HEAD")), ("repo", str(sample.muse / "repo.json"))}
    assert "is missing" in report.findings[1].message


def test_one_fault_does_not_hide_the_next(sample: Sample) -> None:
    paths = [sample.object_path, sample.snapshot_path, sample.commit_path, sample.muse / "repo.json"]
    for path in paths:
        cut(path)
    sample.ref_path.write_text("garbage")
    (sample.muse / "HEAD").write_text("garbage")
    report = verify_repository(str(sample.root))
    expected = {str(path) for path in (*paths, sample.ref_path, sample.muse / "HEAD")}
    assert {finding.path for finding in report.findings} == expected
    assert (report.objects, report.snapshots, report.commits, report.refs) == (2, 2, 2, 1)


def test_a_file_under_a_name_it_does_not_hash_to_is_found(sample: Sample) -> None:
    for path in (sample.snapshot_path, sample.commit_path):
        path.with_stem("f" * 64).write_bytes(path.read_bytes())
    sample.object_path.with_name("f" * 62).write_bytes(b"content")
    assert found(verify_repository(str(sample.root))) == {
        ("snapshot", str(sample.snapshot_path.with_stem("f" * 64))),
        ("commit", str(sample.commit_path.with_stem("f" * 64))),
        ("object", str(sample.object_path.with_name("f" * 62))),
    }


def test_files_that_do_not_belong_there_are_found_even_with_unprintable_names(sample: Sample) -> None:
    for kind in ("objects", "snapshots", "commits", "refs/heads"):
        Path(os.fsdecode(os.fsencode(sample.muse / kind) + b"/\xff")).write_bytes(b"")
    report = verify_repository(str(sample.root))
    assert sorted(finding.kind for finding in report.findings) == ["commit", "object", "ref", "snapshot"]
    assert all((finding.path + finding.message).encode() for finding in report.findings)


def test_a_hostile_path_in_a_snapshot_is_found(tmp_path: Path) -> None:
    foreign = ForeignMuse(tmp_path)
    foreign.make()
    foreign.set_branch("main", foreign.add_commit({"../escape": b"1"}, "one"))
    (finding,) = verify_repository(str(tmp_path)).findings
    assert finding.kind == "snapshot"
    assert "'../escape'" in finding.message


def test_a_place_that_is_no_repository_is_reported_and_not_raised(tmp_path: Path) -> None:
    assert {finding.kind for finding in verify_repository(str(tmp_path)).findings} == {"repo", "head"}


def test_progress_counts_each_thing_that_is_done(sample: Sample) -> None:
    seen: list[tuple[str, int]] = []
    verify_repository(str(sample.root), progress=lambda kind, count: seen.append((kind, count)))
    assert seen == [
        *(("object", 1), ("object", 2)),
        *(("commit", 1), ("commit", 2)),
        ("ref", 1),
        *(("snapshot", 1), ("snapshot", 2)),
    ]


def test_a_commit_made_while_verification_runs_is_no_fault(sample: Sample) -> None:
    def commit_after_the_objects(kind: str, count: int) -> None:
        if (kind, count) == ("commit", 1):
            added = sample.repository.objects.put(b"meanwhile")
            snapshot_id = sample.repository.dag.write_snapshot({"b.txt": added}, NOW)
            third = sample.commit("third", sample.second, snapshot_id)
            sample.repository.dag.swap_head("main", sample.second, third)

    assert verify_repository(str(sample.root), progress=commit_after_the_objects).is_sound


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main"])
def test_white_space_that_no_tool_writes_is_found(sample: Sample, name: str) -> None:
    path = sample.muse / name
    whole = path.read_bytes().strip()
    for data, is_sound in ((b"\n", True), (b"\r\n", True), (b"\v", False), (b"\r", False), (b" \n", False)):
        path.write_bytes(whole + data)
        assert verify_repository(str(sample.root)).is_sound is is_sound, data


def test_a_line_whose_last_newline_was_changed_is_found_and_an_unfinished_one_is_not(sample: Sample) -> None:
    with OpLog(sample.root, "jam") as log:
        log.record("ada", "text", {"n": 1})
        log.record("ada", "text", {"n": 2})
    path = sample.muse / "op_log" / "jam" / "ops.jsonl"
    whole = path.read_bytes()
    for cut in range(whole.index(b"\n"), len(whole)):
        path.write_bytes(whole[:cut])
        assert verify_repository(str(sample.root)).is_sound, cut
    for other in (b"\0", b"x", b" ", b"{", b"\r"):
        path.write_bytes(whole[:-1] + other)
        assert found(verify_repository(str(sample.root))) == {("session", str(path))}, other


def test_a_delta_nested_deeper_than_muse_writes_is_a_finding(tmp_path: Path) -> None:
    make_session(str(tmp_path))
    path = min((tmp_path / ".muse" / "commits").iterdir())
    record = json.loads(path.read_bytes())
    deep: object = 1
    for _ in range(300):
        deep = {"a": deep}
    record["structured_delta"]["ops"][0]["deep"] = deep
    path.write_text(json.dumps(record))
    for replay in (False, True):
        assert str(path) in {
            finding.path for finding in verify_repository(str(tmp_path), replay=replay).findings
        }
