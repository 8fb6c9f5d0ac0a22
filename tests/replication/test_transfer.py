"""Commits between replicas: pull, push and clone, cut short anywhere, and peers that lie."""

import errno
import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from muse.checks.replay import replay_commits
from muse.checks.verify import verify_repository
from muse.core import merge as merge_module
from muse.core.entry import DEFAULT_LIMITS
from muse.core.file.objects import ObjectStore
from muse.core.line import entry_json, frame
from muse.core.op_log import OpEntry, OpLog, make_op_entry
from muse.disk import layout
from muse.errors import ConflictError, CorruptionError, NotFoundError, StorageError, UsageError
from muse.history.commit_record import CommitRecord, make_commit_record, state_snapshots
from muse.history.dag import CommitDag
from muse.history.repository import Repository
from muse.history.signing import SignatureError, TrustedKeys, create_key
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_file, insert_note
from muse.replication.history_copy import copy_history
from muse.replication.local_peer import LocalPeer
from muse.replication.peer import Content, Kind, Peer
from muse.replication.transfer import clone, pull, push
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.testing import FailingStorage
from muse.upkeep.archive import archive_session, restore_session
from tests.samples.nested_locks import NestedLocks
from tests.samples.replicas import (
    DOMAIN,
    NOW,
    commit,
    cut_at_every_message,
    log_of,
    make_origin,
    make_replica,
    pull_from,
    push_to,
    sync,
    write,
)

Two = tuple[Path, Path]


def head(root: Path, branch: str = "main") -> str | None:
    return Repository.open(str(root)).dag.head(branch)


def assert_sound(*roots: Path) -> None:
    for root in roots:
        assert verify_repository(str(root)).findings == []


def play(root: Path, pitch: int, session_id: str = "jam", path: str = "song.mid") -> str:
    """Insert a note and commit it; return the commit."""
    with LiveSession(root, session_id) as session:
        session.edit("ada", "music", insert_note(path, f"note-{pitch}", Note(pitch, 80, pitch * 10, 480)))
        return session.commit(f"Note {pitch}").commit_id or ""


@pytest.fixture
def two(tmp_path: Path) -> Two:
    first = make_origin(tmp_path / "first")
    play(first, 60)
    return first, make_replica(first, tmp_path / "second")


def test_a_clone_has_the_sessions_the_branches_and_the_files(tmp_path: Path) -> None:
    first = make_origin(tmp_path / "first")
    play(first, 60)
    write(first, "other", 1, 2)
    with LiveSession(first, "jam", branch="take/2") as session:
        session.edit("ada", "music", insert_note("b.mid", "b", Note(61, 80, 0, 480)))
        session.commit("Elsewhere")
    (first / ".muse/HEAD").write_text("ref: refs/heads/take/2\n")
    second = make_replica(first, tmp_path / "second")
    one, other = Repository.open(str(first)), Repository.open(str(second))
    assert (other.repo_id, other.domain, other.created_at) == (one.repo_id, one.domain, one.created_at)
    assert other.dag.branches() == one.dag.branches()
    assert other.dag.current_branch() == "take/2"
    assert (second / "b.mid").exists()
    for session_id in ("jam", "other"):
        assert log_of(first, session_id) == log_of(second, session_id)
    assert_sound(second)


def test_a_clone_goes_into_an_empty_place_only(two: Two, tmp_path: Path) -> None:
    other = make_origin(tmp_path / "other")
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("Dear")
    file = tmp_path / "file"
    file.write_text("")
    with LocalPeer(str(two[0])) as peer:
        for place, reason in ((other, "another repository"), (full, "in the way"), (file, "in the way")):
            with pytest.raises(UsageError, match=reason):
                clone(peer, str(place))
    assert [path.name for path in full.iterdir()] == ["letter.txt"]


def test_a_pull_brings_commits_ops_and_files(two: Two) -> None:
    first, second = two
    made = [play(first, pitch) for pitch in (61, 62)]
    exchange = pull_from(second, first)
    (transfer,) = exchange.transfers
    assert (transfer.result, transfer.commits, transfer.after) == ("fast-forward", 2, made[-1])
    assert head(second) == made[-1]
    assert (second / "song.mid").read_bytes() == (first / "song.mid").read_bytes()
    assert log_of(second) == log_of(first)
    assert pull_from(second, first).transfers[0].result == "up to date"
    with LiveSession(second, "jam") as session:
        assert session.log.replay_since_checkpoint() == []
        assert session.commit("Nothing").commit_ids == ()
    assert_sound(second)


