"""The commit that covers an op is found, and the proof of it holds."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import CorruptionError, NotFoundError, UsageError
from muse.history import merkle
from muse.history.covered_ops import SessionOps
from muse.history.dag import CommitDag
from muse.history.proof import check_proof
from muse.history.repository import Repository
from muse.history.seal import read_seal
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session
from muse.views.prove import NotCommittedError, prove, prove_each_actor
from tests.samples.sealed_sample import SealedSample, note_op

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def sample(tmp_path: Path) -> SealedSample:
    return SealedSample(tmp_path)


def test_every_committed_op_is_proven_to_be_in_the_commit_that_covers_it(sample: SealedSample) -> None:
    proven = set()
    for session_id in ("jam", "talk"):
        with OpLog(sample.root, session_id) as log:
            for entry in log.read_all():
                if entry == sample.pending:
                    continue
                proof = prove(sample.repository, entry["op_id"])
                facts = check_proof(proof, sample.record(proof["commit"]["commit_id"]))
                assert (facts.actor_id, facts.session_id) == (entry["actor_id"], session_id)
                assert proof["entry"] == entry
                proven.add(facts.commit_id)
    assert proven == {*sample.take_one, *sample.take_two, *sample.talked}


def test_a_straggler_is_proven_in_the_commit_it_went_into(sample: SealedSample) -> None:
    proof = prove(sample.repository, sample.straggler["op_id"], "jam")
    assert proof["commit"]["commit_id"] in sample.take_two


def test_a_pending_op_is_in_no_commit_yet(sample: SealedSample) -> None:
    with pytest.raises(NotCommittedError, match="no commit yet") as caught:
        prove(sample.repository, sample.pending["op_id"])
    assert caught.value.op_id == sample.pending["op_id"]


def test_an_op_of_an_archived_session_is_proven(sample: SealedSample) -> None:
    archive_session(sample.root, "talk")
    assert check_proof(prove(sample.repository, sample.talk["op_id"])).session_id == "talk"


def test_an_op_of_a_branch_that_nobody_is_on_is_proven(sample: SealedSample) -> None:
    with LiveSession(sample.root, "jam", branch="take/2") as jam:
        jam.commit("Elsewhere")
    assert check_proof(prove(sample.repository, sample.pending["op_id"])).op_id == sample.pending["op_id"]


@pytest.mark.parametrize("session_id", [None, "jam"])
def test_an_op_that_no_log_has_is_not_found(sample: SealedSample, session_id: str | None) -> None:
    with pytest.raises(NotFoundError, match="no op"):
        prove(sample.repository, UNKNOWN, session_id)
    with pytest.raises(NotFoundError):
        prove(sample.repository, sample.talk["op_id"], "jam")


@pytest.mark.parametrize("op_id", ["", "x", UNKNOWN.upper() + "X"])
def test_what_is_no_op_id_is_refused(sample: SealedSample, op_id: str) -> None:
    with pytest.raises(UsageError, match="not an op id"):
        prove(sample.repository, op_id)


def test_a_log_that_differs_from_its_commit_proves_nothing(sample: SealedSample) -> None:
    path = sample.ops_path()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b" " * (len(lines[0]) - 1) + b"\n", *lines[1:]]))
    with pytest.raises(CorruptionError, match="differ"):
        prove(sample.repository, sample.first[2]["op_id"])


def test_one_op_of_each_actor_is_proven_and_a_pending_one_is_named(sample: SealedSample) -> None:
    assert [proof.fault for proof in prove_each_actor(sample.repository, "jam")] == ["", "", ""]
    with LiveSession(sample.root, "jam") as jam:
        entry = jam.edit("late", "music", note_op(30))
    [late] = [proof for proof in prove_each_actor(sample.repository, "jam") if proof.fault]
    assert (late.actor_id, late.op_id, late.commit_id) == ("late", entry["op_id"], "")


def test_the_proofs_of_all_actors_read_each_commit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = Repository.init(str(tmp_path), any_domain=True)
    with LiveSession(tmp_path, "jam") as jam:
        for take in range(2):
            for actor in range(20):
                jam.edit(f"{take}-{actor}", "text", {"op": "insert", "n": actor})
            jam.commit("Take")
    counts: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **named)

        return count

    monkeypatch.setattr(SessionOps, "covered", counted("covered", SessionOps.covered))
    monkeypatch.setattr(merkle, "leaf_hash", counted("leaves", merkle.leaf_hash))
    monkeypatch.setattr(CommitDag, "read_commit", counted("commits", CommitDag.read_commit))
    proofs = prove_each_actor(repository, "jam")
    assert [proof.fault for proof in proofs] == [""] * 40
    assert counts["covered"] == 2
    assert counts["commits"] == 4
    assert counts["leaves"] <= 4 * 40  # in the roots, in the proofs, and in the two checks of each proof


def test_one_missing_list_of_ops_is_the_fault_of_those_that_it_may_prove(sample: SealedSample) -> None:
    for commit_id in sample.take_two:
        seal = read_seal(sample.record(commit_id)["message"])
        assert seal is not None
        Path(layout.object_file(str(sample.root), seal.op_list)).unlink()
    assert any(proof.fault for proof in prove_each_actor(sample.repository, "jam"))
