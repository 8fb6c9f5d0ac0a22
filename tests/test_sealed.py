"""Which lines of a log a commit covers, told by the seals."""

from pathlib import Path

import pytest

from muse.core.archive import archive_session
from muse.core.record import encode_line
from muse.errors import UsageError
from muse.sealed import SealedCommits, SessionOps, commit_ids, open_session, session_ids
from tests.sealed_sample import SealedSample


@pytest.fixture
def sample(tmp_path: Path) -> SealedSample:
    return SealedSample(tmp_path)


@pytest.fixture
def commits(sample: SealedSample) -> SealedCommits:
    found = SealedCommits()
    for commit_id in commit_ids(str(sample.root)):
        found.add(sample.record(commit_id))
    return found


def test_commits_come_by_session_and_cut(sample: SealedSample, commits: SealedCommits) -> None:
    assert commits.session_ids() == ["jam", "talk"]
    assert [commit.commit_id for commit in commits.of_session("jam")] == [*sample.take_one, *sample.take_two]
    assert commits.of_session("nobody") == []
    assert sample.take_one[0] in commits


def test_a_commit_starts_where_the_one_before_it_ended(commits: SealedCommits) -> None:
    first, *second = commits.of_session("jam")
    assert commits.starts(first) == [0]
    for commit in second:  # of two domains, at one cut
        assert commits.starts(commit)[0] == first.seal.cut_offset
        assert commits.overlapped(commit) is None
    assert {commit.seal.cut_offset for commit in second} != {first.seal.cut_offset}


def test_a_commit_added_twice_is_there_once(sample: SealedSample, commits: SealedCommits) -> None:
    assert commits.add(sample.record(sample.take_one[0])) is None
    assert len(commits.of_session("jam")) == 3


def test_entries_are_read_by_place_each_at_its_first_line(sample: SealedSample) -> None:
    path = sample.ops_path()
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + encode_line(sample.first[0]) + encode_line(sample.straggler))
    ops = open_session(str(sample.root), "jam")
    assert ops.between(0, size)[:5] == sample.first
    assert ops.between(size, ops.end()) == []
    assert len(ops.between(0, ops.end())) == 10
    assert ops.find(sample.first[0]["op_id"]) == (0, sample.first[0])
    assert ops.find(sample.talk["op_id"]) is None
    ops.close()


def test_the_frontier_is_that_of_all_before_a_place_whatever_was_asked_before(sample: SealedSample) -> None:
    ops = SessionOps(str(sample.root), "jam")
    whole = ops.frontier(ops.end())
    assert whole["actor-1"] == sample.pending["lamport_ts"]
    assert ops.frontier(0) == {}
    assert ops.frontier(ops.end()) == whole
    ops.close()


def test_an_archived_session_is_listed_and_read_like_any_other(sample: SealedSample) -> None:
    archive_session(sample.root, "talk")
    assert session_ids(str(sample.root)) == ["jam", "talk"]
    ops = open_session(str(sample.root), "talk")
    assert ops.is_there
    assert ops.between(0, ops.end()) == [sample.talk]
    ops.close()


def test_a_session_id_that_leaves_its_directory_is_refused(sample: SealedSample) -> None:
    with pytest.raises(UsageError):
        open_session(str(sample.root), "../../etc")
