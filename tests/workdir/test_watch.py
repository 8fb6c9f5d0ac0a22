"""`muse watch`: real programs save files, others edit the session, and each sees the work of all."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import mido
import pytest

from muse.core.op_log import OpEntry, OpLog
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.as_of import read_session, state_at, up_to_lamport
from tests.samples.muse_command import run_muse
from tests.samples.waiting import wait_until
from tests.samples.watching import SECONDS, WatchProcess
from tests.workdir.test_midi import TUNE, midi


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path / "project"))
    return tmp_path / "project"


@pytest.fixture
def watch(root: Path) -> Iterator[WatchProcess]:
    """Ada's watch of the root."""
    with WatchProcess(root, "ada") as process:
        yield process


def entries(root: Path) -> list[OpEntry]:
    with OpLog(str(root), "jam") as log:
        return log.read_all()


def session_files(root: Path) -> dict[str, bytes]:
    repository = Repository.open(str(root))
    found = state_at(repository, read_session(repository, "jam"), up_to_lamport(10**9)).files
    return {
        path: content for path, content in found.items() if not path.startswith((".muse/", ".muse_notes/"))
    }


def tree(directory: Path) -> dict[str, bytes]:
    """The files of a directory that people work on."""
    places = (place for place in directory.rglob("*") if place.is_file())
    paths = {str(place.relative_to(directory)): place for place in places}
    return {
        path: place.read_bytes()
        for path, place in paths.items()
        if path.partition("/")[0] not in {".muse", ".git", ".muse_notes"}
    }


def by_bob(root: Path, path: str, text: str) -> None:
    """Bob inserts a text at the start of a file, or makes the file."""
    with LiveSession(str(root), "jam") as session:
        bob = CodeReplica(session, session.log, "bob")
        if path in bob.paths():
            bob.insert(path, 0, text)
        else:
            bob.create(path, text)


# -- recording -------------------------------------------------------------------------------------


def test_what_is_saved_is_recorded_and_ctrl_c_ends_it(root: Path, watch: WatchProcess) -> None:
    (root / "a.txt").write_text("one\n")
    event = watch.recorded("a.txt")
    (root / "sub").mkdir()
    (root / "sub/b.bin").write_bytes(b"\0\1")
    watch.recorded("sub/b.bin")
    (root / "a.txt").unlink()
    watch.until(lambda one: (one["change"], one["path"]) == ("deleted", "a.txt"))
    assert event["op_ids"] == [entries(root)[0]["op_id"]]
    assert {entry["actor_id"] for entry in entries(root)} == {"ada"}
    assert session_files(root) == tree(root) == {"sub/b.bin": b"\0\1"}
    assert [event["event"] for event in watch.stop()][-1] == "stopped"


def test_what_was_saved_just_before_ctrl_c_is_recorded(root: Path, watch: WatchProcess) -> None:
    (root / "a.txt").write_text("late\n")
    heard = watch.stop()
    assert ("recorded", "a.txt") in [(event["event"], event["path"]) for event in heard]
    assert session_files(root) == {"a.txt": b"late\n"}


def test_what_was_changed_while_nobody_watched_is_recorded_first(root: Path, watch: WatchProcess) -> None:
    (root / "a.txt").write_text("one\n")
    watch.recorded("a.txt")
    watch.kill()
    (root / "a.txt").write_text("one\ntwo\n")
    by_bob(root, "bob.txt", "by bob\n")
    with WatchProcess(root, "ada", "--intent", "go on") as again:
        assert {event["path"] for event in again.heard} >= {"a.txt", "bob.txt"}
    assert session_files(root) == tree(root) == {"a.txt": b"one\ntwo\n", "bob.txt": b"by bob\n"}
    assert [entry["intent_id"] for entry in entries(root) if entry["actor_id"] == "ada"] == ["", "go on"]


def test_a_rename_is_one_op(root: Path, watch: WatchProcess) -> None:
    (root / "a.txt").write_text("one\ntwo\n")
    watch.recorded("a.txt")
    (root / "a.txt").rename(root / "b.txt")
    event = watch.recorded("b.txt")
    assert (event["change"], len(event["op_ids"])) == ("renamed", 1)


def test_a_save_by_way_of_a_backup_is_a_change_of_the_file(root: Path, watch: WatchProcess) -> None:
    """As some editors do: the file becomes the backup, and a new file takes its place."""
    (root / "a.txt").write_text("one\n")
    watch.recorded("a.txt")
    (root / "a.txt").rename(root / "a.txt.bak")
    (root / "a.txt").write_text("one\ntwo\n")
    assert watch.recorded("a.txt")["change"] == "modified"
    assert [entry["domain_op"]["op"] for entry in entries(root)].count("delete") == 0


