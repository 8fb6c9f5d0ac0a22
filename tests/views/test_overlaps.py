"""`muse session conflicts`: the overlaps of a session, committed and pending, by both their authors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from muse.domain import Application, Overlap
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_note, insert_note, mutate_note
from muse.plugins.music.plugin import MusicPlugin
from muse.session.live import LiveSession
from muse.views import overlaps
from muse.views.overlaps import session_overlaps
from tests.samples.muse_command import Muse, make_muse, run_muse
from tests.samples.project import DATA

C4 = Note(60, 64, 0, 480)
MUSIC = DATA / "music"


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00", domain="music", any_domain=True)
    return make_muse(monkeypatch, capsys, tmp_path)


def louder(velocity: int) -> Any:
    return mutate_note("a.mid", "x", C4, velocity=velocity)


def edit(root: Path, *edits: tuple[str, Any]) -> list[str]:
    with LiveSession(root, "jam") as session:
        return [session.edit(actor, "music", op)["op_id"] for actor, op in edits]


def test_each_overlap_names_both_authors_both_ops_and_their_commits(muse: Muse, tmp_path: Path) -> None:
    [_, first] = edit(tmp_path, ("eve", insert_note("a.mid", "x", C4)), ("ada", louder(70)))
    commit_id = muse("commit", "jam", "-m", "One", "--json").record["commit_ids"][0]
    [second] = edit(tmp_path, ("bob", louder(90)))
    record = muse("session", "conflicts", "jam", "--json").record
    assert (record["address"], record["domain"], record["both_stand"]) == ("a.mid/note/x", "music", False)
    kept, overwritten = record["kept"], record["overwritten"]
    assert (kept["actor_id"], kept["op_id"], kept["commit_id"]) == ("bob", second, None)
    assert (overwritten["actor_id"], overwritten["op_id"], overwritten["commit_id"]) == (
        "ada",
        first,
        commit_id,
    )
    title, headings, row = muse("session", "conflicts", "jam").out.splitlines()
    assert title == "1 overlap in session jam"
    assert headings.split() == ["WHEN", "ADDRESS", "STANDS", "IN", "OVERWRITTEN", "IN", "WHY"]
    assert row.split()[1:] == [
        *("a.mid/note/x", "bob", second[:8], "pending", "ada", first[:8], commit_id[:12]),
        *["both", "wrote", "velocity", "90", "over", "70"],
    ]


def test_without_overlaps_there_is_a_line_for_people_and_none_for_machines(
    muse: Muse, tmp_path: Path
) -> None:
    edit(tmp_path, ("eve", insert_note("a.mid", "x", C4)), ("ada", louder(70)))
    ran = muse("session", "conflicts", "jam")
    assert (ran.status, ran.out) == (0, "No edits of session jam came in each other's way.\n")
    assert muse("session", "conflicts", "jam", "--json").out == ""
    assert muse("session", "conflicts", "nobody").status == 2


def test_the_session_is_looked_at_from_the_commit_before_it(muse: Muse, tmp_path: Path) -> None:
    with LiveSession(tmp_path, "before") as session:
        session.edit("eve", "music", insert_note("a.mid", "x", C4))
        session.commit("Before")
    edit(tmp_path, ("ada", louder(70)), ("bob", delete_note("a.mid", "x", C4)), ("eve", louder(1)))
    for _ in range(2):
        found = session_overlaps(Repository.open(str(tmp_path)), "jam")
        assert [(overlap.kept["actor_id"], overlap.overwritten["actor_id"]) for overlap in found] == [
            ("bob", "ada"),
            ("bob", "eve"),
        ]
        assert muse("commit", "jam", "-m", "Some", "--allow-ineffective").status == 0


class Domain:
    """A domain where every two ops are in each other's way."""

    def apply(self, files: Mapping[str, bytes], ops: Sequence[Any], fetch: Any) -> Application:
        del files, ops, fetch
        return Application({})

    def overlaps(self, files: Any, entries: Sequence[Any], fetch: Any, state: Any) -> list[Overlap]:
        del files, fetch, state
        return [
            Overlap("all", "a reason", place, place + 1, both_stand=True) for place in range(len(entries) - 1)
        ]


def test_every_domain_that_finds_overlaps_is_asked_about_its_own_ops(
    muse: Muse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = {"music": MusicPlugin(), "wood": Domain(), "mute": None}
    monkeypatch.setattr(overlaps, "find_plugin", plugins.__getitem__)
    with LiveSession(tmp_path, "jam") as session:
        for domain in ("wood", "mute", "wood"):
            session.edit("ada", domain, {"op": "insert", "address": domain})
    [found] = session_overlaps(Repository.open(str(tmp_path)), "jam")
    assert (found.domain, found.kept["lamport_ts"], found.overwritten["lamport_ts"]) == ("wood", 1, 3)
    assert "both stand: ada" in muse("session", "conflicts", "jam").out


def test_players_who_revise_one_another_in_turn_are_in_nobodys_way(tmp_path: Path) -> None:
    """The demo: four agents write, and a reviser goes over their notes after them."""
    assert run_muse("demo", "--rate", "1000", cwd=tmp_path).status == 0
    ran = run_muse("session", "conflicts", "prelude", "--json", cwd=tmp_path / "muse-demo")
    assert (ran.status, ran.out) == (0, "")


@pytest.mark.skipif(not MUSIC.is_dir(), reason="there is no shared/data/music beside this checkout")
@pytest.mark.parametrize("name", ["ave_maria", "die_forelle", "gute_nacht"])
def test_a_piece_replayed_by_its_tracks_has_no_overlaps(name: str, tmp_path: Path) -> None:
    assert run_muse("init", ".", cwd=tmp_path).status == 0
    assert run_muse("replay", str(MUSIC / f"{name}.mid"), "--rate", "max", cwd=tmp_path).status == 0
    ran = run_muse("session", "conflicts", name, "--json", cwd=tmp_path)
    assert (ran.status, ran.out) == (0, "")