def test_a_push_brings_commits_ops_and_files_there(two: Two) -> None:
    first, second = two
    made = play(second, 61)
    assert push_to(second, first).transfers[0].result == "fast-forward"
    assert head(first) == made
    assert (first / "song.mid").read_bytes() == (second / "song.mid").read_bytes()
    assert push_to(second, first).transfers[0].result == "up to date"
    assert_sound(first)


def test_a_branch_that_is_not_there_is_made_and_one_without_commits_refused(two: Two) -> None:
    first, second = two
    with LiveSession(first, "jam", branch="take") as session:
        session.edit("ada", "music", insert_note("c.mid", "c", Note(65, 80, 0, 480)))
        made = session.commit("On take").commit_id
    pull_from(second, first, "take")
    assert head(second, "take") == made
    assert not (second / "c.mid").exists()
    for move, side in ((pull_from, "there"), (push_to, "here")):
        with pytest.raises(NotFoundError, match=f"no commit {side}"):
            move(second, first, "nowhere")


@pytest.mark.parametrize("pulls", [True, False])
def test_files_changed_by_hand_stay_and_are_named(two: Two, *, pulls: bool) -> None:
    source, target = two
    play(source, 61)
    (target / "song.mid").write_text("mine")
    exchange = pull_from(target, source) if pulls else push_to(source, target)
    assert exchange.transfers[0].kept == ("song.mid",)
    assert (target / "song.mid").read_text() == "mine"
    assert head(target) == head(source)


def test_a_push_over_commits_that_are_not_here_is_refused_and_moves_no_branch(two: Two) -> None:
    first, second = two
    ours, theirs = play(first, 61), play(second, 62)
    with pytest.raises(ConflictError, match="run 'muse pull' first"):
        push_to(first, second)
    assert (head(first), head(second)) == (ours, theirs)


def test_both_sides_commits_are_merged_and_both_come_to_the_same_commit(two: Two) -> None:
    first, second = two
    play(first, 61)
    play(second, 62)
    assert pull_from(first, second).transfers[0].result == "merged"
    push_to(first, second)
    assert head(first) == head(second)
    assert (first / "song.mid").read_bytes() == (second / "song.mid").read_bytes()
    assert_sound(first, second)


def test_both_sides_may_merge_and_make_the_same_commit(two: Two, tmp_path: Path) -> None:
    first, second = two
    play(first, 61)
    play(second, 62)
    copy = make_replica(first, tmp_path / "copy")
    pull_from(first, second)
    pull_from(second, copy)
    assert head(first) == head(second)
    assert pull_from(second, first).transfers[0].result == "up to date"


def test_a_side_that_is_ahead_stays_where_it_is(two: Two) -> None:
    first, second = two
    made = play(first, 61)
    assert pull_from(first, second).transfers[0].result == "ahead"
    with pytest.raises(ConflictError, match="run 'muse pull' first"):
        push_to(second, first)
    assert head(first) == made


class Moving(LocalPeer):
    """A commit is made there before the branch is moved for the first time."""

    moved_to = ""

    def move(self, branch: str, expected: str | None, new: str) -> list[str]:
        if not self.moved_to:
            self.moved_to = play(Path(self.repository.root), 62)
        return super().move(branch, expected, new)


def test_a_branch_that_moves_meanwhile_is_joined_with_what_it_moved_to(two: Two) -> None:
    first, second = two
    play(first, 61)

    with Moving(str(second)) as here, LocalPeer(str(first)) as there:
        assert pull(here, there).transfers[0].result == "merged"
    assert_sound(first, second)


def test_a_branch_that_moves_there_meanwhile_stays_where_it_moved_to(two: Two) -> None:
    first, second = two
    play(second, 61)
    with LocalPeer(str(second)) as here, Moving(str(first)) as there, pytest.raises(ConflictError):
        push(here, there)
    assert head(first) == there.moved_to
    assert_sound(first, second)


def test_metadata_state_signature_and_named_objects_come_along(two: Two) -> None:
    first, second = two
    repository = Repository.open(str(first))
    named = repository.objects.put(b"named in the message alone")
    kept = repository.objects.put(b"kept beside the files")
    state = repository.dag.write_snapshot({"state": kept}, NOW)
    record = make_commit_record(
        repo_id=repository.repo_id,
        branch="main",
        snapshot_id=repository.dag.write_snapshot({}, NOW),
        message=f"By another tool\n\nMuse-Ops: {named}\n",
        committed_at=NOW,
        parent_commit_id=head(first),
        author="eve",
        structured_delta=None,
        metadata={"state:music": state, "state:gone": "0" * 64, "mood": "blue"},
    )
    record["signature"], record["signer_key_id"] = "ab" * 64, "cd" * 32
    repository.dag.write_commit(record)
    with LocalPeer(str(first)) as there, LocalPeer(str(second)) as here:
        assert copy_history(there, here, record["commit_id"]) == 1
        assert here.repository.dag.read_commit(record["commit_id"]) == record
        assert here.lacks("object", [named, kept]) == []
        assert here.repository.dag.read_snapshot(state)["manifest"] == {"state": kept}


