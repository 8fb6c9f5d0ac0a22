"""Whatever ops a session holds: it is committed, verified, blamed, undone and brought to other replicas."""

import contextlib
import json
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from muse.checks.replay import replay_commits
from muse.checks.verify import verify_repository
from muse.core.new_entries import make_op_entry
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import CorruptionError, DomainError, InvalidEntryError, NotFoundError
from muse.history.repository import Repository
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import clone, pull
from muse.session.live import LiveSession
from muse.views.blame import blame_file
from muse.views.overlaps import session_overlaps
from muse.views.undo import by_actor, undo
from tests.samples.any_ops import OBJECTS, ops
from tests.samples.sealed_session import NOW

MADE = st.tuples(st.sampled_from(("ada", "bob")), st.sampled_from(("code", "code", "music", "other")), ops)


def record_all(log: OpLog, made: list[tuple[str, str, Any]]) -> int:
    count = 0
    for actor_id, domain, op in made:
        try:
            log.record(actor_id, domain, op)
        except InvalidEntryError:
            continue
        count += 1
    return count


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate),  # to make an example smaller would take minutes
)
@given(st.lists(MADE, min_size=1, max_size=6), st.lists(MADE, max_size=4))
def test_a_session_of_any_ops_is_committed_and_told_about(
    first: list[tuple[str, str, Any]], second: list[tuple[str, str, Any]]
) -> None:
    with TemporaryDirectory() as directory:
        root, other = str(Path(directory, "root")), str(Path(directory, "other"))
        repository, _ = Repository.init(root, now=NOW, domain="code", any_domain=True)
        late, *here = OBJECTS.values()
        repository.objects.put_many(here)
        with LiveSession(root, "jam") as live:
            live.edit("ada", "code", {"op": "insert", "address": "0.txt", "position": None, "text": "0"})
            live.commit("Begun")
        with LocalPeer(root) as peer:
            clone(peer, other)
        for made, full in ((first, False), (second, True)):
            with LiveSession(root, "jam") as live:
                count = record_all(live.log, made)
                assert live.commit("Any", full=full).op_count >= count  # what took some back is among them
            check_views(root)
            repository.objects.put(late)
            with LocalPeer(other) as own, LocalPeer(root) as peer:
                [session] = pull(own, peer).sessions
                assert session.is_sound
        for place in (root, other):
            assert verify_repository(place).findings == []
            assert replay_commits(Repository.open(place)).findings == []


def check_views(root: str) -> None:
    repository = Repository.open(root)
    head = repository.dag.head("main") or ""
    for path in repository.read_tree(head):
        with contextlib.suppress(DomainError):  # no domain knows its parts
            blame_file(repository, path, head)
    session_overlaps(repository, "jam")
    with LiveSession(root, "jam") as live, contextlib.suppress(NotFoundError):  # nothing of him
        undo(live, by_actor("bob"), "eve")


# -- what another tool may have framed -----------------------------------------------------------


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def framed(op: dict[str, Any]) -> bytes:
    """Return the line of an op, with no look at any limit."""
    body = json.dumps(make_op_entry("eve", "text", op, 2), separators=(",", ":")).encode()[:-1]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (deep(300), "too deeply"),
        (deep(250), "too deeply"),
        ({"n": 2**64}, "64 bits"),
        ({"n": -(2**70)}, "64 bits"),
    ],
)
def test_a_line_that_could_not_be_written_again_is_named_as_damage(
    tmp_path: Path, op: dict[str, Any], reason: str
) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW, any_domain=True)
    with LiveSession(root, "jam") as live:
        live.edit("ada", "text", {"n": 1})
        with open(layout.ops_file(root, "jam"), "ab") as file:
            file.write(framed(op))
        assert [damage.kind for damage in live.log.damages()] == ["corrupt"]
        with pytest.raises(CorruptionError, match=reason):
            live.commit("All")
        assert live.commit("The rest", salvage=True).op_count == 1


@pytest.mark.parametrize("op", [deep(240), {"n": 2**64 - 1}, {"n": -(2**63)}, {"t": "x" * 2**21}])
def test_a_line_beyond_the_limits_of_a_writer_is_committed(tmp_path: Path, op: dict[str, Any]) -> None:
    root = str(tmp_path)
    Repository.init(root, now=NOW, any_domain=True)
    with LiveSession(root, "jam") as live:
        live.edit("ada", "text", {"n": 1})
        with open(layout.ops_file(root, "jam"), "ab") as file:
            file.write(framed(op))
        assert live.commit("All", full=True).op_count == 2
    assert replay_commits(Repository.open(root)).findings == []
