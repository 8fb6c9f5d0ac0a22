"""What a line of history shows, a merge does not take back: ops come in the order of their commits."""

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.apply.domains import stated_rules
from muse.apply.op_order import in_order_of_commits
from muse.checks.replay import replay_commits
from muse.core.entry import OpEntry, total_order
from muse.core.op_log import make_op_entry
from muse.history.commit_record import parents
from muse.history.covered_ops import SealedCommits, op_ids_of
from muse.history.repository import Repository, TreeFiles
from muse.plugins.music.identified_score import identified_notes
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note, mutate_note
from muse.plugins.music.plugin import MusicPlugin
from muse.session.live import LiveSession
from muse.views.blame import blame_file
from tests.samples.replicas import commit, log_of, make_origin, make_replica, pull_from, sync

C4 = Note(60, 50, 0, 10)
Behind = dict[str, list[str]]
Brought = dict[str, list[str]]


def entry(number: int, op_id: str = "") -> OpEntry:
    made = make_op_entry("ada", "music", insert_note("a.mid", "n", C4), number)
    made["op_id"] = op_id or f"{number:03}"
    return made


def before(behind: Behind, name: str) -> set[str]:
    return {name for parent in behind[name] for name in (parent, *before(behind, parent))}


def by_rule(
    entries: Collection[OpEntry], brought: Mapping[str, Collection[str]], behind: Behind
) -> list[str]:
    """The rule, word by word: the first op of which a commit says that all before it are placed."""
    placed: list[str] = []
    for _ in entries:
        free = {
            op_id
            for name in behind
            if all(set(brought.get(older, ())) <= set(placed) for older in before(behind, name))
            for op_id in brought.get(name, ())
        }
        ready = [each for each in entries if each["op_id"] in free - set(placed)]
        placed.append(min(ready, key=total_order)["op_id"])
    return placed


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[OpEntry], Brought, Behind]:
    """Commits with up to two parents, and ops in any of them: no op twice in one line."""
    behind: Behind = {}
    brought: Brought = {}
    numbers = [f"{number:03}" for number in range(draw(st.integers(1, 12)))]
    for place in range(draw(st.integers(1, 7))):
        older = draw(st.lists(st.sampled_from(sorted(behind)), max_size=2, unique=True)) if behind else []
        behind[f"c{place}"] = older
        taken = {op_id for name in before(behind, f"c{place}") for op_id in brought[name]}
        free = [op_id for op_id in numbers if op_id not in taken]
        brought[f"c{place}"] = draw(st.lists(st.sampled_from(free), unique=True)) if free else []
    held = {op_id for own in brought.values() for op_id in own}
    return [entry(int(op_id)) for op_id in sorted(held)], brought, behind


def ids(entries: Sequence[OpEntry]) -> list[str]:
    return [each["op_id"] for each in entries]


@given(histories())
def test_ops_come_in_the_order_of_their_commits(history: tuple[list[OpEntry], Brought, Behind]) -> None:
    assert ids(in_order_of_commits(*history)) == by_rule(*history)


@given(histories(), st.lists(st.integers(0, 12)))
def test_a_line_that_shares_no_op_leaves_the_others_in_their_order(
    history: tuple[list[OpEntry], Brought, Behind], strangers: list[int]
) -> None:
    entries, brought, behind = history
    alone = ids(in_order_of_commits(*history))
    other = [entry(number, f"x{place}") for place, number in enumerate(strangers)]
    with_other = in_order_of_commits(
        [*entries, *other], {**brought, "x": ids(other)}, {**behind, "x": [], "merge": [*behind, "x"]}
    )
    assert [op_id for op_id in ids(with_other) if not op_id.startswith("x")] == alone


def velocities(root: Path, commit_id: str = "") -> dict[str, int]:
    repository = Repository.open(str(root))
    tree = repository.read_tree(commit_id or str(repository.dag.head("main")))
    return velocities_in(TreeFiles(repository, tree))


def velocities_in(files: Mapping[str, bytes]) -> dict[str, int]:
    return {name: note.velocity for name, (_, note) in identified_notes(files, "a.mid").items()}


