"""Replaying what people wrote: editing traces, git histories and texts come out exactly as they were."""

import gzip
import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from muse.cli.replay.git_history import read_git_history
from muse.cli.replay.trace import read_trace
from muse.core.op_log import OpLog, list_sessions
from muse.history.commit_record import executable_paths
from muse.history.repository import Repository
from muse.plugins.code.ops import is_path
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.blame import blame_file
from tests.samples.editing_traces import concurrent, trace
from tests.samples.muse_command import Muse, Ran, make_muse, run_muse
from tests.samples.project import DATA
from tests.samples.replaying import replayed
from tests.samples.trees import committed_files

TRACES = DATA / "traces"
IDENTITY = {f"GIT_{role}_{part}": "" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    """Run `muse` in an empty directory."""
    return make_muse(monkeypatch, capsys, tmp_path)


def finished(ran: Ran) -> dict[str, Any]:
    assert (ran.status, ran.err) == (0, "")
    return ran.records[-1]


def tree_of(root: Path) -> dict[str, bytes]:
    """Return the files that the branch's head holds."""
    return committed_files(Repository.open(str(root)))


# -- traces --------------------------------------------------------------------------------------


def real_trace(name: str) -> bytes:
    path = TRACES / f"{name}.json.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path.read_bytes()


@pytest.mark.parametrize(("name", "actors"), [("friendsforever", 2), ("sveltecomponent", 1)])
def test_a_real_trace_comes_out_as_its_people_left_it(tmp_path: Path, name: str, actors: int) -> None:
    data = real_trace(name)
    (tmp_path / "trace.json.gz").write_bytes(data)
    ran = run_muse("replay", "trace.json.gz", "--rate", "max", "--json", cwd=tmp_path, timeout_seconds=300)
    last = finished(ran)
    assert last["file"]["exact"] is True
    assert len(last["actors"]) == actors
    assert last["acknowledged"] == last["logged"] >= len(json.loads(gzip.decompress(data))["txns"])
    wanted = json.loads(gzip.decompress(data))["endContent"].encode()
    assert tree_of(tmp_path / "muse-replay") == {"trace.txt": wanted}
    assert (tmp_path / "muse-replay" / "trace.txt").read_bytes() == wanted


def test_two_at_once_with_a_start_come_together(muse: Muse, tmp_path: Path) -> None:
    data = concurrent(
        ([], 0, [[0, 0, "one\ntwo\n"]]),
        ([0], 0, [[3, 0, " ÄÖ 🎵"]]),
        ([0], 1, [[7, 0, " 2"], [4, 1, "T"]]),
        ([1, 2], 1, [[0, 3, ""], [0, 0, "𝄞"]]),
        end="𝄞 ÄÖ 🎵\nTwo 2\n",
    )
    (tmp_path / "both.json").write_bytes(data)
    last = finished(muse("replay", "both.json", "--rate", "max", "--json"))
    assert [actor["actor"] for actor in last["actors"]] == ["agent-1", "agent-2"]
    assert tree_of(tmp_path / "muse-replay") == {"both.txt": "𝄞 ÄÖ 🎵\nTwo 2\n".encode()}


def test_of_insertions_at_one_place_at_once_the_first_agents_comes_first(tmp_path: Path) -> None:
    at_once = [([0], agent, [[1, 0, letter]]) for agent, letter in enumerate("abcdef")]
    script = read_trace(concurrent(([], 0, [[0, 0, "()"]]), *at_once), "t.txt")
    replicas = replayed(script, str(tmp_path)).values()
    assert [replica.read("t.txt") for replica in replicas] == ["(abcdef)"] * 6


def test_a_start_is_there_before_the_first_edit(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(trace([[6, 0, "!"]], [[0, 1, "B"]], start="before", end="Before!"))
    finished(muse("replay", "t.json", "--rate", "max", "--json", "--name", "notes/a.md"))
    assert tree_of(tmp_path / "muse-replay") == {"notes/a.md": b"Before!"}


def test_another_text_than_the_trace_ends_with_is_a_finding(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(trace([[0, 0, "abc"]], end="abd"))
    ran = muse("replay", "t.json", "--rate", "max", "--json")
    assert ran.status == 1
    assert ran.records[-1]["file"] == {
        "path": str(tmp_path / "muse-replay" / "t.txt"),
        "files": 1,
        "bytes": 3,
        "different": ["t.txt"],
        "exact": False,
    }
    assert "1 of 1 files are not as they were to be: t.txt" in json.loads(ran.err)["error"]["message"]


def test_a_position_that_only_shows_to_be_wrong_as_it_is_typed_ends_it_and_names_the_step(
    muse: Muse, tmp_path: Path
) -> None:
    (tmp_path / "t.json").write_bytes(concurrent(([], 0, [[0, 0, "abc"]]), ([0], 1, [[5, 0, "x"]])))
    ran = muse("replay", "t.json", "--rate", "max")
    assert ran.status == 1
    assert "step 2, by agent-2" in ran.err
    assert "of a text of 3 characters" in ran.err


def test_it_is_typed_at_the_rate_asked_for_and_committed_meanwhile(muse: Muse, tmp_path: Path) -> None:
    letters = [[[place, 0, "x"]] for place in range(60)]
    (tmp_path / "t.json").write_bytes(trace(*letters, end="x" * 60))
    last = finished(muse("replay", "t.json", "--rate", "60", "--commit-every", "0.2", "--json"))
    assert last["actors"][0]["edits_per_second"] < 65
    assert len(last["commits"]) >= 2
    assert sum(commit["op_count"] for commit in last["commits"]) == 61


# -- git -----------------------------------------------------------------------------------------


def git(directory: Path, *arguments: str, author: str = "Ada") -> None:
    """Run git with settings of nobody's."""
    identity = {name: author if name.endswith("NAME") else "a@example.org" for name in IDENTITY}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(
        ["git", "-c", "commit.gpgSign=false", *arguments],
        cwd=directory,
        env=environment,
        check=True,
        capture_output=True,
    )


def commit_all(directory: Path, author: str) -> None:
    git(directory, "add", "--all")
    git(directory, "commit", "--allow-empty", "-m", "a change", author=author)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A history by three people with moves, a swap, a binary file, a link, an odd name and a merge."""
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    text = "".join(f"line {number}\n" for number in range(30))
    (root / "a.txt").write_text(text)
    (root / "b.txt").write_text(text.upper())
    (root / "picture.bin").write_bytes(bytes(range(256)))
    commit_all(root, "Ada")
    (root / "a.txt").rename(root / "was-a.txt")
    (root / "b.txt").rename(root / "a.txt")
    (root / "was-a.txt").rename(root / "b.txt")
    (root / "picture.bin").write_bytes(bytes(range(255, -1, -1)))
    (root / "link").symlink_to("a.txt")
    commit_all(root, "Ben")
    git(root, "checkout", "-b", "side")
    (root / "side.txt").write_text("beside\r\n\ufeffend")
    commit_all(root, "Cleo")
    git(root, "checkout", "main")
    (root / "sub").mkdir()
    (root / "a.txt").rename(root / "sub" / "ä ö.txt")
    with (root / "sub" / "ä ö.txt").open("a") as file:
        file.write("one more 🎵\n")
    (root / "b.txt").unlink()
    (root / "utf16.txt").write_bytes("\ufeffhello\n".encode("utf-16-le"))
    commit_all(root, "Cleo")
    git(root, "merge", "--no-ff", "-m", "both", "side", author="Ada")
    (root / "b.txt").mkdir()
    (root / "b.txt" / "deep").write_text("")
    (root / "picture.bin").write_text("no picture any more")
    commit_all(root, "Ben")
    return root


def files_of(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in paths if ".git" not in path.parts
    }


def test_a_git_history_comes_out_with_the_files_of_its_head(
    muse: Muse, tmp_path: Path, history: Path
) -> None:
    last = finished(muse("replay", "project", "--rate", "max", "--json"))
    assert {actor["actor"] for actor in last["actors"]} == {"Ada", "Ben", "Cleo"}
    assert tree_of(tmp_path / "muse-replay") == files_of(history)
    assert files_of(history) == {
        path: data for path, data in files_of(tmp_path / "muse-replay").items() if ".muse" not in path
    }


def test_of_a_limited_history_the_conductor_lays_out_what_was_there_before(
    tmp_path: Path, history: Path
) -> None:
    script = read_git_history(str(history), "in/it/", limit=2)
    assert [step.actor_id for step in script.steps] == ["conductor", "Ada", "Ben"]
    replica = replayed(script, str(tmp_path / "replay"))["Ben"]
    assert replica.paths() == sorted(f"in/it/{path}" for path in files_of(history))
    assert dict(script.wanted) == {f"in/it/{path}": data for path, data in files_of(history).items()}


def test_commits_of_git_keep_message_author_time_and_executable_files(
    muse: Muse, tmp_path: Path, history: Path
) -> None:
    (history / "run.sh").write_text("#!/bin/sh\n")
    (history / "run.sh").chmod(0o755)
    commit_all(history, "Ben")
    commit_all(history, "Nobody")  # changes nothing
    (history / "run.sh").rename(history / "bin.sh")
    (history / "plain.sh").write_text("#!/bin/sh\n")
    git(history, "add", "--all")
    git(
        history,
        "commit",
        "-m",
        "a subject\n\nand a body",
        "--date",
        "2020-03-04T05:06:07+02:00",
        author="Cleo",
    )
    ran = muse("replay", "project", "--as-commits")
    assert (ran.status, ran.err) == (0, "")
    for left_out in (
        "the second parents of 1 merge",
        "1 commit that merges joined, by Cleo: the author of the merge has their work",
        "1 commit without a change",
        "links, submodules",
        "signatures",
    ):
        assert left_out in ran.out
    root = tmp_path / "muse-replay"
    assert tree_of(root) == files_of(history)
    dag = Repository.open(str(root)).dag
    made = list(dag.history(dag.head("main") or ""))
    asked = ["git", "log", "--first-parent", "--format=%aN <%aE>%x00%aI%x00%B%x01"]
    told = subprocess.run(asked, cwd=history, capture_output=True, check=True, text=True).stdout.split("\1")
    wanted = [tuple(one.strip().split("\0")) for one in told if "Nobody" not in one and one.strip()]
    found = [(one["author"], one["committed_at"], one["message"].partition("\n\nMuse-")[0]) for one in made]
    assert found == [(author, at.replace("Z", "+00:00"), text) for author, at, text in wanted]
    assert found[0] == ("Cleo <a@example.org>", "2020-03-04T05:06:07+02:00", "a subject\n\nand a body")
    assert executable_paths(made[0]) == {"bin.sh"}
    assert executable_paths(made[1]) == {"run.sh"}
    blamed = blame_file(Repository.open(str(root)), "plain.sh", made[0]["commit_id"])
    assert {part.changed.when for part in blamed.parts} == {"2020-03-04T05:06:07+02:00"}
    assert (root / "bin.sh").stat().st_mode & 0o111 == 0o111
    assert (root / "plain.sh").stat().st_mode & 0o111 == 0
    assert muse("verify", "--replay", "--repo", str(root)).status == 0
    assert muse("clone", "muse-replay", "copy").status == 0
    assert (tmp_path / "copy" / "bin.sh").stat().st_mode & 0o111 == 0o111


def test_executable_files_stay_so_in_later_commits_and_merges(muse: Muse, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    commit_all(root, "Ada")
    assert muse("replay", "project", "--as-commits", "--repo", "one").status == 0
    assert muse("clone", "one", "two").status == 0
    (tmp_path / "two" / "run.sh").unlink()
    assert muse("checkout", "--repo", "two").status == 0
    assert (tmp_path / "two" / "run.sh").stat().st_mode & 0o111 == 0o111
    for place in ("one", "two"):
        with LiveSession(tmp_path / place, f"in-{place}") as live:
            CodeReplica(live, live.log, place).create(f"{place}.txt", place)
            live.commit(f"Of {place}")
    assert muse("pull", str(tmp_path / "two"), "--repo", "one").status == 0
    dag = Repository.open(str(tmp_path / "one")).dag
    merge = dag.read_commit(dag.head("main") or "")
    assert merge["parent2_commit_id"]
    assert executable_paths(merge) == {"run.sh"}
    assert muse("verify", "--replay", "--repo", "one").status == 0


def test_only_a_git_repository_has_commits_to_keep(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    ran = muse("replay", "a.txt", "--as-commits")
    assert (ran.status, "--as-commits is for the directory of a git repository" in ran.err) == (2, True)
    assert not (tmp_path / "muse-replay").exists()


def test_a_commit_without_a_message_gets_one_and_that_is_said(
    muse: Muse, history: Path, tmp_path: Path
) -> None:
    (history / "new.txt").write_text("new\n")
    git(history, "add", "--all")
    git(history, "commit", "--allow-empty-message", "-m", "")
    ran = muse("replay", "project", "--as-commits")
    assert "left out: that 1 commit had no message" in ran.out
    dag = Repository.open(str(tmp_path / "muse-replay")).dag
    newest = next(iter(dag.history(dag.head("main") or "")))
    assert newest["message"].startswith("(no message)")


def test_links_are_left_out_and_said_to_be(muse: Muse, history: Path) -> None:
    ran = muse("replay", str(history), "--rate", "max")
    assert ran.status == 0
    assert "links, submodules and unusable names are left out: 'link'" in ran.out
    assert "5 commits" in ran.out


def test_no_name_that_git_allows_ends_a_replay(muse: Muse, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    chance = random.Random(7)
    names = {b"f%c" % byte for byte in range(1, 256) if byte != 0x2F}
    names |= {chance.randbytes(chance.randint(1, 40)).translate(None, b"/\0") for _ in range(200)}
    names |= {"\u200c.x\u2028\x85".encode(), b"x" * 255, b"MUSE~1", b"a:b", b".muse_notes", b"end.", b"end "}
    for name in names - {b"", b".", b".."}:
        (root / os.fsdecode(name)).write_text("one\n")
    commit_all(root, "Ada")
    for old in sorted(os.listdir(root))[::3]:
        if old != ".git":
            (root / old).rename(root / f"moved-{old[-20:]}")
    commit_all(root, "Ben\a")
    files = {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}
    ran = muse("replay", "project", "--rate", "max")
    assert (ran.status, ran.err) == (0, "")
    tree = tree_of(tmp_path / "muse-replay")
    assert len(tree) > 100
    assert tree == {name: data for name, data in files.items() if is_path(name)}
    left_out = re.search(r"left out: .* and (\d+) more", ran.out)
    assert left_out is not None
    assert int(left_out[1]) + 3 >= len(files) - len(tree)


def test_git_runs_no_program_that_the_repository_names(muse: Muse, tmp_path: Path, history: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    program.chmod(0o755)
    for setting in ("core.fsmonitor", "diff.external", "core.pager", "diff.x.textconv", "gpg.program"):
        git(history, "config", setting, str(program))
    git(history, "config", "log.showSignature", "true")
    (history / ".git" / "info" / "attributes").write_text("* diff=x\n")
    assert muse("replay", "project", "--rate", "max").status == 0
    assert not (tmp_path / "ran").exists()


# -- texts ---------------------------------------------------------------------------------------


def test_a_text_is_typed_in_by_several_agents(muse: Muse, tmp_path: Path) -> None:
    content = "".join(f"{number}. Zeile, mit 🎵\r\n" for number in range(100)).encode()
    (tmp_path / "essay.md").write_bytes(content)
    last = finished(muse("replay", "essay.md", "--rate", "max", "--actors", "3", "--json"))
    assert [actor["actor"] for actor in last["actors"]] == ["agent-1", "agent-2", "agent-3"]
    assert (tmp_path / "muse-replay" / "essay.md").read_bytes() == content
    assert last["session_id"] == "essay"


def test_two_replays_in_one_repository_leave_each_other_alone(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("first\nsecond\n")
    muse("init")
    assert muse("replay", "in/a.txt", "--rate", "max").status == 0
    again = muse("replay", "in/a.txt", "--rate", "max")
    assert again.status == 2
    assert "a.txt is already there" in again.complaint
    assert muse("replay", "in/a.txt", "--rate", "max", "--name", "b.txt").status == 0
    assert tree_of(tmp_path) == {"a.txt": b"first\nsecond\n", "b.txt": b"first\nsecond\n"}


# -- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("plain",), "is not a git repository"),
        (("empty-git",), "has no commit"),
        (("binary",), "not a MIDI file, not an editing trace, and not a text"),
        (("damaged.json.gz",), "the gzip data is damaged"),
        (("not.gz",), "not an editing trace"),
        (("wrong.json.gz",), "not an editing trace"),
        (("out.json",), "position 9"),
        (("text", "--limit", "3"), "--limit is for a git repository"),
        (("out.json", "--actors", "3"), "--actors is for a text file"),
        (("empty-git", "--actors", "3"), "--actors is for a text file"),
        (("text", "--name", "../x"), "--name"),
        (("text", "--actors", "0"), "actors"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason_and_nothing_is_made(
    muse: Muse, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "empty-git").mkdir()
    git(tmp_path / "empty-git", "init")
    (tmp_path / "binary").write_bytes(b"a\0b")
    (tmp_path / "damaged.json.gz").write_bytes(b"\x1f\x8b" + b"x" * 50)
    (tmp_path / "not.gz").write_bytes(b"plain words")
    (tmp_path / "wrong.json.gz").write_bytes(gzip.compress(b'{"txns": 1}'))
    (tmp_path / "out.json").write_bytes(trace([[9, 0, "x"]]))
    (tmp_path / "text").write_text("words")
    before = sorted(tmp_path.rglob("*"))
    ran = muse("replay", *arguments)
    assert ran.status == 2
    assert reason in ran.complaint
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_inside_a_git_repository_is_not_that_repository(muse: Muse, history: Path) -> None:
    ran = muse("replay", str(history / "sub"))
    assert ran.status == 2
    assert "is not a git repository" in ran.complaint


def test_without_git_it_is_said(
    muse: Muse, tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    ran = muse("replay", str(history))
    assert ran.status == 1
    assert ran.complaint.startswith("git is not installed")


def test_a_git_repository_that_lacks_a_blob_is_named(muse: Muse, history: Path) -> None:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD:side.txt"], cwd=history, capture_output=True, text=True, check=True
    )
    blob = done.stdout.strip()
    (history / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    ran = muse("replay", str(history), "--rate", "max")
    assert ran.status == 1
    assert "lacks files of its commits" in ran.complaint


def test_a_session_that_is_there_is_not_typed_into(muse: Muse, tmp_path: Path) -> None:
    muse("init")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("words")
    OpLog(tmp_path, "jam").record("anna", "code", {"op": "delete", "address": "x"})
    ran = muse("replay", "in/a.txt", "--session", "jam")
    assert ran.status == 2
    assert "session 'jam' is there already" in ran.complaint
    assert list_sessions(tmp_path) == ["jam"]
