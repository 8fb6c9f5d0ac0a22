"""The kind of a finding is said by the code that meets the fault, wherever the repository is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import muse
from muse.checks.verify import verify_repository
from muse.cli.app import run
from tests.samples.sealed_sample import SealedSample


@pytest.fixture(params=["objects", "snapshots", "op_log", "refs", "song"])
def sample(tmp_path: Path, request: pytest.FixtureRequest) -> SealedSample:
    """A repository in a directory that has the name of one of our own."""
    root = tmp_path / str(request.param) / "band"
    root.mkdir(parents=True)
    return SealedSample(root)


def first_object(sample: SealedSample) -> Path:
    """The content of a file: replays read it, and the snapshot names it."""
    tree = sample.repository.read_tree(sample.take_one[0])
    object_id = next(iter(tree.values()))
    return sample.muse / "objects" / object_id[:2] / object_id[2:]


def log(sample: SealedSample) -> Path:
    return sample.ops_path("jam")


def commit(sample: SealedSample) -> Path:
    return sample.commit_path(sample.take_one[0])


def snapshot(sample: SealedSample) -> Path:
    return sample.muse / "snapshots" / f"{sample.record(sample.take_one[0])['snapshot_id']}.json"


def branch(sample: SealedSample) -> Path:
    return sample.muse / "refs" / "heads" / "main"


FILES = {"object": first_object, "session": log, "commit": commit, "snapshot": snapshot, "ref": branch}


@pytest.mark.parametrize("kind", FILES)
def test_every_finding_of_a_damaged_file_has_its_kind(sample: SealedSample, kind: str) -> None:
    find: Callable[[SealedSample], Path] = FILES[kind]
    path = find(sample)
    path.write_bytes(path.read_bytes().replace(b"a", b"\xff", 1)[:-20])
    found = verify_repository(str(sample.root), replay=True).findings
    assert {finding.kind for finding in found if finding.path == str(path)} == {kind}


def test_one_call_of_the_library_finds_all_that_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = SealedSample(tmp_path)
    log(sample).write_bytes(log(sample).read_bytes().replace(b"a", b"\xff", 1))
    sample.rewrite(sample.talked[0], author="eve")
    capsys.readouterr()
    options = ["--replay", "--require-signatures"]
    assert run(["verify", *options, "--repo", str(tmp_path), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    report = muse.verify_repository(str(tmp_path), replay=True, require_signatures=True)
    assert printed["findings"] == [
        {"path": finding.path, "kind": finding.kind, "message": finding.message}
        for finding in report.findings
    ]
    assert {finding.kind for finding in report.findings} == {"session", "commit", "signature"}
    assert (printed["entries"], printed["commits"]) == (report.entries, report.commits)
