"""The code domain by its rules: what each kind of op means, alone and beside another."""

import base64
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from muse.core.content_id import object_id
from muse.core.entry import OpEntry
from muse.core.op_log import OpLog, make_op_entry
from muse.core.timestamp import now_text
from muse.domain import (
    BlamingPlugin,
    CheckingPlugin,
    DomainPlugin,
    MergingPlugin,
    OverlapFindingPlugin,
    SquashingPlugin,
)
from muse.errors import DomainError, MuseError
from muse.history.repository import Repository
from muse.plugins.code import CodePlugin
from muse.plugins.code.document import TextDocument
from muse.plugins.code.ops import text_edit
from muse.session.text_replica import CodeReplica
from muse.testing.memory_storage import InMemoryStorage
from muse.testing.plugin_conformance import DomainPluginConformance
from tests.samples.code_samples import Head, commit_files


class Two:
    """Two actors at replicas of one branch, in sessions of their own: neither hears of the other unasked."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.head = Head(files or {})
        storage = InMemoryStorage()
        self.repository, _ = Repository.init("root", now=now_text(), storage=storage)
        if files:
            commit_files(self.repository, files)
        self.ada, self.bob = (
            CodeReplica(self.repository, OpLog("root", name, storage=storage), name)
            for name in ("ada", "bob")
        )

    def meet(self, *made: Sequence[OpEntry]) -> dict[str, bytes]:
        """Bring all entries to both, and to a commit; return its files."""
        entries = [entry for part in made for entry in part]
        for replica in (self.ada, self.bob):
            replica.take(entries)
        head = self.head.commit(entries)
        assert head.ignored == []
        shown = {path: content.decode() for path, content in head.files.items()}
        for replica in (self.ada, self.bob):
            assert {path: replica.read(path) for path in replica.paths()} == shown
        return head.files


def raw(op: dict[str, Any], actor: str = "ada", stamp: int = 1, after: Sequence[str] = ()) -> OpEntry:
    return make_op_entry(actor, "code", op, stamp, parent_op_ids=after)


def new_file(path: str, text: str) -> dict[str, Any]:
    return {
        "op": "insert",
        "address": path,
        "position": None,
        "content_id": object_id(text.encode()),
        "content_summary": "",
        "text": text,
    }


class TestConformance(DomainPluginConformance):
    def plugin(self) -> DomainPlugin:
        return CodePlugin()

    def files(self) -> dict[str, bytes]:
        return {"a.txt": b"one\r\ntwo\r\n", "b.bin": b"\0\1", "w.txt": "\ufeffwide".encode("utf-16-be")}

    def ops(self) -> list[dict[str, Any]]:
        children = [text_edit("a.txt", 0, "", "zero\n"), text_edit("a.txt", 5, "one", "eins")]
        return [
            new_file("new/file.py", "x = 1\n"),
            text_edit("w.txt", 1, "wide", "weit 😀"),
            {"op": "patch", "address": "a.txt", "child_domain": "code_text", "child_ops": children},
            {"op": "delete", "address": "b.bin", "position": None, "content_id": object_id(b"\0\1")},
            {
                "op": "move",
                "address": "a.txt",
                "from_position": 0,
                "to_position": 0,
                "content_id": "",
                "to_address": "c.txt",
            },
        ]

    def test_it_offers_all_that_a_text_domain_can(self) -> None:
        offers = (MergingPlugin, CheckingPlugin, SquashingPlugin, BlamingPlugin, OverlapFindingPlugin)
        assert all(isinstance(self.plugin(), offer) for offer in offers)


# -- two at once ---------------------------------------------------------------------------------


def test_two_who_type_at_once_both_keep_their_text() -> None:
    two = Two({"a.py": b"x = 1\n"})
    files = two.meet([two.ada.insert("a.py", 0, "# ada\n")], [two.bob.insert("a.py", 6, "y = 2\n")])
    assert files == {"a.py": b"# ada\nx = 1\ny = 2\n"}


def test_a_file_that_one_removed_stays_whole_with_the_text_that_another_wrote_meanwhile() -> None:
    two = Two({"a.py": b"x = 1\n"})
    made = [two.ada.remove("a.py")], [two.bob.insert("a.py", 6, "y = 2\n")]
    assert two.ada.paths() == []
    assert two.meet(*made) == {"a.py": b"x = 1\ny = 2\n"}


def test_a_file_that_both_removed_or_one_only_shortened_is_gone() -> None:
    two = Two({"a.py": b"x = 1\n"})
    assert two.meet([two.ada.remove("a.py")], [two.bob.remove("a.py")]) == {}
    two = Two({"a.py": b"x = 1\n"})
    assert two.meet([two.ada.remove("a.py")], [two.bob.delete("a.py", 0, 2)]) == {}


def test_a_straggler_brings_a_removed_file_back_from_an_earlier_commit() -> None:
    two = Two({"a.py": b"x = 1\n"})
    removal, edit = two.ada.remove("a.py"), two.bob.insert("a.py", 6, "y\n")
    gone = two.head.commit([removal])
    assert gone.files == {}
    assert gone.commit([edit]).files == {"a.py": b"x = 1\ny\n"}


def test_edits_follow_a_file_that_another_moves() -> None:
    two = Two({"a.py": b"x\n"})
    assert two.meet([two.ada.move("a.py", "lib/b.py")], [two.bob.insert("a.py", 2, "y\n")]) == {
        "lib/b.py": b"x\ny\n"
    }


def test_of_two_moves_the_later_in_the_total_order_stands() -> None:
    two = Two({"a.py": b"x\n"})
    assert two.meet([two.ada.move("a.py", "b.py")], [two.bob.move("a.py", "c.py")]) == {"c.py": b"x\n"}


def test_of_two_files_at_one_path_the_later_stands_beside_it() -> None:
    two = Two()
    first, second = two.ada.create("lib/a.py", "ada\n"), two.bob.create("lib/a.py", "bob\n")
    beside = f"lib/a~{second['domain_op']['file_id'][:8]}.py"  # type: ignore[typeddict-item]
    assert two.meet([first], [second]) == {"lib/a.py": b"ada\n", beside: b"bob\n"}


def test_a_file_and_a_directory_of_one_name_stand_beside_each_other() -> None:
    two = Two()
    first, second = two.ada.create("lib", "ada\n"), two.bob.create("lib/a.py", "bob\n")
    beside = f"lib~{second['domain_op']['file_id'][:8]}/a.py"  # type: ignore[typeddict-item]
    assert two.meet([first], [second]) == {"lib": b"ada\n", beside: b"bob\n"}


def test_of_two_binary_contents_the_later_in_the_total_order_stands() -> None:
    two = Two({"a.bin": b"\0"})
    made = [*two.ada.write("a.bin", b"\0ada"), *two.bob.write("a.bin", b"\0bob")]
    assert two.head.commit(made).files == {"a.bin": b"\0bob"}
    assert two.head.commit(made[1:]).commit(made[:1]).files == {"a.bin": b"\0bob"}


def test_a_binary_file_that_one_removed_stays_if_another_wrote_it_anew() -> None:
    two = Two({"a.bin": b"\0"})
    made = [*two.ada.write("a.bin", b"\0ada"), two.bob.remove("a.bin")]
    assert two.head.commit(made).files == {"a.bin": b"\0ada"}


# -- from outside --------------------------------------------------------------------------------


def test_what_another_tool_did_to_a_file_between_two_commits_is_kept() -> None:
    two = Two({"a.py": b"one\ntwo\n"})
    first, second = two.ada.insert("a.py", 0, "zero\n"), two.ada.insert("a.py", 13, "three\n")
    head = two.head.commit([first])
    head.files["a.py"] = head.files["a.py"].replace(b"one", b"eins")
    assert head.commit([second]).files == {"a.py": b"zero\neins\ntwo\nthree\n"}


def test_an_edit_of_a_file_of_the_tree_finds_its_base_though_the_tree_has_another_file_there_now() -> None:
    two = Two({"a.py": b"one\ntwo\n"})
    edit = two.ada.insert("a.py", 8, "three\n")
    two.head.files["a.py"] = b"eins\ntwo\n"
    assert two.head.commit([edit]).files == {"a.py": b"eins\ntwo\nthree\n"}


def test_a_file_that_another_tool_removed_comes_back_with_text_it_did_not_know_of() -> None:
    two = Two({"a.py": b"one\n"})
    first, second = two.ada.insert("a.py", 4, "two\n"), two.ada.insert("a.py", 8, "three\n")
    head = two.head.commit([first])
    del head.files["a.py"]
    assert head.commit([]).files == {}
    assert head.commit([second]).files == {"a.py": b"one\ntwo\nthree\n"}


# -- raw ops -------------------------------------------------------------------------------------


def test_a_raw_op_means_the_version_that_its_author_saw() -> None:
    head = Head({"a.txt": b"abcdef"})
    one = raw(text_edit("a.txt", 0, "", "123"), "ada")
    blind = raw(text_edit("a.txt", 6, "", "!"), "bob", 2)
    seeing = raw(text_edit("a.txt", 3, "a", "A"), "cat", 3, [one["op_id"]])
    after = head.commit([one, blind, seeing])
    assert (after.files, after.ignored) == ({"a.txt": b"123Abcdef!"}, [])


def test_raw_ops_of_one_actor_follow_each_other() -> None:
    ops = [
        new_file("a.txt", "one\n"),
        text_edit("a.txt", 4, "", "two\n"),
        {"op": "replace", "address": "a.txt", "position": None, "text": "one\n2\n"},
        {
            "op": "patch",
            "address": "b.txt",
            "from_address": "a.txt",
            "child_domain": "code_text",
            "child_ops": [text_edit("", 0, "one", "1")],
        },
        {"op": "insert", "address": "c.bin", "position": None, "base64": base64.b64encode(b"\0").decode()},
        {"op": "delete", "address": "c.bin", "position": None},
    ]
    after = Head().commit([raw(op, stamp=stamp) for stamp, op in enumerate(ops, 1)])
    assert (after.files, after.ignored) == ({"b.txt": b"1\n2\n"}, [])


def test_a_raw_op_beside_a_live_edit_loses_nothing_of_either() -> None:
    two = Two({"a.txt": b"abc"})
    live = two.ada.insert("a.txt", 3, "def")
    entry = raw(text_edit("a.txt", 0, "abcdef", "x"), "cat", 9, [live["op_id"]])
    concurrent = two.ada.insert("a.txt", 6, "!")
    text = two.head.commit([live, concurrent, entry]).files["a.txt"]
    assert sorted(text) == sorted(b"x!")


# -- what has no effect --------------------------------------------------------------------------

EDIT: dict[str, Any] = {**text_edit("a.txt", 0, "", "x"), "file_id": "0" * 32}


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (text_edit("a.txt", 7, "", "x"), "position 7 of a text of 3 characters"),
        (text_edit("a.txt", 2, "zz", ""), "characters 2 to 4"),
        (text_edit("none.txt", 0, "", "x"), "there is no file 'none.txt'"),
        (text_edit("a.bin", 0, "", "x"), "not a text"),
        (text_edit("a.txt", 0, "", "\0"), "U+0000"),
        (text_edit("latin.txt", 0, "", "漢"), "cannot hold '漢'"),
        (new_file("a.txt", "again"), "already there"),
        ({**new_file("b.txt", ""), "text": None, "content_id": "0" * 64}, "no object 0000"),
        ({**EDIT, "update": "AAA="}, "no file 0000"),
        ({**EDIT, "update": "%%%"}, "not base64"),
        ({**EDIT, "update": "AAAA"}, "something follows"),
    ],
)
def test_an_op_without_effect_is_listed_with_a_reason_and_the_rest_applies(
    op: dict[str, Any], reason: str
) -> None:
    latin = {**new_file("latin.txt", "é"), "encoding": "iso-8859-1"}
    good = raw(text_edit("a.txt", 3, "", "!"), stamp=3)
    head = Head({"a.txt": b"abc", "a.bin": b"\0"})
    after = head.commit([raw(latin), raw(op, stamp=2), good])
    assert after.files == {"a.txt": b"abc!", "a.bin": b"\0", "latin.txt": b"\xe9"}
    assert [found.index for found in after.ignored] == [1]
    assert reason in after.ignored[0].reason


def test_an_edit_whose_cause_is_missing_is_listed_and_takes_effect_once_it_comes() -> None:
    two = Two({"a.txt": b"abc"})
    first, second = two.ada.insert("a.txt", 3, "def"), two.ada.insert("a.txt", 6, "ghi")
    head = two.head.commit([second])
    assert head.files == {"a.txt": b"abc"}
    assert "not arrived" in head.ignored[0].reason
    head = head.commit([first])
    assert (head.files, head.ignored) == ({"a.txt": b"abcdefghi"}, [])
    assert "waiting" not in head.state


def test_nobody_pushes_out_what_waits_and_nobody_takes_all_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muse.plugins.code.merge.MAX_WAITING", 8)
    two = Two({"a.txt": b"abc"})
    made = [two.ada.insert("a.txt", 3 + place, "d") for place in range(3)]
    orphans = [
        raw({**text_edit("a.txt", 0, "", "x"), "file_id": f"{stamp:032x}", "update": "AAA="}, "eve", stamp)
        for stamp in range(2, 22)
    ]
    head = two.head.commit([*orphans[:10], made[2]])
    assert len(json.loads(head.state["waiting"])) == 5
    dropped = [found.index for found in head.ignored if "dropped" in found.reason]
    assert dropped == [5, 6, 7, 8, 9, 10]  # eve's own: half of the room is left for others
    head = head.commit([*orphans[10:], made[1]])
    assert len(json.loads(head.state["waiting"])) == 6
    head = head.commit([made[0]])
    assert head.files == {"a.txt": b"abcddd"}


def test_what_waits_is_no_longer_than_each_further_commit_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muse.plugins.code.merge.MAX_BYTES", 8_000)
    orphans = [
        raw(
            {**text_edit("a.txt", 0, "", "x" * 500), "file_id": f"{stamp:032x}", "update": "AAA="},
            actor,
            stamp,
        )
        for stamp, actor in enumerate(["eve"] * 20 + ["ann"], start=1)
    ]
    head = Head({}).commit(orphans)
    waiting = json.loads(head.state["waiting"])
    assert [entry["actor_id"] for entry in waiting] == ["eve"] * (len(waiting) - 1) + ["ann"]
    assert 3_000 < len(head.state["waiting"]) < 5_500
    assert len([found for found in head.ignored if "dropped" in found.reason]) == 21 - len(waiting)
    assert len(json.loads(head.commit(orphans[10:15]).state["waiting"])) >= len(waiting)


@pytest.mark.parametrize(
    "op",
    [
        {},
        {"op": "mutate", "address": "a"},
        text_edit("../a", 0, "", "x"),
        text_edit("a", -1, "", "x"),
        {**text_edit("a", 0, "", "x"), "position": "0"},
        {**text_edit("a", 0, "", "x"), "text": "\ud800"},
        {**text_edit("a", 0, "x", ""), "length": None},
        {**EDIT, "update": "????"},
        {**EDIT, "update": base64.b64encode(b"no Yjs update").decode()},
        {**EDIT, "file_id": "x", "update": "AAA="},
        {**new_file("a", "é"), "encoding": "ascii"},
        {**new_file("a", "é"), "encoding": "klingon"},
        {**new_file("a", "x"), "base64": ""},
        {"op": "move", "address": "a", "to_address": ".muse/x"},
    ],
)
def test_what_could_never_take_effect_is_refused_at_the_door(op: dict[str, Any]) -> None:
    with pytest.raises(DomainError):
        CodePlugin().check_op(op)


# -- bytes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain\n",
        "\ufeffmark\r\nand CRLF\r\n".encode(),
        "e\u0301 and \u00e9, 😀, 漢字".encode(),
        "\ufeffwide 😀\r\n".encode("utf-16-le"),
        "\ufeffwide 😀".encode("utf-16-be"),
    ],
)
def test_a_text_keeps_its_encoding_its_mark_and_its_line_ends(content: bytes) -> None:
    two = Two({"a.txt": content})
    text = two.ada.read("a.txt")
    assert isinstance(text, str)
    made = [two.ada.insert("a.txt", len(text), "😀é"), two.ada.delete("a.txt", len(text), 1)]
    encoding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(content[:2], "utf-8")
    assert two.head.commit(made).files == {"a.txt": content + "é".encode(encoding)}


def test_a_live_edit_that_the_encoding_cannot_hold_is_listed_and_the_file_stays_as_it_is() -> None:
    file_id = "1" * 32
    new = {**new_file("latin.txt", "é"), "encoding": "iso-8859-1", "file_id": file_id}
    head = Head().commit([raw(new)])
    document = TextDocument(7, head.state[file_id].partition(b"\n")[2])
    update = base64.b64encode(document.edit([(0, 0, "漢")])).decode()
    edit = {**text_edit("latin.txt", 0, "", "漢"), "file_id": file_id, "update": update}
    after = head.commit([raw(edit, stamp=2)])
    assert after.files == {"latin.txt": b"\xe9"}
    assert "iso-8859-1 cannot hold" in after.ignored[0].reason


@pytest.mark.parametrize("content", [b"\xff\xfe\0\0", b"a\0b", b"\xe9", b"\xff\xfea", b"\xed\xa0\x80"])
def test_other_bytes_are_binary(content: bytes) -> None:
    two = Two({"a": content})
    assert two.ada.read("a") == content
    with pytest.raises(DomainError, match="not a text"):
        two.ada.insert("a", 0, "x")


def test_without_the_library_it_says_what_to_install_and_stored_deltas_still_apply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pycrdt._pycrdt", None)
    monkeypatch.delitem(sys.modules, "muse.plugins.code.yjs", raising=False)
    edit = text_edit("a.txt", 0, "", "x")
    with pytest.raises(MuseError, match="pip install"):
        Head({"a.txt": b""}).commit([raw(edit)])
    assert CodePlugin().apply({"a.txt": b""}, [edit], Head().fetch).files == {"a.txt": b"x"}
