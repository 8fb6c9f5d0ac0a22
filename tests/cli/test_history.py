"""`muse log` and its filters, `muse branch`, short ids, and the author of a commit."""

import getpass
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from muse.history.repository import Repository
from muse.history.seal import without_trailers
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession
from tests.samples.muse_command import COMMAND, Muse, make_muse, run_muse

C4 = Note(60, 64, 0, 480)


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00", domain="music")
    return make_muse(monkeypatch, capsys, tmp_path)


def commit(
    root: Path, path: str, name: str, *, actor: str = "ada", intent: str = "", session: str = "jam-1"
) -> tuple[str, str]:
    """Commit one note; return the commit and the op."""
    with LiveSession(root, session, author="Ada") as live:
        op = live.edit(actor, "music", insert_note(path, name, C4), intent_id=intent)
        return live.commit(f"{name} in {path}\n\nMore words.").commit_ids[-1], op["op_id"]


@pytest.fixture
def history(muse: Muse, tmp_path: Path) -> list[str]:
    """Three commits, the oldest first: two sessions, two actors, an intent, two files."""
    assert muse("log").out == "No commits yet.\n"
    return [
        commit(tmp_path, "a.mid", "one", intent="theme")[0],
        commit(tmp_path, "d/b.mid", "two", actor="bob")[0],
        commit(tmp_path, "a.mid", "three", actor="bob", intent="theme", session="night-2")[0],
    ]


# -- the log ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [(), ("--json",), ("--patch",)])
def test_a_path_that_no_commit_has_had_is_named(
    muse: Muse, history: list[str], form: tuple[str, ...]
) -> None:
    refused = muse("log", "--path", "nothing", *form)
    assert refused.status == 2
    if not form:
        assert refused.complaint == "no commit here has had a file or directory 'nothing': see 'muse log -p'"
    assert len(muse("log", "--path", "nothing", "--path", "d", "--json").records) == 1
    assert history


def test_a_path_is_that_of_the_directory_where_one_is(muse: Muse, history: list[str], tmp_path: Path) -> None:
    inner = tmp_path / "d"
    assert [one["commit_id"] for one in muse("log", "--json", "--path", "d/b.mid").records] == [history[1]]
    for arguments in (
        ("log", "--json", "--path", "b.mid"),
        ("blame", "--json", "b.mid"),
        ("diff", "--json", "--commit", "HEAD~2", "HEAD", "b.mid"),
        ("diff", "--json", "--commit", "HEAD~2..HEAD", "b.mid"),
        ("diff", "--json", "--commit", "HEAD~2", "b.mid"),
    ):
        done = run_muse(*arguments, cwd=inner)
        assert (done.status, len(done.records)) == (0, 1), arguments
    for command in (["log", "--path"], ["blame"]):
        assert run_muse(*command, "../a.mid", cwd=inner).status == 0
        assert "is outside of" in run_muse(*command, "../../x", cwd=inner).complaint


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        ((), [2, 1, 0]),
        (("--path", "a.mid"), [2, 0]),
        (("--path", "./d/"), [1]),
        (("--path", "d", "--path", "a.mid"), [2, 1, 0]),
        (("--path", "a.mid", "--actor", "nobody"), []),
        (("--actor", "bob"), [2, 1]),
        (("--actor", "nobody"), []),
        (("--actor", "Ada"), []),
        (("--intent", "theme"), [2, 0]),
        (("--intent", "theme", "--actor", "bob"), [2]),
        (("--session", "jam-1"), [1, 0]),
        (("--session", "nigh"), [2]),
        (("--session", "elsewhere"), []),
        (("--since", "1h"), [2, 1, 0]),
        (("--since", "2 days ago", "-n", "1"), [2]),
        (("--since", "2999-01-01"), []),
        (("--actor", "bob", "-n", "1", "HEAD~1"), [1]),
    ],
)
def test_the_log_is_filtered(
    muse: Muse, history: list[str], arguments: tuple[str, ...], places: list[int]
) -> None:
    found = [record["commit_id"] for record in muse("log", "--json", *arguments).records]
    assert found == [history[place] for place in places]
    if not places:
        assert muse("log", *arguments).out == "No commit is as asked for.\n"


@pytest.mark.usefixtures("history")
def test_since_names_a_moment(muse: Muse) -> None:
    times = [datetime.fromisoformat(record["committed_at"]) for record in muse("log", "--json").records]
    youngest = times[0].astimezone(UTC)
    assert len(muse("log", "--json", "--since", youngest.isoformat()).records) >= 1
    after = (youngest + timedelta(milliseconds=1)).replace(tzinfo=None).isoformat()
    assert muse("log", "--json", "--since", after).out == ""
    for text in ("yesterday", "3 moons", "", "9999999 days"):
        ran = muse("log", "--since", text)
        assert (ran.status, "is not a time" in ran.complaint) == (2, True)