def test_nobody_who_receives_commits_waits_for_one_who_waits_for_a_collector(
    two: Two, tmp_path: Path
) -> None:
    """A commit has the lock of its session as it waits for a collector, which waits for all who receive."""
    first, second = two
    play(first, 61)
    play(second, 62)
    of_pull, of_push, of_clone = NestedLocks(), NestedLocks(), NestedLocks()
    with LocalPeer(str(second), of_pull) as here, LocalPeer(str(first)) as there:
        assert pull(here, there).transfers[0].result == "merged"
    with LocalPeer(str(second)) as here, LocalPeer(str(first), of_push) as there:
        assert push(here, there).transfers[0].result == "fast-forward"
    with LocalPeer(str(first)) as there:
        clone(there, str(tmp_path / "third"), of_clone)
    for locks in (of_pull, of_push, of_clone):
        inside = {inner for outer, inner in locks.nested if outer == "gc.lock"}
        assert inside & {"gc.lock", "gc.turnstile.lock", "commit.lock"} == set()
        with_session = {inner for outer, inner in locks.nested if outer == "commit.lock"}
        assert "gc.lock" in with_session  # they were settled all the same
    assert_sound(first, second, tmp_path / "third")


def signed(two: Two, tmp_path: Path) -> tuple[str, Path]:
    """Make a signed commit on the first side; return it, and its file. Its key is trusted on the second."""
    first, second = two
    signer = create_key(str(tmp_path / "ada.pem"))
    TrustedKeys(str(second)).add(signer.key_id, signer.public_pem())
    with LiveSession(first, "jam", signer=signer) as session:
        session.edit("ada", "music", insert_note("song.mid", "signed", Note(70, 80, 700, 480)))
        commit_id = session.commit("Signed").commit_id or ""
    return commit_id, Path(layout.commit_file(str(first), commit_id))


BAD_SIGNATURES = {
    "taken away": {"signature": "", "signer_key_id": ""},
    "taken away, its key left": {"signature": ""},
    "of another key": {"signer_key_id": "cd" * 32},
    "made up": {"signature": "ab" * 64},
}


def rewrite(root: Path, commit_id: str, **fields: str) -> None:
    dag = Repository.open(str(root)).dag
    record: Any = {**dag.read_commit(commit_id), **fields}
    Path(layout.commit_file(str(root), commit_id)).unlink()
    dag.write_commit(record)


