"""`muse coord`, and `muse session policy`, `proposals`, `accept`, `reject`: output and exit status."""

import json
import shlex
import uuid
from pathlib import Path

import pytest

from muse.history.repository import Repository
from tests.samples.muse_command import Muse, make_muse, run_muse
from tests.samples.project import DOCS

NOW = "2026-02-02T02:40:00+00:00"
OP = b'{"op":"insert","address":"notes.txt"}\n'


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Muse:
    Repository.init(str(tmp_path), now=NOW, any_domain=True)
    return make_muse(monkeypatch, capsys, tmp_path)


def reserve(muse: Muse, actor: str, *addresses: str) -> str:
    own: str = muse("coord", "reserve", *addresses, "--actor", actor, "--json").record["reservation_id"]
    return own


def append(muse: Muse, actor: str, *more: str, stdin: bytes = OP) -> dict[str, object]:
    return muse(
        "session", "append", "jam", "--actor", actor, "--domain", "text", "--json", *more, stdin=stdin
    ).record


# -- coord ---------------------------------------------------------------------------------------


def test_what_is_reserved_is_listed_refused_to_others_and_free_after_a_release(muse: Muse) -> None:
    ran = muse("coord", "reserve", "song.mid", "--actor", "ada", "--ttl", "600", "--operation", "rewrite")
    first, second = ran.out.splitlines()
    assert first.startswith("ada holds song.mid until 20")
    own = second.removeprefix("Reservation ").removesuffix(", epoch 1")
    heading, row = muse("coord", "list").out.splitlines()
    assert heading.split() == ["KIND", "ID", "ACTOR", "BRANCH", "ADDRESSES", "OPERATION", "UNTIL", "EPOCH"]
    assert row.split()[:6] == ["reservation", own, "ada", "main", "song.mid", "rewrite"]
    refused = muse("coord", "reserve", "song.mid/1", "--actor", "bob")
    assert refused.status == 1
    assert "ada holds song.mid until" in refused.complaint
    error = json.loads(muse("coord", "reserve", "song.mid", "--actor", "bob", "--json").err)["error"]
    assert (error["kind"], error["holders"], error["reservation_ids"]) == ("HeldError", ["ada"], [own])
    assert muse("coord", "release", own, "--actor", "bob").status == 1
    assert muse("coord", "renew", own, "--actor", "ada", "--ttl", "900").status == 0
    assert muse("coord", "release", own, "--actor", "ada").out == f"{own} is released\n"
    assert muse("coord", "release", own, "--actor", "ada", "--json").record["released"] is False
    assert muse("coord", "reserve", "song.mid", "--actor", "bob", "--json").record["epoch"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("reserve", "song.mid"),
        ("reserve", "--actor", "ada"),
        ("reserve", "..", "--actor", "ada"),
        ("reserve", "song.mid", "--actor", "ada", "--ttl", "-1"),
        ("reserve", "song.mid", "--actor", "ada", "--ttl", "nan"),
        ("reserve", "song.mid", "--actor", "ada", "--id", "mine"),
        ("renew", str(uuid.uuid4()), "--actor", "ada"),
        ("release", "none", "--actor", "ada"),
        ("intent", "", "--actor", "ada"),
        ("list", "--session", "none"),
        ("forecast", "..", "--actor", "ada"),
    ],
)
def test_misuse_is_one_line_and_status_2(muse: Muse, arguments: tuple[str, ...]) -> None:
    ran = muse("coord", *arguments)
    assert (ran.status, bool(ran.complaint)) == (2, True)


def test_a_forecast_is_a_finding_where_plans_would_collide(muse: Muse) -> None:
    assert muse("coord", "forecast").out == "Nothing would collide.\n"
    own = reserve(muse, "ada", "song.mid")
    said = muse(
        "coord", "intent", "song.mid/coda", "--actor", "bob", "--detail", "a new ending", "--json"
    ).record
    assert said["kind"] == "intent"
    ran = muse("coord", "forecast")
    assert ran.status == 1
    assert ran.out == (
        "song.mid/coda: ada's reservation of song.mid and bob's intent of song.mid/coda (a new ending)\n"
    )
    [asked] = muse("coord", "forecast", "song.mid", "--actor", "bob", "--json").records
    assert (asked["address"], asked["first"], asked["second"]["reservation_id"]) == ("song.mid", None, own)
    assert muse("coord", "forecast", "else.mid", "--actor", "bob").status == 0
    kinds = [record["kind"] for record in muse("coord", "list", "--json").records]
    assert kinds == ["reservation", "intent"]


def test_the_list_names_ops_that_passed_by_the_policy(muse: Muse, tmp_path: Path) -> None:
    reserve(muse, "ada", "notes.txt")
    append(muse, "bob")
    ran = muse("coord", "list", "--session", "jam")
    assert ran.status == 1
    assert "by bob, on what ada holds" in ran.out.splitlines()[-1]
    (tmp_path / ".muse" / "coordination" / "intents").mkdir()
    (tmp_path / ".muse" / "coordination" / "intents" / f"{uuid.uuid4()}.json").write_text("{")
    kinds = [record["kind"] for record in muse("coord", "list", "--session", "jam", "--json").records]
    assert kinds == ["reservation", "trespass", "fault"]


def test_what_is_over_is_pruned_and_what_stands_is_kept(muse: Muse) -> None:
    muse("coord", "release", reserve(muse, "ada", "song.mid"), "--actor", "ada")
    kept = reserve(muse, "bob", "song.mid")
    assert muse("coord", "prune").out == "0 records are removed\n"
    assert muse("coord", "prune", "--days", "0", "--json").record == {"removed": 3}
    assert [record["reservation_id"] for record in muse("coord", "list", "--json").records] == [kept]
    assert muse("coord", "prune", "--days", "-1").status == 2
    assert muse("coord", "prune", "--days", "nan").status == 2


