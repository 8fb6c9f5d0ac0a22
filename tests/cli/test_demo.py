"""The demonstration: many actors, live, and the piece as it is written in the end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import pytest

from muse.cli.demo.prelude import TITLE, TOTAL_TICKS, prelude_notes, velocity_of
from muse.cli.demo.score import (
    AGENTS,
    PATH,
    REVISER,
    Reviser,
    agent_edits,
    base_file,
    reviser_edits,
    score_notes,
)
from muse.core.op_log import OpLog
from muse.errors import DomainError
from muse.plugins.music.midi_file import notes_of
from muse.plugins.music.plugin import MusicPlugin, check_op
from tests.samples.muse_command import COMMAND, Ran, hear_ctrl_c, run_muse
from tests.samples.waiting import wait_until

RATE = 120


def events_in(text: str | bytes) -> list[dict[str, Any]]:
    """Decode the whole lines of an event stream; whoever wrote it may have been killed in the last."""
    content = text.encode() if isinstance(text, str) else text
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def acknowledged_in(events: list[dict[str, Any]]) -> list[str]:
    return [op_id for event in events if event["event"] == "acknowledged" for op_id in event["op_ids"]]


# -- the plan ------------------------------------------------------------------------------------


def test_played_in_turns_the_edits_come_to_exactly_the_score() -> None:
    plugin, reviser = MusicPlugin(), Reviser()
    ops: list[Any] = []
    for turn in zip(*(agent_edits(agent) for agent in range(AGENTS)), strict=False):
        for op in turn:
            ops += [op, *reviser.hear(op)]
    shortest = min(len(agent_edits(agent)) for agent in range(AGENTS))
    for agent in range(AGENTS):
        for op in agent_edits(agent)[shortest:]:
            ops += [op, *reviser.hear(op)]
    assert reviser.is_done
    done = plugin.apply({PATH: base_file()}, ops, lambda _content_id: b"")
    assert done.ignored == []
    assert sorted(notes_of(done.files[PATH] or b""), key=repr) == sorted(score_notes(), key=repr)
    assert len(ops) == sum(len(agent_edits(agent)) for agent in range(AGENTS)) + reviser_edits()


def test_every_edit_passes_the_check_at_the_door() -> None:
    for agent in range(AGENTS):
        first, *others = agent_edits(agent)
        for op in (first, *others):
            check_op(op)
        with pytest.raises(DomainError):
            check_op({**first, "address": ""})


def test_the_score_has_each_note_of_the_prelude_with_its_velocity() -> None:
    wanted = [
        (note.pitch, note.start_tick, note.duration_ticks, velocity_of(note)) for note in prelude_notes()
    ]
    found = [(note.pitch, note.start_tick, note.duration_ticks, note.velocity) for _, note in score_notes()]
    assert found == wanted


def test_some_notes_come_out_wrong_before_the_reviser_hears_them() -> None:
    wrong = reviser_edits() - len(score_notes())
    assert 10 < wrong < 50


# -- the performance -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def performed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    directory = tmp_path_factory.mktemp("performed")
    return directory / "muse-demo", run_muse("demo", "--json", cwd=directory)


def test_the_demo_succeeds(performed: tuple[Path, Ran]) -> None:
    _, ran = performed
    assert (ran.status, ran.err) == (0, "")


def test_four_agents_make_all_their_edits_and_keep_time(performed: tuple[Path, Ran]) -> None:
    finished = events_in(performed[1].out)[-1]
    actors = {actor["actor"]: actor for actor in finished["actors"]}
    assert set(actors) == {"agent-1", "agent-2", "agent-3", "agent-4", REVISER}
    for number in range(AGENTS):
        agent = actors[f"agent-{number + 1}"]
        assert agent["edits"] == len(agent_edits(number))
        assert agent["seconds"] > 5  # as long as it is asked to play; a busy machine may take longer


def test_every_acknowledged_edit_is_in_the_log_once(performed: tuple[Path, Ran]) -> None:
    root, ran = performed
    acknowledged = acknowledged_in(events_in(ran.out))
    logged = [entry["op_id"] for entry in OpLog(root, "prelude").entries()]
    assert len(acknowledged) == len(set(acknowledged)) == events_in(ran.out)[-1]["acknowledged"]
    assert set(acknowledged) < set(logged)
    assert len(logged) == len(set(logged)) == len(acknowledged) + 1, "the base file is one more"


def test_commits_came_while_they_played_and_cover_each_edit_once(performed: tuple[Path, Ran]) -> None:
    root, ran = performed
    events = events_in(ran.out)
    committed = [event for event in events if event["event"] == "committed"]
    last_edit = max(index for index, event in enumerate(events) if event["event"] == "acknowledged")
    assert events.index(committed[0]) < last_edit
    assert all(event["ignored"] == [] for event in committed)
    history = run_muse("log", "--json", cwd=root).records
    assert [record["commit_id"] for record in history] == [
        event["commit_id"] for event in reversed(committed)
    ]
    assert sum(record["op_count"] for record in history) == len(acknowledged_in(events)) + 1


def test_the_repository_is_sound_afterwards(performed: tuple[Path, Ran]) -> None:
    assert run_muse("verify", "--json", cwd=performed[0]).record["sound"] is True
    assert events_in(performed[1].out)[-1]["verify"]["sound"] is True


def test_one_op_of_each_actor_is_proven_to_be_in_its_commit(performed: tuple[Path, Ran]) -> None:
    proofs = events_in(performed[1].out)[-1]["proofs"]
    assert {proof["actor"] for proof in proofs} == {
        *("agent-1", "agent-2", "agent-3", "agent-4"),
        *(REVISER, "conductor"),
    }
    assert all(proof["holds"] for proof in proofs)
    ran = run_muse("prove", proofs[0]["op_id"], "--json", cwd=performed[0])
    assert ran.record["commit"]["commit_id"] == proofs[0]["commit_id"]


def test_the_file_holds_exactly_the_notes_of_the_piece(performed: tuple[Path, Ran]) -> None:
    content = (performed[0] / PATH).read_bytes()
    assert Counter(notes_of(content)) == Counter(score_notes())
    told = events_in(performed[1].out)[-1]["file"]
    assert (told["notes"], told["notes_alike"], told["exact"]) == (549, 549, True)


def test_another_reader_finds_two_hands_with_tempo_meter_and_names(
    performed: tuple[Path, Ran],
) -> None:
    file = mido.MidiFile(performed[0] / PATH)
    assert [track.name for track in file.tracks] == ["Right hand", "Left hand"]
    kinds = Counter(message.type for track in file.tracks for message in track)
    for kind in ("set_tempo", "time_signature", "key_signature"):
        assert kinds[kind] == 1
    assert kinds["program_change"] == 2
    assert kinds["note_on"] == kinds["note_off"] == len(prelude_notes())
    assert {sum(message.time for message in track) for track in file.tracks} == {TOTAL_TICKS}


def test_the_reviser_names_the_edit_that_it_answers(performed: tuple[Path, Ran]) -> None:
    entries = {entry["op_id"]: entry for entry in OpLog(performed[0], "prelude").entries()}
    answers = [entry for entry in entries.values() if entry["actor_id"] == REVISER]
    assert len(answers) == reviser_edits()
    for answer in answers:
        (heard,) = (entries[parent] for parent in answer["parent_op_ids"])
        assert heard["actor_id"].startswith("agent-")
        assert heard["lamport_ts"] < answer["lamport_ts"]


def test_it_is_not_played_over_a_prelude_that_is_there(performed: tuple[Path, Ran]) -> None:
    root, _ = performed
    before = (root / PATH).read_bytes()
    ran = run_muse("demo", "--repo", str(root), cwd=root)
    assert ran.status == 2
    assert f"{PATH} is already there" in ran.complaint
    assert (root / PATH).read_bytes() == before


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ran = run_muse("demo", "--repo", ".", cwd=tmp_path)
    assert ran.status == 2
    assert "has files and is not a Muse repository" in ran.complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# -- when something dies -------------------------------------------------------------------------


def start_demo(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (directory / "events").open("wb") as events:
        return subprocess.Popen(
            [*COMMAND, "demo", "--json", *arguments],
            cwd=directory,
            stdout=events,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - no threads here
        )


def wait_for_event(directory: Path, name: str, count: int) -> None:
    def came() -> bool:
        events = events_in((directory / "events").read_bytes())
        return [event["event"] for event in events].count(name) >= count

    wait_until(came)


def players_of(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Find the processes of the players, by their parent and what they run."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            status = (directory / "stat").read_text()
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status.rpartition(")")[2].split()[1]) == process.pid and b"spawn_main" in command:
            yield int(directory.name)


def is_group_alive(group: int) -> bool:
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, its_group = (directory / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False


@pytest.mark.parametrize(("event", "count"), [("acknowledged", 3), ("committed", 2)])
def test_killed_as_a_whole_it_loses_no_acknowledged_edit(tmp_path: Path, event: str, count: int) -> None:
    with start_demo(tmp_path) as process:
        wait_for_event(tmp_path, event, count)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    root = tmp_path / "muse-demo"
    acknowledged = acknowledged_in(events_in((tmp_path / "events").read_bytes()))
    assert acknowledged
    assert set(acknowledged) <= {entry["op_id"] for entry in OpLog(root, "prelude").read_all()}
    assert run_muse("verify", "--json", cwd=root).record["findings"] == []
    assert run_muse("commit", "prelude", "-m", "the rest", cwd=root).status == 0
    assert run_muse("session", "list", "--json", cwd=root).record["pending"] == {}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
def test_when_the_parent_dies_the_actors_stop_by_themselves(tmp_path: Path) -> None:
    with start_demo(tmp_path) as process:
        wait_for_event(tmp_path, "acknowledged", 3)
        players = list(players_of(process))
        assert len(players) == AGENTS + 1
        process.kill()
        process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in players))
        assert process.stderr
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
def test_when_an_actor_dies_the_demo_says_so(tmp_path: Path) -> None:
    with start_demo(tmp_path) as process:
        wait_for_event(tmp_path, "acknowledged", 3)
        players = list(players_of(process))
        os.kill(players[0], signal.SIGKILL)
        _, err = process.communicate(timeout=20)
    error = json.loads(err)["error"]
    assert process.returncode == 1
    assert error["kind"] == "ActorLostError"
    assert "died (signal SIGKILL)" in error["message"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in players)


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with start_demo(tmp_path) as process:
        wait_for_event(tmp_path, "acknowledged", 3)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == b""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
@pytest.mark.parametrize("how", [[], ["--serve"]])
def test_ctrl_c_while_the_players_start_ends_it_and_all_of_them(tmp_path: Path, how: list[str]) -> None:
    with start_demo(tmp_path, *how) as process:
        wait_until(lambda: any(players_of(process)))
        players = list(players_of(process))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert len(players) < AGENTS + 1, "too late to show it"
    assert process.returncode == 130
    assert err == b""
    assert events_in((tmp_path / "events").read_bytes()) == []
    wait_until(lambda: not is_group_alive(process.pid))


def test_ctrl_c_before_the_command_is_read_in_leaves_no_traceback(tmp_path: Path) -> None:
    interrupted = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from muse.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", interrupted], cwd=tmp_path, capture_output=True, timeout=30, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")


def test_a_second_demo_takes_the_next_free_directory_and_plays_at_the_rate_asked_for(tmp_path: Path) -> None:
    (tmp_path / "muse-demo").mkdir()
    ran = run_muse("demo", "--rate", "1000", cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert TITLE in ran.out.splitlines()[0]
    assert "549 in the file, 549 as wanted, of 549" in ran.out
    assert (tmp_path / "muse-demo-2" / PATH).exists()
    assert list((tmp_path / "muse-demo").iterdir()) == []
    assert ran.out.isascii()
