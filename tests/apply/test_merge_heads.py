"""Two lines of history become one commit, the same on every replica, made of the ops of both."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from muse.apply.domains import stated_rules, write_states
from muse.apply.merge_heads import merge_heads, merge_record, merged_tree, merged_work
from muse.checks.replay import replay_commits
from muse.checks.verify import verify_repository
from muse.errors import ConflictError
from muse.history.commit_record import CommitRecord, make_commit_record, parents
from muse.history.repository import Repository, TreeFiles
from muse.plugins.music.identified_score import identified_notes
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note, mutate_note
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import pull
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.blame import blame_file
from tests.samples.code_samples import commit_files

NOW = "2026-01-02T03:04:05+00:00"
C4 = Note(60, 90, 0, 480)


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Two replicas with one commit: a note `n1` in `a.mid`, and `x.py`."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    Repository.init(str(here), now=NOW)
    with LiveSession(here, "jam", author="ada") as session:
        session.edit("ada", "music", insert_note("a.mid", "n1", C4))
        CodeReplica(session, session.log, "ada").create("x.py", "one\ntwo\nthree\n")
        session.commit("Base")
    shutil.copytree(here, there)
    return here, there


def pull_from(root: Path, other: Path) -> str:
    own, peer = LocalPeer(str(root)), LocalPeer(str(other))
    try:
        pull(own, peer)
    finally:
        own.close()
        peer.close()
    head = Repository.open(str(root)).dag.head("main")
    assert head is not None
    return head


def commit(root: Path, actor: str, edit: Callable[[LiveSession, CodeReplica], object]) -> str:
    with LiveSession(root, "jam", author=actor) as session:
        edit(session, CodeReplica(session, session.log, actor))
        outcome = session.commit(f"By {actor}")
    assert outcome.commit_id is not None
    return outcome.commit_id


def assert_sound(root: Path) -> None:
    assert verify_repository(str(root)).findings == []
    assert replay_commits(Repository.open(str(root))).findings == []


def diverge(here: Path, there: Path) -> None:
    def ada(session: LiveSession, code: CodeReplica) -> None:
        code.insert("x.py", 0, "zero\n")
        session.edit("ada", "music", mutate_note("a.mid", "n1", C4, velocity=40))

    def bob(session: LiveSession, code: CodeReplica) -> None:
        code.insert("x.py", len(code.read("x.py")), "four\n")
        session.edit("bob", "music", insert_note("a.mid", "n2", Note(64, 80, 480, 480)))

    commit(here, "ada", ada)
    commit(there, "bob", bob)


def test_both_sides_make_the_same_commit_of_the_ops_of_both(roots: tuple[Path, Path]) -> None:
    here, there = roots
    diverge(here, there)
    heads = {pull_from(here, there), pull_from(there, here)}
    [head] = heads
    for root in roots:
        assert (root / "x.py").read_text() == "zero\none\ntwo\nthree\nfour\n"
        notes = identified_notes({"a.mid": (root / "a.mid").read_bytes()} | names(root), "a.mid")
        assert {name: found[1].velocity for name, found in notes.items()} == {"n1": 40, "n2": 80}
        with LiveSession(root, "jam") as session:
            assert session.log.replay_since_checkpoint() == []
            assert not session.recover()
        assert_sound(root)
    record = Repository.open(str(here)).dag.read_commit(head)
    assert record["parent2_commit_id"] is not None


def names(root: Path) -> dict[str, bytes]:
    page = root / ".muse_notes" / "a.mid.json"
    return {".muse_notes/a.mid.json": page.read_bytes()} if page.exists() else {}


def test_edits_go_on_after_a_merge(roots: tuple[Path, Path]) -> None:
    here, there = roots
    diverge(here, there)
    pull_from(here, there)
    commit(here, "ada", lambda _, code: code.insert("x.py", 0, "first\n"))
    pull_from(there, here)
    assert (there / "x.py").read_text() == "first\nzero\none\ntwo\nthree\nfour\n"
    assert_sound(there)


def test_blame_sees_through_a_merge(roots: tuple[Path, Path]) -> None:
    here, there = roots
    diverge(here, there)
    head = pull_from(here, there)
    repository = Repository.open(str(here))
    blame = blame_file(repository, "x.py", head)
    assert [(part.summary, part.made.actor_id) for part in blame.parts] == [
        ("zero", "ada"),
        ("one", "ada"),
        ("two", "ada"),
        ("three", "ada"),
        ("four", "bob"),
    ]
    assert {part.made.commit_id for part in blame.parts} < {
        record["commit_id"] for record in repository.dag.history(head)
    }
    assert head not in {part.made.commit_id for part in blame.parts}


def test_a_ring_that_only_pulls_comes_to_one_commit(roots: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = roots
    third = tmp_path / "third"
    shutil.copytree(here, third)
    diverge(here, there)
    commit(third, "cyd", lambda _, code: code.insert("x.py", 4, "and "))
    ring = [here, there, third]
    for _ in range(4):
        heads = [pull_from(ring[place], ring[place - 1]) for place in range(3)]
    assert len(set(heads)) == 1
    assert len({(root / "x.py").read_text() for root in ring}) == 1
    for root in ring:
        assert_sound(root)


def external_commit(root: Path, path: str, content: bytes) -> str:
    repository = Repository.open(str(root))
    head = repository.dag.head("main")
    files = TreeFiles(repository, repository.read_tree(head))
    return commit_files(repository, {**files, path: content}, author="eve")


def test_commits_without_a_log_come_along_and_where_both_sides_changed_a_file_they_are_refused(
    roots: tuple[Path, Path],
) -> None:
    here, there = roots
    diverge(here, there)
    external_commit(here, "README", b"hello\n")
    head = pull_from(there, here)
    assert Repository.open(str(there)).read_tree(head).keys() >= {"README", "x.py", "a.mid"}
    assert_sound(there)
    external_commit(here, "README", b"other\n")
    external_commit(there, "README", b"another\n")
    with pytest.raises(ConflictError, match="README"):
        pull_from(there, here)


def test_a_changed_merge_is_found(roots: tuple[Path, Path]) -> None:
    here, there = roots
    diverge(here, there)
    head = pull_from(here, there)
    path = here / ".muse" / "commits" / f"{head}.json"
    record = json.loads(path.read_text())
    record["structured_delta"]["ops"] = []
    path.write_text(json.dumps(record))
    assert [finding.kind for finding in replay_commits(Repository.open(str(here))).findings] == ["delta"]


def test_a_merge_with_other_files_than_its_ops_make_is_found(roots: tuple[Path, Path]) -> None:
    here, there = roots
    diverge(here, there)
    pull_from(here, there)
    repository = Repository.open(str(here))
    dag = repository.dag
    merge = dag.read_commit(str(dag.head("main")))
    tree = {**repository.read_tree(merge["commit_id"]), "x.py": repository.objects.put(b"forged\n")}
    forged = make_commit_record(
        repo_id=repository.repo_id,
        branch="main",
        snapshot_id=dag.write_snapshot(tree, NOW),
        message=merge["message"],
        committed_at=merge["committed_at"],
        parent_commit_id=merge["parent_commit_id"],
        parent2_commit_id=merge["parent2_commit_id"],
        author="muse",
        structured_delta=merge["structured_delta"],
        metadata=merge["metadata"],
    )
    dag.write_commit(forged)
    found = replay_commits(repository).findings
    assert {(finding.kind, forged["commit_id"] in finding.path) for finding in found} == {("snapshot", True)}


def test_a_merge_that_states_no_rules_is_made_again_without_any(roots: tuple[Path, Path]) -> None:
    here, there = roots
    diverge(here, there)
    pull_from(here, there)
    repository = Repository.open(str(here))
    dag = repository.dag
    merge = dag.read_commit(str(dag.head("main")))
    assert stated_rules(merge["message"])
    unstated: CommitRecord = {**merge, "message": re.sub(r"Muse-Rules: .*\n", "", merge["message"])}
    first, second = parents(merge)
    work = merged_work(repository, first, second, dag.common_dominator(first, second))
    merged = merged_tree(repository, work, made=unstated)
    assert merged.rules == {}
    made = merge_record(repository, "main", work, merged)
    assert stated_rules(made["message"]) == {}
    repository.objects.put_many(merged.contents.values())
    dag.write_snapshot(merged.files, made["committed_at"])
    write_states(repository, merged.states, made["committed_at"])
    dag.swap_head("main", merge["commit_id"], dag.write_commit(made))
    assert made["commit_id"] != merge["commit_id"]
    assert_sound(here)


def test_what_one_side_has_behind_it_needs_no_merge(roots: tuple[Path, Path]) -> None:
    here, _ = roots
    repository = Repository.open(str(here))
    old = str(repository.dag.head("main"))
    new = commit(here, "ada", lambda _, code: code.insert("x.py", 0, "new\n"))
    assert merge_heads(repository, "main", old, new) == merge_heads(repository, "main", new, old) == new
    assert repository.dag.common_dominator(old, new) == old
