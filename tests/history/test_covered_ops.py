"""Which lines of a log a commit covers, told by the seals."""

from pathlib import Path

import pytest

from muse.core.line import encode_line
from muse.core.op_list import encode_op_list
from muse.core.op_log import list_sessions
from muse.errors import UsageError
from muse.history.covered_ops import SealedCommits, open_session
from muse.history.dag import CommitDag
from muse.upkeep.archive import archive_session
from tests.samples.sealed_sample import SealedSample


@pytest.fixture
def sample(tmp_path: Path) -> SealedSample:
    return SealedSample(tmp_path)


@pytest.fixture
def commits(sample: SealedSample) -> SealedCommits:
    found = SealedCommits()
    for commit_id in CommitDag(str(sample.root)).commit_ids():
        found.add(sample.record(commit_id))
    return found


def test_commits_come_by_session_and_cut(sample: SealedSample, commits: SealedCommits) -> None:
    assert commits.session_ids() == ["jam", "talk"]
    assert [commit.commit_id for commit in commits.of_session("jam")] == [*sample.take_one, *sample.take_two]
    assert commits.of_session("nobody") == []
    assert sample.take_one[0] in commits


def test_a_commit_is_behind_those_that_came_after_it(commits: SealedCommits) -> None:
    first, *second = (commit.commit_id for commit in commits.of_session("jam"))
    for commit_id in second:  # of two domains, at one cut
        assert commits.behind(commit_id, [first, commit_id]) == {first}
    assert commits.behind(first, [first, *second]) == set()


def test_a_commit_added_twice_is_there_once(sample: SealedSample, commits: SealedCommits) -> None:
    assert commits.add(sample.record(sample.take_one[0])) is None
    assert len(commits.of_session("jam")) == 3


def test_entries_are_found_by_their_ids_wherever_they_stand(sample: SealedSample) -> None:
    path = sample.ops_path()
    size = path.stat().st_size
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(path.read_bytes() + encode_line(sample.first[0]) + encode_line(sample.straggler))
    ops = open_session(str(sample.root), "jam")
    ids = [entry["op_id"] for entry in sample.first]
    found = ops.covered(ids, "music")
    assert found.entries == sample.first
    assert found.runs == [(0, sum(map(len, lines[:4])))]
    odd = ops.covered(ids[1::2], "music")
    assert odd.entries == sample.first[1::2]
    assert odd.runs == [(len(lines[0]),) * 2, (sum(map(len, lines[:3])),) * 2]
    assert ops.covered(ids, "music", start=size).entries == sample.first
    assert ops.covered([sample.talk["op_id"]]).entries == []
    assert len(list(ops.outside((), sample.repository.objects))) == 10
    known = [sample.repository.objects.put(encode_op_list(some)) for some in (ids[:3], ids[2:])]
    outside = {entry["op_id"]: offset for offset, entry in ops.outside(known, sample.repository.objects)}
    assert len(outside) == 10 - len(ids)
    assert set(ids).isdisjoint(outside)
    for op_id, offset in outside.items():
        found_at = ops.find(op_id)
        assert found_at is not None
        assert found_at[0] == offset
    assert ops.find(sample.first[0]["op_id"]) == (0, sample.first[0])
    assert ops.find(sample.talk["op_id"]) is None
    ops.close()


def test_an_archived_session_is_listed_and_read_like_any_other(sample: SealedSample) -> None:
    archive_session(sample.root, "talk")
    assert list_sessions(str(sample.root)) == ["jam", "talk"]
    ops = open_session(str(sample.root), "talk")
    assert ops.is_there
    assert ops.covered([sample.talk["op_id"]]).entries == [sample.talk]
    ops.close()


def test_a_session_id_that_leaves_its_directory_is_refused(sample: SealedSample) -> None:
    with pytest.raises(UsageError):
        open_session(str(sample.root), "../../etc")
