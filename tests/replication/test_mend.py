"""A replica is mended from another: whatever file of it is lost, or has a changed byte."""

import base64
import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.checks.verify import Report, verify_repository
from muse.core.line import frame
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import MuseError, UsageError
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.replication.local_peer import LocalPeer
from muse.replication.mend import Mended
from muse.replication.repair import Repaired, repair_from
from muse.session.live import LiveSession
from muse.testing import FailingStorage
from muse.workdir.workdir import Workdir
from tests.samples.replicas import make_origin, make_replica, pull_from

REPLICATED = ("objects", "commits", "snapshots", "refs", "op_log", "HEAD", "repo.json")

Two = tuple[Path, Path]


def play(root: Path, pitch: int, session_id: str = "jam") -> None:
    with LiveSession(root, session_id) as session:
        note = Note(pitch, 80, pitch * 10, 480)
        session.edit("ada", "music", insert_note(f"{session_id}.mid", f"n{pitch}", note))
        text = {"op": "insert", "address": f"{pitch}.txt", "position": None, "text": f"{pitch}\n"}
        session.edit("bob", "code", text)
        session.commit(f"Note {pitch}")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    """Two replicas with the same history, a merge among it."""
    place = tmp_path_factory.mktemp("replicas")
    first = make_origin(place / "first")
    play(first, 60)
    second = make_replica(first, place / "second")
    play(first, 61)
    play(second, 62, "solo")
    pull_from(second, first)
    pull_from(first, second)
    play(first, 63)
    pull_from(second, first)
    return first, second


def replicated_files(root: Path) -> Iterator[Path]:
    for path in sorted((root / ".muse").rglob("*")):
        kind = path.relative_to(root / ".muse").parts[0]
        if path.is_file() and kind in REPLICATED and path.suffix in {"", ".json", ".jsonl"}:
            yield path


def repair(root: Path, other: Path) -> Repaired:
    with LocalPeer(str(other)) as peer:
        return repair_from(str(root), peer)


def assert_sound(root: Path) -> None:
    assert verify_repository(str(root), replay=True).findings == []