def test_where_a_log_is_lost_the_author_is_the_actor(muse: Muse, history: list[str], tmp_path: Path) -> None:
    (tmp_path / ".muse" / "op_log" / "night-2" / "ops.jsonl").unlink()
    assert [record["commit_id"] for record in muse("log", "--json", "--actor", "Ada").records] == history[2:]
    assert muse("log", "--json", "--intent", "theme").record["commit_id"] == history[0]


def test_trailers_are_folded_unless_all_is_asked_for(muse: Muse, history: list[str]) -> None:
    shown = muse("log", "-p", "-n", "1").out
    assert shown.startswith(f"Commit    {history[2]}\nParent    {history[1]}\n")
    assert "Sealed    1 op of session night-2\n\n    three in a.mid\n\n    More words.\n\ndiff --git" in shown
    assert "Muse-Session" not in shown
    assert shown.endswith("  TRACK\n+    1  1     C4    1             64      0\n")
    assert "Muse-Session: night-2" in muse("log", "--full").out
    assert "diff --git" not in muse("log", "--full").out
    assert "Muse-Root" not in muse("show").out
    assert "    Muse-Root: " in muse("show", "--full").out


def test_a_message_without_trailers_is_shown_as_it_is() -> None:
    for message in ("One line", "A\n\nB: c\n", "Muse-like: no\n\nlast words", ""):
        assert without_trailers(message) == message
    assert without_trailers("A\n\nB\n\nMuse-Session: x\nMuse-Cut: 1\n") == "A\n\nB"


# -- names ------------------------------------------------------------------------------------------


def test_a_commit_is_named_by_steps_in_every_command(muse: Muse, history: list[str], tmp_path: Path) -> None:
    assert f"Commit    {history[1]}" in muse("show", "HEAD~1").out
    assert muse("log", "main~1", "-n", "1", "--json").record["commit_id"] == history[1]
    assert muse("blame", "a.mid", "--rev", "HEAD^", "--json").record["made"]["commit_id"] == history[0]
    assert muse("checkout", "HEAD~2", "--json").record["commit_id"] == history[0]
    assert not (tmp_path / "d").exists()
    ran = muse("show", "HEAD~3")
    assert (ran.status, ran.complaint) == (
        2,
        f"'HEAD~3' names no commit: {history[0][:12]}, 2 steps back, has no parent: it is the first",
    )


@pytest.mark.usefixtures("history")
def test_an_op_and_a_session_are_named_by_how_they_begin(muse: Muse, tmp_path: Path) -> None:
    _, op_id = commit(tmp_path, "a.mid", "four")
    assert muse("prove", op_id[:8]).out == muse("prove", op_id).out
    assert muse("session", "show", "jam-", "--json").record["session_id"] == "jam-1"
    assert muse("session", "tail", "jam-", "-n", "1", "--json").record["op_id"] == op_id
    assert muse("undo", "jam-", "--op", op_id[:6], "--as", "ada", "--json").record["undone"] == [op_id]
    assert muse("commit", "jam-", "-m", "Undo", "--json").record["op_count"] == 1
    commit(tmp_path, "a.mid", "five", session="jam-2")
    ran = muse("session", "show", "jam-")
    assert (ran.status, ran.complaint) == (2, "'jam-' names 2 sessions: jam-1, jam-2; give more digits")
    for name in ("jam", "jam-3", ""):
        assert muse("session", "show", name).status == 2
    ran = muse("prove", "abc")
    assert (ran.status, "is not an op id" in ran.complaint) == (2, True)
    assert "there is no op" in muse("prove", "00000000-0000").complaint


def test_a_beginning_of_several_ops_lists_them(muse: Muse, tmp_path: Path) -> None:
    with LiveSession(tmp_path, "jam") as live:
        entries = [live.edit("ada", "music", insert_note("a.mid", f"n{n}", C4)) for n in range(2)]
    path = tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl"
    text = path.read_text()
    ids = [f"feedbeef-{place:04x}-4000-8000-000000000000" for place in range(2)]
    lines = []
    for line, entry, op_id in zip(text.splitlines(), entries, ids, strict=True):
        lines.append(line.replace(entry["op_id"], op_id).rpartition(',"crc"')[0] + "}")
    path.write_text("\n".join(lines) + "\n")
    ran = muse("prove", "feed")
    assert ran.status == 2
    assert f"'feed' names 2 ops: {ids[0][:16]}, {ids[1][:16]}; give more digits" in ran.complaint
    ran = muse("undo", "jam", "--op", "feed", "--as", "ada")
    assert f"{ids[0]}, {ids[1]}; give more digits" in ran.complaint


# -- branches ---------------------------------------------------------------------------------------