@pytest.mark.parametrize("fields", BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
def test_a_commit_whose_signature_was_taken_away_or_forged_is_not_taken_over(
    two: Two, tmp_path: Path, fields: dict[str, str]
) -> None:
    first, second = two
    before = head(second)
    commit_id, file = signed(two, tmp_path)
    honest = file.read_bytes()
    rewrite(first, commit_id, **fields)
    with pytest.raises(SignatureError, match="as it was sent"):
        pull_from(second, first)
    with pytest.raises(SignatureError, match="as it was sent"):
        push_to(first, second)
    assert head(second) == before
    file.write_bytes(honest)
    pull_from(second, first)
    assert head(second) == commit_id
    assert_sound(second)


@pytest.mark.parametrize("fields", BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
def test_a_pull_mends_a_signature(two: Two, tmp_path: Path, fields: dict[str, str]) -> None:
    first, second = two
    commit_id, file = signed(two, tmp_path)
    pull_from(second, first)
    rewrite(second, commit_id, **fields)
    pull_from(second, first)
    assert CommitDag(str(second)).read_commit(commit_id) == orjson.loads(file.read_bytes())


def test_a_signature_of_a_key_that_is_not_trusted_here_comes_along(two: Two, tmp_path: Path) -> None:
    first, second = two
    commit_id, _ = signed(two, tmp_path)
    for key in (second / ".muse/keys").iterdir():
        key.unlink()
    pull_from(second, first)
    assert head(second) == commit_id


def test_metadata_of_another_tool_that_looks_like_state_comes_along_and_is_no_state(two: Two) -> None:
    first, second = two
    repository = Repository.open(str(first))
    record = make_commit_record(
        repo_id=repository.repo_id,
        branch="main",
        snapshot_id=repository.dag.read_commit(head(first) or "")["snapshot_id"],
        message="By another tool\n",
        committed_at=NOW,
        parent_commit_id=head(first),
        author="eve",
        structured_delta=None,
        metadata={"state:lint": "ok", "state:music": "../../x"},
    )
    theirs = repository.dag.write_commit(record)
    repository.dag.swap_head("main", record["parent_commit_id"], theirs)
    assert pull_from(second, first).transfers[0].after == theirs
    assert Repository.open(str(second)).dag.read_commit(theirs)["metadata"] == record["metadata"]
    for root, pitch in ((first, 61), (second, 62)):
        play(root, pitch)
        assert replay_commits(Repository.open(str(root))).findings == []
    pull_from(first, second)
    assert_sound(first, second)


def test_an_archived_session_does_not_keep_a_clone_from_being_made(two: Two, tmp_path: Path) -> None:
    archive_session(str(two[0]), "jam")
    third = make_replica(two[0], tmp_path / "third")
    assert log_of(third) == log_of(two[0])
    assert_sound(third)


def edit_commit_and_pull(own: str, other: str, number: int) -> None:
    """Edit, commit and pull from the next replica of the ring, again and again."""
    for turn in range(4):
        with LiveSession(own, "jam") as session:
            note = Note(30 + 10 * number + turn, 80, 100 * turn, 480)
            session.edit(f"actor-{number}", "music", insert_note("song.mid", f"{number}-{turn}", note))
            session.commit(f"{number}, {turn}")
        pull_from(Path(own), Path(other))


def test_three_processes_that_commit_and_pull_in_a_ring_come_to_one_commit(two: Two, tmp_path: Path) -> None:
    ring = [*two, make_replica(two[0], tmp_path / "third")]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=edit_commit_and_pull, args=(str(root), str(ring[(place + 1) % 3]), place))
        for place, root in enumerate(ring)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    for place in range(3):  # once round, both ways
        pull_from(ring[place], ring[(place + 1) % 3])
        push_to(ring[place], ring[(place + 1) % 3])
    assert head(ring[0]) == head(ring[1]) == head(ring[2])
    assert len({(root / "song.mid").read_bytes() for root in ring}) == 1
    for root in ring:
        with LiveSession(root, "jam") as session:
            assert session.log.replay_since_checkpoint() == []
            assert session.log.read_all() == log_of(ring[0])
        assert len(log_of(root)) == 13
    assert_sound(*ring)


def test_what_a_clone_or_push_brings_into_history_is_not_pending(two: Two) -> None:
    first, second = two
    play(second, 61)
    push_to(second, first)
    for root in two:
        with OpLog(root, "jam") as log:
            assert len(log.read_all()) == 2
            assert log.replay_since_checkpoint() == []


def test_a_commit_that_is_made_there_while_the_ops_come_is_for_the_next_pull(two: Two) -> None:
    first, second = two
    before = play(first, 61)

    class Busy(LocalPeer):
        def reconcile(self, session_id: str, message: bytes) -> bytes:
            answer = super().reconcile(session_id, message)
            play(first, 62)
            return answer

    with LocalPeer(str(second)) as here, Busy(str(first)) as there:
        assert pull(here, there).transfers[0].after == before
    pull_from(second, first)
    assert head(second) == head(first) != before
    assert_sound(second)


# -- ops that do not come in ----------------------------------------------------------------------


def append_and_commit(root: Path, *entries: OpEntry) -> None:
    with LiveSession(root, "jam") as session:
        session.log.append_many(list(entries))
        session.commit("Some")


@pytest.mark.parametrize("case", ["fast-forward", "diverged", "push"])
def test_a_commit_that_covers_another_body_of_an_op_that_is_here_is_not_taken_over(
    two: Two, case: str
) -> None:
    first, second = two
    entry = make_op_entry("ada", DOMAIN, {"n": 1}, 9)
    with OpLog(first, "jam") as log:
        log.append(entry)
    if case == "diverged":
        play(first, 61)
    other: Any = {**entry, "domain_op": {"n": 2}}
    append_and_commit(second, other)
    before = head(first)
    with pytest.raises(ConflictError, match="another body of an op"):
        push_to(second, first) if case == "push" else pull_from(first, second)
    assert head(first) == before
    with LiveSession(first, "jam") as session:
        pending = [] if case == "diverged" else [entry]
        assert session.log.replay_since_checkpoint() == pending
        assert session.commit("Mine").op_count == len(pending)
    assert replay_commits(Repository.open(str(first))).findings == []


@pytest.mark.parametrize("diverged", [False, True])
def test_a_pull_whose_ops_are_refused_moves_nothing_and_says_why(two: Two, *, diverged: bool) -> None:
    first, second = two
    if diverged:
        play(first, 61)
    play(second, 62)
    before = head(first)
    archive_session(str(first), "jam")
    with pytest.raises(ConflictError, match=r"lacks 1 ops that commit .*jam: .*archived"):
        pull_from(first, second)
    assert head(first) == before
    assert replay_commits(Repository.open(str(first))).findings == []
    restore_session(str(first), "jam")
    pull_from(first, second)
    assert (first / "song.mid").exists()
    assert replay_commits(Repository.open(str(first))).findings == []


@pytest.mark.parametrize(
    ("domain", "op"),
    [
        ("music", {"op": "delete", "address": "../x"}),
        ("code", {"op": "patch", "address": "a.txt", "child_domain": "code_text", "child_ops": []}),
        ("code", {"op": "insert", "address": "a.txt", "position": None, "text": "x", "encoding": [1]}),
        ("code", {"update": None}),
    ],
)
@pytest.mark.parametrize("commit", [False, True])
def test_an_op_that_can_have_no_effect_is_on_every_replica_that_meets_one_that_has_it(
    two: Two, tmp_path: Path, domain: str, op: dict[str, Any], *, commit: bool
) -> None:
    first, second = two
    entry = make_op_entry("ada", domain, op, 9)
    if commit:
        append_and_commit(first, entry)
    else:
        with OpLog(first, "jam") as log:
            log.append(entry)
    outcome = sync(second, first)["jam"]
    assert (outcome.refused, outcome.received) == (0, 1)
    with OpLog(tmp_path / "first again", "jam") as log:
        assert log.merge(log_of(first)).refused == 0
    if commit:
        pull_from(second, first)
    make_replica(first, tmp_path / "third")
    for root in (second, tmp_path / "third"):
        assert log_of(root) == log_of(first)
        assert replay_commits(Repository.open(str(root))).findings == []


def test_ops_of_history_come_in_though_a_parent_is_nowhere(two: Two, tmp_path: Path) -> None:
    first, second = two
    absent, child = (make_op_entry("ada", DOMAIN, {"n": n}, 9 + n) for n in range(2))
    orphan = make_op_entry("ada", DOMAIN, {"n": 2}, 20, parent_op_ids=[absent["op_id"], child["op_id"]])
    append_and_commit(first, child, orphan)
    pull_from(second, first)
    for root in (second, make_replica(first, tmp_path / "third")):
        with OpLog(root, "jam") as log:
            assert log.replay_since_checkpoint() == []
            log.orphans.release()
            assert log.orphans.entries() == []
        assert log_of(root) == log_of(first)
        assert replay_commits(Repository.open(str(root))).findings == []


@pytest.mark.parametrize("is_cycle", [False, True])
@pytest.mark.parametrize("is_pushed", [False, True])
def test_ops_of_history_come_in_though_an_op_is_not_stamped_above_its_parent(
    two: Two, tmp_path: Path, *, is_cycle: bool, is_pushed: bool
) -> None:
    first, second = two
    parent = make_op_entry("ada", DOMAIN, {"n": 1}, 20)
    child = make_op_entry("ada", DOMAIN, {"n": 2}, 10, parent_op_ids=[parent["op_id"]])
    if is_cycle:
        parent["parent_op_ids"] = [child["op_id"]]
    with OpLog(first, "jam") as log:
        log.append(child)
    append_and_commit(first, parent)  # the child was let in before it
    if is_pushed:
        push_to(first, second)
    else:
        pull_from(second, first)
    for root in (second, make_replica(first, tmp_path / "third")):
        with OpLog(root, "jam") as log:
            assert log.replay_since_checkpoint() == []
            assert log.orphans.entries() == []
        assert log_of(root) == log_of(first)
        assert replay_commits(Repository.open(str(root))).findings == []


@pytest.mark.parametrize("is_pushed", [False, True])
@pytest.mark.parametrize("why", ["stamps", "limits", "orphans"])
def test_ops_of_history_come_in_whatever_a_merge_says_of_them(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, *, is_pushed: bool
) -> None:
    first, second = two
    jump, absent = DEFAULT_LIMITS.lamport_jump, make_op_entry("ada", DOMAIN, {}, 1)["op_id"]
    if why == "stamps":  # each near enough to the one before it
        entries = [make_op_entry("ada", DOMAIN, {"n": n}, n * jump) for n in (1, 2, 3)]
    elif why == "limits":  # a line of another tool, which readers take
        entries = [make_op_entry("a" * 300, DOMAIN, {"text": "x" * (1 << 20)}, 5, parent_op_ids=[absent] * 2)]
    else:
        monkeypatch.setattr(merge_module, "ORPHANS_AT_MOST", 2)
        entries = [make_op_entry("ada", DOMAIN, {"n": n}, 9 + n, parent_op_ids=[absent]) for n in range(5)]
    for entry in entries:
        if why == "limits":
            with Path(layout.ops_file(str(first), "jam")).open("ab") as file:
                file.write(frame(entry_json(entry)))
        else:
            with OpLog(first, "jam") as log:
                log.append(entry)
    commit(first)
    exchange = push_to(first, second) if is_pushed else pull_from(second, first)
    assert [(session.is_sound, session.orphans) for session in exchange.sessions] == [(True, 0)]
    for root in (second, make_replica(first, tmp_path / "third")):
        with OpLog(root, "jam") as log:
            assert log.replay_since_checkpoint() == []
            assert log.orphans.entries() == []
            assert log.next_lamport_ts(1) > max(entry["lamport_ts"] for entry in entries)
        assert log_of(root) == log_of(first)
        assert replay_commits(Repository.open(str(root))).findings == []


# -- cut short ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("kind", ["pull", "push", "clone"])
def test_cut_at_any_message_nothing_is_half_there_and_the_next_run_finishes_it(
    two: Two, tmp_path: Path, kind: str, *, arrives: bool
) -> None:
    first, second = two
    old = head(first)
    made = [play(second if kind == "push" else first, pitch) for pitch in (61, 62)]
    targets: list[Path] = []

    def make(at: int) -> tuple[Path, Any]:
        target = tmp_path / f"target-{at}"
        targets.append(target)
        if kind == "clone":
            return first, lambda peer: clone(peer, str(target))
        make_replica_at(target, first if kind == "push" else second)
        if kind == "pull":
            return first, lambda peer: pull(LocalPeer(str(target)), peer)
        return target, lambda peer: push(LocalPeer(str(second)), peer)

    def make_replica_at(target: Path, origin: Path) -> None:
        make_replica(origin, target)

    def again(target: Path) -> None:
        if kind == "clone":
            make_replica(first, target)
        elif kind == "pull":
            pull_from(target, first)
        else:
            push_to(second, target)

    cuts = 0
    for was_cut in cut_at_every_message(make, arrives=arrives):
        cuts += was_cut
        target = targets[-1]
        if kind != "clone" or (target / ".muse/repo.json").exists():
            assert head(target) in {None if kind == "clone" else old, made[-1]}
            assert_sound(target)
        again(target)
        assert head(target) == made[-1]
        assert (target / "song.mid").exists()
        assert_sound(target)
    assert cuts > 10


def test_a_disk_that_fills_up_at_any_call_of_a_pull_leaves_the_branch_where_it_was_or_moves_it(
    two: Two, tmp_path: Path
) -> None:
    first, second = two
    old, new = head(first), play(first, 61)
    failures = 0
    for fails_at in range(1, 2000, 7):
        target = make_replica(second, tmp_path / str(fails_at))
        storage = FailingStorage(fails_at, "ENOSPC")
        try:
            with LocalPeer(str(target), storage) as here, LocalPeer(str(first)) as there:
                exchange = pull(here, there)
        except StorageError as error:
            failures += error.errno == errno.ENOSPC
        else:
            assert not storage.failed or exchange.transfers
        assert head(target) in {old, new}
        assert_sound(target)
        pull_from(target, first)
        assert head(target) == new
        if not storage.failed:
            break
    assert failures > 10


# -- peers that lie -------------------------------------------------------------------------------


class Lying(LocalPeer):
    """Gives other bytes for one kind of thing."""

    kind: Kind = "object"

    def get(self, kind: Kind, digest: str) -> Content:
        found = super().get(kind, digest)
        if kind != self.kind:
            return found
        if kind == "object":
            return Content(found.data + b"!", found.object_ids)
        document = orjson.loads(found.data)
        document["message" if kind == "commit" else "manifest"] = "Eve was here" if kind == "commit" else {}
        return Content(orjson.dumps(document), found.object_ids)


@pytest.mark.parametrize("kind", ["object", "snapshot", "commit"])
def test_what_does_not_hash_to_its_id_is_refused_and_the_branch_stays(two: Two, kind: Kind) -> None:
    first, second = two
    play(first, 61)
    before = head(second)
    with LocalPeer(str(second)) as here, Lying(str(first)) as there:
        there.kind = kind
        with pytest.raises(CorruptionError):
            pull(here, there)
    assert head(second) == before
    assert_sound(second)
    pull_from(second, first)
    assert head(second) == head(first)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"{}", b'{"commit_id":1}', b"\xff"])