def test_a_file_that_is_open_to_write_is_waited_for(root: Path, watch: WatchProcess) -> None:
    whole = midi(*TUNE)
    with (root / "song.mid").open("wb") as writing:
        writing.write(whole[:30])
        writing.flush()
        (root / "other.txt").write_text("meanwhile\n")
        watch.recorded("other.txt")
        writing.write(whole[30:])
    watch.recorded("song.mid")
    assert [event for event in watch.heard if event["event"] == "left_out"] == []
    assert session_files(root)["song.mid"] == whole


def test_a_midi_file_that_stays_half_written_is_named_and_recorded_once_it_is_whole(
    root: Path, watch: WatchProcess
) -> None:
    whole = midi(*TUNE)
    (root / "song.mid").write_bytes(whole[:30])
    watch.until_kind("left_out", "song.mid")
    (root / "song.mid").write_bytes(whole)
    watch.recorded("song.mid")
    assert session_files(root) == {"song.mid": whole}


def test_files_that_are_left_out_to_the_end_are_named_once_more(root: Path, watch: WatchProcess) -> None:
    (root / "a.txt").write_text("one\n")
    for name in ("h.mid", "k.mid"):
        (root / name).write_bytes(b"<html>")
    watch.recorded("a.txt")
    last = watch.stop(status=1)[-1]
    assert (last["event"], last["what"]) == ("stopped", "not all is recorded: h.mid, k.mid")


def test_junk_of_editors_is_left_alone(root: Path, watch: WatchProcess) -> None:
    for name in (".a.txt.swp", "a.txt~", "4913", "#a.txt#", ".#a.txt"):
        (root / name).write_text("junk")
    (root / "a.txt").write_text("one\n")
    watch.recorded("a.txt")
    watch.stop()
    assert set(session_files(root)) == {"a.txt"}


def test_a_second_watch_of_a_directory_is_refused(root: Path, watch: WatchProcess) -> None:
    status, complaint = WatchProcess(root, "eve").fails()
    assert (status, "is watched already" in complaint) == (1, True)
    (root / "a.txt").write_text("one\n")
    assert watch.recorded("a.txt")["actor_ids"] == ["ada"]


def test_a_full_disk_is_waited_for(root: Path) -> None:
    code = """
import errno, os, sys, threading
from muse.disk.storage import Storage
from muse.history.repository import Repository
from muse.workdir.watch import Watcher
from muse.workdir.workdir import Workdir
root, full = sys.argv[1:]
class Filling(Storage):
    def write(self, descriptor, data):
        if os.path.exists(full):
            raise OSError(errno.ENOSPC, "no space")
        return os.write(descriptor, data)
workdir = Workdir(Repository.open(root, Filling()), None, "ada", session_id="jam")
kinds = []
def report(event):
    kinds.append(event.kind)
    print(event.kind, event.what, flush=True)
    if event.kind == "waiting":
        os.unlink(full)
    if event.kind == "recorded":
        watcher.stop()
watcher = Watcher(workdir, report)
watcher.run()
assert kinds == ["started", "waiting", "going_on", "recorded", "stopped"], kinds
"""
    full = root.parent / "full"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(full)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("started")
        full.touch()
        (root / "a.txt").write_text("one\n")
        assert "the disk is full" in process.stdout.readline()
        process.stdout.read()
    assert process.returncode == 0
    assert session_files(root) == {"a.txt": b"one\n"}


def test_a_directory_among_the_files_of_the_repository_is_refused_unless_it_is_ignored(root: Path) -> None:
    options = ["watch", "jam", "--actor", "bot", "--dir"]
    refused = run_muse(*options, "agents/bot", cwd=root)
    assert (refused.status, "name it in .museignore" in refused.complaint) == (2, True)
    (root / ".museignore").write_text("agents/\n")
    with (
        WatchProcess(root, "bot", "--dir", str(root / "agents/bot")) as bot,
        WatchProcess(root, "ada") as ada,
    ):
        (root / "agents/bot/a.txt").write_text("one\n")
        ada.brought("a.txt")
        bot.stop()
        ada.stop()
    assert session_files(root).keys() == {".museignore", "a.txt"}


def test_a_second_watch_joins_the_session_of_the_first_in_which_nothing_happened_yet(
    root: Path, tmp_path: Path
) -> None:
    place = tmp_path / "bob"
    with (
        WatchProcess(root, "ada", session="") as ada,
        WatchProcess(root, "bob", "--dir", str(place), session="") as bob,
    ):
        (root / "a.txt").write_text("hi\n")
        bob.brought("a.txt")
        (place / "b.txt").write_text("hello\n")
        ada.brought("b.txt")
        assert tree(root) == tree(place) == {"a.txt": b"hi\n", "b.txt": b"hello\n"}
        bob.stop()
        ada.stop()


