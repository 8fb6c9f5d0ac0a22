"""`muse session merge`, and what the other commands say and do about entries that are held."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from muse.core.line import encode_line
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout
from muse.history.repository import Repository
from muse.upkeep.garbage import collect_garbage
from tests.samples.muse_command import Muse, make_muse, run_muse
from tests.samples.replicas import DOMAIN, commit, make_origin, make_replica, write

HELD = ".muse/op_log/jam/held.jsonl"
OPS = ".muse/op_log/jam/ops.jsonl"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "here")


@pytest.fixture
def other(tmp_path: Path, here: Path) -> Path:
    return make_replica(here, tmp_path / "other")


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path) -> Muse:
    return make_muse(monkeypatch, capsys, here)


def hold_two(root: Path) -> tuple[Any, Any, Any]:
    """Two entries in `root` that wait for a third, which is returned first."""
    cause = make_op_entry("bob", DOMAIN, {"n": 1}, 5)
    child = make_op_entry("bob", DOMAIN, {"n": 2}, 6, parent_op_ids=[cause["op_id"]])
    grandchild = make_op_entry("bob", DOMAIN, {"n": 3}, 7, parent_op_ids=[child["op_id"]])
    with OpLog(root, "jam") as log:
        assert log.merge([grandchild, child]).orphans == 2
    return cause, child, grandchild


def test_a_merge_says_what_came_in(muse: Muse, other: Path) -> None:
    write(other, "jam", 1, 2, 3)
    ran = muse("session", "merge", "jam", "../other")
    assert (ran.status, ran.out) == (0, "3 added, 0 known, 0 held, 0 in conflict, 0 refused\n")
    ran = muse("session", "merge", "jam", f"../other/{OPS}", "--json")
    assert ran.record == {
        "session_id": "jam",
        "added": 0,
        "known": 3,
        "held": 0,
        "conflicts": 0,
        "refused": 0,
        "reasons": [],
    }
    assert ran.status == 0


def test_what_did_not_come_in_is_named_and_the_status_is_1(muse: Muse, here: Path, tmp_path: Path) -> None:
    good, twin = make_op_entry("bob", DOMAIN, {"n": 1}, 1), make_op_entry("bob", DOMAIN, {"n": 2}, 2)
    garbage = make_op_entry("bob", DOMAIN, {"n": 3}, 2**52)
    with OpLog(here, "jam") as log:
        log.append({**twin, "domain_op": {"n": 9}})  # type: ignore[typeddict-item]
    lines = b"".join(map(encode_line, (good, twin, garbage)))
    (tmp_path / "ops.jsonl").write_bytes(lines + encode_line(good).replace(b"bob", b"eve"))
    ran = muse("session", "merge", "jam", "../ops.jsonl")
    assert ran.status == 1
    assert ran.out.startswith("1 added, 0 known, 0 held, 1 in conflict, 2 refused\n")
    for reason in (f"op {twin['op_id']}: the log has", f"op {garbage['op_id']}: ", "the crc does not match"):
        assert reason in ran.out
    assert ran.err.startswith("muse: 1 in conflict and 2 refused did not come in")
    again = muse("session", "merge", "jam", "../ops.jsonl", "--json")
    assert (again.status, len(again.record["reasons"])) == (1, 3)
    assert (again.record["known"], again.record["conflicts"], again.record["refused"]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("jam", "../nowhere"), "../nowhere is not there"),
        (("jam", "../other"), "there is no session 'jam'"),
        (("jam", ".."), "no Muse repository|is not a Muse repository|no repository"),
        (("jam", "../other", "--from-session", "none"), "there is no session 'none'"),
        (("jam", f"../other/{OPS.replace('jam', 'waltz')}", "--from-session", "x"), "is not a repository"),
        (("jam", ".", "--from-session", "own"), "session 'own' is of this repository too"),
        (("jam", OPS.replace("jam", "own")), "session 'own' is of this repository too"),
        (("../jam", "../other", "--from-session", "waltz"), "session"),
    ],
)
def test_misuse_is_status_2_and_leaves_nothing(
    muse: Muse, here: Path, other: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    write(other, "waltz", 1)
    write(here, "own", 1)
    ran = muse("session", "merge", *arguments)
    assert ran.status == 2
    assert any(part in ran.complaint for part in complaint.split("|")), ran.complaint
    assert os.listdir(here / ".muse/op_log") == ["own"]


def test_the_session_may_have_another_name_there(muse: Muse, other: Path) -> None:
    write(other, "waltz", 1, 2)
    assert muse("session", "merge", "jam", "../other", "--from-session", "waltz").status == 0
    assert muse("session", "list", "--json").record["entries"] == 2


def test_a_session_merged_with_itself_is_known(muse: Muse, here: Path) -> None:
    write(here, "jam", 1, 2)
    for source in (".", OPS):
        assert muse("session", "merge", "jam", source, "--json").record["known"] == 2


def test_the_command_runs_in_a_process_of_its_own(here: Path, other: Path) -> None:
    write(other, "jam", 1)
    assert run_muse("session", "merge", "jam", str(other), cwd=here).status == 0


# -- held ----------------------------------------------------------------------------------------


def test_held_entries_are_shown_with_the_parents_they_wait_for(muse: Muse, here: Path, other: Path) -> None:
    cause, _, _ = hold_two(here)
    assert (
        f"Held        2 entries, until these parents come: {cause['op_id']}\n"
        in muse("session", "show", "jam").out
    )
    record = muse("session", "show", "jam", "--json").record
    assert (record["held"], record["missing_parents"]) == (2, [cause["op_id"]])
    assert "2 held" in muse("session", "list").out
    assert muse("session", "list", "--json").record["held"] == 2
    with OpLog(other, "jam") as log:
        log.append(cause)
    assert muse("session", "merge", "jam", "../other").out.startswith("3 added")
    assert "Held" not in muse("session", "show", "jam").out
    assert not (here / HELD).exists()


def test_what_another_tool_brought_the_parents_of_is_said_to_come_in_next(muse: Muse, here: Path) -> None:
    cause, _, _ = hold_two(here)
    with (here / OPS).open("ab") as file:
        file.write(json.dumps(cause).encode() + b"\n")
    assert "whose parents have come" in muse("session", "show", "jam").out
    assert muse("commit", "jam", "-m", "All").status == 0
    assert muse("session", "show", "jam", "--json").record["held"] == 0


def test_an_archive_is_refused_while_entries_wait_unless_they_are_named(muse: Muse, here: Path) -> None:
    _, child, grandchild = hold_two(here)
    write(here, "jam", 9)
    commit(here)
    held = (here / HELD).read_bytes()
    assert "has 2 entries whose parents are not here" in muse("session", "archive", "jam").complaint
    assert muse("session", "archive", "jam", "--abandon", child["op_id"]).status == 2
    named = ("--abandon", child["op_id"], "--abandon", grandchild["op_id"])
    assert muse("session", "archive", "jam", *named).status == 0
    assert (here / HELD).read_bytes() == held
    assert muse("session", "show", "jam", "--json").record["held"] == 2
    assert muse("session", "restore", "jam").status == 0
    assert (here / HELD).read_bytes() == held
    assert muse("session", "archive", "jam", "--abandon-pending").status == 0


def test_a_changed_byte_of_what_is_held_is_found(muse: Muse, here: Path) -> None:
    hold_two(here)
    good = (here / HELD).read_bytes()
    assert muse("verify").status == muse("session", "check", "jam").status == 0
    for place in [*range(0, len(good), 7), len(good) - 1]:
        (here / HELD).write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        ran = muse("session", "check", "jam", "--json")
        assert ran.status == 1, place
        assert ran.records[0]["path"].endswith("held.jsonl")
        assert f"{HELD} is damaged at byte" in ran.records[0]["message"]
    ran = muse("verify")
    assert ran.status == 1
    assert HELD in ran.out


def test_what_a_held_op_names_is_no_garbage(here: Path) -> None:
    write(here, "jam", 1)
    repository = Repository.open(str(here))
    named, unnamed = (repository.objects.put(content) for content in (b"named", b"unnamed"))
    assert named == hashlib.sha256(b"named").hexdigest()
    with OpLog(here, "jam") as log:
        log.merge(
            [
                make_op_entry(
                    "bob",
                    DOMAIN,
                    {"content_id": named},
                    5,
                    parent_op_ids=["0" * 8 + "-0000-4000-8000-" + "0" * 12],
                )
            ]
        )
        assert len(log.orphans.entries()) == 1
    collect_garbage(str(here), grace_seconds=0)
    assert repository.objects.has(named)
    assert not repository.objects.has(unnamed)
    (here / HELD).unlink()
    collect_garbage(str(here), grace_seconds=0)
    assert not repository.objects.has(named)
    assert not os.path.exists(layout.orphans_file(str(here), "jam"))
