"""The delta of a commit is the net of its ops; the log and the seal keep them all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from muse.apply.net import net_delta, summarize_changes
from muse.domain import Application
from muse.errors import CorruptionError
from muse.history.repository import Repository
from muse.history.seal import read_seal
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_note, insert_note, move_note, mutate_note, rename_file
from muse.plugins.music.plugin import MusicPlugin
from muse.session.live import LiveSession

C4 = Note(60, 64, 0, 480)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00")
    with LiveSession(tmp_path, "jam") as session:
        session.edit("ada", "music", insert_note("a.mid", "x", C4))
        session.commit("First")
    return tmp_path


def committed(root: Path, *ops: Any, full: bool = False) -> tuple[Any, str]:
    """Commit ops; return the delta stored, and the snapshot's id."""
    with LiveSession(root, "jam") as session:
        for op in ops:
            session.edit("ada", "music", op)
        outcome = session.commit("More", full=full)
        record = session.repository.dag.read_commit(outcome.commit_id or "")
    seal = read_seal(record["message"])
    assert seal is not None
    assert seal.op_count == outcome.op_count == len(ops)
    return record["structured_delta"], record["snapshot_id"]


def test_a_commit_stores_the_net_of_its_ops_and_seals_them_all(root: Path) -> None:
    moves = [move_note("a.mid", "y", C4, tick) for tick in range(10)]
    delta, _ = committed(root, insert_note("a.mid", "y", C4), *moves)
    assert delta["summary"] == "1 insert"
    [patch] = delta["ops"]
    assert [child["op"] for child in patch["child_ops"]] == ["insert"]


def test_a_full_commit_stores_every_op_in_order(root: Path) -> None:
    ops = [mutate_note("a.mid", "x", C4, velocity=velocity) for velocity in (70, 80)]
    delta, _ = committed(root, *ops, full=True)
    assert (delta["ops"], delta["summary"]) == (ops, "2 patch")


def test_net_and_full_give_the_same_snapshot(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    Repository.init(str(other), now="2026-01-02T03:04:05+00:00")
    committed(other, insert_note("a.mid", "x", C4))
    ops = [
        mutate_note("a.mid", "x", C4, velocity=70),
        insert_note("a.mid", "y", C4),
        rename_file("a.mid", "b.mid"),
    ]
    assert committed(root, *ops)[1] == committed(other, *ops, full=True)[1]


def test_ops_that_come_to_nothing_get_into_history_all_the_same(root: Path) -> None:
    delta, _ = committed(root, insert_note("a.mid", "y", C4), delete_note("a.mid", "y", C4))
    assert delta == {"domain": "music", "ops": [], "summary": "no ops"}
    with LiveSession(root, "jam") as session:
        assert session.log.replay_since_checkpoint() == []


def test_the_log_s_own_delta_stays_complete(root: Path) -> None:
    with LiveSession(root, "jam") as session:
        session.edit("ada", "music", insert_note("a.mid", "y", C4))
        session.edit("ada", "music", delete_note("a.mid", "y", C4))
        assert session.log.to_structured_delta("music")["summary"] == "2 patch"


class Sloppy(MusicPlugin):
    """Squashes everything to nothing, or fails at it."""

    error: Exception | None = None

    def squash(self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Any) -> list[Any]:
        del files, ops, fetch
        if self.error:
            raise self.error
        return []


@pytest.mark.parametrize("error", [None, ZeroDivisionError(), CorruptionError("broken")])
def test_a_squash_that_is_wrong_or_fails_leaves_every_op(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    plugin = Sloppy()
    plugin.error = error
    monkeypatch.setattr("muse.apply.net.find_plugin", lambda _domain: plugin)
    delta: Any = {"domain": "music", "ops": [insert_note("a.mid", "x", C4)], "summary": "1 patch"}
    outcome = plugin.apply({}, delta["ops"], _no_store)
    if isinstance(error, CorruptionError):
        with pytest.raises(CorruptionError):
            net_delta(delta, {}, outcome, _no_store)
    else:
        assert net_delta(delta, {}, outcome, _no_store) == delta


def _no_store(content_id: str) -> bytes:
    raise AssertionError(content_id)


def test_a_domain_that_cannot_squash_keeps_its_ops() -> None:
    delta: Any = {"domain": "no-such-domain", "ops": [{"op": "insert"}], "summary": "1 insert"}
    assert net_delta(delta, {}, Application({}), _no_store) is delta


def test_a_summary_counts_changes_and_not_the_patches_they_are_in() -> None:
    ops: Any = [
        insert_note("a.mid", "y", C4),
        {**insert_note("b.mid", "y", C4), "from_address": "c.mid"},
        rename_file("a", "b"),
        {"op": "patch", "child_ops": "odd"},
        {"op": "delete"},
    ]
    assert summarize_changes(ops) == "2 insert, 1 delete, 3 patch"