def test_a_binary_file_that_is_written_slowly_is_recorded(root: Path, watch: WatchProcess) -> None:
    (root / "a.bin").touch()
    watch.recorded("a.bin")
    (root / "a.bin").write_bytes(b"%PDF-1.4\n")
    watch.recorded("a.bin")
    with (root / "a.bin").open("ab") as file:
        file.write(b"\xff\0" * 100)
    watch.recorded("a.bin")
    assert not any(event["event"] == "left_out" for event in watch.stop())
    assert session_files(root) == {"a.bin": b"%PDF-1.4\n" + b"\xff\0" * 100}


def test_a_directory_that_goes_away_is_waited_for(root: Path, tmp_path: Path) -> None:
    place, away = tmp_path / "bot", tmp_path / "away"
    with WatchProcess(root, "bot", "--dir", str(place)) as watch:
        (place / "a.txt").write_text("one\n")
        watch.recorded("a.txt")
        place.rename(away)
        assert "was moved away, removed or unmounted" in watch.until_kind("waiting")["what"]
        by_bob(root, "a.txt", "bob\n")
        assert not place.exists()
        place.mkdir()
        assert "has none of its 1 file" in watch.until_kind("waiting")["what"]
        place.rmdir()
        shutil.copytree(away, place)
        watch.until_kind("going_on")
        watch.brought("a.txt")
        (place / "b.txt").write_text("after\n")
        watch.recorded("b.txt")
        watch.stop()
    assert session_files(root) == tree(place) == {"a.txt": b"bob\none\n", "b.txt": b"after\n"}


def test_a_repository_that_goes_away_is_waited_for(root: Path) -> None:
    away = root.with_name("away")
    with WatchProcess(root, "ada") as watch:
        (root / "a.txt").write_text("one\n")
        watch.recorded("a.txt")
        root.rename(away)
        watch.until_kind("waiting")
        assert not root.exists()
        away.rename(root)
        watch.until_kind("going_on")
        (root / "a.txt").write_text("one\ntwo\n")
        watch.recorded("a.txt")
        watch.stop()
    assert session_files(root) == {"a.txt": b"one\ntwo\n"}


def test_a_watch_of_a_directory_that_is_away_is_refused(root: Path, tmp_path: Path) -> None:
    place = tmp_path / "bot"
    with WatchProcess(root, "bot", "--dir", str(place)) as watch:
        (place / "a.txt").write_text("one\n")
        watch.recorded("a.txt")
        watch.stop()
    shutil.rmtree(place)
    status, complaint = WatchProcess(root, "bot", "--dir", str(place)).fails()
    assert (status, "is not there" in complaint, place.exists()) == (1, True, False)


# -- bringing --------------------------------------------------------------------------------------


def test_what_others_do_is_in_the_files_and_says_who_did_it(root: Path, watch: WatchProcess) -> None:
    (root / "a.txt").write_text("one\n")
    watch.recorded("a.txt")
    by_bob(root, "a.txt", "bob\n")
    assert watch.brought("a.txt")["actor_ids"] == ["bob"]
    assert (root / "a.txt").read_text() == "bob\none\n"
    assert [event["path"] for event in watch.stop() if event["event"] == "recorded"] == ["a.txt"]


def test_read_only_files_are_recorded_and_never_written(root: Path) -> None:
    with WatchProcess(root, "ada", "--read-only-files") as watch:
        (root / "a.txt").write_text("one\n")
        watch.recorded("a.txt")
        by_bob(root, "a.txt", "bob\n")
        (root / "a.txt").write_text("one\ntwo\n")
        watch.recorded("a.txt")
        watch.stop()
    assert (root / "a.txt").read_text() == "one\ntwo\n"
    assert session_files(root) == {"a.txt": b"bob\none\ntwo\n"}


def test_an_undo_reaches_the_files_of_all(root: Path, tmp_path: Path) -> None:
    with (
        WatchProcess(root, "ada") as ada,
        WatchProcess(root, "bot", "--dir", str(tmp_path / "bot")) as bot,
    ):
        (root / "a.txt").write_text("one\ntwo\n")
        bot.brought("a.txt")
        (tmp_path / "bot/a.txt").write_text("one\nand a half\ntwo\n")
        (tmp_path / "bot/b.txt").write_text("by the bot\n")
        bot.recorded("b.txt")
        ada.brought("b.txt")
        undone = run_muse("undo", "jam", "--actor", "bot", "--as", "ada", cwd=root)
        assert undone.status == 0, undone.err
        bot.until(lambda event: (event["path"], event["change"]) == ("b.txt", "removed"))
        bot.stop()
        wait_until(lambda: "b.txt" not in tree(root))
    assert tree(root) == tree(tmp_path / "bot") == session_files(root) == {"a.txt": b"one\ntwo\n"}


