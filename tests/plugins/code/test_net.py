"""The net of code ops: what a commit stores gives the committed bytes, and a person can read it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.core.new_entries import make_op_entry
from muse.domain import StructuredDelta
from muse.errors import NotFoundError
from muse.plugins.code import CodePlugin
from muse.plugins.code.ops import text_edit
from tests.samples.code_samples import Head, taken_in

LINES = st.lists(
    st.sampled_from(["a\n", "b\n", "\r\n", "é😀\n", "c", "\u2028", "\x0b", "\ufeff"]), max_size=8
)
TEXTS = LINES.map("".join)
CONTENTS = st.one_of(
    TEXTS.map(str.encode),
    TEXTS.map(lambda text: ("\ufeff" + text).encode("utf-16-le")),
    st.binary(max_size=4),
    st.just(b"long\n" * 2000),
)
PATHS = st.sampled_from(["a", "b", "a/b", "a/b/c", "d.py", "d.py/e"])


def is_tree(files: dict[str, bytes]) -> bool:
    return not any(one.startswith(f"{other}/") for one in files for other in files)


TREES = st.dictionaries(PATHS, CONTENTS, max_size=5).filter(is_tree)


@given(TREES, TREES)
def test_the_net_of_a_change_applied_gives_its_bytes(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    changed: dict[str, bytes | None] = {path: after.get(path) for path in {*before, *after}}
    plugin = CodePlugin()
    ops = plugin.net(before, changed)
    store = {object_id(content): content for content in after.values()}
    for op in ops:
        plugin.check_op(op)
    application = plugin.apply(before, ops, store.__getitem__)
    assert application.ignored == []
    assert taken_in(before, application.files) == after


def test_the_net_of_two_files_that_want_one_very_long_path_gives_both() -> None:
    path = "/".join(["d" * 199] * 5) + "/fff.t"
    made = {"op": "insert", "address": path, "position": None, "text": ""}
    ops: list[Any] = [made | {"file_id": letter * 32} for letter in "ab"]
    head = Head().commit([make_op_entry("ada", "code", op, stamp) for stamp, op in enumerate(ops, 1)])
    assert len(head.files) == 2
    plugin = CodePlugin()
    net = plugin.net({}, dict(head.files))
    assert taken_in({}, plugin.apply({}, net, no_object).files) == head.files


def no_object(content_id: str) -> bytes:
    raise NotFoundError(content_id)


def test_many_keystrokes_are_one_patch_of_lines() -> None:
    files = {"a.py": b"one\ntwo\nthree\nfour\n"}
    typed = [text_edit("a.py", 4 + place, "", letter) for place, letter in enumerate("zwei\n")]
    deleted = [text_edit("a.py", 13, letter, "") for letter in "three\n"]
    ops = CodePlugin().squash(files, [*typed, *deleted], no_object)
    assert ops == [
        {
            "op": "patch",
            "address": "a.py",
            "child_domain": "code_text",
            "child_summary": "1 insert, 1 delete",
            "child_ops": [text_edit("a.py", 4, "", "zwei\n"), text_edit("a.py", 13, "three\n", "")],
        }
    ]


def test_what_comes_and_goes_is_no_part_of_the_net_and_a_renamed_file_is_one_move() -> None:
    files = {"a.py": b"one\n", "b.bin": b"\0"}
    move: dict[str, Any] = {"op": "move", "address": "a.py", "to_address": "c.py"}
    typed = [text_edit("c.py", 0, "", "x"), text_edit("c.py", 0, "x", "")]
    ops = CodePlugin().squash(files, [move, *typed], no_object)
    assert [(op["op"], op["address"]) for op in ops] == [("move", "a.py")]


def test_a_small_text_is_in_the_op_and_a_large_or_binary_file_is_named_by_its_id() -> None:
    changed: dict[str, bytes | None] = {"small": b"x\n", "large": b"x\n" * 4000, "binary": b"\0"}
    ops: StructuredDelta = {"domain": "code", "ops": CodePlugin().net({}, changed), "summary": ""}
    assert {op["address"]: op.get("text") for op in ops["ops"]} == {
        "small": "x\n",
        "large": None,
        "binary": None,
    }
