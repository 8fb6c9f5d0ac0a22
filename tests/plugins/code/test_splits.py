"""Ops that say from which object of the tree they start mean the same, however commits split them."""

from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.content_id import NUL, object_id, sha256_hex
from muse.core.new_entries import make_op_entry
from tests.samples.code_samples import Head

FILES = {"a.txt": b"abc\n", "b.bin": b"\0\1"}
IN_TREE = [(path, object_id(content)) for path, content in FILES.items()]
KNOWN_IDS = {path: sha256_hex(f"{path}{NUL}{base}".encode()) for path, base in IN_TREE}
MADE_UP_IDS = ("a" * 32, "b" * 64)


@st.composite
def based_ops(draw: st.DrawFn) -> Any:
    """Make an op on a file of the tree; its id is that of the file, or made up."""
    path, base = draw(st.sampled_from(IN_TREE))
    op: dict[str, Any] = {"address": path, "base": base}
    op["file_id"] = draw(st.sampled_from((KNOWN_IDS[path], KNOWN_IDS[path], *MADE_UP_IDS)))
    kind = draw(st.sampled_from(("move", "delete", "replace")))
    if kind == "move":
        return op | {"op": kind, "to_address": draw(st.sampled_from(("x", "y/z", "b.bin")))}
    if kind == "delete":
        return op | {"op": kind, "position": None, "content_id": base}
    return op | {"op": kind, "position": None, "text": draw(st.sampled_from(("q", "r")))}


@settings(deadline=None)
@given(st.lists(based_ops(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_ops_on_files_of_the_tree_mean_the_same_however_they_are_split(ops: list[Any], chance: Any) -> None:
    entries = [make_op_entry("ada", "code", op, stamp) for stamp, op in enumerate(ops, 1)]
    together = Head(FILES).commit(entries)
    orders = list(permutations(entries))
    for order in chance.sample(orders, min(len(orders), 6)):
        head, cut = Head(FILES), chance.randrange(len(order) + 1)
        for some in (order[:cut], *([entry] for entry in order[cut:])):
            head = head.commit(some)
        assert head.files == together.files


def test_a_file_that_is_not_of_the_tree_is_waited_for() -> None:
    path, base = IN_TREE[0]
    move = {"op": "move", "address": path, "to_address": "x", "file_id": "a" * 32, "base": base}
    head = Head(FILES).commit([make_op_entry("ada", "code", move, 2)])
    assert head.files == FILES
    assert "has not arrived; it waits" in head.ignored[0].reason
    made = {"op": "insert", "address": "new.txt", "position": None, "text": "new\n", "file_id": "a" * 32}
    assert head.commit([make_op_entry("ada", "code", made, 1)]).files == {**FILES, "x": b"new\n"}


def test_a_new_file_takes_no_id_of_a_file_of_the_tree() -> None:
    made = {"op": "insert", "address": "n", "position": None, "text": "n", "file_id": KNOWN_IDS["a.txt"]}
    head = Head(FILES).commit([make_op_entry("ada", "code", made, 1)])
    assert head.files == FILES
    assert "32 digits" in head.ignored[0].reason