# -- real programs ---------------------------------------------------------------------------------


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not here")
    return found


def in_terminal(*command: str, cwd: Path, dialogue: Sequence[tuple[bytes, bytes]]) -> None:
    """Run a program in a terminal, in which somebody types: each text, once the one before it is shown."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(cwd)
        os.environ["TERM"] = "vt100"
        os.execv(command[0], command)  # noqa: S606
    shown, left = b"", list(dialogue)
    try:
        while got := os.read(terminal, 4096):
            shown += got
            while left and left[0][0] in shown:
                shown = b""
                os.write(terminal, left.pop(0)[1])
    except OSError:
        pass  # it has ended
    assert os.waitpid(child, 0)[1] == 0
    os.close(terminal)
    assert not left, (left, shown)


NANO = [(b"two", b"\x1b[B\x0bthree"), (b"three", b"\x0f"), (b"Name to Write", b"\r"), (b"Wrote", b"\x18")]


@pytest.mark.parametrize("editor", ["ed", "vim", "nano", "sed", "perl"])
def test_an_editor_saves_a_text(root: Path, watch: WatchProcess, editor: str) -> None:
    program = needs(editor)
    (root / "a.txt").write_text("one\ntwo\n")
    watch.recorded("a.txt")
    if editor == "ed":
        subprocess.run([program, "-s", "a.txt"], input=b"2c\nthree\n.\nw\nq\n", cwd=root, check=True)
    elif editor == "vim":
        script = ["-c", "%s/two/three/", "-c", "wq"]
        subprocess.run([program, "-u", "NONE", "-es", "a.txt", *script], cwd=root, check=True)
    elif editor == "nano":
        in_terminal(program, "-I", "a.txt", cwd=root, dialogue=NANO)
    elif editor == "sed":
        subprocess.run([program, "-i", "s/two/three/", "a.txt"], cwd=root, check=True)
    else:
        subprocess.run([program, "-pi", "-e", "s/two/three/", "a.txt"], cwd=root, check=True)
    assert watch.recorded("a.txt")["change"] == "modified"
    watch.stop()
    assert session_files(root) == tree(root) == {"a.txt": b"one\nthree\n"}
    assert [entry["domain_op"]["op"] for entry in entries(root)] == ["insert", "replace"]


def test_a_file_that_gives_way_to_a_directory_of_its_name_is_recorded(
    root: Path, watch: WatchProcess
) -> None:
    (root / "song.mid").write_bytes(midi(*TUNE))
    watch.recorded("song.mid")
    with LiveSession(str(root), "jam") as session:
        session.commit("a tune")
    (root / "song.mid").unlink()
    (root / "song.mid").mkdir()
    (root / "song.mid" / "words.txt").write_bytes(b"words\n")
    watch.recorded("song.mid/words.txt")
    watch.stop()
    assert tree(root) == session_files(root) == {"song.mid/words.txt": b"words\n"}


def test_a_midi_file_is_rewritten_by_another_program(root: Path, watch: WatchProcess) -> None:
    (root / "song.mid").write_bytes(midi(*TUNE))
    watch.recorded("song.mid")
    before = len(entries(root))
    song = mido.MidiFile(root / "song.mid")
    for message in song.tracks[0]:
        if message.type in {"note_on", "note_off"} and message.note == 64:
            message.note = 65
    song.save(root / "song.mid")
    watch.recorded("song.mid")
    assert len(entries(root)) == before + 1
    assert mido.MidiFile(root / "song.mid").tracks[0] == song.tracks[0]


def test_a_chord_that_the_session_writes_in_its_own_order_is_the_work_of_who_saved_it(
    root: Path, watch: WatchProcess
) -> None:
    (root / "song.mid").write_bytes(midi(*TUNE))
    watch.recorded("song.mid")
    song = mido.MidiFile(root / "song.mid")
    for kind, time in (("note_on", 10), ("note_off", 100)):
        high, low = (mido.Message(kind, note=pitch, velocity=50) for pitch in (72, 70))
        song.tracks[0][-1:-1] = [high.copy(time=time), low]
    song.save(root / "song.mid")
    assert watch.brought("song.mid")["actor_ids"] == ["ada"]
    assert (root / "song.mid").read_bytes() == session_files(root)["song.mid"]


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "core.fsync=none"]
    subprocess.run([needs("git"), *identity, *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)


def check_git_checkout(root: Path, count: int) -> None:
    """A branch with `count` files is checked out, beside one without them, and left again."""
    git(root, "init", "-q", "-b", "main")
    (root / ".gitignore").write_text(".muse\n")
    git(root, "add", ".gitignore")
    git(root, "commit", "-q", "-m", "empty")
    git(root, "checkout", "-q", "-b", "full")
    for number in range(count):
        place = root / f"d{number % 50}/f{number}.txt"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"{number}\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "full")
    git(root, "checkout", "-q", "main")
    with WatchProcess(root, "ada") as watch:
        git(root, "checkout", "-q", "full")
        left = {f"d{number % 50}/f{number}.txt" for number in range(count)}
        while left:
            left.discard(watch.until(lambda event: event["event"] == "recorded")["path"])
        assert session_files(root) == tree(root)
        assert len(tree(root)) == count + 1
        git(root, "checkout", "-q", "main")
        gone: set[str] = set()
        while len(gone) < count:
            gone.add(watch.until(lambda event: event["change"] == "deleted")["path"])
        watch.stop()
    assert session_files(root) == tree(root) == {".gitignore": b".muse\n"}


def test_a_git_checkout_of_many_files_is_recorded(root: Path) -> None:
    check_git_checkout(root, 300)


@pytest.mark.long
def test_a_git_checkout_of_ten_thousand_files_is_recorded(root: Path) -> None:
    check_git_checkout(root, 10_000)


AGENT = """
import sys, pathlib
directory, name = pathlib.Path(sys.argv[1]), sys.argv[2]
for number in range(5):
    (directory / f"{name}-{number}.txt").write_text(f"{name} wrote {number}\\n")
    with (directory / "shared.txt").open("a") as shared:
        shared.write(f"{name} {number}\\n")
