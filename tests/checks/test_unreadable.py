"""What cannot be read is a finding, wherever it is, and the rest is checked: verification never raises."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.checks.verify import Report, verify_repository
from muse.core.new_entries import make_op_entry
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.disk.storage import Storage
from muse.history.repository import Repository
from muse.history.signing import TrustedKeys, create_key
from muse.session.live import LiveSession
from muse.session.policy import Policy, replace_policy
from muse.testing import FailingStorage, Fault
from muse.upkeep.archive import archive_session
from tests.samples.sealed_session import DOMAIN, NOW, make_session


class UnreadableStorage(Storage):
    """A storage on which nothing at or below one path can be looked at; `seen` are the paths that were."""

    def __init__(self, unreadable: str = "") -> None:
        self.unreadable = unreadable
        self.seen: set[str] = set()

    def _look_at(self, path: str) -> None:
        self.seen.add(path)
        if self.unreadable and f"{path}/".startswith(f"{self.unreadable}/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        self._look_at(path)
        return super().open(path, flags, mode)

    def path_status(self, path: str) -> os.stat_result:
        self._look_at(path)
        return super().path_status(path)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        self._look_at(path)
        return super().names(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Live sessions and an archived one, with orphans and pending ops; a policy, a key, a reservation."""
    root = tmp_path_factory.mktemp("whole") / "repository"
    make_session(str(root), ops=2, session_id="done")
    archive_session(str(root), "done")
    repository = Repository.open(str(root))
    signer = create_key(str(root.parent / "ada.pem"))
    TrustedKeys(str(root)).add(signer.key_id, signer.public_pem())
    repository.coordination.reserve("ada", ["song.mid"], branch="main")
    with LiveSession(str(root), "jam", signer=signer) as live:
        first = live.edit("ada", DOMAIN, {"n": 1})
        live.commit("One")
        orphan = make_op_entry("bo", DOMAIN, {"n": 2}, 9, parent_op_ids=[first["op_id"][:-1] + "f"])
        assert live.log.merge([orphan]).orphans == 1
        live.edit("ada", DOMAIN, {"n": 3})
    replace_policy(str(root), "jam", Policy())
    with OpLog(str(root), "talk") as log:
        log.record("ada", DOMAIN, {"n": 4})
    return root


def verify(root: Path, storage: Storage) -> Report:
    return verify_repository(str(root), storage, replay=True)


def test_all_that_cannot_be_looked_at_is_named_in_a_finding(root: Path) -> None:
    whole = UnreadableStorage()
    assert not verify(root, whole).findings
    assert {"checkpoint.json", "held.jsonl", "policy.json", "receipt.json", "HEAD"} <= {
        os.path.basename(path) for path in whole.seen
    }
    for path in sorted(whole.seen):
        findings = verify(root, UnreadableStorage(path)).findings
        assert any(finding.path.startswith(path) for finding in findings), path


@pytest.mark.parametrize("fault", ["EACCES", "EIO"])
def test_a_failure_of_any_one_call_is_never_raised(root: Path, fault: Fault) -> None:
    counting = FailingStorage(1 << 30, fault)
    assert not verify(root, counting).findings
    calls = range(1 + (fault == "EIO"), len(counting.calls) + 1, 2)
    told = sum(bool(verify(root, FailingStorage(at, fault)).findings) for at in calls)
    assert told > len(calls) // 2  # the others are asked for again, and answered then


def test_an_unreadable_session_hides_no_fault_of_another(root: Path) -> None:
    unreadable = layout.session_directory(str(root), "done")
    log = Path(layout.ops_file(str(root), "talk"))
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"n":4', b'"n":5'))
    try:
        named = {finding.path for finding in verify(root, UnreadableStorage(unreadable)).findings}
    finally:
        log.write_bytes(whole)
    assert str(log) in named
    assert any(path.startswith(unreadable) for path in named)


def put_directory(path: Path) -> None:
    path.mkdir()


def put_other_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xfe * text=auto\n")


def put_link(path: Path) -> None:
    path.symlink_to("nowhere")


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("put", [put_directory, put_other_bytes, put_link, put_pipe])
def test_git_attributes_of_any_kind_are_a_finding(tmp_path: Path, put: Any) -> None:
    Repository.init(str(tmp_path), now=NOW)
    path = tmp_path / ".muse" / ".gitattributes"
    path.unlink()
    put(path)
    [finding] = verify_repository(str(tmp_path)).findings
    assert (finding.path, finding.kind) == (str(path), "repo")
    assert "run 'muse init' again" in finding.message


@pytest.mark.parametrize(
    "name", ["HEAD", "repo.json", "refs/heads/main", "commits", "snapshots", "checkpoint"]
)
def test_a_file_that_is_far_too_long_is_named_and_not_read(root: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    muse = copy / ".muse"
    found = {
        "commits": sorted((muse / "commits").glob("*.json")),
        "snapshots": sorted((muse / "snapshots").glob("*.json")),
        "checkpoint": sorted(muse.rglob("checkpoint.json")),
    }.get(name, [muse / name])
    with found[0].open("ab") as file:
        file.truncate(20 << 30)  # it takes no room on the disk
    messages = [finding.message for finding in verify_repository(str(copy)).findings]
    assert any("it is not read" in message and found[0].name in message for message in messages)
