"""Foresight: what receipts tell of ops without effect is what the commit tells in the end."""

import gc
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.history.repository import Repository
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import delete_note, insert_note, rename_file
from muse.session import foresight as foresight_module
from muse.session.guarded_log import GuardedLog, Request
from muse.session.live import LiveSession
from muse.session.receipt import Receipt
from muse.session.text_replica import CodeReplica

C4 = Note(pitch=60, velocity=80, start_tick=0, duration_ticks=480)
LOST = {"domain": "code", "domain_op": {"op": "delete", "address": "none.txt", "position": None}}


def random_op(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.4:
        path, name = f"{chance.choice('ab')}.mid", chance.choice("xyz")
        ops: list[Any] = [insert_note(path, name, C4), delete_note(path, name, C4)]
        ops.append(rename_file(path, f"{chance.choice('ab')}.mid"))
        return {"domain": "music", "domain_op": chance.choice(ops)}
    path = f"{chance.choice('abc')}.txt"
    place = {"address": path, "position": chance.choice([None, 0, 2, 5])}
    kind = chance.choice(["insert", "insert", "delete", "move"])
    if kind == "move":
        op = {**place, "position": None, "op": kind, "to_address": f"{chance.choice('abc')}.txt"}
    elif kind == "insert":
        op = {**place, "op": kind, "text": chance.choice(["one\n", "2"])}
    else:
        op = {**place, "op": kind} | ({} if place["position"] is None else {"length": 1})
    return {"domain": "code", "domain_op": op}


@pytest.mark.parametrize("seed", range(6))
def test_receipts_tell_what_the_commit_tells(tmp_path: Path, seed: int) -> None:
    repository, _ = Repository.init(str(tmp_path))
    chance = random.Random(seed)
    with LiveSession(tmp_path, "jam") as live, OpLog(tmp_path, "jam") as log:
        guarded = GuardedLog(repository, log)
        for _ in range(3):
            receipts: list[Receipt] = []
            for _ in range(25):
                receipts += guarded.append([random_op(chance)], actor_id=chance.choice(["ada", "bob"]))
            told = {one.op_id: one.reason for one in receipts if one.kind == "ineffective"}
            decided: dict[str, list[str]] = {}
            for found in live.commit("Some").ignored:
                decided.setdefault(found.op_id, []).append(found.reason)
            assert told == {op_id: "; ".join(reasons) for op_id, reasons in decided.items()}
            assert 0 < len(told) < len(receipts)


def test_edits_of_a_replica_are_followed_too(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path))
    with LiveSession(tmp_path, "jam") as live:
        replica = CodeReplica(live, live.log, "ada")
        replica.create("a.txt", "one\n")
        guarded = GuardedLog(repository, live.log)
        edit = {
            "domain": "code",
            "domain_op": {"op": "insert", "address": "a.txt", "position": 4, "text": "2"},
        }
        [receipt] = guarded.append([edit], actor_id="bob")
        assert (receipt.status, receipt.kind) == ("stored", "")
        replica.remove("a.txt")
        replica.refresh()
        [receipt] = guarded.append([LOST], actor_id="bob")
        assert receipt.kind == "ineffective"


def test_nothing_is_told_of_a_raw_op_whose_author_had_not_seen_all(tmp_path: Path) -> None:
    repository, _ = Repository.init(str(tmp_path))
    with OpLog(tmp_path, "jam") as log:
        guarded = GuardedLog(repository, log)
        log.record("ada", "code", {"op": "insert", "address": "a.txt", "position": None, "text": ""})
        [unseen] = guarded.append([{**LOST, "parent_op_ids": []}], actor_id="bob")
        [seen] = guarded.append([LOST], actor_id="bob")
    assert (unseen.status, unseen.kind, seen.kind) == ("stored", "", "ineffective")