"""


def said_in(directory: Path) -> list[str]:
    """The lines of the file that all write to."""
    place = directory / "shared.txt"
    return place.read_text().splitlines() if place.exists() else []


def blamed(root: Path, path: str) -> dict[str, str]:
    """The lines of a file, with the actor that made each."""
    assert run_muse("commit", "jam", "-m", "all", cwd=root).status == 0
    return {
        line["summary"]: line["made"]["actor_id"]
        for line in run_muse("blame", path, "--json", cwd=root).records
    }


def test_two_agents_and_a_person_work_in_directories_of_their_own(root: Path, tmp_path: Path) -> None:
    (root / "shared.txt").write_text("by ada\n")
    directories = {"bot-1": tmp_path / "one", "bot-2": tmp_path / "two"}
    with (
        WatchProcess(root, "ada") as ada,
        WatchProcess(root, "bot-1", "--dir", str(directories["bot-1"])) as one,
        WatchProcess(root, "bot-2", "--dir", str(directories["bot-2"])) as two,
    ):
        agents = [
            subprocess.Popen([sys.executable, "-c", AGENT, str(place), name])
            for name, place in directories.items()
        ]
        (root / "ada.txt").write_text("ada works too\n")
        assert [agent.wait() for agent in agents] == [0, 0]
        for place in (root, *directories.values()):
            wait_until(lambda place=place: len(said_in(place)) == 11, SECONDS)
            wait_until(lambda place=place: tree(place) == session_files(root), SECONDS)
        for watch in (one, two, ada):
            watch.stop()
    assert tree(root) == tree(directories["bot-1"]) == tree(directories["bot-2"]) == session_files(root)
    assert len(tree(root)) == 12
    assert sorted(said_in(root)) == sorted(
        ["by ada", *(f"{name} {number}" for name in directories for number in range(5))]
    )
    assert blamed(root, "shared.txt") == {text: text.removeprefix("by ").split()[0] for text in said_in(root)}
    by = {entry["domain_op"]["address"]: entry["actor_id"] for entry in entries(root)}
    assert {by[f"{name}-{number}.txt"] for name in directories for number in range(5)} == set(directories)


def test_without_a_terminal_a_person_reads_one_line_an_event(root: Path) -> None:
    (root / "a.txt").write_text("one\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "muse", "watch", "jam", "--actor", "ada"],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        words = [process.stdout.readline().split() for _ in range(2)]
        process.terminate()
        words += [line.split() for line in process.stdout.read().splitlines()]
    assert process.returncode == 0
    assert words[0][1:4] == ["new", "ada", "a.txt"]
    assert [line[1] for line in words] == ["new", "started", "stopped"]
