"""The command line: what people type, what they read, and what is refused without harm."""

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from muse import __version__
from muse.core.compiled import FORM
from muse.core.op_log import OpLog, list_sessions, make_op_entry
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note, mutate_note
from tests.samples.muse_command import COMMAND, Muse, hear_ctrl_c, make_muse, run_muse
from tests.samples.waiting import wait_until

NOTE = Note(60, 64, 0, 480)


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    """Run `muse` in a directory with a repository."""
    command = make_muse(monkeypatch, capsys, tmp_path)
    assert command("init").status == 0
    return command


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def note_op(name: str, pitch: int = 60) -> dict[str, Any]:
    return dict(insert_note("a.mid", name, Note(pitch, 64, 0, 480)))


def files_under(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def append(muse: Muse, *names: str, session: str = "jam", actor: str = "anna") -> None:
    ran = muse("session", "append", session, "--actor", actor, stdin=lines(*map(note_op, names)))
    assert ran.status == 0


def commit(muse: Muse, *names: str, message: str = "take") -> str:
    append(muse, *names)
    commit_ids = muse("commit", "jam", "-m", message, "--json").record["commit_ids"]
    return str(commit_ids[-1])


# -- the command as a whole ----------------------------------------------------------------------


def test_the_version_is_printed_and_nothing_else(tmp_path: Path) -> None:
    ran = run_muse("--version", cwd=tmp_path)
    assert (ran.status, ran.out) == (0, f"muse {__version__} ({FORM})\n")


COMMANDS = (
    "prove",
    "key create",
    "key trust",
    "key list",
    *(f"branch {name}" for name in ("list", "create", "switch", "delete")),
    *("init", "commit", "log", "show", "diff", "verify", "checkout", "demo", "replay"),
    *(
        f"session {name}"
        for name in ("list", "show", "append", "tail", "graph", "conflicts", "check", "repair", "recover")
    ),
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_commands_help_has_an_example(muse: Muse, name: str) -> None:
    ran = muse(*name.split(), "--help")
    assert ran.status == 0
    assert f"Example: muse {name}" in ran.out
    assert "--repo" in ran.out
    assert "--json" in ran.out


@pytest.mark.parametrize("arguments", [(), ("session",)])
def test_without_a_command_the_help_comes_on_stderr(muse: Muse, arguments: tuple[str, ...]) -> None:
    ran = muse(*arguments)
    assert ran.status == 2
    assert not ran.out
    assert "Commands:" in ran.err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("frob",), ""),
        (("log", "--frob"), " log"),
        (("commit",), " commit"),
        (("session", "tail", "jam", "-n", "many"), " session tail"),
    ],
)
def test_a_mistyped_command_is_one_line_with_where_to_look_and_status_2(
    muse: Muse, arguments: tuple[str, ...], command: str
) -> None:
    ran = muse(*arguments)
    assert ran.status == 2
    assert f"see 'muse{command} --help'" in ran.complaint


def test_an_error_for_programs_is_an_object_on_stderr(muse: Muse) -> None:
    ran = muse("session", "show", "nope", "--json")
    error = json.loads(ran.err)["error"]
    assert (ran.status, ran.out) == (2, "")
    assert error["kind"] == "NotFoundError"
    assert "no session 'nope'" in error["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("log",),
        ("show",),
        ("diff", "--commit", "HEAD"),
        ("branch", "list"),
        ("branch", "create", "take"),
        ("branch", "switch", "take"),
        ("branch", "delete", "take"),
        ("verify",),
        ("checkout",),
        ("commit", "jam", "-m", "x"),
        ("session", "list"),
        ("session", "show", "jam"),
        ("session", "append", "jam", "--actor", "anna"),
        ("session", "tail", "jam"),
        ("session", "check", "jam"),
        ("session", "repair", "jam"),
        ("session", "recover", "jam"),
    ],
)
def test_outside_a_repository_every_command_says_so_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    outside = make_muse(monkeypatch, capsys, tmp_path)
    ran = outside(*arguments, stdin=lines(note_op("n1")))
    assert ran.status == 2
    assert "is not a Muse repository" in ran.complaint
    assert "muse init" in ran.complaint
    assert files_under(tmp_path) == set()


