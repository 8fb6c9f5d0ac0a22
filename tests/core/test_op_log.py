"""One session's log: what is acknowledged is there, once, in one order, and pending until it is covered."""

import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.entry import MAX_LAMPORT, Limits, OpEntry, total_order
from muse.core.file import log_reader
from muse.core.file.objects import ObjectStore
from muse.core.line import encode_line
from muse.core.op_list import encode_op_list
from muse.core.op_log import Durability, OpLog, list_sessions, make_op_entry
from muse.disk.storage import Storage
from muse.errors import ConflictError, CorruptionError, InvalidEntryError, MuseError, StorageError, UsageError
from muse.testing import FailingStorage, Fault
from tests.samples.folding_storage import FoldingStorage

SPAWN = multiprocessing.get_context("spawn")
NOW = "2026-01-02T03:04:05+00:00"
DIGEST = "e" * 64
INSERT = {"op": "insert", "address": "a"}


def session_directory(root: Path, session_id: str = "jam") -> Path:
    return root / ".muse" / "op_log" / session_id


def ops_file(root: Path) -> Path:
    return session_directory(root) / "ops.jsonl"


def add(root: Path, data: bytes) -> None:
    session_directory(root).mkdir(parents=True, exist_ok=True)
    with ops_file(root).open("ab") as log:
        log.write(data)


def entry(stamp: int, actor: str = "eve", domain: str = "notes", **op: Any) -> OpEntry:
    return make_op_entry(actor, domain, op, stamp)


def plain(value: object) -> Any:
    """A typed dict, seen as the plain one it is at run time."""
    return value


def numbers(entries: list[OpEntry]) -> list[Any]:
    return [cast("dict[str, Any]", one["domain_op"]).get("n") for one in entries]


# -- making and recording ------------------------------------------------------------------------


def test_a_made_entry_has_what_it_was_made_from() -> None:
    parent = entry(1)["op_id"]
    made = make_op_entry("ada", "notes", INSERT, 7, parent_op_ids=[parent], intent_id="i", reservation_id="r")
    assert made["actor_id"] == "ada"
    assert made["domain"] == "notes"
    assert plain(made["domain_op"]) == INSERT
    assert made["lamport_ts"] == 7
    assert (made["parent_op_ids"], made["intent_id"], made["reservation_id"]) == ([parent], "i", "r")
    bare = make_op_entry("ada", "notes", INSERT, 7)
    assert (bare["parent_op_ids"], bare["intent_id"], bare["reservation_id"]) == ([], "", "")
    assert made["op_id"] != bare["op_id"]


def test_a_recorded_op_is_in_the_log_for_every_reader(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", INSERT)
        second = log.record("bob", "notes", {"op": "delete"}, parent_op_ids=[first["op_id"]], intent_id="i")
        with OpLog(str(tmp_path), "jam") as other:
            assert other.read_all() == log.read_all() == [first, second]
        assert second["lamport_ts"] > first["lamport_ts"]
        assert log.session_id() == "jam"


def test_several_ops_are_recorded_with_one_write(tmp_path: Path) -> None:
    writes: list[int] = []

    class Counting(Storage):
        def write(self, descriptor: int, data: Any, /) -> int:
            writes.append(len(data))
            return os.write(descriptor, data)

    with OpLog(tmp_path, "jam", storage=Counting()) as log:
        entries = log.record_many("ada", "notes", ({"n": number} for number in range(5)))
        assert writes == [ops_file(tmp_path).stat().st_size]
        assert log.read_all() == entries
        assert [one["lamport_ts"] for one in entries] == [1, 2, 3, 4, 5]
        assert log.record_many("ada", "notes", []) == []


def test_nothing_is_written_before_the_first_append(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        assert log.read_all() == log.replay_since_checkpoint() == []
        assert log.next_lamport_ts() == 1
        assert log.read_checkpoint() is None
        assert log.cut().offset == 0
        assert list(log.damages()) == []
        log.sync()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("op", [[1], None, "insert", 5, True, ["op"]])
def test_an_op_that_is_no_object_is_refused_before_it_is_written(tmp_path: Path, op: Any) -> None:
    with OpLog(tmp_path, "jam") as log:
        with pytest.raises(InvalidEntryError):
            log.record("ada", "notes", op)
        assert log.read_all() == []


@pytest.mark.parametrize(
    ("actor", "domain", "others"),
    [
        ("", "notes", {}),
        ("ada", "", {}),
        (None, "notes", {}),
        ("a" * 257, "notes", {}),
        ("a\ud800", "notes", {}),
        ("ada", "notes", {"intent_id": None}),
        ("ada", "notes", {"reservation_id": 1}),
        ("ada", "notes", {"parent_op_ids": ["x"]}),
        ("ada", "notes", {"parent_op_ids": "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f"}),
    ],
)
def test_a_wrong_name_is_refused_before_it_is_written(
    tmp_path: Path, actor: Any, domain: Any, others: dict[str, Any]
) -> None:
    with OpLog(tmp_path, "jam") as log:
        with pytest.raises(InvalidEntryError):
            log.record(actor, domain, {}, **others)
        assert log.read_all() == []


def test_an_op_of_ten_mebibytes_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        for write in (
            lambda op: log.record("ada", "notes", op),
            lambda op: log.append(make_op_entry("ada", "notes", op, 1)),
        ):
            with pytest.raises(InvalidEntryError, match="at most 1048576"):
                write({"text": "x" * (10 << 20)})
        assert log.read_all() == []


@pytest.mark.parametrize("value", [float("nan"), b"x", {1}, (1,), "\ud800", {1: 2}, 2**64])
def test_a_value_that_json_would_change_is_refused_and_the_log_goes_on(tmp_path: Path, value: Any) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {"n": 1})
        with pytest.raises(InvalidEntryError):
            log.record("ada", "notes", {"v": value})
        with pytest.raises(InvalidEntryError):
            log.record_many("ada", "notes", [{"n": 7}, {"v": value}])
        log.record("ada", "notes", {"n": 2})
        assert numbers(log.read_all()) == [1, 2]


def test_an_unknown_durability_or_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="durability"):
        OpLog(tmp_path, "jam", durability=cast("Any", "ssd"))
    with OpLog(tmp_path, "jam") as log, pytest.raises(UsageError, match="order"):
        list(log.entries(order=cast("Any", "random")))


def test_a_closed_log_takes_no_more_and_closing_twice_is_fine(tmp_path: Path) -> None:
    log = OpLog(tmp_path, "jam")
    log.record("ada", "notes", {"n": 1})
    log.close()
    log.close()
    (tmp_path / "stranger").write_bytes(b"")
    with (tmp_path / "stranger").open("r+b"):  # may get the descriptor that was the log's
        for use in (
            lambda: log.record("ada", "notes", {}),
            lambda: log.append(entry(5)),
            lambda: log.record_many("ada", "notes", [{}]),
            log.next_lamport_ts,
            lambda: log.checkpoint(DIGEST),
            log.sync,
        ):
            with pytest.raises(UsageError, match="closed"):
                use()
    assert (tmp_path / "stranger").read_bytes() == b""