@pytest.mark.parametrize("kind", ["object", "snapshot", "commit"])
def test_garbage_that_is_put_is_refused(two: Two, kind: Kind, data: bytes) -> None:
    with LocalPeer(str(two[0])) as peer, pytest.raises(CorruptionError):
        peer.put(kind, "0" * 64, data)


def by_another_tool(root: Path, manifest: dict[str, str], metadata: dict[str, str]) -> CommitRecord:
    """A commit on top of the branch that no log vouches for; it is stored nowhere yet."""
    repository = Repository.open(str(root))
    return make_commit_record(
        repo_id=repository.repo_id,
        branch="main",
        snapshot_id=repository.dag.write_snapshot(manifest, NOW),
        message="odd",
        committed_at=NOW,
        parent_commit_id=head(root),
        author="eve",
        structured_delta=None,
        metadata=metadata,
    )


def test_a_branch_is_not_moved_to_a_commit_whose_content_is_not_there(two: Two) -> None:
    first, second = two
    record = by_another_tool(second, {"a.txt": "12" * 32}, {})
    with LocalPeer(str(first)) as there, LocalPeer(str(second)) as here:
        before = head(first) or ""
        snapshot = here.get("snapshot", record["snapshot_id"])
        there.put("snapshot", record["snapshot_id"], snapshot.data)
        there.put("commit", record["commit_id"], orjson.dumps(record))
        with pytest.raises(ConflictError, match=f"names content {'12' * 32}"):
            there.advance("main", before, record["commit_id"])
    assert head(first) == before
    assert play(first, 62) == head(first)


