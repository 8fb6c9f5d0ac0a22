"""By which rule the ops of a commit become files, and how a replay knows it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from muse.apply.domains import rules_text, stated_rules
from muse.checks.replay import replay_commits
from muse.domain import Application
from muse.history.repository import Repository
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, decode, encode
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_file, insert_note
from muse.plugins.music.plugin import MusicPlugin
from muse.session.live import LiveSession
from tests.apply.test_merge_heads import commit, pull_from

NOW = "2026-01-02T03:04:05+00:00"
PROGRAM_AFTER_NOTE = (Event(0, b"\x90\x3c\x40"), Event(0, b"\xc0\x05"), Event(9, b"\x80\x3c\x40"))
SONG = encode(EventFile(1, 480, (EventTrack(PROGRAM_AFTER_NOTE, 9),)))
NEW = Note(64, 80, 480, 480)


class EarlierMusic:
    """The domain of music as the builds before the second rule had it."""

    def apply(
        self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]], fetch: Callable[[str], bytes]
    ) -> Application:
        return MusicPlugin(rule=1).apply(files, ops, fetch)


def edit(root: Path, name: str) -> str:
    return commit(
        root, "ada", lambda session, _: session.edit("ada", "music", insert_note("a.mid", name, NEW))
    )


def first_events(root: Path) -> list[str]:
    return [event.message.hex() for event in decode((root / "a.mid").read_bytes()).tracks[0].events][:2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    here.mkdir()
    Repository.init(str(here), now=NOW)
    with LiveSession(here, "jam") as session:
        session.edit("ada", "music", insert_file("a.mid", SONG))
        session.commit("A song")
    return here


def message_of(root: Path, commit_id: str) -> str:
    return Repository.open(str(root)).dag.read_commit(commit_id)["message"]


def test_a_commit_names_its_rule_and_an_earlier_one_is_made_again_by_the_first(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        for module in ("domains", "net"):
            earlier.setattr(f"muse.apply.{module}.find_plugin", lambda _domain: EarlierMusic())
        old = edit(root, "old")
    assert stated_rules(message_of(root, old)) == {}
    assert first_events(root) == ["c005", "903c40"]
    new = edit(root, "new")
    assert stated_rules(message_of(root, new)) == {"music": 3}
    assert first_events(root) == ["c005", "903c40"]
    report = replay_commits(Repository.open(str(root)))
    assert (report.findings, report.commits) == ([], 3)


def test_a_commit_of_a_later_rule_is_told_and_is_no_reason_to_stop(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr("muse.session.commit.rules_text", lambda _domains: "music 4")
        edit(root, "new")
    report = replay_commits(Repository.open(str(root)))
    assert report.commits == 2
    [finding] = report.findings
    assert "made by rule 4" in finding.message
    assert "install a newer version" in finding.message


def test_a_merge_names_its_rules(root: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(root, there)
    edit(root, "here")
    edit(there, "there")
    head = pull_from(root, there)
    assert stated_rules(message_of(root, head)) == {"music": 3}
    assert first_events(root) == ["903c40", "c005"]
    assert replay_commits(Repository.open(str(root))).findings == []


def test_only_domains_that_have_rules_are_named() -> None:
    assert rules_text(["nobody-knows"]) is None
    assert rules_text(["music", "code", "music"]) == "code 2, music 3"


@pytest.mark.parametrize("text", ["", "music", "music 0", "music x", "music 22222222222"])
def test_what_names_no_rule_is_no_rule(text: str) -> None:
    assert stated_rules(f"Merge\n\nMuse-Rules: {text}\n") == {}