def test_a_record_that_cannot_be_read_is_named_and_stops_grants_until_it_is_removed(
    muse: Muse, tmp_path: Path
) -> None:
    own, kept = reserve(muse, "ada", "song.mid"), reserve(muse, "ada", "else.mid")
    path = tmp_path / ".muse" / "coordination" / "reservations" / f"{own}.json"
    path.write_text("")
    listed = muse("coord", "list").out
    assert kept in listed
    assert f"Not read: {path}" in listed
    refused = muse("coord", "reserve", "new.mid", "--actor", "bob")
    assert (refused.status, f"{path} is not JSON" in refused.complaint) == (1, True)
    assert append(muse, "bob")["stored"] == 1
    path.unlink()
    assert muse("coord", "reserve", "song.mid", "--actor", "bob").status == 0


# -- policy and proposals ------------------------------------------------------------------------


def test_a_policy_is_shown_and_changed_rule_by_rule(muse: Muse) -> None:
    assert muse("session", "policy", "jam").out == "Reservations  advisory\nStale reads   report\n"
    changed = muse("session", "policy", "jam", "--reservations", "refuse", "--json").record
    assert changed == {
        "session_id": "jam",
        "schema_version": 1,
        "reservations": "refuse",
        "stale_reads": "report",
    }
    assert (
        muse("session", "policy", "jam", "--stale-reads", "off", "--json").record["reservations"] == "refuse"
    )
    wrong = muse("session", "policy", "jam", "--reservations", "maybe")
    assert (wrong.status, "off, advisory, refuse, propose" in wrong.complaint) == (2, True)


def test_the_command_line_appends_as_the_policy_allows(muse: Muse) -> None:
    reserve(muse, "ada", "notes.txt")
    muse("session", "policy", "jam", "--reservations", "refuse")
    refused = muse("session", "append", "jam", "--actor", "bob", "--domain", "text", stdin=OP)
    assert refused.status == 2
    assert "line 1: ada holds notes.txt" in refused.complaint
    assert append(muse, "ada") == {"session_id": "jam", "stored": 1, "known": 0}
    [entry] = muse("session", "tail", "jam", "--json").records
    assert append(muse, "bob", stdin=json.dumps(entry).encode()) == {
        "session_id": "jam",
        "stored": 0,
        "known": 1,
    }
    muse("session", "policy", "jam", "--reservations", "propose")
    assert append(muse, "bob") == {"session_id": "jam", "stored": 0, "known": 0, "proposed": 1}


def test_a_proposal_is_listed_accepted_by_the_holder_or_rejected(muse: Muse) -> None:
    muse("session", "policy", "jam", "--reservations", "propose")
    assert muse("session", "proposals", "jam").status == 2
    reserve(muse, "ada", "notes.txt")
    append(muse, "bob", stdin=OP * 2)
    first, second = muse("session", "proposals", "jam", "--json").records
    assert (first["state"], first["kind"], first["entry"]["actor_id"]) == ("open", "held", "bob")
    shown = muse("session", "proposals", "jam").out.splitlines()
    assert shown[0] == first["proposal_id"]
    assert shown[2].startswith("  held: ada holds notes.txt")
    denied = muse("session", "accept", "jam", first["proposal_id"], "--actor", "bob")
    assert (denied.status, "ada holds" in denied.complaint) == (1, True)
    accepted = muse("session", "accept", "jam", first["proposal_id"][:13], "--actor", "ada")
    assert accepted.out == f"{first['proposal_id']} is in the log, Lamport 1\n"
    rejected = muse(
        "session", "reject", "jam", second["proposal_id"], "--actor", "ada", "--reason", "no", "--json"
    )
    assert (rejected.record["state"], rejected.record["decision_reason"]) == ("rejected", "no")
    assert muse("session", "accept", "jam", second["proposal_id"], "--actor", "ada").status == 1
    assert muse("session", "accept", "jam", "feed", "--actor", "ada").status == 2
    assert muse("session", "proposals", "jam").out == "No ops of session jam are set aside.\n"
    states = [record["state"] for record in muse("session", "proposals", "jam", "--all", "--json").records]
    assert states == ["accepted", "rejected"]
    assert f"{second['proposal_id']}, rejected by ada" in muse("session", "proposals", "jam", "--all").out


def test_the_real_command_reserves_in_a_process_of_its_own(tmp_path: Path) -> None:
    assert run_muse("init", cwd=tmp_path).status == 0
    assert run_muse("coord", "reserve", "song.mid", "--actor", "ada", cwd=tmp_path).status == 0
    assert run_muse("coord", "reserve", "song.mid", "--actor", "bob", cwd=tmp_path).status == 1


def test_every_command_of_the_document_runs(muse: Muse) -> None:
    text = (DOCS / "coordination.md").read_text(encoding="utf-8")
    lines = [line.strip().partition(" #")[0] for line in text.splitlines() if line.startswith("    muse ")]
    assert len(lines) == 8
    muse("session", "policy", "jam-1", "--reservations", "propose")
    own = reserve(muse, "ada", "notes.txt")
    muse("session", "append", "jam-1", "--actor", "bob", "--domain", "text", stdin=OP)
    proposed = muse("session", "proposals", "jam-1", "--json").record["proposal_id"]
    for line in lines:
        ran = muse(*shlex.split(line.replace("6f1c2a34", proposed).removeprefix("muse ")))
        assert ran.status == ("forecast" in line), line
    assert muse("coord", "release", own, "--actor", "ada").status == 0