@pytest.mark.parametrize(
    "metadata",
    [{"executable": "[" * 100_000}, {"state:code": "0" * 64}, {"state:music": "0" * 64}],
    ids=["executable", "code", "music"],
)
def test_what_another_tool_says_beside_its_files_stops_no_commit_after_it(
    two: Two, metadata: dict[str, str]
) -> None:
    first, second = two
    repository = Repository.open(str(first))
    record = by_another_tool(first, dict(repository.read_tree(head(first))), metadata)
    repository.dag.swap_head("main", head(first), repository.dag.write_commit(record))
    pull_from(second, first)
    play(second, 62)
    with LiveSession(second, "texts") as session:
        CodeReplica(session, session.log, "vic").create("text.txt", "one\n")
        assert session.commit("A text").commit_id == head(second)
    assert (second / "text.txt").read_text() == "one\n"


def test_a_commit_of_ops_is_not_pulled_without_the_state_that_it_names(two: Two) -> None:
    first, second = two
    with LiveSession(first, "texts") as session:
        CodeReplica(session, session.log, "ada").create("text.txt", "one\n")
        record = session.repository.dag.read_commit(session.commit("A text").commit_id or "")
    (state,) = state_snapshots(record).values()
    (first / ".muse" / "snapshots" / f"{state}.json").unlink()
    before = head(second)
    with pytest.raises(NotFoundError, match=state):
        pull_from(second, first)
    assert head(second) == before