# -- order and clock -----------------------------------------------------------------------------


def test_all_is_read_in_the_total_order_in_whatever_order_it_arrived(tmp_path: Path) -> None:
    entries = [entry(number // 3 + 1, actor=f"actor-{number % 2}") for number in range(12)]
    for trial in range(10):
        random.Random(trial).shuffle(entries)
        with OpLog(tmp_path / str(trial), "jam") as log:
            log.append_many(entries)
            assert log.read_all() == sorted(entries, key=total_order)
            assert list(log.entries()) == entries
            assert list(log.entries(order="total")) == sorted(entries, key=total_order)


def test_the_clock_continues_after_reopening(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        with OpLog(tmp_path, "jam") as log:
            assert log.record("ada", "notes", {})["lamport_ts"] == expected
            if expected == 2:
                log.checkpoint(DIGEST)


def test_the_clock_takes_in_what_other_handles_append(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as one, OpLog(tmp_path, "jam") as two:
        stamps = [log.record("ada", "notes", {})["lamport_ts"] for log in (one, two, two, one, two, one)]
        assert stamps == [1, 2, 3, 4, 5, 6]
        two.append(entry(100))
        assert one.next_lamport_ts() == 101
        assert one.record("ada", "notes", {})["lamport_ts"] == 102


def test_a_stamp_absurdly_far_ahead_is_refused(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        for stamp in (MAX_LAMPORT, 2**40, 2**63):
            with pytest.raises(InvalidEntryError):
                log.append(entry(stamp))
        assert log.next_lamport_ts() == 2


def test_a_stamp_absurdly_far_ahead_in_the_file_is_not_adopted_even_through_a_checkpoint(
    tmp_path: Path,
) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        add(tmp_path, encode_line(entry(MAX_LAMPORT)))
        assert log.record("ada", "notes", {})["lamport_ts"] == 2
        log.checkpoint(DIGEST)
    with OpLog(tmp_path, "jam") as log:
        assert log.record("ada", "notes", {})["lamport_ts"] == 3


@pytest.mark.parametrize("newest", [0, 3, 100])
@pytest.mark.parametrize("by", ["append", "record", "another handle"])
def test_a_parent_is_found_however_long_ago_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newest: int, by: str
) -> None:
    monkeypatch.setattr(log_reader, "NEWEST_AT_MOST", newest)
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path, "jam") as other:
        log.append(entry(1))
        writer = other if by == "another handle" else log
        made = []
        for stamp in range(2, 12):
            if by == "record":
                made.append(log.record("ada", "notes", {}))
            else:
                made.append(entry(stamp))
                writer.append(made[-1])
            log.append(entry(1))  # the index takes it in
        for parent in made:
            stamp = parent["lamport_ts"]
            with pytest.raises(
                InvalidEntryError, match=rf"does not exceed that of its parent .* \({stamp}\)"
            ):
                log.append(make_op_entry("bob", "notes", {}, stamp, parent_op_ids=[parent["op_id"]]))
            assert log.append(make_op_entry("bob", "notes", {}, stamp + 1, parent_op_ids=[parent["op_id"]]))
            assert not log.append(parent)


def test_an_entry_must_be_later_than_its_parents(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        parent = entry(5)
        log.append(parent)
        for stamp in (4, 5):
            with pytest.raises(InvalidEntryError, match="does not exceed that of its parent"):
                log.append(make_op_entry("ada", "notes", {}, stamp, parent_op_ids=[parent["op_id"]]))
        log.append(make_op_entry("ada", "notes", {}, 6, parent_op_ids=[parent["op_id"]]))
        assert len(log.read_all()) == 2


# -- ready-made entries --------------------------------------------------------------------------


def test_an_entry_is_stored_once_however_often_it_is_appended(tmp_path: Path) -> None:
    one, two = entry(1), entry(2)
    with OpLog(tmp_path, "jam") as log:
        assert log.append(one)
        assert not log.append(one)
        assert log.append_many([one, two, two, one]) == 1
        log.checkpoint(DIGEST)
        assert not log.append(one)
    with OpLog(tmp_path, "jam") as log:
        assert log.append_many([two, one]) == 0
        assert log.read_all() == [one, two]
        assert ops_file(tmp_path).read_bytes().count(b"\n") == 2
        assert log.replay_since_checkpoint() == []


def test_a_recorded_op_appended_again_is_stored_once(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path, "jam") as other:
        entries = [log.record("ada", "notes", {"n": number}) for number in range(5)]
        assert other.append_many(entries) == 0
        entries.append(other.record("bob", "notes", {"n": 5}))
        assert log.append_many(entries) == 0
        assert log.read_all() == entries


def test_the_same_op_id_with_another_body_is_a_conflict_that_names_it(tmp_path: Path) -> None:
    one = entry(1)
    changed = cast("OpEntry", {**one, "actor_id": "mallory"})
    with OpLog(tmp_path, "jam") as log:
        log.append(one)
        for batch in ([changed], [entry(2), changed]):
            with pytest.raises(ConflictError) as caught:
                log.append_many(batch)
            assert caught.value.op_id == one["op_id"]
        assert log.read_all() == [one]
    with OpLog(tmp_path, "other") as log, pytest.raises(ConflictError):
        log.append_many([one, changed])
    assert list_sessions(tmp_path) == ["jam"]


def test_a_file_that_holds_one_op_id_with_two_bodies_is_a_conflict_unless_salvaged(tmp_path: Path) -> None:
    one = entry(1)
    add(tmp_path, encode_line(one) + encode_line(cast("OpEntry", {**one, "actor_id": "mallory"})))
    with OpLog(tmp_path, "jam") as log:
        for read in (log.read_all, log.replay_since_checkpoint):
            with pytest.raises(ConflictError) as caught:
                read()
            assert caught.value.op_id == one["op_id"]
            assert read(salvage=True) == [one]


def test_a_line_that_stands_twice_in_the_file_is_one_op(tmp_path: Path) -> None:
    lines = [encode_line(entry(number, n=number)) for number in (1, 2, 3)]
    add(tmp_path, lines[0] + lines[1] + lines[0] + lines[2] + lines[1])
    with OpLog(tmp_path, "jam") as log:
        assert numbers(log.read_all()) == numbers(log.replay_since_checkpoint()) == [1, 2, 3]
        assert numbers(list(log.entries())) == [1, 2, 3]
        log.checkpoint(DIGEST)
        add(tmp_path, lines[1])
        assert log.replay_since_checkpoint() == []


def test_many_entries_are_all_in_or_none(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        with pytest.raises(InvalidEntryError):
            log.append_many([entry(1), entry(2), cast("OpEntry", {**entry(3), "domain": ""})])
        assert log.read_all() == []
        assert log.append_many(entry(number) for number in (1, 2)) == 2
        assert log.append_many([]) == 0


# -- filters -------------------------------------------------------------------------------------


def test_entries_are_filtered_and_bounded_by_cuts(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {"n": 1, "address": "a/x"})
        first = log.cut()
        log.record("bob", "notes", {"n": 2, "address": "b/x"})
        second = log.cut()
        log.record("ada", "code", {"n": 3, "address": "a/y"})
        assert numbers(list(log.entries(actor="ada"))) == [1, 3]
        assert numbers(list(log.entries(domain="notes"))) == [1, 2]
        assert numbers(list(log.entries(address="a/"))) == [1, 3]
        assert numbers(list(log.entries(since=first))) == [2, 3]
        assert numbers(list(log.entries(until=second))) == [1, 2]
        assert numbers(list(log.entries(since=first, until=second.offset))) == [2]


# -- delta, cut and checkpoint -------------------------------------------------------------------


def test_a_delta_has_the_pending_ops_of_its_domain_and_a_summary(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        assert plain(log.to_structured_delta("notes")) == {"domain": "notes", "ops": [], "summary": "no ops"}
        for kind in ("insert", "delete", "insert", "insert"):
            log.record("ada", "notes", {"op": kind})
        log.record("ada", "code", {"op": "patch"})
        delta = log.to_structured_delta("notes")
        assert delta["summary"] == "3 insert, 1 delete"
        assert [op["op"] for op in delta["ops"]] == ["insert", "delete", "insert", "insert"]


def test_a_checkpoint_covers_all_up_to_now_if_nothing_was_collapsed(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record(actor, "notes", {}) for actor in ("ada", "bob", "ada")]
        checkpoint = log.checkpoint(DIGEST, commit_id="c" * 64)
        assert checkpoint["session_id"] == "jam"
        assert checkpoint["snapshot_id"] == DIGEST
        assert (checkpoint["lamport_ts"], checkpoint["op_count"]) == (3, 3)
        assert checkpoint["frontier"] == {"ada": 3, "bob": 2}
        assert checkpoint["commit_id"] == "c" * 64
        assert log.read_checkpoint() == checkpoint
        assert log.replay_since_checkpoint() == []
        assert log.cut().offset == ops_file(tmp_path).stat().st_size
        assert log.checkpoints.coverage().cut == log.cut()
        assert log.checkpoints.with_commits([]) == log.checkpoints.coverage()
        later = log.record("ada", "notes", {})
        assert log.replay_since_checkpoint() == [later]
        assert log.read_all() == [*entries, later]


def test_an_op_appended_between_delta_and_checkpoint_is_in_the_next_delta(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path, "jam") as other:
        log.record("ada", "notes", {"n": 1})
        assert len(log.to_structured_delta("notes")["ops"]) == 1
        own, theirs = log.record("ada", "notes", {"n": 2}), other.record("bob", "notes", {"n": 3})
        log.checkpoint(DIGEST)
        assert log.replay_since_checkpoint() == [own, theirs]
        assert plain(log.to_structured_delta("notes"))["ops"] == [{"n": 2}, {"n": 3}]


def test_an_op_of_a_domain_that_was_not_collapsed_stays_pending(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {"n": 1})
        code = log.record("ada", "code", {"n": 2})
        log.record("ada", "notes", {"n": 3})
        log.to_structured_delta("notes")
        log.checkpoint(DIGEST)
        assert log.replay_since_checkpoint() == [code]
    with OpLog(tmp_path, "jam") as log:
        assert log.replay_since_checkpoint() == [code]
        assert plain(log.to_structured_delta("notes"))["ops"] == []


def test_a_straggler_is_pending_though_its_stamp_is_covered(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        for _ in range(5):
            log.record("ada", "notes", {})
        log.checkpoint(DIGEST)
        late, later = entry(2, actor="zoe"), entry(1, actor="ada")
        log.append_many([late, later])
        assert log.replay_since_checkpoint() == [later, late]
    with OpLog(tmp_path, "jam") as log:
        assert log.replay_since_checkpoint() == [later, late]
        assert log.checkpoint(DIGEST)["op_count"] == 7
        assert log.replay_since_checkpoint() == []


def test_two_handles_that_each_collapse_a_domain_cover_only_what_they_collapsed(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as notes, OpLog(tmp_path, "jam") as code:
        notes.record("ada", "notes", {"n": 1})
        notes.record("ada", "code", {"n": 2})
        notes.to_structured_delta("notes")
        late = code.record("ada", "notes", {"n": 3})
        code.record("ada", "code", {"n": 4})
        code.to_structured_delta("code")
        code.checkpoint(DIGEST)
        notes.checkpoint(DIGEST)
        assert notes.replay_since_checkpoint() == code.replay_since_checkpoint() == [late]


def test_an_older_cut_never_hides_what_a_newer_one_of_another_domain_passed(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {"n": 1})
        cut = log.cut()
        late = log.record("ada", "notes", {"n": 2})
        log.record("ada", "code", {"n": 3})
        log.to_structured_delta("code")
        log.checkpoint(DIGEST)
        log.checkpoint(DIGEST, until=cut)
        assert log.replay_since_checkpoint() == [late]


def test_a_cut_counts_the_entries_before_it_whoever_wrote_them(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log, OpLog(tmp_path, "jam") as other:
        for number in range(1, 8):
            (log, other)[number % 2].record("ada", "notes", {})
            for handle in (log, other):
                cut = handle.cut()
                assert (cut.op_count, cut.lamport_ts) == (number, number)
                assert cut.offset == ops_file(tmp_path).stat().st_size
        log.append(entry(3))
        assert other.cut().op_count == 8
        assert other.cut().lamport_ts == 7


class _Model:
    """What a log is to do, with every entry in a plain list."""

    def __init__(self) -> None:
        self.entries: list[OpEntry] = []
        self.covered: set[str] = set()
        self.collapsed: list[dict[str, list[str]]] = [{}, {}]

    def pending(self, domain: str | None = None) -> list[OpEntry]:
        left = [one for one in self.entries if one["op_id"] not in self.covered]
        return sorted((one for one in left if domain in {None, one["domain"]}), key=total_order)

    def collapse(self, handle: int, domain: str) -> None:
        self.collapsed[handle][domain] = [one["op_id"] for one in self.entries if one["domain"] == domain]

    def checkpoint(self, handle: int) -> None:
        collapsed = self.collapsed[handle]
        everything = {"": [one["op_id"] for one in self.entries]}
        for op_ids in (collapsed or everything).values():
            self.covered.update(op_ids)
        self.collapsed[handle] = {}


actions = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(
            ["record a", "record b", "straggler a", "repeat", "delta a", "delta b", "checkpoint", "reopen"]
        ),
    ),
    max_size=30,
)


@given(actions)
@settings(max_examples=150, deadline=None)
def test_coverage_is_what_a_simple_model_says(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[int, str]]
) -> None:
    root, model = tmp_path_factory.mktemp("log"), _Model()
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(OpLog(root, "jam")) for _ in range(2)]
        for handle, action in actions:
            log = logs[handle]
            kind, _, domain = action.partition(" ")
            if kind == "record":
                model.entries.append(log.record("ada", domain, {}))
            elif kind == "straggler":
                model.entries.append(entry(1, domain=domain))
                log.append(model.entries[-1])
            elif kind == "repeat" and model.entries:
                assert not log.append(model.entries[len(model.entries) // 2])
            elif kind == "delta":
                delta = log.to_structured_delta(domain)
                assert delta["ops"] == [one["domain_op"] for one in model.pending(domain)]
                model.collapse(handle, domain)
            elif kind == "checkpoint":
                model.checkpoint(handle)
                assert log.checkpoint(DIGEST)["op_count"] == len(model.covered)
            elif kind == "reopen":
                log.close()
                logs[handle] = stack.enter_context(OpLog(root, "jam"))
                model.collapsed[handle] = {}
            assert logs[0].replay_since_checkpoint() == logs[1].replay_since_checkpoint() == model.pending()
        assert logs[0].read_all() == sorted(model.entries, key=total_order)


# -- checkpoints that cannot be trusted ----------------------------------------------------------


def test_a_checkpoint_of_five_keys_covers_the_first_ops_of_the_file(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "notes", {"n": number}) for number in range(4)]
    checkpoint = {"session_id": "jam", "snapshot_id": "s", "lamport_ts": 3, "op_count": 3, "created_at": NOW}
    path = session_directory(tmp_path) / "checkpoint.json"
    path.write_text(json.dumps(checkpoint, indent=2))
    with OpLog(tmp_path, "jam") as log:
        assert plain(log.read_checkpoint()) == checkpoint
        assert log.replay_since_checkpoint() == entries[3:]
        assert log.record("ada", "notes", {})["lamport_ts"] == 5
        assert log.checkpoint(DIGEST)["op_count"] == 5
    path.write_text(json.dumps({**checkpoint, "op_count": 6}))
    with OpLog(tmp_path, "jam") as log, pytest.raises(CorruptionError, match="put the whole log back"):
        log.replay_since_checkpoint()


def test_another_sessions_checkpoint_is_refused(tmp_path: Path) -> None:
    for session in ("jam", "other"):
        with OpLog(tmp_path, session) as log:
            log.record("ada", "notes", {})
            log.checkpoint(DIGEST)
    other = session_directory(tmp_path, "other") / "checkpoint.json"
    (session_directory(tmp_path) / "checkpoint.json").write_bytes(other.read_bytes())
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})  # to write on is safe: nothing is taken for covered
        for use in (log.read_checkpoint, log.replay_since_checkpoint):
            with pytest.raises(CorruptionError, match="'other', not 'jam'"):
                use()


def test_a_damaged_checkpoint_never_means_that_nothing_is_covered(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        log.checkpoint(DIGEST)
    path = session_directory(tmp_path) / "checkpoint.json"
    for data in (b"", b"{}", path.read_bytes()[:-5], b"\0" * 200):
        path.write_bytes(data)
        with OpLog(tmp_path, "jam") as log, pytest.raises(CorruptionError):
            log.replay_since_checkpoint()


def test_a_log_shorter_than_its_checkpoint_is_refused_and_hides_no_new_op(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        for _ in range(3):
            log.record("ada", "notes", {})
        log.checkpoint(DIGEST)
    ops_file(tmp_path).write_bytes(ops_file(tmp_path).read_bytes()[:-10])
    size = ops_file(tmp_path).stat().st_size
    with OpLog(tmp_path, "jam") as log:
        for use in (lambda: log.record("ada", "notes", {}), log.replay_since_checkpoint, log.cut):
            with pytest.raises(CorruptionError, match="put the whole log back"):
                use()
    assert ops_file(tmp_path).stat().st_size == size


def test_a_log_cut_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        for _ in range(3):
            log.record("ada", "notes", {})
        log.cut()
        os.truncate(ops_file(tmp_path), 100)
        with pytest.raises(CorruptionError, match="became shorter"):
            log.record("ada", "notes", {})


def test_a_checkpoint_is_rebuilt_from_what_a_commit_says(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", {})
        later = log.record("ada", "notes", {})
        (session_directory(tmp_path) / "checkpoint.json").write_bytes(b"rubbish")
        objects = ObjectStore(str(tmp_path))
        op_list = objects.put(encode_op_list([first["op_id"]]))
        log.checkpoints.adopt(log.checkpoints.with_commits([op_list]), DIGEST, "c" * 64)
        assert log.checkpoints.with_commits([op_list]) == log.checkpoints.coverage()
        rebuilt = log.read_checkpoint()
        assert rebuilt is not None
        assert rebuilt["op_count"] == 1
        assert log.replay_since_checkpoint() == [later]
        unknown = objects.put(encode_op_list([str(uuid.uuid4())]))
        with pytest.raises(CorruptionError, match="lacks 1 ops"):
            log.checkpoints.with_commits([unknown])
        assert log.checkpoints.with_commits([unknown], salvage=True).op_lists == (unknown,)


# -- damage --------------------------------------------------------------------------------------


def test_a_torn_tail_is_the_end_of_the_log_and_the_next_append_starts_clean(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", {})
        add(tmp_path, encode_line(entry(2))[:50])
        assert log.read_all() == [first]
        second = log.record("ada", "notes", {})
        assert log.read_all() == [first, second]
        assert [damage.kind for damage in log.damages()] == ["torn"]
        assert log.replay_since_checkpoint() == [first, second]
        third = log.record("ada", "notes", {})
        assert ops_file(tmp_path).read_bytes().count(b"\n\n") == 0
        assert log.read_all() == [first, second, third]


def test_a_log_cut_at_any_byte_is_a_valid_prefix_that_can_be_appended_to(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "notes", {"n": number, "t": "é\n"}) for number in range(3)]
    data = ops_file(tmp_path).read_bytes()
    for length in range(len(data) + 1):
        ops_file(tmp_path).write_bytes(data[:length])
        with OpLog(tmp_path, "jam") as log:
            whole = data[:length].count(b"\n")
            assert log.read_all() == entries[:whole]
            if length % 7 == 0:
                # A line that lacked only its newline gets it.
                whole += data[length - 1 : length + 1] == b"}\n"
                added = log.record("bob", "notes", {})
                assert log.read_all() == [*entries[:whole], added]


def test_corruption_is_named_by_its_place_and_blocks_unless_salvaged(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "notes", {"text": f"op-{number}"}) for number in range(3)]
        lines = ops_file(tmp_path).read_bytes().splitlines(keepends=True)
        ops_file(tmp_path).write_bytes(lines[0] + lines[1].replace(b"op-1", b"op-X") + lines[2])
        for read in (log.read_all, log.replay_since_checkpoint, lambda: log.to_structured_delta("notes")):
            with pytest.raises(CorruptionError, match=entries[1]["op_id"]) as caught:
                read()
            assert caught.value.offset == len(lines[0])
        with pytest.raises(CorruptionError):
            list(log.entries())
        good = [entries[0], entries[2]]
        assert log.read_all(salvage=True) == list(log.entries(salvage=True)) == good
        assert log.replay_since_checkpoint(salvage=True) == good
        assert len(log.to_structured_delta("notes", salvage=True)["ops"]) == 2
        [damage] = log.damages()
        assert (damage.offset, damage.length, damage.kind) == (len(lines[0]), len(lines[1]) - 1, "corrupt")


@pytest.mark.parametrize("text", ["[]", "null", "{}", "1", '{"op_id":1}'])
def test_foreign_json_in_the_log_is_corruption_and_nothing_worse(tmp_path: Path, text: str) -> None:
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", {})
        add(tmp_path, text.encode() + b"\n")
        second = log.record("ada", "notes", {})
        with pytest.raises(CorruptionError):
            log.read_all()
        assert log.read_all(salvage=True) == [first, second]


def test_the_lines_of_other_tools_are_ops(tmp_path: Path) -> None:
    entries = [entry(number, n=number) for number in (1, 2)]
    add(tmp_path, b"".join(json.dumps(one).encode() + b"\r\n" for one in entries))
    with OpLog(tmp_path, "jam") as log:
        assert log.read_all() == entries
        assert log.record("ada", "notes", {})["lamport_ts"] == 3
        assert log.append_many(entries) == 0


def test_a_log_rewritten_with_crlf_reads_the_same(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "notes", {"n": number}) for number in range(3)]
    ops_file(tmp_path).write_bytes(ops_file(tmp_path).read_bytes().replace(b"\n", b"\r\n"))
    with OpLog(tmp_path, "jam") as log:
        assert log.read_all() == entries
        log.record("ada", "notes", {})
        assert log.checkpoint(DIGEST)["op_count"] == 4
        assert log.replay_since_checkpoint() == []


def test_lines_in_another_order_are_the_same_state(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "notes", {"n": number}) for number in range(8)]
    lines = ops_file(tmp_path).read_bytes().splitlines(keepends=True)
    random.Random(3).shuffle(lines)
    ops_file(tmp_path).write_bytes(b"".join(lines))
    with OpLog(tmp_path, "jam") as log:
        assert log.read_all() == entries
        assert plain(log.to_structured_delta("notes"))["ops"] == [{"n": number} for number in range(8)]


def test_utf_16_and_a_byte_order_mark_are_reported(tmp_path: Path) -> None:
    text = encode_line(entry(1)).decode()
    for data in (text.encode("utf-16"), text.encode("utf-8-sig")):
        session_directory(tmp_path).mkdir(parents=True, exist_ok=True)
        ops_file(tmp_path).write_bytes(data + b"\n")
        with OpLog(tmp_path, "jam") as log, pytest.raises(CorruptionError):
            log.read_all()


# -- names ---------------------------------------------------------------------------------------


def test_sessions_are_listed_sorted_and_only_those_with_a_log(tmp_path: Path) -> None:
    assert list_sessions(tmp_path) == []
    for name in ("b", "a", "C"):
        with OpLog(tmp_path, name) as log:
            log.record("ada", "notes", {})
    session_directory(tmp_path, "empty").mkdir()
    session_directory(tmp_path, ".hidden").mkdir()
    (session_directory(tmp_path, ".hidden") / "ops.jsonl").write_bytes(b"")
    (session_directory(tmp_path, "file")).write_bytes(b"")
    assert list_sessions(str(tmp_path)) == ["C", "a", "b"]


@pytest.mark.parametrize("session_id", ["../x", "/etc/x", "", ".", "..", "a\0b", "x" * 300, "a/b", "a..b"])
def test_a_session_id_that_leaves_its_place_is_refused(tmp_path: Path, session_id: str) -> None:
    with pytest.raises(UsageError):
        OpLog(tmp_path, session_id)
    assert os.listdir(tmp_path) == []


def test_sessions_that_differ_by_case_alone_are_two_sessions(tmp_path: Path) -> None:
    for name in ("Jam", "jam"):
        with OpLog(tmp_path, name) as log:
            log.record(name, "notes", {})
    assert list_sessions(tmp_path) == ["Jam", "jam"]
    assert [entry["actor_id"] for entry in OpLog(tmp_path, "Jam").read_all()] == ["Jam"]


def test_a_file_system_that_folds_case_refuses_a_session_that_would_get_into_another(tmp_path: Path) -> None:
    storage = FoldingStorage()
    with OpLog(tmp_path, "Jam", storage=storage) as log:
        log.record("ada", "notes", {})
    with OpLog(tmp_path, "jam", storage=storage) as twin:
        for use in (lambda: twin.record("ada", "notes", {}), lambda: twin.append(entry(1))):
            with pytest.raises(UsageError, match="by case alone"):
                use()
    with OpLog(tmp_path, "Jam", storage=storage) as log:
        log.record("ada", "notes", {})
        assert len(log.read_all()) == 2
    assert list_sessions(tmp_path) == ["Jam"]


class CountingStorage(Storage):
    def __init__(self) -> None:
        self.looks = 0

    def path_status(self, path: str) -> os.stat_result:
        self.looks += 1
        return super().path_status(path)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        for found in super().names(path):
            self.looks += 1
            yield found


def test_a_new_session_looks_at_none_of_the_others(tmp_path: Path) -> None:
    looks = []
    for number in range(40):
        storage = CountingStorage()
        with OpLog(tmp_path, f"jam-{number}", storage=storage) as log:
            log.record("ada", "notes", {})
        looks.append(storage.looks)
    if tmp_path.stat().st_nlink < 2:
        pytest.skip("this file system does not count the directories in one")
    assert looks[39] == looks[1]


def test_a_repository_holds_so_many_sessions_and_no_more(tmp_path: Path) -> None:
    limits = Limits(sessions=2)
    for name in ("a", "b", "a"):
        with OpLog(tmp_path, name, limits=limits) as log:
            log.record("ada", "notes", {})
    with OpLog(tmp_path, "c", limits=limits) as log, pytest.raises(UsageError, match="limit"):
        log.record("ada", "notes", {})


# -- what is no log ------------------------------------------------------------------------------


def make_symlink(path: Path) -> None:
    path.with_name("target").write_bytes(b"")
    path.symlink_to(path.with_name("target"))


def make_hard_link(path: Path) -> None:
    path.with_name("target").write_bytes(b"")
    os.link(path.with_name("target"), path)


@pytest.mark.parametrize("make", [make_symlink, make_hard_link, os.mkfifo, os.mkdir])
def test_anything_but_a_file_with_one_name_is_refused_as_a_log(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    session_directory(tmp_path).mkdir(parents=True)
    make(ops_file(tmp_path))
    with OpLog(tmp_path, "jam") as log:
        for use in (lambda: log.record("ada", "notes", {}), lambda: log.append(entry(1)), log.read_all):
            with pytest.raises(StorageError):
                use()
    target = ops_file(tmp_path).with_name("target")
    assert not target.exists() or target.read_bytes() == b""


def swap_for_another(path: Path) -> None:
    path.with_name("new").write_bytes(b"")
    path.with_name("new").replace(path)


@pytest.mark.parametrize(
    "change",
    [lambda path: path.rename(path.with_name("moved")), swap_for_another, lambda path: path.unlink()],
)
@pytest.mark.parametrize("by_record", [True, False])
def test_a_log_renamed_replaced_or_deleted_under_a_writer_is_noticed(
    tmp_path: Path, change: Callable[[Path], None], *, by_record: bool
) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        change(ops_file(tmp_path))
        for stamp in (2, 3):
            with pytest.raises(StorageError, match="renamed, replaced or deleted"):
                log.record("ada", "notes", {}) if by_record else log.append(entry(stamp))


def test_every_writer_of_a_log_notices_that_it_is_gone(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as one, OpLog(tmp_path, "jam") as two:
        one.record("ada", "notes", {})
        two.record("ada", "notes", {})
        ops_file(tmp_path).unlink()
        for log in (one, two, one, two):
            with pytest.raises(StorageError, match="renamed, replaced or deleted"):
                log.record("ada", "notes", {})


@pytest.mark.parametrize("height", range(4))
@pytest.mark.parametrize("durability", ["os", "disk"])
@pytest.mark.parametrize("by_record", [True, False])
def test_a_directory_above_the_log_that_is_moved_is_noticed_before_an_op_is_acknowledged(
    tmp_path: Path, height: int, durability: Durability, *, by_record: bool
) -> None:
    root = tmp_path / "repository"
    with OpLog(root, "jam", durability=durability) as log:
        log.record("ada", "notes", {})
        moved = ops_file(root).parents[height]
        shutil.copytree(moved, tmp_path / "backup")
        moved.rename(tmp_path / "moved")
        (tmp_path / "backup").rename(moved)
        for stamp in (2, 3):
            with pytest.raises(StorageError, match="renamed, replaced or deleted"):
                log.record("ada", "notes", {}) if by_record else log.append(entry(stamp))


def test_a_link_above_the_log_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    with OpLog(tmp_path / "first", "jam") as log:
        log.record("ada", "notes", {})
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    link = tmp_path / "current"
    link.symlink_to("first")
    (tmp_path / "next").symlink_to("second")
    with OpLog(link, "jam") as log:
        log.record("ada", "notes", {})
        (tmp_path / "next").replace(link)
        with pytest.raises(StorageError, match="renamed, replaced or deleted"):
            log.record("ada", "notes", {})


# -- another log at the path ----------------------------------------------------------------------


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def as_a_new_file(path: Path, data: bytes) -> None:
    path.with_name("new").write_bytes(data)
    path.with_name("new").replace(path)


def with_its_directory(path: Path, data: bytes) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.mkdir()
    path.write_bytes(data)


PUTS = [in_place, as_a_new_file, with_its_directory]
Put = Callable[[Path, bytes], None]


def lines_of(*numbers: int, actor: str = "eve") -> list[bytes]:
    return [encode_line(entry(number, actor, n=number)) for number in numbers]


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("has_written", [False, True])
def test_a_handle_whose_log_was_replaced_goes_no_further(
    tmp_path: Path, put: Put, *, has_written: bool
) -> None:
    ours, theirs = lines_of(1, 2, 3), lines_of(8, 9, actor="bob")
    add(tmp_path, b"".join(ours))
    with OpLog(tmp_path, "jam") as log:
        assert log.cut().op_count == 3
        if has_written:
            log.record("ada", "notes", {})
        own = ops_file(tmp_path).read_bytes()[len(b"".join(ours)) :]
        put(ops_file(tmp_path), b"".join([*theirs, *ours, own]))
        for _ in range(2):
            for call in (
                log.cut,
                lambda: list(log.entries()),
                log.read_all,
                lambda: log.record("ada", "notes", {}),
            ):
                with pytest.raises(StorageError, match="renamed, replaced or deleted"):
                    call()
    with OpLog(tmp_path, "jam") as log:
        assert log.record("ada", "notes", {})["lamport_ts"] == 10


@pytest.mark.parametrize("put", PUTS)
def test_a_follower_whose_log_was_replaced_says_so_and_hands_out_nothing_of_the_other(
    tmp_path: Path, put: Put
) -> None:
    ours, theirs = lines_of(1, 2, 3), lines_of(8, 9, actor="bob")
    add(tmp_path, b"".join(ours))
    with OpLog(tmp_path, "jam") as log, log.follow(since=0) as follower:
        assert [follower.next_within(0) is not None for _ in range(4)] == [True, True, True, False]
        put(ops_file(tmp_path), b"".join([*theirs, *ours]))
        for _ in range(2):
            with pytest.raises(StorageError, match="renamed, replaced or deleted"):
                follower.next_within(0)


def test_a_log_that_was_replaced_is_noticed_though_its_lines_are_as_long_and_end_alike(
    tmp_path: Path,
) -> None:
    one, lost, other, last = lines_of(1, 2, 3, 4)
    add(tmp_path, one + lost + last)
    with OpLog(tmp_path, "jam") as log, log.follow(since=0) as follower:
        assert log.cut().op_count == 3
        assert all(follower.next_within(0) for _ in range(3))
        as_a_new_file(ops_file(tmp_path), one + other + last)
        with pytest.raises(StorageError, match="renamed, replaced or deleted"):
            log.cut()
        with pytest.raises(StorageError, match="renamed, replaced or deleted"):
            follower.next_within(0)


def test_a_file_with_the_same_lines_and_more_is_the_same_log_to_who_reads(tmp_path: Path) -> None:
    lines = lines_of(1, 2, 3)
    add(tmp_path, b"".join(lines[:2]))
    with OpLog(tmp_path, "jam") as log, log.follow(since=0) as follower:
        assert log.cut().op_count == 2
        assert all(follower.next_within(0) for _ in range(2))
        as_a_new_file(ops_file(tmp_path), b"".join(lines))
        assert log.cut().op_count == 3
        assert follower.next_within(0) == log.read_all()[-1]
        assert log.record("ada", "notes", {})["lamport_ts"] == 4


# -- disks that fail -----------------------------------------------------------------------------


class FailingWrites(Storage):
    """Lets each write through but for those it is told to spoil: by an error, or by leaving bytes out."""

    def __init__(self) -> None:
        self.next: list[int | OSError] = []

    def write(self, descriptor: int, data: Any, /) -> int:
        fault = self.next.pop(0) if self.next else 0
        if isinstance(fault, OSError):
            raise fault
        return os.write(descriptor, data[: len(data) - fault])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_write_that_fails_is_a_typed_error_and_the_next_is_unharmed(tmp_path: Path, code: int) -> None:
    storage = FailingWrites()
    with OpLog(tmp_path, "jam", storage=storage) as log:
        first = log.record("ada", "notes", {})
        storage.next = [OSError(code, os.strerror(code))]
        with pytest.raises(StorageError) as caught:
            log.record("ada", "notes", {})
        assert caught.value.errno == code
        assert caught.value.path == str(ops_file(tmp_path))
        second = log.record("ada", "notes", {})
        assert log.read_all() == [first, second]
        assert list(log.damages()) == []


@pytest.mark.parametrize("left_out", [2, 10, 20, 100, 200])
@pytest.mark.parametrize("newline_fails", [False, True])
def test_a_short_write_is_not_acknowledged_and_the_next_op_starts_clean(
    tmp_path: Path, left_out: int, *, newline_fails: bool
) -> None:
    storage = FailingWrites()
    with OpLog(tmp_path, "jam", storage=storage) as log:
        first = log.record("ada", "notes", {})
        storage.next = [left_out, *([OSError(errno.ENOSPC, "full")] if newline_fails else [])]
        with pytest.raises(StorageError, match="append it again"):
            log.record("ada", "notes", {})
        second = log.record("ada", "notes", {})
        assert log.read_all() == log.replay_since_checkpoint() == [first, second]
        assert [damage.kind for damage in log.damages()] == ["torn"]
        assert log.cut().op_count == 2


def test_a_short_write_that_lacks_only_the_newline_is_not_both_refused_and_stored(tmp_path: Path) -> None:
    storage = FailingWrites()
    with OpLog(tmp_path, "jam", storage=storage) as log:
        log.record("ada", "notes", {"n": 1})
        storage.next = [1]
        acknowledged = [1]
        with contextlib.suppress(StorageError):
            log.record("ada", "notes", {"n": 2})
            acknowledged.append(2)
        log.record("ada", "notes", {"n": 3})
        assert numbers(log.read_all()) == [*acknowledged, 3]


def test_a_batch_written_short_is_whole_after_a_retry(tmp_path: Path) -> None:
    storage = FailingWrites()
    entries = [entry(number, n=number) for number in range(1, 6)]
    with OpLog(tmp_path, "jam", storage=storage) as log:
        log.record("ada", "notes", {"n": 0})
        storage.next = [400]
        with pytest.raises(StorageError):
            log.append_many(entries)
        log.append_many(entries)
        assert sorted(numbers(log.read_all())) == [0, 1, 2, 3, 4, 5]
        assert log.cut().op_count == 6


@pytest.mark.parametrize("fault", ["EIO", "short", "crash"])
def test_a_fault_at_any_call_loses_no_acknowledged_op_and_a_retry_stores_it_once(
    tmp_path: Path, fault: Fault
) -> None:
    ready = [entry(number, n=number) for number in (1, 2, 3)]
    for fails_at in range(1, 200):
        root = tmp_path / str(fails_at)
        storage = FailingStorage(fails_at, fault)
        acknowledged: list[str] = []
        with contextlib.suppress(MuseError), OpLog(root, "jam", storage=storage) as log:
            for one in ready:
                log.append(one)
                acknowledged.append(one["op_id"])
            log.to_structured_delta("notes")
            log.checkpoint(DIGEST)
        with OpLog(root, "jam") as log:
            stored = [one["op_id"] for one in log.read_all()]
            assert stored[: len(acknowledged)] == acknowledged
            covered = log.read_checkpoint()
            assert covered is None or covered["op_count"] == 3
            log.append_many(ready)
            assert numbers(log.read_all()) == [1, 2, 3]
            assert len(log.replay_since_checkpoint()) == (0 if covered else 3)
        if not storage.failed:
            assert covered is not None
            assert fails_at > 20
            return
    raise AssertionError("the work makes more calls than can be")


class RecordingSyncs(Storage):
    """Notes which files and directories were made, and which were synced since."""

    def __init__(self) -> None:
        self.unsynced: set[str] = set()
        self._paths: dict[int, str] = {}

    def make_directory(self, path: str) -> None:
        super().make_directory(path)
        self.unsynced.add(os.path.dirname(path))

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        if flags & os.O_CREAT and not os.path.exists(path) and path.endswith(".jsonl"):
            self.unsynced |= {os.path.dirname(path), path}
        descriptor = super().open(path, flags, mode)
        self._paths[descriptor] = path
        return descriptor

    def sync_data(self, descriptor: int) -> None:
        super().sync_data(descriptor)
        self.unsynced.discard(self._paths[descriptor])


def test_an_op_acknowledged_as_durable_has_its_file_and_every_new_name_synced(tmp_path: Path) -> None:
    storage = RecordingSyncs()
    with OpLog(tmp_path / "new", "jam", durability="disk", storage=storage) as log:
        log.record("ada", "notes", {})
        # The root itself is its owner's to make durable.
        assert storage.unsynced <= {str(tmp_path)}


def test_a_failed_sync_poisons_the_log_and_a_second_one_is_not_trusted(tmp_path: Path) -> None:
    class Failing(Storage):
        failing = False
        syncs = 0

        def sync_data(self, descriptor: int) -> None:
            self.syncs += 1
            if self.failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync_data(descriptor)

    storage = Failing()
    with OpLog(tmp_path, "jam", durability="disk", storage=storage) as log:
        log.record("ada", "notes", {})
        storage.failing = True
        with pytest.raises(StorageError) as caught:
            log.record("ada", "notes", {})
        assert caught.value.errno == errno.EIO
        storage.failing = False
        syncs = storage.syncs
        for use in (lambda: log.record("ada", "notes", {}), log.sync, lambda: log.append(entry(9))):
            with pytest.raises(StorageError):
                use()
        assert storage.syncs == syncs


def test_an_error_while_reading_is_no_empty_log(tmp_path: Path) -> None:
    class Unreadable(Storage):
        def pread(self, _descriptor: int, _length: int, _offset: int, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
    with OpLog(tmp_path, "jam", storage=Unreadable()) as log:
        for use in (log.read_all, lambda: log.record("ada", "notes", {}), log.replay_since_checkpoint):
            with pytest.raises(StorageError) as caught:
                use()
            assert caught.value.errno == errno.EIO


def test_a_read_only_disk_is_a_clear_error_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    class ReadOnly(Storage):
        def make_directory(self, path: str) -> None:
            assert path.startswith(str(tmp_path))
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        def open(self, path: str, flags: int, mode: int = 0o666) -> int:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return super().open(path, flags, mode)

    with OpLog(tmp_path, "jam", storage=ReadOnly()) as log:
        for use in (lambda: log.record("ada", "notes", {}), lambda: log.append(entry(1))):
            with pytest.raises(StorageError, match="read-only") as caught:
                use()
            assert caught.value.errno == errno.EROFS
    assert os.listdir(tmp_path) == []
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", {})
    with OpLog(tmp_path, "jam", storage=ReadOnly()) as log:
        assert log.read_all() == log.replay_since_checkpoint() == [first]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write where modes forbid it")
def test_a_directory_without_permission_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with OpLog(tmp_path, "jam") as log, pytest.raises(StorageError, match="permission denied"):
            log.record("ada", "notes", {})
        assert os.listdir(tmp_path) == []
    finally:
        tmp_path.chmod(0o700)


def test_too_many_open_files_is_an_error_and_passes(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with OpLog(tmp_path, "jam") as log:
        taken = [os.open(os.devnull, os.O_RDONLY)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 5, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(StorageError, match="too many open files"):
                log.record("ada", "notes", {})
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        first = log.record("ada", "notes", {})
        assert log.read_all() == [first]


# -- processes and threads -----------------------------------------------------------------------


def record_many(root: str, actor: str, count: int) -> None:
    with OpLog(root, "jam") as log:
        previous = 0
        for number in range(count):
            stamp = log.record(actor, "notes", {"n": number, "pad": "x" * (number * 37 % 20_000)})[
                "lamport_ts"
            ]
            assert stamp > previous
            previous = stamp


def run_all(*jobs: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
    processes = [SPAWN.Process(target=target, args=arguments) for target, arguments in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def record_in_threads(root: str, actor: str, sizes: list[int]) -> None:
    with OpLog(root, "jam") as log:

        def work(name: str) -> None:
            for number, size in enumerate(sizes):
                log.record(name, "notes", {"n": number, "pad": "x" * size})

        threads = [threading.Thread(target=work, args=(f"{actor}-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_many_writers_never_interleave_and_each_keeps_its_order(tmp_path: Path) -> None:
    sizes = [200, 5_000, 300_000, 10, 70_000] * 3
    run_all(*[(record_in_threads, (str(tmp_path), f"p{number}", sizes)) for number in range(8)])
    with OpLog(tmp_path, "jam") as log:
        assert list(log.damages()) == []
        order: dict[str, list[Any]] = {}
        for one in log.entries():
            order.setdefault(one["actor_id"], []).append(cast("dict[str, Any]", one["domain_op"])["n"])
        assert len(order) == 32
        assert all(found == list(range(len(sizes))) for found in order.values())
        assert log.cut().op_count == 32 * len(sizes)


def append_all(root: str, entries: list[OpEntry]) -> None:
    with OpLog(root, "jam") as log:
        for one in entries:
            log.append(one)


def test_processes_that_append_the_same_entries_store_each_once(tmp_path: Path) -> None:
    entries = [entry(number, n=number) for number in range(1, 61)]
    run_all(*[(append_all, (str(tmp_path), random.Random(trial).sample(entries, 60))) for trial in range(3)])
    assert ops_file(tmp_path).read_bytes().count(b"\n") == 60
    with OpLog(tmp_path, "jam") as log:
        assert log.read_all() == entries


WRITER = """
import sys
from muse.core.op_log import OpLog
with OpLog(sys.argv[1], "jam") as log:
    while True:
        print(log.record(sys.argv[2], "notes", {"pad": "x" * 3000})["op_id"], flush=True)
"""


def test_every_acknowledged_op_survives_a_killed_writer(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for trial in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path), f"writer-{trial}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(20 + trial)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        found = [one["op_id"] for one in log.read_all()]
        assert set(acknowledged) <= set(found)
        assert max(Counter(found).values()) == 1
        stamps = [one["lamport_ts"] for one in log.entries()]
        assert stamps == sorted(set(stamps))


def test_a_forked_child_reopens_the_log_and_no_stamp_is_made_twice(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        child = os.fork()
        for number in range(50):
            log.record("child" if child == 0 else "parent", "notes", {"n": number})
        if child == 0:
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        entries = log.read_all()
        assert len(entries) == len({one["op_id"] for one in entries}) == 101
        keys = [(one["actor_id"], one["lamport_ts"]) for one in entries]
        assert len(set(keys)) == 101
        for actor in ("child", "parent"):
            assert numbers(list(log.entries(actor=actor))) == list(range(50))


def test_a_child_forked_while_a_thread_is_at_work_is_not_stuck(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        stop = threading.Event()

        def work() -> None:
            stamp = 0
            while not stop.is_set():
                stamp += 1
                log.append(entry(stamp, actor="thread"))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for number in range(5):
                child = os.fork()
                if child == 0:
                    signal.alarm(60)  # a child that is stuck dies, and fails the test
                    log.record("child", "notes", {"n": number})
                    log.append(entry(1, actor="child", n=number))
                    os._exit(0)
                _, status = os.waitpid(child, 0)
                assert os.waitstatus_to_exitcode(status) == 0
        finally:
            stop.set()
            thread.join()
        assert sorted(numbers(list(log.entries(actor="child")))) == sorted([*range(5)] * 2)


def test_a_child_that_closes_the_log_leaves_it_open_to_its_parent(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        first = log.record("ada", "notes", {})
        child = os.fork()
        if child == 0:
            log.close()
            os._exit(0)
        os.waitpid(child, 0)
        second = log.record("ada", "notes", {})
        assert log.read_all() == [first, second]


def test_an_interrupted_append_is_retried_into_one_op(tmp_path: Path) -> None:
    class Interrupted(Storage):
        interrupt = False

        def write(self, descriptor: int, data: Any, /) -> int:
            written = os.write(descriptor, data)
            if self.interrupt:
                self.interrupt = False
                raise KeyboardInterrupt
            return written

    storage = Interrupted()
    with OpLog(tmp_path, "jam", storage=storage) as log:
        log.record("ada", "notes", {"n": 0})
        one = entry(5, n=1)
        storage.interrupt = True
        with pytest.raises(KeyboardInterrupt):
            log.append(one)
        log.append(one)
        log.record("ada", "notes", {"n": 2})
        assert numbers(log.read_all()) == [0, 1, 2]
        assert log.cut().op_count == 3


def test_a_session_locked_by_another_holds_up_ready_entries_only(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {})
        with (session_directory(tmp_path) / "session.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            log.record("ada", "notes", {})
            waiting = threading.Thread(target=log.append, args=(entry(9),))
            waiting.start()
            assert len(log.read_all()) == 2
            fcntl.flock(lock, fcntl.LOCK_UN)
            waiting.join()
        assert len(log.read_all()) == 3


def test_every_error_is_of_the_packages_own_kind(tmp_path: Path) -> None:
    (tmp_path / ".muse").write_bytes(b"a file where a directory is expected")
    with OpLog(tmp_path, "jam") as log:
        for use in (
            lambda: log.record("ada", "notes", {}),
            lambda: log.append(entry(1)),
            lambda: log.checkpoint(DIGEST),
        ):
            with pytest.raises(MuseError):
                use()


def test_opening_a_log_reads_its_checkpoint_once(tmp_path: Path) -> None:
    class Noting(Storage):
        opened: ClassVar[list[str]] = []

        def open(self, path: str, flags: int, mode: int = 0o666) -> int:
            self.opened.append(os.path.basename(path))
            return super().open(path, flags, mode)

    with OpLog(tmp_path, "jam") as log:
        log.record("ada", "notes", {"n": 1})
        log.checkpoint("e" * 64)
    with OpLog(tmp_path, "jam", storage=Noting()) as log:
        assert log.cut().op_count == 1
    assert Noting.opened.count("checkpoint.json") == 1


@pytest.mark.parametrize("name", ["b\nc", "a\x1bb", "a\x7f", "a\u0085b", "a\u2028b"])
def test_a_name_of_more_than_one_line_is_refused_also_behind_others(tmp_path: Path, name: str) -> None:
    with OpLog(tmp_path, "jam") as log:
        kept = [log.record("ada", "notes", {"n": 1}), log.record("Zoë €", "notes", {"n": 2})]
        with pytest.raises(InvalidEntryError, match="give a name of one line"):
            log.record(name, "notes", {})
        with pytest.raises(InvalidEntryError, match="give a name of one line"):
            log.record("ada", "notes", {}, intent_id=name)
        assert log.read_all() == kept
