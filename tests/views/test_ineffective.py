"""The ops without effect: by what is known of the commits, and the same as by making each commit again."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muse.apply import known_effects
from muse.apply.domains import apply_entries, fetch_at, read_state, stated_rules, without_effect
from muse.apply.known_effects import KnownEffects
from muse.core.entry import OpEntry, total_order
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import ConflictError, CorruptionError
from muse.history.repository import Repository, TreeFiles
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_note, insert_note, mutate_note
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session
from muse.upkeep.garbage import collect_garbage
from muse.views import ineffective
from muse.views.as_of import read_session
from muse.views.ineffective import IneffectiveOp, ineffective_ops
from tests.samples.replicas import make_replica

SESSION = "jam"
C4 = Note(60, 64, 0, 480)
LOST = {"op": "delete", "address": "none.txt", "position": None}


def by_making_all_again(repository: Repository, *, salvage: bool = False) -> list[IneffectiveOp]:
    """Make every commit again, of all entries in memory."""
    session = read_session(repository, SESSION, salvage=salvage)
    found: list[IneffectiveOp] = []

    def add(entries: list[OpEntry], at: str | None, commit_id: str) -> None:
        for domain in sorted({entry["domain"] for entry in entries}):
            own = [entry for entry in entries if entry["domain"] == domain]
            files = TreeFiles(repository, repository.read_tree(at))
            fetch = fetch_at(repository, commit_id, domain) if commit_id else repository.objects.get
            message = repository.dag.read_commit(commit_id)["message"] if commit_id else ""
            rules = stated_rules(message) if commit_id else None
            outcome = apply_entries(
                domain, own, files, fetch, read_state(repository, at, domain), rules=rules
            )
            ignored = without_effect(domain, own, outcome, any_domain=repository.any_domain)
            found.extend(IneffectiveOp(own[one.index], one.address, one.reason, commit_id) for one in ignored)

    for commit in session.commits:
        add(list(commit.entries), commit.before, commit.commit_id)
    add(list(session.pending), session.head, "")
    return sorted(found, key=lambda one: total_order(one.entry))


def cache_of(root: Path) -> Path:
    return Path(layout.known_effects_file(str(root), SESSION))


def play(root: Path, seed: int, edits: int = 40) -> None:
    """Edit texts and notes, some in vain, commit now and then, and move between two branches."""
    chance = random.Random(seed)
    notes = [f"n{number}" for number in range(4)]
    branches = ["main", "other"]
    for number in range(edits):
        actor, name = chance.choice(("ada", "bob")), chance.choice(notes)
        text = f"{chance.choice('ab')}.txt"
        op: Any
        op = chance.choice(
            (
                {"op": "insert", "address": text, "position": None, "text": "one\n"},
                {"op": "insert", "address": text, "position": chance.randrange(9), "text": "x"},
                {"op": "delete", "address": text, "position": None},
                insert_note("a.mid", name, C4),
                delete_note("a.mid", name, C4),
                mutate_note("a.mid", name, C4, velocity=chance.randrange(1, 127)),
                {"op": "x", "address": "anything"},
            )
        )
        domain = "music" if ".mid" in str(op["address"]) else "code" if op["op"] != "x" else "unknown"
        with LiveSession(root, SESSION, branch=branches[0]) as live:
            live.edit(actor, domain, op)
            if chance.random() < 0.2:
                live.commit(f"Number {number}")
        if number == edits // 2 and seed % 2:
            dag = Repository.open(str(root)).dag
            if (head := dag.head("main")) is not None:
                dag.create_branch("other", head)
                branches.reverse()


@pytest.fixture
def played(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    Repository.init(str(tmp_path / "it"), any_domain=True)
    play(tmp_path / "it", getattr(request, "param", 0))
    return tmp_path / "it"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the domain of everything that is applied from now on."""
    applied: list[str] = []

    def noting(domain: str, *rest: Any, **more: Any) -> Any:
        applied.append(domain)
        return apply_entries(domain, *rest, **more)

    monkeypatch.setattr(ineffective, "apply_entries", noting)
    return applied


def each_second_line_damaged(data: bytes) -> bytes:
    lines = data.split(b"\n")
    return b"\n".join(line[:-1] if number % 4 == 1 else line for number, line in enumerate(lines))