def test_a_tree_with_a_file_and_files_below_it_is_refused(two: Two) -> None:
    first, second = two
    repository = Repository.open(str(second))
    content = repository.objects.put(b"odd")
    record = by_another_tool(second, {"d": content, "d/e": content}, {})
    with LocalPeer(str(first)) as there, LocalPeer(str(second)) as here:
        snapshot = here.get("snapshot", record["snapshot_id"])
        with pytest.raises(CorruptionError, match="a file 'd' and files below it"):
            there.put("snapshot", record["snapshot_id"], snapshot.data)
        assert there.lacks("snapshot", [record["snapshot_id"]])


def test_an_object_that_is_missing_there_stops_the_pull_and_the_branch_stays(two: Two) -> None:
    first, second = two
    before, made = head(second), play(first, 61)
    store = ObjectStore(str(first))
    object_id = Repository.open(str(first)).read_tree(made)["song.mid"]
    (first / ".muse/objects" / object_id[:2] / object_id[2:]).unlink()
    assert not store.has(object_id)
    with pytest.raises(NotFoundError, match=object_id):
        pull_from(second, first)
    assert head(second) == before


def test_a_branch_is_never_moved_to_where_it_does_not_descend_from(two: Two) -> None:
    first, second = two
    old, new = head(first), play(first, 61)
    with LocalPeer(str(first)) as peer:
        with pytest.raises(ConflictError, match="does not descend"):
            peer.advance("main", new, old or "")
        with pytest.raises(ConflictError, match="moved"):
            peer.advance("main", old, new)
    assert head(first) == new
    assert commit(second, message="Nothing to do") == ""
    assert sync(first, second)["jam"].is_sound


