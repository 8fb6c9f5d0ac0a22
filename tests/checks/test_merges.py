"""A merge seals what it holds, follows from what it merges, and may be signed or not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from muse.apply.merge_heads import merge_record, merged_tree
from muse.checks.merges import MergeCheck
from muse.checks.verify import verify_repository
from muse.core.content_id import commit_id as id_of_commit
from muse.errors import ConflictError
from muse.history.repository import Repository
from muse.history.signing import Signer, TrustedKeys, create_key
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import pull
from muse.session.live import LiveSession
from tests.samples.replicas import make_origin, make_replica, pull_from, push_to

Two = tuple[Path, Path]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return create_key(str(tmp_path / "ada.pem"))


def play(root: Path, pitch: int, signer: Signer | None) -> None:
    with LiveSession(root, "jam", author="ada", signer=signer) as session:
        session.edit("ada", "music", insert_note("song.mid", f"n{pitch}", Note(pitch, 80, pitch * 10, 480)))
        session.edit(
            "bo", "code", {"op": "insert", "address": f"{pitch}.txt", "position": None, "text": "a\n"}
        )
        session.commit(f"Note {pitch}")


@pytest.fixture
def two(tmp_path: Path, signer: Signer) -> Two:
    """Two replicas with a signed commit of their own each, and a common one."""
    first = make_origin(tmp_path / "first")
    play(first, 60, signer)
    second = make_replica(first, tmp_path / "second")
    play(first, 61, signer)
    play(second, 62, signer)
    for root in (first, second):
        TrustedKeys(str(root)).add(signer.key_id, signer.public_pem())
    return first, second


def merge_file(root: Path) -> Path:
    head = Repository.open(str(root)).dag.head("main") or ""
    path = root / ".muse" / "commits" / f"{head}.json"
    assert json.loads(path.read_text())["parent2_commit_id"]
    return path


def kinds_found(root: Path, *, replay: bool = False) -> set[str]:
    return {finding.kind for finding in verify_repository(str(root), replay=replay).findings}


def test_a_merge_is_the_same_on_both_replicas_and_needs_no_signature(two: Two, signer: Signer) -> None:
    first, second = two
    with LocalPeer(str(first)) as here, LocalPeer(str(second)) as there:
        merged = pull(here, there).transfers[0]
        assert pull(there, here).transfers[0].after == merged.after
    assert merge_file(first).read_bytes() == merge_file(second).read_bytes()
    for root in two:
        assert kinds_found(root) == set()
    play(first, 63, signer)
    assert kinds_found(first, replay=True) == set()


def test_replicas_that_merge_apart_make_one_commit_whether_it_is_signed_or_not(
    two: Two, signer: Signer, tmp_path: Path
) -> None:
    first, second = two
    aside = make_replica(first, tmp_path / "aside")
    with LocalPeer(str(first)) as here, LocalPeer(str(second)) as there:
        pull(here, there, signer=signer)
    pull_from(second, aside)
    assert merge_file(first).name == merge_file(second).name
    signed, unsigned = (json.loads(merge_file(root).read_text()) for root in two)
    assert signed["signer_key_id"] == signer.key_id
    assert {name for name in signed if signed[name] != unsigned[name]} == {"signature", "signer_key_id"}
    assert verify_repository(str(first), require_signatures=True).findings == []
    assert kinds_found(second) == set()
    assert pull_from(first, second).transfers[0].result == "up to date"


def rewrite(path: Path, **changes: Any) -> Path:
    """Change fields of a commit, its id with them; return the new file."""
    record = json.loads(path.read_text()) | changes
    parents = [record["parent_commit_id"], record["parent2_commit_id"]]
    record["commit_id"] = id_of_commit(
        parents, record["snapshot_id"], record["message"], record["committed_at"]
    )
    new = path.with_name(f"{record['commit_id']}.json")
    new.write_text(json.dumps(record, indent=2) + "\n")
    return new


def test_a_merge_that_does_not_follow_from_its_parents_is_not_taken_for_one(two: Two) -> None:
    first, second = two
    pull_from(first, second)
    path = merge_file(first)
    repository = Repository.open(str(first))
    assert MergeCheck(repository).follows_from_parents(repository.dag.read_commit(path.stem))
    other = repository.dag.read_commit(json.loads(path.read_text())["parent_commit_id"])["snapshot_id"]
    forged = rewrite(path, snapshot_id=other)
    report = verify_repository(str(first))
    assert [(one.path, one.kind) for one in report.findings if one.kind == "signature"] == [
        (str(forged), "signature")
    ]


def test_a_changed_byte_of_a_merge_is_found_without_a_replay(two: Two) -> None:
    first, second = two
    pull_from(first, second)
    path = merge_file(first)
    data = path.read_bytes()
    for place in range(0, data.index(b'"reviewed_by"'), 5):  # the notes after it may change
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert kinds_found(first), (place, data[max(0, place - 30) : place + 5])
    path.write_bytes(data)
    assert kinds_found(first) == set()


def test_a_changed_time_of_what_a_plugin_keeps_is_found(two: Two) -> None:
    first, second = two
    pull_from(first, second)
    for path in (first / ".muse" / "snapshots").iterdir():
        data = path.read_bytes()
        changed = json.loads(data) | {"created_at": "3026-01-02T03:04:05+00:00"}
        path.write_text(json.dumps(changed, indent=2) + "\n")
        assert kinds_found(first) == {"snapshot"}, path
        path.write_bytes(data)


def test_a_merge_of_a_version_that_sealed_nothing_in_it_is_sound(two: Two) -> None:
    first, second = two
    pull_from(first, second)
    path = merge_file(first)
    message = json.loads(path.read_text())["message"]
    old = rewrite(path, message=message.partition("Muse-Delta")[0])
    path.unlink()
    (first / ".muse" / "refs" / "heads" / "main").write_text(old.stem)
    assert kinds_found(first) == set()
    assert kinds_found(first, replay=True) <= {"ref"}


# -- a merge that another replica forged -----------------------------------------------------------


def forge(root: Path) -> str:
    """Put in the place of the merge at the head one that keeps the files of one side only; return its id."""
    path = merge_file(root)
    record = Repository.open(str(root)).dag.read_commit(path.stem)
    repository = Repository.open(str(root))
    one_side = repository.dag.read_snapshot(
        repository.dag.read_commit(record["parent_commit_id"] or "")["snapshot_id"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "muse.checks.merges.merged_tree",
            lambda *given, **named: replace(merged_tree(*given, **named), files=one_side["manifest"]),
        )
        again = MergeCheck(repository).make_again(record)
    forged = merge_record(repository, "main", again.work, again.merged)
    repository.dag.write_snapshot(one_side["manifest"], forged["committed_at"])
    with LocalPeer(str(root)) as peer:
        peer.move("main", path.stem, repository.dag.write_commit(forged))
    return forged["commit_id"]


def branch_and_files(root: Path) -> tuple[str | None, dict[str, bytes]]:
    files = {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}
    return Repository.open(str(root)).dag.head("main"), files


def test_a_forged_merge_is_pulled_by_nobody_and_moves_nothing(two: Two, tmp_path: Path) -> None:
    first, second = two
    bystander = make_replica(second, tmp_path / "bystander")
    pull_from(first, second)
    sound = merge_file(first).stem
    forged = forge(first)
    play(first, 64, None)  # hidden behind an honest commit
    for root in (second, bystander):
        before = branch_and_files(root)
        for _ in range(2):  # once its commits are here, it is not taken for one of ours
            with pytest.raises(ConflictError, match=f"merge {forged} .*the branch stays"):
                pull_from(root, first)
        assert branch_and_files(root) == before
    with pytest.raises(ConflictError, match="the branch stays"):
        push_to(first, second)
    with pytest.raises(ConflictError, match="the branch stays"):
        make_replica(first, tmp_path / "clone")
    assert Repository.open(str(tmp_path / "clone")).dag.head("main") is None
    Path(first, ".muse", "refs", "heads", "main").write_text(sound)
    assert pull_from(second, first).transfers[0].result == "fast-forward"
    assert pull_from(bystander, first).transfers[0].result == "fast-forward"


def test_a_forged_merge_is_not_merged_with_either(two: Two) -> None:
    first, second = two
    pull_from(first, second)
    forge(first)
    play(second, 65, None)
    before = branch_and_files(second)
    with pytest.raises(ConflictError, match="the branch stays"):
        pull_from(second, first)
    assert branch_and_files(second) == before


def test_a_merge_that_was_pulled_is_not_made_again_by_the_next_pull(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    pull_from(first, second)
    made: list[str] = []

    def noting(self: MergeCheck, record: Any, logs: Any = None) -> Any:
        made.append(record["commit_id"])
        return make_again(self, record, logs)

    make_again = MergeCheck.make_again
    monkeypatch.setattr(MergeCheck, "make_again", noting)
    pull_from(second, first)
    assert made == [merge_file(first).stem]
    play(first, 66, None)
    pull_from(second, first)
    assert len(made) == 1
