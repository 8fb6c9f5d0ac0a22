"""The heads of a log: the ops that a new op rests on, so that it rests on all that is there."""

from pathlib import Path

import pytest

from muse.core import heads as heads_module
from muse.core.line import encode_line
from muse.core.op_log import OpLog, make_op_entry
from muse.disk import layout


def record(log: OpLog, actor: str, *parents: str, domain: str = "code") -> str:
    return log.record(actor, domain, {"op": "x"}, parent_op_ids=parents)["op_id"]


def names(log: OpLog, domain: str = "code") -> list[str]:
    log.heads.catch_up()
    return log.heads.names(domain)


def test_the_heads_are_the_last_op_of_each_actor_that_no_other_names(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path, "jam") as reader:
        assert names(reader) == []
        record(log, "ada")
        ada, bob = record(log, "ada"), record(log, "bob")
        assert names(reader) == [ada, bob]
        joined = record(log, "zoe", ada, bob)
        assert names(reader) == [joined]
        later = record(log, "ada")
        assert names(reader) == names(log) == [joined, later]
        assert names(reader, "music") == []


def test_a_line_that_comes_twice_is_no_new_head(tmp_path: Path) -> None:
    first, second = make_op_entry("ada", "code", {}, 1), make_op_entry("ada", "code", {}, 2)
    path = Path(layout.ops_file(str(tmp_path), "jam"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(map(encode_line, (first, second, first))))
    with OpLog(tmp_path, "jam") as log:
        assert names(log) == [second["op_id"]]


def test_what_was_noted_is_forgotten_if_it_did_not_enter(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        there = record(log, "ada")
        assert names(log) == [there]
        log.heads.note(make_op_entry("bob", "code", {}, 7, parent_op_ids=[there]))
        assert names(log) != [there]
        log.heads.forget()
        assert names(log) == [there]


def test_what_was_noted_is_taken_back_and_what_came_meanwhile_is_kept(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path, "jam") as other:
        there = record(log, "ada")
        assert names(log) == [there]
        kept = log.heads.kept({"code", "music"})
        log.heads.note(make_op_entry("bob", "code", {}, 7, parent_op_ids=[there]))
        log.heads.note(make_op_entry("bob", "music", {}, 8))
        came = record(other, "zoe", domain="music")
        assert len(names(log, "music")) == 2
        log.heads.put_back(kept)
        assert names(log) == [there]
        assert names(log, "music") == [came]


def test_much_that_is_to_be_read_is_told_before_it_is_read(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path, "jam") as other:
        assert not log.heads.is_far_behind()
        other.record_many("bob", "code", [{"op": "x" * 100}] * 1_000)
        assert log.heads.is_far_behind()
        log.heads.catch_up()
        assert not log.heads.is_far_behind()
        record(other, "bob")
        assert not log.heads.is_far_behind()


def test_at_most_256_heads_are_named_the_newest(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        made = [record(log, f"actor-{number}") for number in range(300)]
        assert names(log) == made[-256:]


def test_of_what_is_committed_only_the_newest_part_is_read_and_all_that_is_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "_COMMITTED_BYTES", 400)
    with OpLog(tmp_path, "jam") as log:
        record(log, "old")
        committed = [record(log, actor) for actor in ("ada", "bob")]
        with OpLog(tmp_path, "jam") as reader:
            assert len(names(reader)) == 3
        log.checkpoint("s")
        with OpLog(tmp_path, "jam") as reader:
            assert names(reader) == committed[-1:]


def test_an_author_rests_on_the_newest_op_it_has_read_of_each_actor(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        ada = [record(log, "ada") for _ in range(3)]
        bob = record(log, "bob", ada[1])
        log.heads.catch_up()
        assert log.heads.seen_by("code", {"ada": 1}) == [ada[0]]
        assert log.heads.seen_by("code", {"ada": 2, "bob": 4}) == [bob]
        assert log.heads.seen_by("code", {"ada": 3, "bob": 4}) == [ada[2], bob]
        assert log.heads.seen_by("code", {"ada": 99, "nobody": 4, "bob": 3}) == [ada[2]]
        assert log.heads.seen_by("music", {"ada": 99}) == []


def test_damage_is_passed_over(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        ada, bob = record(log, "ada"), record(log, "bob")
    path = Path(layout.ops_file(str(tmp_path), "jam"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"actor_id":"ada"', b'"actor_id":"adx"', 1))
    with OpLog(tmp_path, "jam") as log:
        assert names(log) == [bob]
        assert ada not in names(log)