def test_a_peer_may_be_counted_whatever_is_asked_of_it(two: Two) -> None:
    made = play(two[0], 61)

    def bring(peer: Peer) -> None:
        with LocalPeer(str(two[1])) as here:
            pull(here, peer)

    assert list(cut_at_every_message(lambda _: (two[0], bring), arrives=True))[-1] is False
    assert head(two[1]) == made


# -- how often things are read ----------------------------------------------------------------------


def test_a_pull_with_nothing_new_reads_each_commit_at_most_twice_however_many_sessions_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = make_origin(tmp_path / "origin")
    reads: list[str] = []
    read_commit = CommitDag.read_commit

    def counted(dag: CommitDag, commit_id: str) -> Any:
        reads.append(commit_id)
        return read_commit(dag, commit_id)

    for number in range(20):
        write(origin, f"jam-{number}", number)
        commit(origin, f"jam-{number}")
    monkeypatch.setattr(CommitDag, "read_commit", counted)
    replica = make_replica(origin, tmp_path / "replica")
    assert len(reads) <= 10 * 20
    reads.clear()
    pull_from(replica, origin)
    assert max(Counter(reads).values(), default=0) <= 2
    for number in range(20):
        with LiveSession(replica, f"jam-{number}") as session:
            assert session.log.replay_since_checkpoint() == []


def test_a_push_that_died_once_the_branch_was_moved_brings_the_files_when_it_is_run_again(two: Two) -> None:
    first, second = two
    play(first, 61)
    play(first, 62, "talk", "talk.mid")
    with LiveSession(first, "jam") as session:
        session.edit("ada", "music", delete_file("song.mid", (first / "song.mid").read_bytes()))
        session.commit("Away with it")
    with pytest.MonkeyPatch.context() as crash:
        crash.setattr("muse.replication.local_peer.update_to_branch", _die)
        with pytest.raises(KeyboardInterrupt):
            push_to(first, second)
    assert head(second) == head(first)
    assert (second / "song.mid").exists()
    [transfer] = push_to(first, second).transfers
    assert transfer.result == "up to date"
    assert not (second / "song.mid").exists()
    assert (second / "talk.mid").exists()
    for name in ("jam", "talk"):
        with OpLog(second, name) as log:
            assert log.replay_since_checkpoint() == []
    (second / "talk.mid").unlink()
    push_to(first, second)
    assert not (second / "talk.mid").exists(), "a file that its user removed came back"


def _die(*_given: object, **_named: object) -> None:
    raise KeyboardInterrupt


def test_a_session_whose_log_comes_in_many_batches_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = make_origin(tmp_path / "origin")
    write(origin, "jam", *range(100))
    opened: list[str] = []

    class CountedLog(OpLog):
        def __init__(self, root: Any, session_id: str, **named: Any) -> None:
            opened.append(session_id)
            super().__init__(root, session_id, **named)

    monkeypatch.setattr("muse.replication.sync.BATCH_OPS", 5)
    monkeypatch.setattr("muse.replication.local_peer.OpLog", CountedLog)
    replica = make_replica(origin, tmp_path / "replica")
    assert log_of(replica) == log_of(origin)
    assert opened == ["jam"]


def test_a_crash_between_branch_and_checkpoints_is_mended_by_the_next_pull(tmp_path: Path) -> None:
    origin = make_origin(tmp_path / "origin")
    replica = make_replica(origin, tmp_path / "replica")
    for name in ("jam", "talk"):
        write(origin, name, 1)
        commit(origin, name)
    with pytest.MonkeyPatch.context() as crash:
        crash.setattr(LocalPeer, "settle", lambda _peer, _moved=(): None)
        pull_from(replica, origin)
    pull_from(replica, origin)
    for name in ("jam", "talk"):
        with OpLog(replica, name) as log:
            assert log.replay_since_checkpoint() == []