def torn(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


WHAT_IS_KEPT = {"as it is": bytes, "damaged": each_second_line_damaged, "torn": torn, "absent": None}


@pytest.mark.parametrize("played", range(3), indirect=True)
@pytest.mark.parametrize("change", WHAT_IS_KEPT.values(), ids=WHAT_IS_KEPT)
def test_what_is_known_and_what_is_made_again_is_the_same(
    played: Path, change: Callable[[bytes], bytes] | None
) -> None:
    repository = Repository.open(str(played))
    expected = by_making_all_again(repository)
    assert len(expected) > 3
    if change is None:
        cache_of(played).unlink()
    else:
        cache_of(played).write_bytes(change(cache_of(played).read_bytes()))
    for _ in range(2):
        assert ineffective_ops(repository, SESSION) == expected
    archive_session(str(played), SESSION, abandon_pending=True)
    assert ineffective_ops(repository, SESSION) == expected


@pytest.mark.parametrize("played", range(2), indirect=True)
def test_where_the_log_lacks_ops_the_rest_is_made_again(played: Path) -> None:
    log = Path(layout.ops_file(str(played), SESSION))
    lines = log.read_bytes().splitlines(keepends=True)
    repository = Repository.open(str(played))
    for gone in (slice(5, 6), slice(20, 40), slice(0, 1), slice(30, None)):
        left = lines.copy()
        del left[gone]
        log.write_bytes(b"".join(left))
        expected = by_making_all_again(repository)
        assert ineffective_ops(repository, SESSION) == expected
        assert ineffective_ops(repository, SESSION) == expected
    log.write_bytes(b"".join(lines))
    assert ineffective_ops(repository, SESSION) == by_making_all_again(repository)


def test_damage_and_repeated_lines_are_treated_as_before(played: Path) -> None:
    log = Path(layout.ops_file(str(played), SESSION))
    whole = log.read_bytes()
    repository, lines = Repository.open(str(played)), whole.splitlines(keepends=True)
    expected = by_making_all_again(repository)
    for again in (lines[0], lines[-1], lines[3] * 2, b"".join(lines[10:20])):
        log.write_bytes(whole + again)
        assert ineffective_ops(repository, SESSION) == expected
    log.write_bytes(whole.replace(b'"actor_id"', b'"actor_ID"', 1))
    with pytest.raises(CorruptionError):
        ineffective_ops(repository, SESSION)
    assert ineffective_ops(repository, SESSION, salvage=True) == by_making_all_again(repository, salvage=True)


@pytest.mark.parametrize("place", [0, -1])
def test_two_bodies_of_an_op_are_refused(played: Path, place: int) -> None:
    with OpLog(played, SESSION) as log:
        entries = log.read_all()
    other = {**entries[place], "domain_op": {"op": "other", "address": ""}}
    with OpLog(played, "else") as log:
        log.append(other)  # type: ignore[arg-type]
    path = Path(layout.ops_file(str(played), SESSION))
    whole = path.read_bytes()
    path.write_bytes(whole + Path(layout.ops_file(str(played), "else")).read_bytes())
    repository = Repository.open(str(played))
    with pytest.raises(ConflictError):
        ineffective_ops(repository, SESSION)
    assert ineffective_ops(repository, SESSION, salvage=True) == by_making_all_again(repository, salvage=True)


def test_a_commit_that_is_known_is_not_made_again(played: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LiveSession(played, SESSION) as live:
        live.commit("The rest")
    repository, applied = Repository.open(str(played)), counted(monkeypatch)
    ineffective_ops(repository, SESSION)
    assert set(applied) == {"unknown"}  # what no plugin knows depends on what is installed
    copy = make_replica(played, played.parent / "copy")
    del applied[:]
    ineffective_ops(Repository.open(str(copy)), SESSION)
    assert {"code", "music"} < set(applied)
    del applied[:]
    ineffective_ops(Repository.open(str(copy)), SESSION)
    assert set(applied) == {"unknown"}


def test_what_another_version_of_a_plugin_found_is_made_again(
    played: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository.open(str(played))
    monkeypatch.setattr(known_effects, "plugin_version", lambda domain: f"{domain} 2")
    applied = counted(monkeypatch)
    expected = ineffective_ops(repository, SESSION)
    assert {"code", "music"} < set(applied)
    del applied[:]
    assert ineffective_ops(repository, SESSION) == expected


def test_where_nothing_can_be_kept_it_is_told_all_the_same(played: Path) -> None:
    cache_of(played).unlink()
    cache_of(played).mkdir()  # so it can be neither read nor written
    repository = Repository.open(str(played))
    assert ineffective_ops(repository, SESSION) == by_making_all_again(repository)
    with LiveSession(played, SESSION) as live:
        live.edit("ada", "code", LOST)
        assert live.commit("In vain").ignored[-1].reason


def test_garbage_collection_forgets_commits_that_are_gone(played: Path) -> None:
    with LiveSession(played, SESSION) as live:
        live.commit("The rest")
    whole = cache_of(played).read_bytes()
    collect_garbage(str(played), grace_seconds=0)
    assert cache_of(played).read_bytes() == whole
    known = KnownEffects(str(played), SESSION)
    known.keep([("0" * 64, "code", [])])
    more = cache_of(played).read_bytes()
    collect_garbage(str(played), grace_seconds=0, dry_run=True)
    assert cache_of(played).read_bytes() == more
    collect_garbage(str(played), grace_seconds=0)
    left = cache_of(played).read_bytes()
    assert len(more) > len(whole)
    assert sorted(filter(None, left.split(b"\n"))) == sorted(filter(None, whole.split(b"\n")))
    cache_of(played).write_bytes(b"\n")
    known.keep([("0" * 64, "code", [])])
    collect_garbage(str(played), grace_seconds=0)
    assert not cache_of(played).exists()


def test_an_op_that_two_lines_of_history_have_is_told_of_once(played: Path) -> None:
    copy = played.parent / "copy"
    with OpLog(played, SESSION) as log:
        log.record("ada", "code", LOST)
    shutil.copytree(played, copy)
    heads = []
    for root in (played, copy):
        with OpLog(root, SESSION) as log:
            if root == copy:
                log.record("bob", "code", LOST)
        with LiveSession(root, SESSION) as live:
            heads.append(live.commit(f"In {root.name}").commit_id or "")
    shutil.copytree(copy, played, dirs_exist_ok=True, ignore=shutil.ignore_patterns("refs", "*.lock"))
    repository = Repository.open(str(played))
    repository.dag.create_branch("other", heads[1])
    for _ in range(2):
        found = ineffective_ops(repository, SESSION)
        assert found == by_making_all_again(repository)
    told = [one.commit_id for one in found if one.entry["domain_op"] == LOST]
    assert set(told[-2:]) == set(heads)
