"""A repository is made once, found from anywhere inside it, and opened only if it is one."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from muse.disk.storage import Storage
from muse.errors import CorruptionError, NotFoundError, StorageError, UsageError
from muse.history.dag import make_commit_record
from muse.history.repository import Repository
from muse.testing import Fault, failing_at_every_call
from tests.samples.foreign_muse import ForeignMuse
from tests.samples.trees import committed_files

NOW = "2026-01-02T03:04:05+00:00"
REPO_ID = "0b1f7a52-6f5e-4f0a-9c3d-3f1f8f3f2b11"


def contents(root: Path) -> dict[str, bytes]:
    paths = [path for path in (root / ".muse").rglob("*") if ".tmp-" not in path.name]
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else b"/" for path in paths}


def test_init_makes_the_files_of_the_format(tmp_path: Path) -> None:
    repository, created = Repository.init(str(tmp_path), now=NOW, domain="music", repo_id=REPO_ID)
    assert created
    assert json.loads((tmp_path / ".muse" / "repo.json").read_text()) == {
        "repo_id": REPO_ID,
        "schema_version": "0.1.5",
        "created_at": NOW,
        "domain": "music",
    }
    assert (tmp_path / ".muse" / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert (tmp_path / ".muse" / "refs" / "heads" / "main").read_bytes() == b""
    for name in ("objects", "snapshots", "commits", "op_log"):
        assert (tmp_path / ".muse" / name).is_dir()
    assert (repository.repo_id, repository.domain, repository.root) == (REPO_ID, "music", str(tmp_path))


def test_init_without_an_id_makes_a_new_one_each_time(tmp_path: Path) -> None:
    first, _ = Repository.init(str(tmp_path / "a"), now=NOW)
    second, _ = Repository.init(str(tmp_path / "b"), now=NOW)
    assert first.repo_id != second.repo_id
    assert first.domain == "code"


def test_init_without_a_time_takes_the_present(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    repository, _ = Repository.init(str(tmp_path))
    assert before <= datetime.fromisoformat(repository.created_at) <= datetime.now(UTC)


def test_init_again_keeps_everything_and_says_so(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=NOW, domain="music")
    commit_one_file(repository, b"x")
    before = contents(tmp_path)
    again, created = Repository.init(str(tmp_path), now="2027-01-01T00:00:00+00:00", domain="code")
    assert not created
    assert (again.repo_id, again.domain) == (repository.repo_id, "music")
    assert contents(tmp_path) == before


def test_init_keeps_a_head_on_another_branch_and_does_not_bring_main_back(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=NOW)
    (tmp_path / ".muse" / "HEAD").write_text("ref: refs/heads/dev\n")
    (tmp_path / ".muse" / "refs" / "heads" / "main").unlink()
    repository, _ = Repository.init(str(tmp_path), now=NOW)
    assert repository.dag.current_branch() == "dev"
    assert repository.dag.branches() == {}


def test_init_brings_a_lost_head_back_and_leaves_the_branch_where_it_is(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=NOW)
    commit_one_file(repository, b"x")
    before = contents(tmp_path)
    (tmp_path / ".muse" / "HEAD").unlink()
    Repository.init(str(tmp_path), now=NOW)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("fault", ["EIO", "short", "crash"])
def test_a_repository_half_made_at_any_call_is_none_and_is_completed_by_the_next_init(
    tmp_path: Path, fault: Fault
) -> None:
    Repository.init(str(tmp_path / "whole"), now=NOW, repo_id=REPO_ID)
    number = 0

    def init(storage: Storage) -> None:
        nonlocal number
        number += 1
        Repository.init(str(tmp_path / str(number)), now=NOW, repo_id=REPO_ID, storage=storage)

    faults = 0
    for raised in failing_at_every_call(init, fault):
        root = tmp_path / str(number)
        whole = (root / ".muse" / "repo.json").exists()
        if not whole:
            with pytest.raises(NotFoundError):
                Repository.open(str(root))
        _, created = Repository.init(str(root), now=NOW, repo_id=REPO_ID)
        assert created != whole
        assert contents(root) == contents(tmp_path / "whole")
        faults += raised
    assert faults > 30


@pytest.mark.parametrize(
    "changes",
    [{"now": "now"}, {"now": "2026-01-02T03:04:05"}, {"repo_id": "x"}, {"domain": "../x"}, {"domain": ""}],
)
def test_init_with_a_bad_argument_makes_nothing(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Repository.init(str(tmp_path), **({"now": NOW} | changes))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_init_below_a_file_says_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="not a directory"):
        Repository.init(str(tmp_path / "file"), now=NOW)


def test_find_goes_upward_past_a_muse_directory_that_is_no_repository(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=NOW)
    (tmp_path / "a" / "b" / ".muse").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("")
    for start in (tmp_path, tmp_path / "a" / "b", tmp_path / "a" / "b" / "file"):
        assert Repository.find(str(start)).root == repository.root


def test_find_takes_the_nearest_repository(tmp_path: Path) -> None:
    Repository.init(str(tmp_path), now=NOW)
    inner, _ = Repository.init(str(tmp_path / "inner"), now=NOW)
    assert Repository.find(str(tmp_path / "inner" / "x")).repo_id == inner.repo_id


def test_find_from_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Repository.init(str(tmp_path), now=NOW)
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert os.path.samefile(Repository.find(".").root, tmp_path)


def test_where_there_is_no_repository_the_error_says_to_init(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"not a Muse repository \(or any parent\): run 'muse init'"):
        Repository.find(str(tmp_path))
    with pytest.raises(NotFoundError, match="run 'muse init'"):
        Repository.open(str(tmp_path))


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"{}", b'{"repo_id": 5}', b'{"repo_id": "x", "domain": []}', b"\xff"]
)
def test_a_damaged_repo_file_is_corruption_and_init_does_not_replace_it(
    tmp_path: Path, garbage: bytes
) -> None:
    Repository.init(str(tmp_path), now=NOW)
    path = tmp_path / ".muse" / "repo.json"
    path.write_bytes(garbage)
    with pytest.raises(CorruptionError) as caught:
        Repository.open(str(tmp_path))
    assert caught.value.path == str(path)
    with pytest.raises(CorruptionError):
        Repository.init(str(tmp_path), now=NOW)
    assert path.read_bytes() == garbage


def test_a_repository_of_another_tool_opens_and_its_files_are_read(tmp_path: Path) -> None:
    foreign = ForeignMuse(tmp_path)
    foreign.make()
    commit_id = foreign.add_commit({"a/x": b"1", "y": b""}, "one")
    foreign.set_branch("main", commit_id)
    repository = Repository.open(str(tmp_path))
    assert committed_files(repository, "HEAD") == {"a/x": b"1", "y": b""}
    assert repository.repo_id == REPO_ID


def test_no_commit_is_the_empty_tree(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path), now=NOW)
    assert repository.read_tree(None) == {}


def commit_one_file(repository: Repository, content: bytes) -> None:
    record = make_commit_record(
        repo_id=repository.repo_id,
        branch="main",
        snapshot_id=repository.dag.write_snapshot({"file": repository.objects.put(content)}, NOW),
        message="one",
        committed_at=NOW,
        parent_commit_id=None,
        author="nina",
        structured_delta=None,
    )
    repository.dag.swap_head("main", None, repository.dag.write_commit(record))