def test_branches_are_made_listed_switched_to_and_deleted(
    muse: Muse, history: list[str], tmp_path: Path
) -> None:
    assert (
        muse("branch", "create", "take/2", "HEAD~2").out == f"Branch take/2 is at commit {history[0][:12]}.\n"
    )
    assert muse("branch", "create", "same", "--json").record == {"branch": "same", "commit_id": history[2]}
    rows = muse("branch", "list").out.splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [
        ["*", "main"],
        ["same", history[2][:12]],
        ["take/2", history[0][:12]],
    ]
    assert rows[3].endswith("  one in a.mid")
    assert muse("branch", "switch", "take/2", "--json").record["branch"] == "take/2"
    assert not (tmp_path / "d" / "b.mid").exists()
    assert [record["is_current"] for record in muse("branch", "list", "--json").records] == [
        False,
        False,
        True,
    ]
    assert (
        muse("branch", "delete", "same").out
        == f"Branch same is deleted; it was at commit {history[2][:12]}.\n"
    )
    assert muse("checkout", "main").status == 0
    assert muse("branch", "delete", "take/2", "--json").record["lost"] == 0
    assert [record["branch"] for record in muse("branch", "list", "--json").records] == ["main"]


def test_the_only_name_of_commits_is_deleted_by_force_alone(muse: Muse, history: list[str]) -> None:
    muse("branch", "create", "old", "HEAD~1")
    muse("branch", "switch", "old")
    ran = muse("branch", "delete", "main")
    assert ran.status == 2
    assert "has 1 commit that no other branch has" in ran.complaint
    assert muse("branch", "list", "--json").records[0]["branch"] == "main"
    assert muse("branch", "delete", "main", "--force", "--json").record == {
        "branch": "main",
        "commit_id": history[2],
        "lost": 1,
    }
    assert muse("branch", "create", "main", history[2][:8]).status == 0  # it is stored until it is collected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("create", "main"), "exists already"),
        (("create", "a..b"), "is not allowed"),
        (("create", "main/2"), "'main' is a branch"),
        (("create", "new", "nobody"), "names no commit or branch"),
        (("switch", "nobody"), "there is no branch 'nobody'"),
        (("switch", "HEAD~1"), "there is no branch 'HEAD~1'"),
        (("delete", "nobody"), "there is no branch 'nobody'"),
        (("delete", "../../HEAD"), "there is no branch"),
        (("delete", "main", "--force"), "is the one that HEAD names"),
        (("delete", "main"), "is the one that HEAD names"),
    ],
)
def test_a_branch_that_cannot_be_is_misuse(
    muse: Muse, history: list[str], arguments: tuple[str, ...], reason: str
) -> None:
    assert history
    ran = muse("branch", *arguments)
    assert ran.status == 2
    assert reason in ran.complaint
    assert len(muse("branch", "list", "--json").records) == 1


def test_a_branch_begins_at_a_commit(muse: Muse) -> None:
    ran = muse("branch", "create", "new")
    assert (ran.status, "has no commit yet" in ran.complaint) == (2, True)
    assert muse("branch", "list").out.splitlines()[1].split() == ["*", "main", "no", "commit"]


# -- the author -------------------------------------------------------------------------------------


def author(root: Path, *arguments: str, **environment: str) -> str:
    """Commit a note in a process of its own, with this environment; return the author of the commit."""
    with LiveSession(root, "jam") as live:
        live.edit("ada", "music", insert_note("a.mid", os.urandom(4).hex(), C4))
    home = {"HOME": str(root / "home"), "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    subprocess.run(
        [*COMMAND, "commit", "jam", "-m", "x", *arguments],
        cwd=root,
        env={**home, **environment},
        check=True,
        capture_output=True,
    )
    dag = Repository.open(str(root)).dag
    return dag.read_commit(dag.resolve("HEAD"))["author"]


def test_the_author_is_the_person_unless_named(muse: Muse, tmp_path: Path) -> None:
    config = tmp_path / "home" / ".gitconfig"
    config.parent.mkdir()
    config.write_text("[user]\n\tname = Clara Wieck\n")
    assert author(tmp_path, "--author", "Anna", MUSE_AUTHOR="Béla") == "Anna"
    assert author(tmp_path, MUSE_AUTHOR="Béla") == "Béla"
    assert author(tmp_path) == author(tmp_path, "--author", " ") == "Clara Wieck"
    config.unlink()
    assert author(tmp_path, LOGNAME="clara") == "clara"
    assert author(tmp_path, PATH=str(tmp_path), USER="robert") == "robert"  # no git here
    assert author(tmp_path) == getpass.getuser()
    assert "-" not in [record["author"] for record in muse("log", "--json").records]


# -- times and numbers ------------------------------------------------------------------------------


def test_times_of_commits_are_shown_in_utc_wherever_they_were_made(muse: Muse, tmp_path: Path) -> None:
    with LiveSession(tmp_path, "jam-1", author="Ada") as live:
        live.edit("ada", "code", {"op": "insert", "address": "a.txt", "position": None, "text": "one\n"})
        live.commit("In Tokyo", at="2020-01-02T03:04:05+09:00")
    assert "2020-01-01 18:04:05" in muse("log").out
    assert "2020-01-01 18:04:05" in muse("branch", "list").out


def test_a_log_may_be_asked_for_more_commits_than_any_machine_counts(muse: Muse, tmp_path: Path) -> None:
    commit(tmp_path, "a.mid", "one")
    assert muse("log", "-n", str(10**20)).out == muse("log").out
