"""`muse blame`, `muse undo`, `muse commit --full` and `muse session show --at`."""

import re
from pathlib import Path
from typing import Any

import pytest

from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note, notes_of
from muse.plugins.music.notes import insert_note, mutate_note
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from tests.samples.muse_command import Muse, make_muse

C4 = Note(60, 64, 0, 480)


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00", domain="music")
    return make_muse(monkeypatch, capsys, tmp_path)


@pytest.fixture
def op_ids(tmp_path: Path) -> list[str]:
    """The ops of a session: a note, and its louder version."""
    edits: list[tuple[str, Any]] = [
        ("ada", insert_note("a.mid", "x", C4)),
        ("bob", mutate_note("a.mid", "x", C4, velocity=100)),
    ]
    with LiveSession(tmp_path, "jam") as session:
        return [session.edit(actor, "music", op, intent_id="i1")["op_id"] for actor, op in edits]


def test_commit_stores_the_net_unless_all_is_asked_for(muse: Muse, op_ids: list[str], tmp_path: Path) -> None:
    assert "2 ops (music: 1 insert)" in muse("commit", "jam", "-m", "Net").out
    assert "2 ops of domain music: net 1 insert" in muse("show").out
    assert muse("log", "--json").record["op_count"] == len(op_ids)
    with LiveSession(tmp_path, "jam") as session:
        session.edit("ada", "music", mutate_note("a.mid", "x", C4, velocity=1))
        session.edit("ada", "music", mutate_note("a.mid", "x", C4, velocity=2))
    assert muse("commit", "jam", "-m", "All", "--full", "--json").record["summary"] == "music: 2 patch"


def test_blame_names_maker_changer_op_intent_and_commit(muse: Muse, op_ids: list[str]) -> None:
    commit_id = muse("commit", "jam", "-m", "One", "--json").record["commit_ids"][0]
    when = muse("blame", "a.mid", "--json").record["changed"]["when"][:16].replace("T", " ")
    what = "note/x  C4 v100 at 0 for 480 on channel 0, track 0"
    assert muse("blame", "a.mid").out == f"{commit_id[:12]} (ada → bob {when} 1) {what}\n"
    ops = f"{op_ids[1][:8]} i1"
    assert muse("blame", "a.mid", "--ops").out == f"{commit_id[:12]} (ada → bob {when} {ops} 1) {what}\n"
    record = muse("blame", "a.mid", "--rev", commit_id[:8], "--json").record
    assert [record["made"]["op_id"], record["changed"]["op_id"]] == op_ids
    ran = muse("blame", "b.mid")
    assert (ran.status, "has no file" in ran.complaint) == (2, True)


def test_blame_of_pending_work_says_so(muse: Muse, op_ids: list[str], tmp_path: Path) -> None:
    what = "note/x  C4 v100 at 0 for 480 on channel 0, track 0"
    ran = muse("blame", "a.mid", "--session", "jam", "--ops")
    assert re.sub(r"\d{4}-\S+ \d\d:\d\d", "WHEN", ran.out) == (
        f"pending      (ada → bob WHEN {op_ids[1][:8]} i1 1) {what}\n"
    )
    muse("commit", "jam", "-m", "One")
    (tmp_path / "b.txt").write_text("one\n")
    muse("record", "--actor", "ada", "--session", "jam")
    assert muse("blame", "b.txt").out.startswith("pending      (ada ")
    ran = muse("blame", "b.txt", "--rev", "HEAD")
    assert (ran.status, "has no file" in ran.complaint) == (2, True)


