"""Whatever sessions, branches, merges and losses come, each op is either pending or in one commit."""

import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muse.checks.replay import replay_commits
from muse.core.op_list import decode_op_list
from muse.history.repository import Repository
from muse.history.seal import read_seal
from muse.session.live import LiveSession
from tests.history.test_lost_and_found import (
    NOW,
    TEXT,
    checkpoint_path,
    join,
    op,
    ref,
)

SESSIONS = ("jam", "talk")
BRANCHES = ("aside", "main", "take")

Step = tuple[str, str, str]

session_ids = st.sampled_from(SESSIONS)
branches = st.sampled_from(BRANCHES)
steps = st.one_of(
    st.tuples(st.just("edit"), session_ids, branches),
    st.tuples(st.just("commit"), session_ids, branches),
    st.tuples(st.just("join"), branches, branches),
    st.tuples(st.just("fork"), branches, branches),
    st.tuples(st.just("move back"), branches, branches),
    st.tuples(st.sampled_from(["lose", "damage", "keep", "put back", "reopen"]), session_ids, branches),
)


class History:
    """A repository in which the steps are done, and what was acknowledged in it."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root = root
        self.repository, _ = Repository.init(str(root), now=NOW)
        self.edits: dict[str, list[str]] = {name: [] for name in SESSIONS}
        self._handles: dict[Step, LiveSession] = {}
        self._kept: dict[str, bytes] = {}
        self._stack = stack

    def live(self, session_id: str, branch: str) -> LiveSession:
        """Return a handle that stays open from step to step, and so knows what was before."""
        key = ("", session_id, branch)
        if key not in self._handles:
            self._handles[key] = self._stack.enter_context(LiveSession(self.root, session_id, branch=branch))
        return self._handles[key]

    def do(self, step: Step) -> None:
        name, first, second = step
        path = checkpoint_path(self.root, first)
        if name == "edit":
            number = sum(map(len, self.edits.values()))
            self.edits[first].append(self.live(first, second).edit("ada", TEXT, op(number))["op_id"])
        elif name == "commit":
            self.live(first, second).commit("Some")
        elif name == "join":
            self.join(first, second)
        elif name == "fork" and self.head(first) and not self.head(second):
            self.repository.dag.swap_head(second, None, str(self.head(first)))
        elif name == "move back":
            self.move_back(first)
        elif name == "lose" and path.exists():
            path.unlink()
        elif name == "damage" and path.exists():
            path.write_bytes(path.read_bytes().replace(b'"lamport_ts":', b'"lamport_tt":'))
        elif name == "keep" and path.exists():
            self._kept[first] = path.read_bytes()
        elif name == "put back" and first in self._kept:
            path.write_bytes(self._kept[first])
        elif name == "reopen":
            for key in [key for key in self._handles if key[1] == first]:
                self._handles.pop(key).close()

    def head(self, branch: str) -> str | None:
        return self.repository.dag.head(branch)

    def join(self, branch: str, other: str) -> None:
        if self.head(branch) and self.head(other) and self.head(branch) != self.head(other):
            join(self.repository, branch, other)

    def move_back(self, branch: str) -> None:
        """Move a branch to its first parent, as a backup would, and recover what was committed from it."""
        head = self.head(branch)
        if head is not None:
            ref(self.root, branch).write_text(self.repository.dag.read_commit(head)["parent_commit_id"] or "")
            for session_id in SESSIONS:
                self.live(session_id, "main").recover()
            self._kept.clear()  # what they say is told by nobody any more

    def committed(self) -> Counter[str]:
        """Count in how many commits that a branch leads to each op is."""
        found: Counter[str] = Counter()
        for record in self.repository.dag.reachable(self.repository.dag.branches().values()):
            seal = read_seal(record["message"])
            if seal is not None:
                found.update(decode_op_list(self.repository.objects.get(seal.op_list), seal.op_list))
        return found

    def check(self) -> None:
        committed = self.committed()
        assert set(committed.values()) <= {1}
        for session_id in SESSIONS:
            with LiveSession(self.root, session_id) as session:
                session.heal()
                pending = [entry["op_id"] for entry in session.log.replay_since_checkpoint()]
            expected = [op_id for op_id in self.edits[session_id] if op_id not in committed]
            assert pending == expected
        assert replay_commits(self.repository).findings == []


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=6, max_size=24))
@example(
    [
        ("edit", "jam", "main"),
        ("commit", "jam", "main"),
        ("fork", "main", "aside"),
        ("fork", "main", "take"),
        ("edit", "jam", "take"),
        ("commit", "jam", "take"),
        ("join", "main", "take"),
        ("lose", "jam", "main"),
        ("edit", "jam", "main"),
        ("commit", "jam", "aside"),
        ("move back", "main", "main"),
        ("move back", "take", "main"),
        ("commit", "jam", "main"),
    ]
)
def test_each_op_is_pending_or_in_one_commit_whatever_happens(chosen: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        history = History(Path(directory), stack)
        for step in chosen:
            history.do(step)
        history.check()
        for session_id in SESSIONS:
            history.live(session_id, "main").commit("The rest")
        history.check()
        assert set(history.committed()) == {op_id for own in history.edits.values() for op_id in own}
