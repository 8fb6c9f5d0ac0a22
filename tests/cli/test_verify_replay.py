"""What `muse verify --replay` says where a plugin is missing, and of keys that were renamed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muse.checks.replay import replay_commits
from muse.core.content_id import snapshot_id
from muse.plugins.registry import find_plugin
from tests.samples.muse_command import Muse, make_muse
from tests.samples.sealed_sample import SealedSample


@pytest.fixture
def sample(tmp_path: Path) -> SealedSample:
    return SealedSample(tmp_path)


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Muse:
    return make_muse(monkeypatch, capsys, tmp_path)


@pytest.fixture
def without_music(sample: SealedSample, monkeypatch: pytest.MonkeyPatch) -> SealedSample:
    """The package that offers the domain of music is installed no longer."""

    def find(domain: str) -> object:
        return None if domain == "music" else find_plugin(domain)

    for module in ("checks.replay", "apply.domains"):
        monkeypatch.setattr(f"muse.{module}.find_plugin", find)
    return sample


def music_commits(sample: SealedSample) -> int:
    ids = (*sample.take_one, *sample.take_two)
    return sum((sample.record(one)["structured_delta"] or {"domain": ""})["domain"] == "music" for one in ids)


def test_without_its_plugin_a_commit_is_told_as_not_made_and_is_no_fault(
    without_music: SealedSample, muse: Muse
) -> None:
    sample = without_music
    done = muse("verify", "--replay", "--json")
    assert (done.status, done.record["sound"]) == (1, True)  # not all that was asked for was done
    assert done.record["replayed"]["without_plugin"] == ["music"]
    assert done.record["replayed"]["not_made"] == music_commits(sample)
    said = muse("verify", "--replay").out
    assert (
        f"Not made: {music_commits(sample)} commits, as no plugin is installed here of domain music" in said
    )
    assert "Sound: " in said
    assert muse("verify").status == 0


@pytest.mark.parametrize("what", ["log", "delta"])
def test_without_its_plugin_a_changed_log_and_delta_are_found_all_the_same(
    without_music: SealedSample, what: str
) -> None:
    sample = without_music
    if what == "log":
        lines = sample.ops_path().read_bytes().splitlines(keepends=True)
        sample.ops_path().write_bytes(b"".join([lines[0], *lines[2:]]))
    else:
        delta: Any = sample.record(sample.take_one[0])["structured_delta"]
        sample.rewrite(sample.take_one[0], structured_delta={**delta, "summary": "nothing"})
    kinds = {finding.kind for finding in replay_commits(sample.repository).findings}
    assert ("session" if what == "log" else "delta") in kinds
    assert "snapshot" not in kinds


def test_with_all_plugins_there_is_nothing_to_say_of_them(sample: SealedSample, muse: Muse) -> None:
    done = muse("verify", "--replay", "--json")
    assert (done.status, done.record["replayed"]["not_made"]) == (0, 0)
    assert "Not made" not in muse("verify", "--replay").out
    assert sample.take_one


def renamed(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: {name + "x" * (name == key): value for name, value in document.items()}


@pytest.mark.parametrize(
    "change", [renamed("created_at"), lambda document: {**document, "note": ""}], ids=["renamed", "added"]
)
def test_a_key_of_a_snapshot_that_was_renamed_or_added_is_found(
    sample: SealedSample, muse: Muse, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    path = sample.muse / "snapshots" / f"{sample.record(sample.take_one[0])['snapshot_id']}.json"
    document = change(json.loads(path.read_bytes()))
    assert snapshot_id(document["manifest"]) == path.stem  # its id says nothing of it
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    done = muse("verify", "--json")
    assert (done.status, [finding["path"] for finding in done.record["findings"]]) == (1, [str(path)])


@pytest.mark.parametrize("key", ["test_runs", "reviewed_by"])
def test_a_renamed_key_of_a_commit_is_found_though_its_value_may_change(
    sample: SealedSample, muse: Muse, key: str
) -> None:
    path = sample.commit_path(sample.take_one[0])
    path.write_text(json.dumps(renamed(key)(json.loads(path.read_bytes())), indent=2), encoding="utf-8")
    done = muse("verify", "--replay", "--json")
    assert (done.status, {finding["path"] for finding in done.record["findings"]}) == (1, {str(path)})