def test_show_at_a_point_prints_the_files_and_writes_them(
    muse: Muse, op_ids: list[str], tmp_path: Path
) -> None:
    for arguments, velocity in (
        (("--at", op_ids[0]), 64),
        (("--lamport", "2"), 100),
        (("--time", "9999-01-01"), 100),
    ):
        out = tmp_path / f"then{arguments[0]}"
        text = muse("session", "show", "jam", *arguments, "--out", str(out)).out
        assert text.splitlines()[2].split()[:2] == ["a.mid", "1"]
        [(_, note)] = notes_of((out / "a.mid").read_bytes())
        assert note.velocity == velocity
    record = muse("session", "show", "jam", "--lamport", "0", "--json").record
    assert (record["op_count"], record["files"], record["last_op_id"]) == (0, [], None)


def test_show_overwrites_nothing_and_takes_one_point(muse: Muse, op_ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    ran = muse("session", "show", "jam", "--lamport", "1", "--out", "full")
    assert (ran.status, "nothing is overwritten" in ran.complaint) == (2, True)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    assert muse("session", "show", "jam", "--lamport", "1", "--out", "empty").status == 0
    assert muse("session", "show", "jam", "--lamport", "1", "--at", op_ids[0]).status == 2
    assert muse("session", "show", "jam", "--out", "other").status == 2
    assert muse("session", "show", "jam", "--time", "never").status == 2
    assert muse("session", "show", "jam", "--at", "nothing").status == 2
    assert muse("session", "show", "jam", "--lamport", "-1").status == 2
    assert muse("session", "show", "jam", "--at", op_ids[0][:8], "--json").record["last_op_id"] == op_ids[0]


@pytest.mark.parametrize("out", ["", ".muse/new", ".muse/objects/../new", "link/new"])
def test_show_writes_nothing_into_muse_s_own_places(
    muse: Muse, op_ids: list[str], tmp_path: Path, out: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / ".muse")
    before = sorted(tmp_path.rglob("*"))
    ran = muse("session", "show", "jam", "--at", op_ids[0], "--out", out)
    assert (ran.status, "keeps for itself" in ran.complaint) == (2, True)
    assert sorted(tmp_path.rglob("*")) == before


def test_undo_says_what_it_did_and_what_it_left(muse: Muse, op_ids: list[str]) -> None:
    ran = muse("undo", "jam", "--actor", "ada", "--as", "eve")
    assert ran.status == 1
    assert ran.out.splitlines() == [
        "0 ops undone with 0 new ops",
        (
            f"  left as it is: {op_ids[0]} by ada, a.mid/note/x: the note was changed since "
            f"(by bob, op {op_ids[1]})"
        ),
    ]
    ran = muse("undo", "jam", "--op", op_ids[1][:8], "--as", "eve")
    assert (ran.status, ran.out.splitlines()[0]) == (0, "1 op undone with 1 new op")
    record = muse("undo", "jam", "--intent", ran.out.split()[-1], "--as", "eve", "--json").record
    assert (len(record["op_ids"]), len(record["undone"]), record["left"]) == (1, 1, [])
    ran = muse("undo", "jam", "--op", op_ids[0], "--as", "eve", "--json")
    assert (ran.status, ran.record["left"][0]["because_actor_id"]) == (1, "bob")


def test_what_is_left_for_one_reason_is_one_line(muse: Muse, tmp_path: Path) -> None:
    with LiveSession(tmp_path, "jam") as session:
        for name in "uvwxyz":
            session.edit("ada", "music", insert_note("a.mid", name, C4))
            session.edit("bob", "music", mutate_note("a.mid", name, C4, velocity=100))
    ran = muse("undo", "jam", "--actor", "ada", "--as", "eve")
    assert ran.status == 1
    assert ran.out.splitlines()[1:] == [
        (
            "  left as it is: 6 ops by ada, a.mid/note/u, a.mid/note/v, a.mid/note/w and 3 more: "
            "the note was changed since (by bob, 6 ops)"
        )
    ]


@pytest.fixture
def written(tmp_path: Path) -> list[str]:
    """The ops of a session of text: a file by ada, and what bob put in the midst of it."""
    with LiveSession(tmp_path, "text") as session:
        CodeReplica(session, session.log, "ada").create("n.txt", "one\ntwo\n")
        CodeReplica(session, session.log, "bob").insert("n.txt", 4, "and a half\n")
        return [entry["op_id"] for entry in session.log.read_all()]


def test_undo_of_text_keeps_what_others_wrote_and_names_it(muse: Muse, written: list[str]) -> None:
    ran = muse("undo", "text", "--actor", "ada", "--as", "eve")
    heading, intent, *kept = ran.out.splitlines()
    assert (ran.status, heading) == (0, "1 op undone with 2 new ops")
    assert kept == [
        f"  kept: n.txt: what others wrote in the midst of it stays (by bob, op {written[1]})",
        f"  kept: n.txt: the file stays with what others wrote in it (by bob, op {written[1]})",
    ]
    assert "n.txt" in muse("commit", "text", "-m", "Undone").out
    ran = muse("undo", "text", "--intent", intent.split()[-1], "--as", "eve", "--json")
    assert (ran.status, len(ran.record["undone"]), ran.record["kept"]) == (0, 2, [])
    ran = muse("undo", "--session", "text", "--as", "eve", "--json")
    assert ran.status == 0
    assert "removed n.txt" in muse("commit", "text", "-m", "Nothing").out
    assert muse("verify", "--replay").status == 0


def test_undo_of_what_is_undone_already_is_no_failure(muse: Muse, written: list[str]) -> None:
    assert muse("undo", "text", "--op", written[1][:8], "--as", "eve").status == 0
    ran = muse("undo", "text", "--op", written[1], "--as", "eve")
    assert (ran.status, ran.out.splitlines()[0]) == (0, "0 ops undone with 0 new ops")
    assert "it is undone already (by eve" in ran.out


@pytest.mark.usefixtures("muse", "written")
def test_a_dry_run_of_undo_shows_the_difference_and_appends_nothing(muse: Muse, tmp_path: Path) -> None:
    log = tmp_path / ".muse" / "op_log" / "text" / "ops.jsonl"
    before = log.read_bytes()
    ran = muse("undo", "text", "--actor", "bob", "--as", "eve", "--dry-run")
    heading, *diff = ran.out.splitlines()
    assert (ran.status, heading) == (0, "1 op would be undone with 1 new op")
    assert diff[-4:] == ["@@ -1,3 +1,2 @@", " one", "-and a half", " two"]
    record = muse("undo", "text", "--actor", "bob", "--as", "eve", "--dry-run", "--json").record
    assert [change["path"] for change in record["changes"]] == ["n.txt"]
    assert log.read_bytes() == before


@pytest.mark.usefixtures("muse", "written")
def test_undo_names_the_session_once(muse: Muse) -> None:
    op = b'{"op":"insert","address":"o.txt","position":null,"text":"o"}'
    assert muse("session", "append", "other", "--actor", "ada", "--domain", "code", stdin=op).status == 0
    assert "not clear which session" in muse("undo", "--actor", "ada", "--as", "eve").complaint
    assert muse("undo", "text", "--session", "text", "--as", "eve").status == 2
    assert muse("undo", "--session", "text", "--actor", "ada", "--as", "eve").status == 2


def test_undo_asks_for_one_way_to_name_the_ops(muse: Muse, op_ids: list[str]) -> None:
    assert muse("undo", "jam", "--as", "eve").status == 2
    assert muse("undo", "jam", "--as", "eve", "--actor", "ada", "--op", op_ids[0]).status == 2
    assert muse("undo", "jam", "--as", "eve", "--actor", "nobody").status == 2
    assert muse("undo", "jam", "--as", "", "--actor", "ada").status == 2
    assert muse("undo", "jam", "--as", "eve", "--op", "nothing").status == 2
    assert muse("undo", "jam", "--actor", "ada").status == 2
    assert muse("undo", "no-session", "--actor", "ada", "--as", "eve").status == 2