def test_the_repository_is_found_upward_and_named_before_or_after_the_command(
    muse: Muse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    append(muse, "n1")
    deeper = tmp_path / "deeper" / "still"
    deeper.mkdir(parents=True)
    below = make_muse(monkeypatch, capsys, deeper)
    plain = below("session", "list", "--json")
    assert plain.record["entries"] == 1
    assert below("--repo", "../..", "--json", "session", "list") == plain
    assert below("session", "--repo", "../..", "list", "--json") == plain
    assert below("session", "list", "--repo", str(tmp_path), "--json") == plain
    assert below("log", "--repo", str(deeper)).status == 2


def test_a_path_with_spaces_and_other_scripts_works(tmp_path: Path) -> None:
    ran = run_muse("init", "Für Elise 作品", cwd=tmp_path)
    assert ran.status == 0
    assert (tmp_path / "Für Elise 作品" / ".muse" / "repo.json").exists()
    assert run_muse("--repo", "Für Elise 作品", "log", cwd=tmp_path).out == "No commits yet.\n"


def test_init_again_changes_nothing(muse: Muse, tmp_path: Path) -> None:
    before = (tmp_path / ".muse" / "repo.json").read_bytes()
    ran = muse("init", "--json")
    assert ran.record["created"] is False
    assert (tmp_path / ".muse" / "repo.json").read_bytes() == before


def test_init_where_no_directory_can_be_made_is_one_line(muse: Muse, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file\n")
    ran = muse("init", "file/song")
    assert ran.status == 1
    assert str(tmp_path / "file") in ran.complaint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only_is_refused_in_one_line(muse: Muse, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    ran = muse("init", "closed")
    assert ran.status == 1
    assert "permission denied" in ran.complaint


def test_what_goes_into_a_pipe_is_plain_text(muse: Muse, tmp_path: Path) -> None:
    commit(muse, "n1", "n2")
    for arguments in (("log",), ("show",), ("session", "show", "jam"), ("verify",), ("--help",)):
        ran = run_muse(*arguments, cwd=tmp_path)
        assert ran.status == 0
        assert ran.out.isascii(), "no lines drawn"
        assert "\x1b" not in ran.out + ran.err
        assert not ran.err


def test_a_reader_that_stops_early_is_no_error(muse: Muse, tmp_path: Path) -> None:
    append(muse, *(f"n{number}" for number in range(3000)))
    with subprocess.Popen(
        [*COMMAND, "session", "tail", "jam", "-n", "3000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=10) == 0


# -- append --------------------------------------------------------------------------------------


def test_the_first_op_starts_a_session(muse: Muse, tmp_path: Path) -> None:
    ran = muse("session", "append", "jam", "--actor", "anna", stdin=lines(note_op("n1"), note_op("n2")))
    assert ran.out == "2 stored, 0 already known\n"
    entries = OpLog(tmp_path, "jam").read_all()
    assert [entry["actor_id"] for entry in entries] == ["anna", "anna"]
    assert [entry["domain"] for entry in entries] == ["music", "music"]
    assert [entry["domain_op"] for entry in entries] == [note_op("n1"), note_op("n2")]


def test_ops_carry_domain_intent_and_reservation(muse: Muse, tmp_path: Path) -> None:
    named = ("--actor", "anna", "--domain", "text", "--intent", "i-1", "--reservation", "r-1")
    options = (*named, "--any-domain")
    assert muse("session", "append", "jam", *options, stdin=lines({"op": "anything"})).status == 0
    (entry,) = OpLog(tmp_path, "jam").read_all()
    assert (entry["domain"], entry["intent_id"], entry["reservation_id"]) == ("text", "i-1", "r-1")


def test_entries_are_stored_once_however_often_they_come(muse: Muse) -> None:
    entries = lines(*(make_op_entry("anna", "music", note_op(f"n{n}"), n) for n in range(1, 4)))
    assert muse("session", "append", "jam", "--json", stdin=entries).record["stored"] == 3
    again = muse("session", "append", "jam", "--json", stdin=entries)
    assert again.record == {"session_id": "jam", "stored": 0, "known": 3}


def test_a_log_can_be_sent_into_another_line_by_line(muse: Muse, tmp_path: Path) -> None:
    append(muse, "n1", "n2", "n3")
    framed = (tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl").read_bytes()
    printed = muse("session", "tail", "jam", "--json", "-n", "2").out.encode()
    other = tmp_path / "other"
    Repository.init(str(other), any_domain=True)
    done = muse("session", "append", "copy", "--repo", str(other), "--json", stdin=framed + printed)
    assert done.record == {"session_id": "copy", "stored": 3, "known": 2}
    assert OpLog(other, "copy").read_all() == OpLog(tmp_path, "jam").read_all()


def test_the_last_line_may_lack_its_newline_and_blank_lines_are_passed_over(muse: Muse) -> None:
    text = b"\n" + lines(note_op("n1")) + b"  \r\n" + lines(note_op("n2")).rstrip()
    assert muse("session", "append", "jam", "--actor", "a", "--json", stdin=text).record["stored"] == 2


ENTRY = make_op_entry("anna", "music", note_op("n9"), 9)
OTHER_ID = make_op_entry("anna", "music", {}, 1)["op_id"]
FRAMED_WRONG = lines({**ENTRY, "crc": "00000000"}).replace(b": ", b":").replace(b", ", b",")

BAD_LINES = {
    "not JSON": (b'{"op": "insert"', "not JSON"),
    "a list": (b"[1]", "an object is expected"),
    "an entry without its id": (b'{"domain":"music","domain_op":{"op":"x"}}', "without its op_id"),
    "NaN": (b'{"op": "insert", "x": NaN}', "NaN"),
    "a key twice": (b'{"op": "insert", "op": "delete"}', "appears twice"),
    "not UTF-8": (b'{"op": "\xff"}', "UTF-8"),
    "an op the domain does not know": (b'{"op": "explode", "address": "a.mid"}', "explode"),
    "a note out of limits": (json.dumps(note_op("n") | {"child_ops": [{}]}).encode(), "a note"),
    "an entry without all its fields": (b'{"op_id": "x"}', "lacks"),
    "an entry with a bad id": (json.dumps({**ENTRY, "op_id": "x"}).encode(), "UUID4"),
    "an entry whose stamp is absurd": (
        json.dumps({**ENTRY, "op_id": OTHER_ID, "lamport_ts": 2**50}).encode(),
        "lamport_ts",
    ),
    "an entry whose crc is wrong": (FRAMED_WRONG, "crc"),
    "an entry with another body": (json.dumps({**ENTRY, "actor_id": "eve"}).encode(), "another body"),
}


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_is_named_and_all_before_it_are_in_the_log(muse: Muse, tmp_path: Path, bad: str) -> None:
    line, reason = BAD_LINES[bad]
    good = lines(ENTRY, note_op("n1"))
    text = good + line.strip() + b"\n" + lines(note_op("n2"))
    ran = muse("session", "append", "jam", "--actor", "anna", stdin=text)
    assert ran.status == 2
    assert ran.complaint.startswith("line 3: ")
    assert reason in ran.complaint
    stored = [entry["domain_op"] for entry in OpLog(tmp_path, "jam").read_all()]
    assert stored == [note_op("n9"), note_op("n1")]


def test_a_bad_entry_between_good_ones_stops_at_its_place(muse: Muse, tmp_path: Path) -> None:
    entries = [make_op_entry("anna", "music", note_op(f"n{n}"), n) for n in range(1, 6)]
    entries[3]["lamport_ts"] = 0
    ran = muse("session", "append", "jam", stdin=lines(*entries))
    assert ran.complaint.startswith("line 4: ")
    assert OpLog(tmp_path, "jam").read_all() == entries[:3]


def test_a_bad_first_line_starts_no_session(muse: Muse, tmp_path: Path) -> None:
    assert muse("session", "append", "jam", "--actor", "anna", stdin=b"no\n").status == 2
    assert muse("session", "append", "jam", "--actor", "anna").out == "0 stored, 0 already known\n"
    assert list_sessions(tmp_path) == []
    assert "No sessions yet" in muse("session", "list").out


def test_an_op_without_an_actor_is_refused(muse: Muse) -> None:
    ran = muse("session", "append", "jam", stdin=lines(note_op("n1")))
    assert ran.status == 2
    assert "--actor" in ran.complaint


@pytest.mark.parametrize("session", ["", "a" * 129, "a/b", "..", "a..b", ".hidden", "a\0b", "a b"])
def test_a_bad_session_id_is_refused_and_nothing_is_written(muse: Muse, tmp_path: Path, session: str) -> None:
    before = files_under(tmp_path)
    ran = muse("session", "append", session, "--actor", "anna", stdin=lines(note_op("n1")))
    assert ran.status == 2
    assert "session id" in ran.complaint
    for command in (("session", "show"), ("session", "tail"), ("commit", "-m", "x")):
        assert muse(*command, session).status == 2
    assert files_under(tmp_path) == before


def test_a_line_that_is_piped_in_live_is_stored_at_once(muse: Muse, tmp_path: Path) -> None:
    del muse
    with subprocess.Popen(
        [*COMMAND, "session", "append", "jam", "--actor", "anna"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin
        process.stdin.write(lines(note_op("n1")))
        process.stdin.flush()
        wait_until(lambda: list_sessions(tmp_path) and OpLog(tmp_path, "jam").read_all())
        assert process.poll() is None
        assert len(OpLog(tmp_path, "jam").read_all()) == 1
        out, _ = process.communicate(timeout=10)
        assert out == b"1 stored, 0 already known\n"


# -- looking at sessions -------------------------------------------------------------------------


def test_show_tells_who_did_how_much_and_what_is_pending(muse: Muse) -> None:
    append(muse, "n1", "n2")
    commit(muse, "n3")
    append(muse, "n4", actor="bela")
    facts = muse("session", "show", "jam", "--json").record
    assert facts["entries"] == 4
    assert facts["lamport_ts"] == 4
    assert facts["actors"] == {
        "anna": {"entries": 3, "lamport_ts": 3},
        "bela": {"entries": 1, "lamport_ts": 4},
    }
    assert facts["domains"] == {"music": 4}
    assert facts["pending"] == {"music": 1}
    assert facts["checkpoint"]["op_count"] == 3
    assert facts["damages"] == facts["faults"] == []
    text = muse("session", "show", "jam").out
    assert "bela         1             4\n" in text
    assert "3 ops in commit" in text


def test_list_tells_what_is_pending_in_each_session(muse: Muse) -> None:
    append(muse, "n1", "n2")
    append(muse, "n1", session="other")
    listed = muse("session", "list", "--json").records
    assert [(facts["session_id"], facts["pending"]) for facts in listed] == [
        ("jam", {"music": 2}),
        ("other", {"music": 1}),
    ]
    assert muse("session", "list").out.splitlines()[1].split()[:3] == ["jam", "2", "2"]


def test_tail_prints_the_last_entries_and_chooses_among_them(muse: Muse) -> None:
    append(muse, *(f"n{number}" for number in range(12)))
    append(muse, "m", actor="bela")
    assert len(muse("session", "tail", "jam").out.splitlines()) == 10
    assert muse("session", "tail", "jam", "-n", "0").out == ""
    (line,) = muse("session", "tail", "jam", "--actor", "bela").out.splitlines()
    assert line.split()[1:6] == ["13", "bela", "music", "patch", "a.mid"]
    assert muse("session", "tail", "jam", "--address", "b").out == ""
    (entry,) = muse("session", "tail", "jam", "-n", "1", "--json").records
    assert entry["domain_op"] == note_op("m")


def test_names_from_others_cannot_move_the_cursor(muse: Muse, tmp_path: Path) -> None:
    append(muse, "n1")
    with OpLog(tmp_path, "jam") as log:
        (entry,) = log.read_all()
    of_another_tool = {**entry, "op_id": str(uuid4()), "actor_id": "\x1b[2J\r\nevil"}
    assert muse("session", "append", "jam", stdin=lines(of_another_tool)).status == 0
    _, line = muse("session", "tail", "jam").out.splitlines()
    assert r"\x1b[2J\r\nevil" in line


def test_tail_follows_live_until_ctrl_c(muse: Muse, tmp_path: Path) -> None:
    append(muse, "n1")
    with subprocess.Popen(
        [*COMMAND, "session", "tail", "-f", "jam", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["domain_op"] == note_op("n1")
        with OpLog(tmp_path, "jam") as log:
            entry = log.record("bela", "music", note_op("n2"))
        assert json.loads(process.stdout.readline()) == entry
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10) == (b"", b"")
        assert process.returncode == 0


def damage_first_line(directory: Path) -> Path:
    path = directory / ".muse" / "op_log" / "jam" / "ops.jsonl"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    return path


def test_damage_is_shown_listed_found_and_repaired(muse: Muse, tmp_path: Path) -> None:
    append(muse, "n1", "n2")
    path = damage_first_line(tmp_path)
    assert "corrupt at byte 0 (line 1" in muse("session", "show", "jam").out
    checked = muse("session", "check", "jam", "--json")
    assert (checked.status, checked.record["kind"], checked.record["offset"]) == (1, "corrupt", 0)
    assert muse("verify").status == 1
    refused = muse("commit", "jam", "-m", "x", "--json")
    assert refused.status == 1
    assert json.loads(refused.err)["error"]["kind"] == "CorruptionError"
    repaired = muse("session", "repair", "jam", "--json").record
    assert Path(repaired["side_file"]).parent == path.parent
    assert muse("session", "check", "jam").out == "No damage.\n"
    assert muse("verify").status == 0
    assert muse("commit", "jam", "-m", "x", "--json").record["op_count"] == 1


def test_a_torn_last_line_is_no_fault(muse: Muse, tmp_path: Path) -> None:
    append(muse, "n1", "n2")
    path = tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert muse("session", "check", "jam").status == 0
    assert muse("verify", "--json").record["entries"] == 1


def test_a_lost_checkpoint_is_recovered_from_the_commits(muse: Muse, tmp_path: Path) -> None:
    commit(muse, "n1")
    (tmp_path / ".muse" / "op_log" / "jam" / "checkpoint.json").unlink()
    assert muse("session", "recover", "jam", "--json").record["rebuilt"] is True
    assert muse("session", "recover", "jam").out == "The checkpoint agrees with history.\n"
    assert "Nothing to commit" in muse("commit", "jam", "-m", "again").out


# -- history -------------------------------------------------------------------------------------


def test_a_commit_prints_its_id_and_writes_the_files(muse: Muse, tmp_path: Path) -> None:
    append(muse, "n1", "n2")
    ran = muse("commit", "jam", "-m", "First take", "--author", "Anna")
    assert ran.status == 0
    commit_id = ran.out.split()[1]
    assert "2 ops (music: 2 insert)" in ran.out
    assert "wrote a.mid" in ran.out
    assert (tmp_path / "a.mid").exists()
    (logged,) = muse("log", "--json").records
    assert (logged["commit_id"], logged["author"], logged["op_count"]) == (commit_id, "Anna", 2)


def test_with_nothing_pending_a_commit_says_so_and_makes_none(muse: Muse) -> None:
    commit(muse, "n1")
    ran = muse("commit", "jam", "-m", "again")
    assert (ran.status, ran.out.split(":")[0]) == (0, "Nothing to commit")
    assert muse("commit", "jam", "-m", "again", "--json").record["commit_ids"] == []
    assert len(muse("log", "--json").records) == 1


def test_the_author_may_come_from_the_environment(muse: Muse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSE_AUTHOR", "Béla")
    commit(muse, "n1")
    assert muse("log", "--json").record["author"] == "Béla"


def test_an_op_without_effect_is_reported(muse: Muse) -> None:
    op = mutate_note("a.mid", "nobody", NOTE, velocity=1)
    muse("session", "append", "jam", "--actor", "anna", stdin=lines(note_op("n1"), op))
    ran = muse("commit", "jam", "-m", "x")
    assert (ran.status, ": a.mid/note/nobody: there is no note" in ran.out) == (1, True)


def test_a_commit_that_finds_a_file_edited_by_hand_names_it(muse: Muse, tmp_path: Path) -> None:
    commit(muse, "n1")
    (tmp_path / "a.mid").write_bytes(b"mine")
    append(muse, "n2")
    ran = muse("commit", "jam", "-m", "second")
    assert ran.status == 1
    assert "a.mid" in ran.complaint
    assert (tmp_path / "a.mid").read_bytes() == b"mine"
    assert len(muse("log", "--json").records) == 2


@pytest.mark.parametrize(
    "arguments",
    [("commit", "nope", "-m", "x"), ("commit", "jam", "-m", " "), ("show", "beef"), ("log", "nope")],
)
def test_what_does_not_exist_is_named_with_status_2(muse: Muse, arguments: tuple[str, ...]) -> None:
    commit(muse, "n1")
    ran = muse(*arguments)
    assert ran.status == 2
    assert ran.complaint


def test_log_lists_the_newest_first(muse: Muse) -> None:
    assert muse("log").out == "No commits yet.\n"
    assert muse("log", "--json").out == ""
    first, second = commit(muse, "n1", message="one"), commit(muse, "n2", message="two\n\nmore")
    assert [record["commit_id"] for record in muse("log", "--json").records] == [second, first]
    shown = muse("log", "-n", "1").out.splitlines()
    assert len(shown) == 2
    assert shown[1].startswith(second[:12])
    assert shown[1].endswith("  two")
    assert len(muse("log", first[:8], "--json").records) == 1


def test_show_limits_the_ops_unless_all_are_asked_for(muse: Muse) -> None:
    commit_id = commit(muse, *(f"n{number}" for number in range(25)))
    text = muse("show", "--ops").out
    assert f"Commit    {commit_id}" in text
    assert "added    a.mid\n" in text
    assert "25 ops of domain music: net 25 insert" in text
    assert "... and 6 more" in text
    [patch] = muse("show", commit_id[:10], "--all", "--json").record["ops"]
    assert len(patch["child_ops"]) == 25
    assert "more" not in muse("show", "--all").out
    assert "diff --git" not in text
    assert muse("show").out.count("\n+ ") == 25


def test_verify_says_sound_or_names_each_fault(muse: Muse, tmp_path: Path) -> None:
    commit(muse, "n1")
    assert muse("verify").out.startswith("Sound: 1 commit, 1 snapshot, 3 objects, 1 branch, 1 log entry")
    damaged = next(path for path in (tmp_path / ".muse" / "objects").glob("*/*"))
    damaged.write_bytes(b"other")
    ran = muse("verify", "--json")
    assert ran.status == 1
    assert ran.record["sound"] is False
    assert ran.record["findings"][0]["kind"] == "object"
    assert "1 fault found" in muse("verify").out


def test_checkout_brings_the_files_of_a_commit_and_back(muse: Muse, tmp_path: Path) -> None:
    first = commit(muse, "n1")
    one = (tmp_path / "a.mid").read_bytes()
    second = commit(muse, "n2")
    two = (tmp_path / "a.mid").read_bytes()
    assert muse("checkout", first[:10]).status == 0
    assert (tmp_path / "a.mid").read_bytes() == one
    back = muse("checkout", "--json").record
    assert (back["commit_id"], back["branch"]) == (second, "main")
    assert (tmp_path / "a.mid").read_bytes() == two


def test_checkout_removes_what_the_commit_lacks_and_leaves_what_no_commit_has(
    muse: Muse, tmp_path: Path
) -> None:
    first = commit(muse, "n1")
    op = insert_note("b.mid", "n1", NOTE)
    muse("session", "append", "jam", "--actor", "anna", stdin=lines(op))
    muse("commit", "jam", "-m", "b")
    (tmp_path / "notes.txt").write_text("mine")
    assert "b.mid" in muse("checkout", first, "--json").record["removed"]
    assert not (tmp_path / "b.mid").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert "b.mid" in muse("checkout", "--json").record["written"]


def test_checkout_refuses_to_replace_a_file_changed_by_hand_unless_forced(muse: Muse, tmp_path: Path) -> None:
    first = commit(muse, "n1")
    one = (tmp_path / "a.mid").read_bytes()
    commit(muse, "n2")
    (tmp_path / "a.mid").write_bytes(b"mine")
    ran = muse("checkout", first)
    assert ran.status == 1
    assert "changed by hand, or in no commit yet: a.mid" in ran.complaint
    assert (tmp_path / "a.mid").read_bytes() == b"mine"
    assert muse("checkout", first, "--force").status == 0
    assert (tmp_path / "a.mid").read_bytes() == one


def test_checkout_of_a_branch_makes_head_name_it(muse: Muse, tmp_path: Path) -> None:
    first = commit(muse, "n1")
    one = (tmp_path / "a.mid").read_bytes()
    (tmp_path / ".muse" / "refs" / "heads" / "side").write_text(first)
    commit(muse, "n2")
    assert muse("checkout", "side", "--json").record["branch"] == "side"
    assert (tmp_path / ".muse" / "HEAD").read_text() == "ref: refs/heads/side\n"
    assert (tmp_path / "a.mid").read_bytes() == one
    assert muse("log", "--json").record["commit_id"] == first
    assert muse("checkout", "nowhere").status == 2


def test_every_command_speaks_json(muse: Muse) -> None:
    commit(muse, "n1")
    for name in ("log", "show", "verify", "checkout", "init", "session list"):
        assert muse(*name.split(), "--json").records
    for name in ("show", "tail", "repair", "recover"):
        assert muse("session", name, "jam", "--json").records


def test_a_fault_of_the_program_is_no_traceback(muse: Muse, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_repo: object) -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr("muse.cli.session.list.list_sessions", broken)
    ran = muse("session", "list")
    assert ran.status == 1
    assert "a fault of muse itself" in ran.complaint
    monkeypatch.setenv("MUSE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        muse("session", "list")


def test_a_full_disk_behind_the_output_is_one_line(muse: Muse, tmp_path: Path) -> None:
    commit(muse, "n1")
    with suppress(FileNotFoundError), Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "log"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False
        )
        assert done.returncode == 1
        assert done.stderr.count(b"\n") == 1
        assert done.stderr.startswith(b"muse: the operating system refused")


def test_a_closed_stdin_is_said_to_be_closed_and_nothing_takes_its_number(tmp_path: Path) -> None:
    assert run_muse("init", cwd=tmp_path).status == 0
    script = f"exec {shlex.join(COMMAND)} session append jam --actor ada <&-"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("muse: stdin is closed")
    script = (
        "import os; os.close(0); from muse.cli.shared.output import prepare_streams as p; p(); os.fstat(0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
