"""Files that no commit seals have a digest of their own: coordination, policies, proposals, tokens."""

import json
from pathlib import Path

import pytest

from muse.checks.digested import check_digested
from muse.checks.finding import Finding
from muse.checks.verify import verify_repository
from muse.cli.app import run
from muse.coordination.journal import damages_in
from muse.core.op_log import OpLog
from muse.disk.json_file import encode_with_digest, read_with_digest
from muse.disk.storage import LOCAL
from muse.errors import CorruptionError
from muse.history.repository import Repository
from muse.server.edge.access import Tokens
from muse.session.guarded_log import GuardedLog
from muse.session.policy import Policy, read_policy, write_policy
from muse.workdir.workdir import Workdir
from tests.samples.replicas import make_origin


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a reservation, renewed, an intent, a policy and a token."""
    root = make_origin(tmp_path / "whole")
    coordination = Repository.open(str(root)).coordination
    held = coordination.reserve("ada", ["a.mid"], branch="main", ttl_seconds=600)
    coordination.renew(held.reservation_id, "ada", ttl_seconds=900)
    coordination.intend("bo", ["b.mid"], branch="main")
    with OpLog(root, "jam") as log:
        log.create()
    write_policy(str(root), "jam", Policy(reservations="refuse"))
    propose = Policy(reservations="propose")
    with OpLog(root, "jam") as log:
        guarded = GuardedLog(Repository.open(str(root)), log, policy=propose)
        op = {"op": "insert", "address": "a.mid"}
        [receipt] = guarded.append([{"domain": "sketch", "domain_op": op}], actor_id="bo")
        assert receipt.status == "proposed"
        guarded.reject(receipt.op_id, actor_id="ada", reason="no")
    Tokens(str(root)).create("ada", "append")
    return root


def verify_digested(root: Path) -> list[Finding]:
    return check_digested(str(root), LOCAL)


def files(root: Path) -> list[Path]:
    muse = root / ".muse"
    names = ("policy.json", "proposals.jsonl", "tokens.json")
    kept = [path for name in names for path in muse.rglob(name)]
    return [*(muse / "coordination").rglob("*.json"), *kept]


def test_every_changed_byte_of_what_no_commit_seals_is_found(root: Path) -> None:
    assert len(files(root)) == 8
    assert verify_repository(str(root)).findings == []
    for path in files(root):
        data = path.read_bytes()
        for place in range(len(data)):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            found = check_digested(str(root), LOCAL)
            assert [finding.path for finding in found] == [str(path)], (path, place)
        path.write_bytes(data)


def test_every_changed_byte_of_the_journal_is_found_and_named(root: Path) -> None:
    journal = root / ".muse" / "coordination" / "journal"
    data = journal.read_bytes()
    for place in range(len(data)):
        for other in {data[place] ^ 1, ord("\n"), ord("0"), 0xFF} - {data[place]}:
            journal.write_bytes(data[:place] + bytes([other]) + data[place + 1 :])
            [finding] = verify_digested(root)
            assert (finding.path, finding.kind) == (str(journal), "coordination"), (place, other)
            assert "damaged at byte" in finding.message
    Repository.open(str(root)).coordination.prune(days=30)
    assert verify_digested(root) == []


def test_what_crashes_left_of_the_journal_and_one_of_an_earlier_version_are_sound(root: Path) -> None:
    journal = root / ".muse" / "coordination" / "journal"
    data = journal.read_bytes()
    earlier = "".join(f"{line}\n" for line in data.decode().splitlines() if not line.startswith("crc"))
    for whole in (data, earlier.encode()):
        for end in range(len(whole) + 1):
            for later in (b"", data, earlier.encode()):
                assert list(damages_in(whole[:end] + later)) == [], (end, later)


@pytest.mark.parametrize("kind", ["reservations", "grants", "renewals", "releases", "intents", "authors"])
def test_two_swapped_records_are_found(root: Path, kind: str) -> None:
    coordination = Repository.open(str(root)).coordination
    for actor, address in (("cy", "c.mid"), ("di", "d.mid")):
        held = coordination.reserve(actor, [address], branch="main", ttl_seconds=600)
        coordination.renew(held.reservation_id, actor, ttl_seconds=900)
        coordination.release(held.reservation_id, actor)
        coordination.intend(actor, [address], branch="main")
    assert verify_digested(root) == []
    one, other, *_ = sorted((root / ".muse" / "coordination" / kind).glob("*.json"))
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    assert {finding.path for finding in verify_digested(root)} == {str(one), str(other)}
    assert run(["--repo", str(root), "verify"]) == 1


def test_every_changed_byte_of_what_is_remembered_of_a_directory_is_found(tmp_path: Path) -> None:
    root = tmp_path / "song"
    Repository.init(str(root))
    (root / "a.txt").write_text("one\n")
    directory = Workdir(Repository.open(str(root)), None, "ada", session_id="jam")
    directory.record()
    (root / "a.txt").write_text("one\ntwo\n")
    directory.record()
    muse = root / ".muse"
    kept = [*(muse / "workdir").glob("*.json"), *(muse / "workdir").glob("root.parts/*/*")]
    assert len(kept) == 2
    assert check_digested(str(root), LOCAL) == []
    for path in kept:
        data = path.read_bytes()
        for place in range(len(data)):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            found = check_digested(str(root), LOCAL)
            assert [(one.path, one.kind) for one in found] == [(str(path), "workdir")], (path, place)
        path.write_bytes(data)


def test_a_file_without_digest_is_read_as_it_is(root: Path) -> None:
    for path in (path for path in files(root) if path.suffix == ".json"):
        document = json.loads(path.read_text())
        del document["digest"]
        path.write_text(json.dumps(document))
    assert check_digested(str(root), LOCAL) == []
    assert read_policy(str(root), "jam") == Policy(reservations="refuse")


def test_what_was_written_comes_back_without_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(encode_with_digest({"a": 1, "b": [2]}, "a file"))
    assert read_with_digest(str(path), LOCAL) == {"a": 1, "b": [2]}
    path.write_bytes(path.read_bytes().replace(b"1", b"3", 1))
    with pytest.raises(CorruptionError, match="by its digest"):
        read_with_digest(str(path), LOCAL)
