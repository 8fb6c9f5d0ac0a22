"""`muse diff`, `muse show` and `muse log -p`: what a person and a program read of a difference."""

import os
import pty
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from muse.cli.shared.diff_lines import header_lines, text_lines
from muse.cli.shared.note_rows import note_rows
from muse.cli.shared.piano_roll import piano_roll
from muse.history.repository import Repository
from muse.plugins.music.midi_file import MidiScore, Note, Track, write_midi
from muse.plugins.music.notes import delete_note, insert_note, mutate_note, replace_file
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.file_diff import diff_states
from muse.views.file_diff_notes import NotesDiff
from muse.views.file_diff_text import TextDiff
from tests.samples.midi_samples import without_notes
from tests.samples.muse_command import COMMAND, Muse, make_muse

C4 = Note(60, 64, 0, 480)
Write = Callable[..., str]


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    Repository.init(str(tmp_path), now="2026-01-02T03:04:05+00:00")
    return make_muse(monkeypatch, capsys, tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Commit files as ada writes them, None for one that goes; return the commit."""

    def commit(message: str = "text", **files: str | bytes | None) -> str:
        with LiveSession(tmp_path, "text", author="Ada") as session:
            desk = CodeReplica(session, session.log, "ada")
            for name, content in files.items():
                path = name.replace("__", "/").replace("_", ".")
                if content is None:
                    desk.remove(path)
                else:
                    desk.write(path, content)
            return session.commit(message).commit_ids[-1]

    return commit


LINES = [f"line {number}\n" for number in range(12)]
CHANGED = [*LINES[:4], "another line\n", "\tand one with a tab\n", *LINES[5:-1], "no newline"]


def test_a_diff_in_a_pipe_is_one_that_git_applies(muse: Muse, write: Write, tmp_path: Path) -> None:
    write(a_txt="".join(LINES), d__gone_txt="x\n", with_space="old\n")
    write(a_txt="".join(CHANGED), d__gone_txt=None, new_txt="new\r\n", with_space="more\nold\n")
    printed = muse("diff", "--commit", "HEAD~1").out
    assert "\x1b" not in printed
    assert "\n\\ No newline at end of file\n" in printed
    assert printed.startswith(
        "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -2,11 +2,12 @@\n line 1\n"
    )
    other = tmp_path / "other"
    (other / "d").mkdir(parents=True)
    (other / "a.txt").write_text("".join(LINES))
    (other / "d" / "gone.txt").write_text("x\n")
    (other / "with.space").write_text("old\n")
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"],
        cwd=other,
        input=printed.encode(),
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.stderr.decode() == ""
    assert (other / "a.txt").read_text() == "".join(CHANGED)
    assert (other / "new.txt").read_bytes() == b"new\r\n"
    assert not (other / "d" / "gone.txt").exists()


def test_a_rename_is_shown_as_one(muse: Muse, write: Write) -> None:
    write(a_txt="".join(LINES))
    write(a_txt=None, b__c_txt="".join([*LINES, "one more\n"]))
    lines = muse("diff", "--commit", "HEAD^").out.splitlines()
    assert lines[:6] == [
        "diff --git a/a.txt b/b/c.txt",
        "similarity index 90%",
        "rename from a.txt",
        "rename to b/c.txt",
        "--- a/a.txt",
        "+++ b/b/c.txt",
    ]
    assert lines[-1] == "+one more"


def test_a_binary_file_is_told_by_its_sizes(muse: Muse, write: Write) -> None:
    write(a_bin=b"\0" * 12_000)
    write(a_bin=b"\0" * 13_000)
    assert muse("diff", "--commit", "HEAD~1").out == "diff --git a/a.bin b/a.bin\nbinary, 12.0 kB → 13.0 kB\n"
    record = muse("diff", "--commit", "HEAD~1", "--json").record
    assert (record["kind"], record["old_size"], record["new_size"]) == ("binary", 12_000, 13_000)


def test_two_commits_and_paths_may_be_named(muse: Muse, write: Write) -> None:
    first = write(a_txt="1\n", d__b_txt="1\n")
    second = write(a_txt="2\n")
    write(a_txt="3\n", d__b_txt="3\n")

    def paths(*arguments: str) -> list[str]:
        return [record["path"] for record in muse("diff", "--json", *arguments).records]

    assert paths("--commit", first[:6]) == ["a.txt", "d/b.txt"]
    assert paths("--commit", first, second[:8]) == ["a.txt"]
    assert paths("--commit", f"{first}..{second}") == ["a.txt"]
    assert paths("--commit", "HEAD~2..") == ["a.txt", "d/b.txt"]
    assert paths("--commit", first, "./d/") == ["d/b.txt"]
    assert paths("--commit", first, "HEAD", "d", "a.txt") == ["a.txt", "d/b.txt"]
    assert paths("--commit", "HEAD", "HEAD") == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nothing",), "there is no file 'nothing', here or in the session"),
        (("HEAD",), "'HEAD' is no file, it names a commit: write --commit HEAD"),
        (("--commit", "nobody"), "names no commit or branch"),
        (("--commit", "HEAD", "nothing"), "no file or directory 'nothing'"),
        (("--commit", "HEAD", "take"), "names a commit and a path: write --commit HEAD..take"),
    ],
)
def test_a_diff_of_what_is_not_there_is_misuse(
    muse: Muse, write: Write, arguments: tuple[str, ...], reason: str
) -> None:
    write(take="a path\n")
    assert muse("branch", "create", "take").status == 0
    ran = muse("diff", *arguments)
    assert ran.status == 2
    assert reason in ran.complaint


def test_a_commit_before_the_first_is_named_as_one(muse: Muse, write: Write) -> None:
    write(a_txt="one\n")
    refused = muse("diff", "--commit", "HEAD", "HEAD~1")
    assert refused.status != 0
    assert "'HEAD~1' names no commit" in refused.complaint


def test_without_a_commit_the_files_here_are_compared_with_the_session(
    muse: Muse, write: Write, tmp_path: Path
) -> None:
    write(a_txt="1\n", b_txt="1\n", d__c_txt="1\n")
    assert not muse("diff").out
    (tmp_path / "a.txt").write_text("2\n")
    (tmp_path / "b.txt").unlink()
    (tmp_path / "new.txt").write_text("new\n")
    found = {record["path"]: record["change"] for record in muse("diff", "--json").records}
    assert found == {"a.txt": "changed", "b.txt": "removed", "new.txt": "added"}
    assert [record["path"] for record in muse("diff", "--json", "a.txt", "d").records] == ["a.txt"]
    assert muse("diff", "a.txt").out.splitlines()[-2:] == ["-1", "+2"]
    assert muse("record", "--actor", "ada").status == 0
    assert not muse("diff").out


def test_files_that_cannot_be_compared_are_named_and_the_others_shown(
    muse: Muse, write: Write, tmp_path: Path
) -> None:
    write(a_txt="1\n")
    (tmp_path / "a.txt").write_text("2\n")
    (tmp_path / "link").symlink_to("a.txt")
    ran = muse("diff")
    assert ran.status == 1
    assert ran.out.endswith("-1\n+2\n")
    assert ran.err.startswith("muse: link: it is a symbolic link")


# -- music ------------------------------------------------------------------------------------------


@pytest.fixture
def song(muse: Muse, tmp_path: Path) -> Muse:
    """A song in two commits: the second has a note more, one less, and one that is higher and louder."""
    bass = Note(40, 64, 1920, 960)
    with LiveSession(tmp_path, "jam", author="Ada") as session:
        for number in range(4):
            session.edit("ada", "music", insert_note("a.mid", f"n{number}", Note(60, 64, 480 * number, 480)))
        session.commit("Four beats")
        session.edit("bob", "music", insert_note("a.mid", "bass", bass))
        session.edit("bob", "music", delete_note("a.mid", "n1", Note(60, 64, 480, 480)))
        session.edit(
            "bob", "music", mutate_note("a.mid", "n2", Note(60, 64, 960, 480), pitch=62, velocity=100)
        )
        session.commit("The bass")
    return muse


def test_notes_are_a_table(song: Muse) -> None:
    lines = song("show").out.splitlines()
    place = lines.index("notes: 1 added, 1 removed, 1 changed, 2 as before")
    assert lines[place + 1 :] == [
        "   BAR  BEAT  NOTE     LENGTH  VELOCITY  TRACK",
        "-    1  2     C4       1       64            0",
        "~    1  3     C4 → D4  1       64 → 100      0",
        "+    2  1     E2       2       64            0",
    ]


def test_the_notes_of_a_diff_are_data_too(song: Muse) -> None:
    (record,) = song("show", "--json").record["diff"]
    assert (record["kind"], record["change"], record["kept"]) == ("notes", "changed", 2)
    assert [(note["note_id"], note["bar"], note["beat"]) for note in record["added"]] == [("bass", 2, 1.0)]
    (change,) = record["changed"]
    assert (change["fields"], change["after"]["pitch_name"]) == (["pitch", "velocity"], "D4")
    assert song("log", "-p", "--json").records[0]["diff"] == [record]
    assert song("diff", "--commit", "HEAD~1", "--json").record == record


def test_what_is_not_notes_is_listed_below_them(song: Muse, tmp_path: Path) -> None:
    old = (tmp_path / "a.mid").read_bytes()
    tempo = bytes.fromhex("00 ff 51 03 07 a1 20")
    bare = without_notes(old)
    length = int.from_bytes(bare[18:22]) + len(tempo)
    new = bare[:18] + length.to_bytes(4) + tempo + bare[22:]
    with LiveSession(tmp_path, "jam") as session:
        session.edit("ada", "music", replace_file("a.mid", old, new))
        session.commit("A tempo")
    lines = song("show").out.splitlines()
    assert "notes: 4 removed; events: 1 added" in lines
    assert lines[-1].split() == ["+", "1", "1", "0", "tempo", "120", "bpm"]


def midi(*notes: Note) -> dict[str, bytes]:
    return {"a.mid": write_midi(MidiScore(tracks=(Track(notes=notes),)))}


def notes_of_diff(before: dict[str, bytes], after: dict[str, bytes]) -> NotesDiff:
    (diff,) = diff_states(before, after)
    assert isinstance(diff.body, NotesDiff)
    return diff.body


def test_a_channel_and_a_release_that_changed_are_named_beside_the_track() -> None:
    other = Note(60, 64, 0, 480, channel=3, release=None)
    assert note_rows(notes_of_diff(midi(C4), midi(other))) == [
        ("~", 1, "1", "C4", "1", 64, "0, channel 0 → 3, release 64 → none")
    ]


def roll(before: dict[str, bytes], after: dict[str, bytes], width: int = 80) -> list[str]:
    lines = piano_roll(notes_of_diff(before, after), width)
    return ["".join(text for text, _ in line) for line in lines]


def beats(*pitches: int) -> list[Note]:
    return [Note(pitch, 64, 480 * beat, 480) for beat, pitch in enumerate(pitches)]


def test_the_roll_has_a_row_for_each_pitch_and_marks_what_differs() -> None:
    bass = Note(40, 64, 1920, 960)
    assert roll(midi(*beats(60, 60, 60, 60)), midi(*beats(60, 60, 62, 60), bass)) == [
        "     1               2",
        "  D4 │       ++++    │               ",
        "  C4 ········----····│               ",
        "  E2 │               ++++++++        ",
    ]


def test_the_roll_begins_in_the_bar_of_the_first_difference_and_fits_the_terminal() -> None:
    long = beats(*range(40, 80))
    lines = roll(midi(*long), midi(*long[:4], *long[5:], Note(90, 64, 480 * 30, 480)), width=40)
    assert lines[0].split()[0] == "2"
    assert max(map(len, lines)) <= 40
    assert roll(midi(*long), midi(*long[1:]), width=6) == []


def test_the_roll_shows_the_pitches_that_differ_and_counts_the_others() -> None:
    chord = [Note(pitch, 64, 0, 480) for pitch in range(30, 70)]
    lines = roll(midi(*chord), midi(*chord[1:]))
    assert lines[-1].strip() == "and 16 more pitches"
    assert lines[-2].startswith(" F#1 ----")


def test_music_that_counts_frames_has_a_roll_without_bars() -> None:
    def film(note: Note) -> dict[str, bytes]:
        return {"a.mid": write_midi(MidiScore(ticks_per_beat=-25 * 256 + 40, tracks=(Track(notes=(note,)),)))}

    before, after = film(C4), film(Note(61, 64, 0, 1000))
    assert [line[:4] for line in roll(before, after)] == [" C#4", "  C4"]
    cells = note_rows(notes_of_diff(before, after))[-1]
    assert cells[1:3] == ("", "0 s")


# -- a terminal -------------------------------------------------------------------------------------


def in_a_terminal(*arguments: str, cwd: Path, columns: int) -> str:
    """Run `muse` in a terminal of its own and return what it printed there."""
    own, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([*COMMAND, *arguments], cwd=cwd, stdout=its, env=environment) as process:
        os.close(its)
        printed = b""
        with suppress(OSError):  # the terminal is gone once the program has ended
            while part := os.read(own, 65536):
                printed += part
        assert process.wait(60) == 0
    os.close(own)
    return printed.decode().replace("\r\n", "\n")


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_gets_colours_and_no_line_that_is_wider(muse: Muse, write: Write, tmp_path: Path) -> None:
    write(a_txt="short\n")
    write(a_txt="short\n" + "long " * 40 + "\n" + "tab\tand \x1b[2J\n")
    assert muse("diff", "--commit", "HEAD~1").status == 0
    printed = in_a_terminal("diff", "--commit", "HEAD~1", cwd=tmp_path, columns=50)
    assert "\x1b[32m+long long" in printed
    assert "\x1b[2J" not in printed
    assert "\\x1b[2J" in printed
    plain = without_colours(printed)
    assert max(map(len, plain.splitlines())) <= 50
    assert plain.count("long") == 40


def test_a_terminal_gets_a_piano_roll_and_a_pipe_does_not(song: Muse, tmp_path: Path) -> None:
    printed = in_a_terminal("show", cwd=tmp_path, columns=60)
    assert "\x1b[32m++++\x1b[0m" in printed
    assert "\x1b[31m--------\x1b[0m" in printed
    assert "\x1b[2m····\x1b[0m" in printed
    assert "  D4 │" in without_colours(printed)
    assert "│" not in song("show").out


def test_an_id_stays_whole_in_a_narrow_terminal(song: Muse, tmp_path: Path) -> None:
    ids = [record["commit_id"][:12] for record in song("log", "--json").records]
    printed = without_colours(in_a_terminal("log", cwd=tmp_path, columns=30))
    assert all(commit_id in printed for commit_id in ids)
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 30


def test_a_long_name_leaves_room_for_the_line_in_a_narrow_terminal(muse: Muse, tmp_path: Path) -> None:
    muse("init")
    (tmp_path / "a.txt").write_text("line\n")
    muse("record", "--actor", "an-agent-with-a-very-long-name-of-its-own")
    printed = without_colours(in_a_terminal("blame", "a.txt", cwd=tmp_path, columns=60))
    assert "(an-agent-with-a…" in printed, printed
    assert printed.rstrip().endswith(") line")


# -- names of files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "first", "third"),
    [
        ("a b", "diff --git a/a b b/a b", "+++ b/a b\t"),
        ('a"b', r'diff --git "a/a\"b" "b/a\"b"', r'+++ "b/a\"b"'),
        ("a\nb", r'diff --git "a/a\nb" "b/a\nb"', r'+++ "b/a\nb"'),
        ("a\x1bb", r'diff --git "a/a\033b" "b/a\033b"', r'+++ "b/a\033b"'),
        ("Für", "diff --git a/Für b/Für", "+++ b/Für"),
    ],
)
def test_a_name_is_quoted_as_git_does(path: str, first: str, third: str) -> None:
    (diff,) = diff_states({path: b"a\n"}, {path: b"b\n"})
    assert isinstance(diff.body, TextDiff)
    lines = [*header_lines(diff), *text_lines(diff, diff.body)]
    assert [lines[0][0][0], lines[2][0][0]] == [first, third]


@pytest.mark.parametrize("columns", [40, 80])
def test_a_row_of_a_history_is_one_line_of_a_terminal_and_is_cut_with_a_mark(
    muse: Muse, write: Write, tmp_path: Path, columns: int
) -> None:
    write(a_txt="so many words that no terminal has room for all of them " * 3 + "\n")
    assert muse("branch", "create", "bob").status == 0
    for command in (("log",), ("branch", "list"), ("blame", "a.txt")):
        printed = without_colours(in_a_terminal(*command, cwd=tmp_path, columns=columns)).splitlines()
        printed = [line.rstrip() for line in printed]
        rows = muse(*command).out.splitlines()
        assert len(printed) == len(rows)
        assert max(map(len, printed)) <= columns
        assert printed[-1].endswith(("…", rows[-1].split()[-1]))
        assert not any("…" in row for row in rows)
    assert printed[-1].endswith("…")