def change_byte(path: Path) -> bytes:
    data = path.read_bytes()
    changed = with_changed_byte(data, len(data) // 2, 0x20)
    path.write_bytes(changed)
    return changed


def with_changed_byte(data: bytes, place: int, bits: int = 1) -> bytes:
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


def test_a_replica_without_fault_is_left_as_it_is(two: Two) -> None:
    before = {path: path.read_bytes() for path in replicated_files(two[1])}
    repaired = repair(two[1], two[0])
    assert (repaired.mended, repaired.is_sound) == ((), True)
    assert {path: path.read_bytes() for path in replicated_files(two[1])} == before


def test_a_repair_replays_history_once_and_once_more_if_the_replay_mends(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    replays: list[bool] = []

    def counted(root: str, *arguments: Any, replay: bool = False) -> Report:
        replays.append(replay)
        return verify_repository(root, *arguments, replay=replay)

    monkeypatch.setattr("muse.replication.repair.verify_repository", counted)
    root = tmp_path / "root"
    shutil.copytree(second, root)
    assert repair(root, first).is_sound
    assert replays == [False, True]
    replays.clear()
    next((root / ".muse" / "snapshots").iterdir()).unlink()
    assert repair(root, first).is_sound
    assert replays == [False, False, True]


def test_whatever_file_is_lost_comes_again_from_another_replica(two: Two, tmp_path: Path) -> None:
    first, second = two
    for number, path in enumerate(replicated_files(second)):
        root = tmp_path / str(number)
        shutil.copytree(second, root)
        lost = root / path.relative_to(second)
        lost.unlink()
        repaired = repair(root, first)
        assert repaired.report.findings == [], lost


def test_whatever_file_has_a_changed_byte_is_mended_and_its_bytes_are_kept(two: Two, tmp_path: Path) -> None:
    first, second = two
    for number, path in enumerate(replicated_files(second)):
        root = tmp_path / str(number)
        shutil.copytree(second, root)
        rotten = root / path.relative_to(second)
        changed = change_byte(rotten)
        repaired = repair(root, first)
        assert repaired.report.findings == [], rotten
        if rotten.name not in {"ops.jsonl", "checkpoint.json"}:
            [aside] = [one.aside for one in repaired.mended if one.aside]
            assert Path(aside).read_bytes() == changed


def test_whole_directories_that_are_lost_come_again(two: Two, tmp_path: Path) -> None:
    first, second = two
    for name in ("objects", "commits", "snapshots", "op_log"):
        root = tmp_path / name
        shutil.copytree(second, root)
        shutil.rmtree(root / ".muse" / name)
        assert repair(root, first).report.findings == [], name


def test_what_neither_side_has_is_named_and_the_rest_is_mended(two: Two, tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "other"]
    for root, source in zip(roots, two, strict=True):
        shutil.copytree(source, root)
    objects = [path.relative_to(two[1]) for path in replicated_files(two[1]) if "objects" in path.parts]
    for root in roots:
        (root / objects[0]).unlink()
    (roots[1] / objects[1]).unlink()
    repaired = repair(roots[1], roots[0])
    assert not repaired.is_sound
    assert [one.name for one in repaired.mended] == ["".join(objects[1].parts[-2:])]
    assert "".join(objects[0].parts[-2:]) in repaired.failed[0]


def test_a_fault_that_the_other_side_has_too_is_no_reason_to_replace_anything(
    two: Two, tmp_path: Path
) -> None:
    roots = [tmp_path / "one", tmp_path / "other"]
    [path, *_] = [path.relative_to(two[1]) for path in replicated_files(two[1]) if "commits" in path.parts]
    for root, source in zip(roots, two, strict=True):
        shutil.copytree(source, root)
        text = (root / path).read_text()
        (root / path).write_text(text.replace('"author": ""', '"author": "eve"').replace('"muse"', '"eve"'))
    before = (roots[1] / path).read_bytes()
    repaired = repair(roots[1], roots[0])
    assert not repaired.is_sound
    assert repaired.mended == ()
    assert (roots[1] / path).read_bytes() == before


def test_a_disk_that_fails_at_a_call_of_a_repair_loses_nothing_and_the_next_repair_does_the_rest(
    two: Two, tmp_path: Path
) -> None:
    first, second = two
    fails_at, was_reached = 1, True
    while was_reached:
        root = tmp_path / str(fails_at)
        shutil.copytree(second, root)
        rotten = [next((root / ".muse" / kind).rglob("*.json")) for kind in ("commits", "snapshots")]
        changed = {path.name: change_byte(path) for path in rotten}
        (root / ".muse" / "op_log" / "jam" / "ops.jsonl").unlink()
        storage = FailingStorage(fails_at, "EIO")
        with contextlib.suppress(MuseError), LocalPeer(str(first)) as peer:  # any other error fails the test
            repair_from(str(root), peer, storage)
        was_reached = storage.failed
        assert repair(root, first).is_sound, fails_at
        kept = {path.name: path.read_bytes() for path in (root / ".muse" / "damaged").rglob("*.json")}
        assert kept == changed
        shutil.rmtree(root)
        fails_at += max(1, fails_at // 6)


def test_a_replica_of_another_repository_mends_nothing(two: Two, tmp_path: Path) -> None:
    other = make_origin(tmp_path / "other")
    with pytest.raises(UsageError, match="unrelated"):
        repair(two[1], other)


# -- pull -----------------------------------------------------------------------------------------


def kinds(mended: tuple[Mended, ...]) -> set[str]:
    return {one.kind for one in mended}


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_pull_mends_what_the_branch_shows(two: Two, tmp_path: Path, *, is_lost: bool) -> None:
    first, second = two
    repository = Repository.open(str(second))
    head = repository.dag.head("main") or ""
    record = repository.dag.read_commit(head)
    objects = repository.read_tree(head).values()
    names = [f"objects/{name[:2]}/{name[2:]}" for name in objects]
    names += [f"commits/{head}.json", f"snapshots/{record['snapshot_id']}.json"]
    for number, name in enumerate(names):
        root = tmp_path / str(number)
        shutil.copytree(second, root)
        path = root / ".muse" / name
        if is_lost:
            path.unlink()
        else:
            change_byte(path)
        assert kinds(pull_from(root, first).mended) == {name.partition("s/")[0]}
        assert_sound(root)


def test_a_pull_mends_a_line_of_a_log(two: Two, tmp_path: Path) -> None:
    first, second = two
    root = tmp_path / "copy"
    shutil.copytree(second, root)
    path = root / ".muse" / "op_log" / "jam" / "ops.jsonl"
    data = path.read_bytes()
    place = data.index(b'"domain"')
    path.write_bytes(data[:place] + b"?" + data[place + 1 :])
    exchange = pull_from(root, first)
    assert kinds(exchange.mended) == {"session"}
    with OpLog(root, "jam") as here, OpLog(first, "jam") as there:
        assert here.read_all() == there.read_all()
    assert_sound(root)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def small_two(tmp_path: Path) -> Two:
    """Two replicas with one short log."""
    first = make_origin(tmp_path / "small")
    with LiveSession(first, "jam") as session:
        for name in ("one", "two", "three"):
            session.edit("ada", "code", {"op": "insert", "address": name, "position": None, "text": name})
        session.commit("Three ops")
    return first, make_replica(first, tmp_path / "small copy")


def test_a_pull_mends_a_changed_byte_in_a_log_though_the_line_stays_json(tmp_path: Path) -> None:
    first, root = small_two(tmp_path)
    path = root / ".muse" / "op_log" / "jam" / "ops.jsonl"
    whole = path.read_bytes()
    with OpLog(first, "jam") as there:
        entries = there.read_all()
    in_text = whole.index(b'"text":"two') + len(b'"text":"')
    second = whole.index(b"\n") + 1
    for place in (15, 44, 60, second + 15, in_text, whole.index(b'"crc":"') + 9, whole.index(b"\n")):
        path.write_bytes(with_changed_byte(whole, place))
        pull_from(root, first)
        with OpLog(root, "jam") as here:
            assert here.read_all() == entries, place
        assert_sound(root)
        path.write_bytes(whole)


def test_an_op_that_is_damaged_here_and_was_never_there_stays_named_after_a_repair(tmp_path: Path) -> None:
    first, root = small_two(tmp_path)
    with OpLog(root, "jam") as log:
        lost = log.record(
            "ada", "code", {"op": "insert", "address": "b", "position": None, "text": "precious"}
        )
    path = root / ".muse" / "op_log" / "jam" / "ops.jsonl"
    rotten = path.read_bytes().replace(b"precious", b"previous").replace(b'"text":"two', b'"text":"tww')
    path.write_bytes(rotten)
    for _ in range(2):
        repaired = repair(root, first)
        assert not repaired.is_sound
        assert [finding.kind for finding in repaired.report.findings] == ["session"]
    assert b"previous" in path.read_bytes()
    with OpLog(root, "jam") as log:
        assert [damage.op_id for damage in log.damages()] == [lost["op_id"]]


def test_damage_that_turns_an_op_id_into_that_of_another_op_is_not_taken_for_that_op(tmp_path: Path) -> None:
    first, root = small_two(tmp_path)
    with OpLog(root, "jam") as log:
        log.record("ada", "code", {"op": "insert", "address": "b", "position": None, "text": "precious"})
    path = root / ".muse" / "op_log" / "jam" / "ops.jsonl"
    *others, lost = lines_of(path)
    path.write_bytes(b"".join(others) + others[0][:46] + lost[46:])
    repaired = repair(root, first)
    assert not repaired.is_sound
    assert b"precious" in path.read_bytes()


def test_a_lost_branch_of_a_replica_that_diverged_names_its_own_newest_commit_again(tmp_path: Path) -> None:
    first, root = small_two(tmp_path)
    play(first, 64, "solo")
    for number in (65, 66):
        play(root, number)
    dag = Repository.open(str(root)).dag
    head = dag.head("main")
    (root / ".muse" / "refs" / "heads" / "main").unlink()
    repaired = repair(root, first)
    assert dag.head("main") == head
    assert repaired.is_sound
    pull_from(root, first)
    assert_sound(root)


@pytest.mark.parametrize("place", [0, 31, 63])
def test_a_branch_of_which_a_digit_became_another_names_its_commit_again(tmp_path: Path, place: int) -> None:
    first, root = small_two(tmp_path)
    play(root, 65)
    branch = root / ".muse" / "refs" / "heads" / "main"
    text = branch.read_text()
    changed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
    branch.write_text(changed)
    repaired = repair(root, first)
    assert (branch.read_text(), repaired.is_sound, repaired.failed) == (text, True, ())
    [aside] = [one.aside for one in repaired.mended if one.kind == "ref"]
    assert Path(aside).read_text() == changed


def test_a_branch_whose_commit_is_lost_on_both_sides_stays_and_is_named(tmp_path: Path) -> None:
    first, root = small_two(tmp_path)
    play(root, 65)
    head = Repository.open(str(root)).dag.head("main") or ""
    Path(layout.commit_file(str(root), head)).unlink()
    repaired = repair(root, first)
    assert not repaired.is_sound
    assert Repository.open(str(root)).dag.head("main") == head


def damaged_directory(root: Path, name: str) -> tuple[Workdir, Path, bytes]:
    """Record a text, and change a byte of what is remembered of it."""
    (root / "a.txt").write_text("one\n")
    directory = Workdir(Repository.open(str(root)), None, "ada", session_id="jam")
    directory.record()
    (root / "a.txt").write_text("one\ntwo\n")
    directory.record()
    path = next((root / ".muse" / "workdir").glob(name))
    return directory, path, change_byte(path)


def test_a_damaged_part_of_what_is_remembered_of_a_directory_is_set_aside(tmp_path: Path) -> None:
    first, root = small_two(tmp_path)
    _, path, changed = damaged_directory(root, "root.parts/*/*")
    repaired = repair(root, first)
    assert repaired.is_sound
    assert [(one.kind, one.name) for one in repaired.mended if one.aside] == [("workdir", str(path))]
    assert [Path(one.aside).read_bytes() for one in repaired.mended if one.aside] == [changed]


def test_damage_of_what_is_remembered_of_a_directory_is_named_until_the_next_record(tmp_path: Path) -> None:
    first, root = small_two(tmp_path)
    directory, path, _ = damaged_directory(root, "root.json")
    assert [one.path for one in repair(root, first).report.findings] == [str(path)]
    (root / "a.txt").write_text("one\ntwo\nthree\n")
    directory.record()
    assert (root / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert_sound(root)


# -- one op with two bodies ------------------------------------------------------------------------


def give_other_body(path: Path, place: int, *, framed: bool) -> None:
    """Give the op of a line another body, with a right crc or none: the line is one of the log still."""
    lines = lines_of(path)
    body = re.sub(rb',"crc":"[0-9a-f]{8}"\}$', b"}", lines[place].rstrip(b"\n")).replace(b'"ada"', b'"eve"')
    lines[place] = frame(body) if framed else body + b"\n"
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("place", [0, -2])
@pytest.mark.parametrize("framed", [False, True])
def test_an_op_with_another_body_here_gets_the_one_that_its_commit_seals(
    tmp_path: Path, place: int, *, framed: bool
) -> None:
    first, second = small_two(tmp_path)
    path = first / ".muse" / "op_log" / "jam" / "ops.jsonl"
    whole = path.read_bytes()
    give_other_body(path, place, framed=framed)
    odd = lines_of(path)[place]
    assert odd not in whole
    there = (second / ".muse" / "op_log" / "jam" / "ops.jsonl").read_bytes()
    repaired = repair(first, second)
    assert repaired.report.findings == []
    assert repaired.is_sound
    with OpLog(first, "jam") as here, OpLog(second, "jam") as other:
        assert here.read_all() == other.read_all()
        assert here.replay_since_checkpoint() == []
    [side_file] = path.parent.glob("ops.damaged-*.jsonl")
    assert base64.b64decode(json.loads(side_file.read_bytes())["bytes"]) == odd
    assert str(side_file) in {one.aside for one in repaired.mended}
    assert (second / ".muse" / "op_log" / "jam" / "ops.jsonl").read_bytes() == there
    with LiveSession(first, "jam") as session:
        assert session.commit("Nothing new").commit_ids == ()
    assert repair(first, second).mended == ()


def test_a_body_that_no_commit_seals_is_taken_from_nobody(tmp_path: Path) -> None:
    first, second = small_two(tmp_path)
    path = second / ".muse" / "op_log" / "jam" / "ops.jsonl"
    give_other_body(path, 0, framed=True)
    ours = (first / ".muse" / "op_log" / "jam" / "ops.jsonl").read_bytes()
    assert repair(first, second).sessions[0].conflicts == 1
    assert (first / ".muse" / "op_log" / "jam" / "ops.jsonl").read_bytes() == ours
    assert_sound(first)
