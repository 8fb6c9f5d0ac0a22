"""`muse status` and `muse record`: files of a directory, and a session."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import orjson
import pytest

from muse.core.content_id import object_id
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from tests.samples.muse_command import Muse, make_muse, run_muse
from tests.workdir.test_midi import TUNE, midi


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    run = make_muse(monkeypatch, capsys, tmp_path)
    assert run("init").status == 0
    return run


def test_what_was_done_is_shown_and_recorded_and_then_nothing_differs(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "song.mid").write_bytes(midi(*TUNE))
    shown = muse("status")
    assert shown.status == 0
    assert "  new      a.txt\n  new      song.mid\n" in shown.out
    done = muse("record", "--actor", "anna", "--intent", "a start")
    assert (done.status, done.err) == (0, "")
    assert "Session anna, a new one, named after anna; branch main\nRecorded, 2 ops:\n" in done.out
    assert "Nothing differs.\n" in muse("status").out
    assert "Nothing to record.\n" in muse("record", "--actor", "anna").out
    with OpLog(str(tmp_path), "anna") as log:
        entries = log.read_all()
    assert [(entry["actor_id"], entry["domain"], entry["intent_id"]) for entry in entries] == [
        ("anna", "code", "a start"),
        ("anna", "music", "a start"),
    ]


def test_a_commit_follows_a_record_without_a_word_about_files(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    muse("record", "--actor", "anna")
    assert muse("commit", "anna", "-m", "first").status == 0
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    muse("record", "--actor", "anna")
    done = muse("commit", "anna", "-m", "second")
    assert (done.status, done.err) == (0, "")
    assert muse("status").out.endswith("Nothing differs.\n")


def test_programs_get_json_of_all(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "bad.mid").write_text("<html>")
    assert muse("record", "--actor", "anna", "--json", "--dry-run").record["dry_run"] is True
    done = muse("record", "--actor", "anna", "--json")
    assert done.status == 1
    assert [(one["path"], one["change"], len(one["op_ids"])) for one in done.record["recorded"]] == [
        ("a.txt", "new", 1)
    ]
    assert [one["path"] for one in done.record["left_out"]] == ["bad.mid"]
    with LiveSession(str(tmp_path), "anna") as session:
        CodeReplica(session, session.log, "bob").create("b.txt", "bob\n")
    (tmp_path / "a.txt").unlink()
    shown = muse("status", "--json").record
    assert shown["session_id"] == "anna"
    assert [(one["path"], one["change"]) for one in shown["here"]] == [
        ("a.txt", "deleted"),
    ]
    assert [one["path"] for one in shown["left_out"]] == ["bad.mid"]
    assert [(one["path"], one["change"]) for one in shown["ahead"]] == [("b.txt", "new")]
    brought = muse("record", "--actor", "anna", "--json").record["brought"]
    assert brought == {"written": ["b.txt"], "removed": []}


def test_status_and_diff_name_what_is_no_midi_file_as_record_does(muse: Muse, tmp_path: Path) -> None:
    for name in ("song.mid", "other.mid", "fine.mid"):
        (tmp_path / name).write_bytes(midi(*TUNE))
    (tmp_path / "page.txt").write_text("<html>this is a page of the web</html>\n")
    muse("record", "--actor", "anna")
    (tmp_path / "fine.mid").write_bytes(midi(*TUNE[:2]))
    (tmp_path / "song.mid").write_text("<html>")
    (tmp_path / "cut.mid").write_bytes(midi(*TUNE)[:40])
    (tmp_path / "empty.mid").touch()
    (tmp_path / "other.mid").rename(tmp_path / "renamed.mid")
    (tmp_path / "page.txt").rename(tmp_path / "page.mid")
    wrong = ["cut.mid", "empty.mid", "page.mid", "song.mid"]
    shown = muse("status", "--json")
    assert shown.status == 1
    assert [one["path"] for one in shown.record["here"]] == ["fine.mid", "renamed.mid"]
    left_out = shown.record["left_out"]
    assert [one["path"] for one in left_out] == wrong
    diff = muse("diff")
    assert (diff.status, [line.split(":")[1].strip() for line in diff.err.splitlines()]) == (1, wrong)
    assert "fine.mid" in diff.out
    assert not any(name in diff.out for name in ("cut.mid", "song.mid", "empty.mid"))
    done = muse("record", "--actor", "anna", "--json").record
    assert sorted(done["left_out"], key=lambda one: one["path"]) == left_out


def test_paths_are_those_of_the_directory_where_one_is(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("one\n")
    (tmp_path / "b.txt").write_text("two\n")
    done = run_muse("record", "a.txt", "--actor", "anna", "--json", cwd=tmp_path / "d")
    assert [one["path"] for one in done.record["recorded"]] == ["d/a.txt"]
    assert run_muse("status", "--json", cwd=tmp_path / "d").record["here"][0]["path"] == "b.txt"
    assert muse("record", "../elsewhere", "--actor", "anna").status == 2
    assert "there is no file 'nothing'" in muse("record", "nothing", "--actor", "anna").complaint


def test_a_file_becomes_a_directory_and_a_file_again(muse: Muse, tmp_path: Path) -> None:
    place, other = tmp_path / "a.txt", tmp_path / "o.txt"
    place.write_text("hi\n")
    other.write_text("o\n")
    muse("record", "--actor", "ann")
    muse("commit", "-m", "a file")
    place.unlink()
    place.mkdir()
    (place / "in.txt").write_text("inner\n")
    muse("record", "--actor", "bob")
    done = muse("commit", "-m", "a directory")
    assert (done.status, done.err) == (0, "")
    (place / "in.txt").unlink()
    place.rmdir()
    place.write_text("back\n")
    other.write_text("o\nmore\n")
    assert "deleted  a.txt/in.txt" in muse("status").out
    assert muse("diff").status == 0
    done = muse("record", "--actor", "ann")
    assert (done.status, done.err) == (0, "")
    done = muse("commit", "-m", "a file again")
    assert (done.status, done.err) == (0, "")
    assert muse("undo", "--session", "ann", "--as", "ann").err == ""
    assert "Nothing differs." in muse("status").out


def test_the_session_is_the_one_asked_for_or_the_last_or_the_only_one(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    with LiveSession(str(tmp_path), "jam") as session:
        CodeReplica(session, session.log, "bob").create("b.txt", "bob\n")
    assert "Session jam, the only one that is open" in muse("record", "--actor", "anna").out
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert "Session jam, the last one of this directory" in muse("status").out
    refused = muse("record", "--actor", "anna", "--session", "other")
    assert refused.status == 2
    assert "the files here show session 'jam', of which 2 ops are in no commit" in refused.complaint
    muse("commit", "jam", "-m", "so far")
    assert "Session other, as asked for" in muse("record", "--actor", "anna", "--session", "other").out


def test_misuse_is_named(muse: Muse) -> None:
    assert muse("record").status == 2
    assert "name an actor" in muse("record", "--actor", "").complaint
    assert "is not allowed" in muse("record", "--actor", "anna", "--session", "../x").complaint


@pytest.mark.parametrize(
    "arguments",
    [
        ("record", "--actor", "a\nb"),
        ("record", "--actor", "anna", "--intent", "one\u2028two"),
        ("watch", "--actor", "a\x1b[2Jb"),
        ("watch", "--actor", "anna", "--intent", "one\ntwo"),
        ("undo", "--actor", "anna", "--as", "b\rc"),
        ("session", "append", "anna", "--actor", "a\nb"),
        ("session", "append", "anna", "--actor", "anna", "--intent", "a\tb"),
        ("commit", "-m", "first", "--author", "a\nb"),
        ("coord", "reserve", "a.txt", "--actor", "a\nb"),
        ("token", "create", "--actor", "a\x7fb"),
    ],
)
def test_a_new_name_that_is_not_one_line_is_refused(
    muse: Muse, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    muse("record", "--actor", "anna")
    (tmp_path / "a.txt").write_text("two\n")
    refused = muse(*arguments, stdin=b'{"op":"insert","address":"o.txt","position":null,"text":"o"}')
    assert refused.status == 2
    assert "give a name of one line, without control characters" in refused.err
    with OpLog(str(tmp_path), "anna") as log:
        assert len(log.read_all()) == 1


def test_a_name_of_two_lines_that_a_log_has_is_shown_on_one(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    muse("record", "--actor", "anna")
    with OpLog(str(tmp_path), "anna") as log:
        [entry] = log.read_all()
    named = {**entry, "actor_id": "ann\na", "op_id": str(uuid.uuid4()), "intent_id": "x\ny"}
    named["domain_op"] = {**entry["domain_op"], "address": "b.txt"}
    line = json.dumps(named).encode()
    assert muse("session", "append", "anna", stdin=line).status == 0
    for arguments in (
        ("blame", "b.txt"),
        ("blame", "b.txt", "--ops"),
        ("session", "tail", "anna", "-n", "1"),
    ):
        [shown] = muse(*arguments).out.splitlines()
        assert "ann\\na" in shown


def test_output_in_a_pipe_has_no_colours(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    assert "\x1b" not in muse("status").out
    assert "\x1b" not in run_muse("status", cwd=tmp_path).out


def test_a_diff_is_of_what_the_session_has_and_the_files_here(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    muse("record", "--actor", "anna")
    assert muse("diff").out == ""
    (tmp_path / "a.txt").write_text("one\nTWO\n")
    (tmp_path / "b.txt").write_text("new\n")
    shown = muse("diff", "a.txt")
    assert shown.status == 0
    assert "-two\n+TWO\n" in shown.out
    assert "b.txt" not in shown.out
    assert "+new\n" in muse("diff").out
    assert muse("diff", "--commit", "HEAD", "--session", "anna").status == 2


def test_the_session_of_the_directory_is_committed_and_undone_and_the_files_follow(
    muse: Muse, tmp_path: Path
) -> None:
    assert "there is no session yet" in muse("commit", "-m", "nothing").complaint
    text, song = tmp_path / "a.txt", tmp_path / "song.mid"
    text.write_text("one\n")
    song.write_bytes(midi(*TUNE))
    muse("record", "--actor", "anna")
    op = b'{"op":"insert","address":"o.txt","position":null,"text":"o"}'
    assert muse("session", "append", "other", "--actor", "anna", stdin=op).status == 0
    assert muse("commit", "-m", "first").status == 0
    text.write_text("one\ntwo\n")
    song.write_bytes(midi(*TUNE[:-1]))
    muse("record", "--actor", "bob")
    done = muse("undo", "--actor", "bob", "--as", "anna")
    assert done.status == 0
    assert done.out.endswith(
        "  written a.txt, as the session has it\n  written song.mid, as the session has it\n"
    )
    assert text.read_text() == "one\n"
    assert song.read_bytes() == midi(*TUNE)
    assert "Nothing differs." in muse("status").out


def test_an_undo_keeps_what_is_not_recorded(muse: Muse, tmp_path: Path) -> None:
    text, song = tmp_path / "a.txt", tmp_path / "song.mid"
    text.write_text("one\n")
    song.write_bytes(midi(*TUNE))
    muse("record", "--actor", "anna")
    text.write_text("one\ntwo\n")
    song.write_bytes(midi(*TUNE[:-1]))
    new = tmp_path / "by-bob.bin"
    new.write_bytes(b"\0new")
    muse("record", "--actor", "bob")
    text.write_text("zero\none\ntwo\n")
    song.write_bytes(midi(*TUNE[1:-1]))
    new.write_bytes(b"\0edited")
    done = muse("undo", "--actor", "bob", "--as", "anna", "--json")
    assert done.status == 1
    assert done.record["brought"] == {"written": ["a.txt"], "removed": []}
    assert [one["path"] for one in done.record["left_out"]] == ["by-bob.bin", "song.mid"]
    assert new.read_bytes() == b"\0edited"
    assert text.read_text() == "zero\none\n"
    assert song.read_bytes() == midi(*TUNE[1:-1])


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_undo_whose_files_cannot_be_brought_is_told_before_the_fault(
    muse: Muse, tmp_path: Path, form: tuple[str, ...]
) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    muse("record", "--actor", "anna")
    lock = Path(layout.workdir_lock_file(str(tmp_path), layout.WORKDIR_OF_ROOT))
    lock.unlink()
    lock.mkdir()
    done = muse("undo", "--actor", "anna", "--as", "bob", *form)
    with OpLog(str(tmp_path), "anna") as log:
        intent_id = log.read_all()[-1]["intent_id"]
    assert done.status == 1
    assert intent_id in done.out
    assert "the ops are appended, but the files here could not be brought up to date" in done.err


def test_an_actor_may_have_a_directory_of_its_own(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    muse("record", "--actor", "anna")
    own = tmp_path.with_name(f"{tmp_path.name}-of-bot")
    assert "there is no directory" in muse("record", "--actor", "bot", "--dir", str(own)).complaint
    own.mkdir()
    assert muse("record", "--actor", "bot", "--dir", f"../{own.name}").status == 0
    assert (own / "a.txt").read_text() == "one\n"
    (own / "a.txt").write_text("one\ntwo\n")
    (own / "b.txt").write_text("new\n")
    assert muse("record", "--actor", "bot", "--dir", str(own), "a.txt").status == 0
    assert "  new      b.txt" in muse("status", "--dir", str(own)).out
    shown = muse("status").out
    assert "Changed in the session, not here yet:\n  modified a.txt\n" in shown
    assert "b.txt" not in shown


def test_the_first_session_is_that_of_another_directory_where_none_has_begun(
    muse: Muse, tmp_path: Path
) -> None:
    own = tmp_path.with_name(f"{tmp_path.name}-of-bot")
    own.mkdir()
    assert muse("record", "--actor", "anna", "--json").record["session_id"] == "anna"
    done = muse("record", "--actor", "bot", "--dir", str(own), "--json").record
    assert (done["session_id"], done["session_because"]) == ("anna", "that of another directory here")
    refused = muse("commit", "-m", "one")
    assert (
        refused.status,
        "session 'anna', the last one of this directory, has no op yet" in refused.err,
    ) == (2, True)
    assert muse("status", "--session", "x", "--json").record["session_id"] == "x"
    third = tmp_path.with_name(f"{tmp_path.name}-of-cid")
    third.mkdir()  # two sessions wait to begin now, and neither is the one
    assert muse("record", "--actor", "cid", "--dir", str(third), "--json").record["session_id"] == "cid"


@pytest.mark.parametrize("command", ["record", "status", "watch"])
def test_a_directory_around_the_repository_is_refused(muse: Muse, tmp_path: Path, command: str) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    for around in ("..", "/"):
        refused = muse(command, "--actor", "anna", "--dir", around)
        assert refused.status == 2
        assert f"{around} contains the repository {tmp_path}" in refused.complaint
    assert "a.txt" in muse("record", "--actor", "anna").out


ASCII_NAMES = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_names_of_files_are_utf_8_in_a_locale_of_another_encoding(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "m\u00fchle").mkdir()
    (tmp_path / "m\u00fchle" / "\u00e9tude.txt").write_text("one\n")
    muse("record", "--actor", "anna")
    muse("commit", "anna", "-m", "first")
    (tmp_path / "new-\u00fc.txt").write_text("two\n")
    shown = run_muse("status", "--json", cwd=tmp_path, environment=ASCII_NAMES)
    assert (shown.status, shown.err) == (0, "")
    assert [one["path"] for one in shown.record["here"]] == ["new-\u00fc.txt"]
    done = run_muse("record", "--actor", "anna", cwd=tmp_path, environment=ASCII_NAMES)
    assert (done.status, done.err) == (0, "")
    assert "  new      new-\\xfc.txt\n" in done.out  # as the terminal can show it
    assert "Nothing differs.\n" in muse("status").out


@pytest.mark.usefixtures("muse")
def test_a_program_in_a_locale_of_another_encoding_is_told_so(tmp_path: Path) -> None:
    program = "from muse import Repository; Repository.open('.')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, **ASCII_NAMES},
        capture_output=True,
        check=False,
    )
    assert b"UsageError: Python reads file names as ascii here" in done.stderr


@pytest.mark.usefixtures("muse")
def test_a_name_that_is_no_text_is_written_so_that_every_reader_of_json_takes_it(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff\xc3\xa9.txt")).write_text("one\n")
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        command = [sys.executable, "-m", "muse", "status", "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        [status] = map(orjson.loads, done.stdout.splitlines())
        assert [fault["path"] for fault in status["left_out"]] == ["bad\\udcffé.txt"]


def test_a_file_that_went_before_its_first_commit_does_not_come_back(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "one.mid").write_bytes(midi(*TUNE))
    (tmp_path / "t.txt").write_text("one\n")
    muse("record", "--actor", "anna")
    (tmp_path / "one.mid").rename(tmp_path / "two.mid")
    (tmp_path / "t.txt").unlink()
    done = muse("commit", "-m", "first")
    assert done.status == 0
    assert "  renamed  one.mid -> two.mid\n" in muse("status").out
    assert not (tmp_path / "one.mid").exists()
    muse("record", "--actor", "anna")
    assert muse("commit", "-m", "second").status == 0
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [".muse", "two.mid"]
    assert "Nothing differs.\n" in muse("status").out


def test_what_is_pending_again_comes_though_the_log_is_as_it_was(muse: Muse, tmp_path: Path) -> None:
    op = {"op": "insert", "address": "a.txt", "position": None, "text": "one\n", "content_id": "0" * 64}
    with OpLog(str(tmp_path), "jam") as log:
        log.record("anna", "code", {**op, "content_id": object_id(b"one\n"), "file_id": "0" * 32})
        log.checkpoint("0" * 64)
    muse("status")
    assert muse("session", "recover", "jam").status == 0
    assert "a.txt" in muse("status").out
    assert muse("record", "--actor", "bob").status == 0
    assert (tmp_path / "a.txt").read_text() == "one\n"