def play(root: Path, actor: str, note: str, velocity: int, stamp: int = 0) -> None:
    """Set the velocity of a note, by an op with a stamp; 0 for the next one."""
    with LiveSession(root, "jam") as session:
        stamp = stamp or session.log.next_lamport_ts()
        op = mutate_note("a.mid", note, C4, velocity=velocity)
        session.log.append(make_op_entry(actor, "music", op, stamp))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two replicas with one commit: the notes `n` and `m`."""
    here = make_origin(tmp_path / "here")
    with LiveSession(here, "jam") as session:
        for number, name in enumerate("nm"):
            session.edit("ada", "music", insert_note("a.mid", name, Note(60 + number, 50, 0, 10)))
        session.commit("Base")
    return here, make_replica(here, tmp_path / "there")


def come_late(two: tuple[Path, Path]) -> str:
    """Commit an op that came late, on one side, and an unrelated one on the other; merge them."""
    here, there = two
    play(there, "bob", "m", 77)
    commit(there)
    play(here, "ada", "n", 9, stamp=30)
    commit(here)
    play(here, "cy", "n", 5, stamp=20)
    commit(here)
    pull_from(here, there)
    return str(Repository.open(str(here)).dag.head("main"))


def test_a_merge_with_unrelated_work_changes_nothing_that_was_shown(two: tuple[Path, Path]) -> None:
    here, there = two
    head = come_late(two)
    assert velocities(here) == {"n": 5, "m": 77}
    record = Repository.open(str(here)).dag.read_commit(head)
    assert stated_rules(record["message"]) == {"merge-order": 2, "music": 3}
    assert replay_commits(Repository.open(str(here))).findings == []
    pull_from(there, here)
    assert velocities(there) == velocities(here)
    blamed = blame_file(Repository.open(str(here)), "a.mid", head)
    assert {part.changed.actor_id for part in blamed.parts} == {"cy", "bob"}


def test_a_merge_of_before_is_made_again_in_the_total_order(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("muse.apply.merge_heads.ORDER_OF_COMMITS", 1)
        head = come_late(two)
    record = Repository.open(str(two[0])).dag.read_commit(head)
    assert stated_rules(record["message"]) == {"music": 3}
    assert velocities(two[0]) == {"n": 9, "m": 77}
    assert replay_commits(Repository.open(str(two[0]))).findings == []
    blamed = blame_file(Repository.open(str(two[0])), "a.mid", head)
    assert {part.changed.actor_id for part in blamed.parts} == {"ada", "bob"}


def test_a_merge_in_a_later_order_is_told(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    come_late(two)
    monkeypatch.setattr("muse.apply.merge_heads.ORDER_OF_COMMITS", 1)
    [finding] = replay_commits(Repository.open(str(two[0]))).findings
    assert "rule 2, and only those up to 1 are known here: install a newer version" in finding.message


def shown_by_rule(root: Path) -> dict[str, dict[str, int]]:
    """What the notes of each commit are by the rule, found from the ops of its whole history alone."""
    repository = Repository.open(str(root))
    sealed, behind, brought = SealedCommits(), Behind(), Brought()
    for record in repository.dag.reachable([repository.dag.head("main")]):
        commit_id = record["commit_id"]
        behind[commit_id] = parents(record)
        commit_found = sealed.add(record)
        brought[commit_id] = op_ids_of(repository.objects, commit_found.seal) if commit_found else []
    entries: dict[str, Any] = {each["op_id"]: each for each in log_of(root)}
    shown = {}
    for commit_id in behind:
        names = {commit_id, *before(behind, commit_id)}
        own = [entries[op_id] for op_id in {op_id for name in names for op_id in brought[name]}]
        order = by_rule(own, brought, {name: behind[name] for name in names})
        ops = [entries[op_id]["domain_op"] for op_id in order]
        made = MusicPlugin().apply({}, ops, repository.objects.get).files
        shown[commit_id] = velocities_in({path: data for path, data in made.items() if data is not None})
    return shown


@pytest.mark.parametrize("seed", range(8))
def test_replicas_that_commit_at_any_points_and_meet_show_what_the_rule_says(
    two: tuple[Path, Path], seed: int
) -> None:
    chance = random.Random(seed)
    for number in range(14):
        own, other = chance.sample(two, 2)
        stamp = chance.choice([0, 0, chance.randint(1, 12)])
        play(own, chance.choice(["ada", "bob"]), chance.choice("nm"), 1 + number, stamp)
        match chance.choice(["commit", "sync", "pull", "go on"]):
            case "commit":
                commit(own)
            case "sync":
                sync(own, other)
            case "pull":
                pull_from(own, other)
    for root in two:
        commit(root)
    for own, other in (two, two[::-1]):
        sync(own, other)
        pull_from(own, other)
    assert velocities(two[0]) == velocities(two[1])
    for root in two:
        shown = shown_by_rule(root)
        assert {name: velocities(root, name) for name in shown} == shown
        assert replay_commits(Repository.open(str(root))).findings == []