def test_it_gives_up_where_much_comes_at_once_until_the_branch_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight_module, "_MOST_BEHIND_BYTES", 2_000)
    repository, _ = Repository.init(str(tmp_path))
    with LiveSession(tmp_path, "jam") as live:
        guarded = GuardedLog(repository, live.log)
        assert guarded.append([LOST], actor_id="ada")[0].kind == "ineffective"
        assert {one.kind for one in guarded.append([LOST] * 20, actor_id="ada")} == {""}
        assert guarded.append([LOST], actor_id="ada")[0].kind == ""
        assert len(live.commit("All of them are told here").ignored) == 22
        guarded.append([{"domain": "code", "domain_op": {"op": "delete", "address": "x"}}], actor_id="ada")
        assert guarded.append([LOST], actor_id="ada")[0].kind == "ineffective"


@pytest.mark.parametrize("bound", ["_MOST_WORKED_ON_BYTES", "_MEMORY"])
def test_it_gives_up_where_it_would_work_on_much_until_the_branch_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    repository, _ = Repository.init(str(tmp_path))
    edit = {"domain": "code", "domain_op": {"op": "insert", "address": "a.txt", "position": 0, "text": "1"}}
    with LiveSession(tmp_path, "jam") as live:
        CodeReplica(live, live.log, "ada").create("a.txt", "large\n" * 1_000)
        live.commit("A large file")
        room = foresight_module._Memory(4_000)
        monkeypatch.setattr(foresight_module, bound, room if bound == "_MEMORY" else 4_000)
        guarded = GuardedLog(repository, live.log)
        assert guarded.append([LOST], actor_id="ada")[0].kind == "ineffective"
        guarded.append([edit], actor_id="ada")
        assert guarded.append([LOST], actor_id="ada")[0].kind == ""
        assert room._left == 4_000
        assert len(live.commit("All of them are told here").ignored) == 2
        assert guarded.append([LOST], actor_id="ada")[0].kind == "ineffective"
        del guarded
    gc.collect()
    assert room._left == 4_000


def test_ops_that_each_cost_a_whole_file_are_followed_no_longer_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = Repository.init(str(tmp_path))
    paths = [f"{number}.mid" for number in range(10)]
    renames = [{"domain": "music", "domain_op": rename_file(*pair)} for pair in pairwise(paths)]
    with LiveSession(tmp_path, "jam") as live:
        live.edit("ada", "music", insert_note(paths[0], "x", C4))
        live.commit("A file")
        guarded = GuardedLog(repository, live.log)
        assert guarded.append([LOST], actor_id="ada")[0].kind == "ineffective"
        taken: list[Any] = []
        take = foresight_module.Foresight._take

        def noting(self: foresight_module.Foresight, entry: OpEntry) -> str:
            taken.append(entry)
            return take(self, entry)

        monkeypatch.setattr(foresight_module.Foresight, "_take", noting)
        monkeypatch.setattr(foresight_module, "_MOST_SECONDS", 0)
        guarded.append(renames, actor_id="ada")
        assert len(taken) == 1
        assert guarded.append([LOST], actor_id="ada")[0].kind == ""
        assert len(live.commit("All is told here").ignored) == 2


@pytest.mark.parametrize(
    ("bound", "value"), [("_MOST_SECONDS_AT_ONCE", 0), ("_MOST_FILE_BYTES_AT_ONCE", 20_000)]
)
def test_what_takes_long_is_not_done_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    repository, _ = Repository.init(str(tmp_path))
    edit = {"domain": "code", "domain_op": {"op": "insert", "address": "a.txt", "position": 0, "text": "1"}}
    with LiveSession(tmp_path, "jam") as live:
        CodeReplica(live, live.log, "ada").create("a.txt", "large\n" * 10_000)
        live.commit("A large file")
        guarded = GuardedLog(repository, live.log)
        assert guarded.append_at_once([Request("ada", [LOST])]) is None
        assert guarded.append([LOST], actor_id="ada")[0].kind == "ineffective"
        monkeypatch.setattr(foresight_module, bound, value)
        assert guarded.append_at_once([Request("ada", [edit, LOST])]) is not None
        for _ in range(2):  # it begins anew where it may take its time
            assert guarded.append_at_once([Request("ada", [LOST])]) is None
            assert guarded.append([LOST], actor_id="ada")[0].kind == "ineffective"
