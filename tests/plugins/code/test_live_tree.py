"""What a live tree shows follows from what it holds, also where it was looked at before."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.core.entry import OpEntry
from muse.core.new_entries import make_op_entry
from muse.plugins.code.live_tree import LiveTree
from muse.plugins.code.ops import read_op
from muse.plugins.code.raw import stamp_of
from tests.samples.code_samples import Head

FILES = {"a": b"in the tree\n", "d/e.txt": b"too\n"}
PATHS = ("a", "a/b", "d", "d/e.txt", "e.txt", "e~00000000.txt", "/".join(["d" * 199] * 5) + "/fff.t")


def test_paths_that_were_looked_at_follow_a_change_from_outside() -> None:
    old, new = b"\0\1", b"\0\2"
    base = object_id(old)
    first = LiveTree({"b.bin": old}, {}, {base: old}.__getitem__, "")
    file, _ = first.open("b.bin")
    named = {"address": "b.bin", "position": None, "file_id": file.file_id, "base": base}
    removal = {"op": "delete", "content_id": base} | named
    write = {"op": "replace", "base64": "AAI=", "new_content_id": object_id(new)} | named
    head = Head({"b.bin": old}).commit(
        [make_op_entry("ada", "code", removal, 1), make_op_entry("bob", "code", write, 2)]
    )
    assert head.files == {"b.bin": new}
    tree = LiveTree({"b.bin": old}, head.state, {base: old}.__getitem__, "")
    before = tree.paths()
    tree.file(file.file_id)
    looked_at_late = LiveTree({"b.bin": old}, head.state, {base: old}.__getitem__, "")
    looked_at_late.file(file.file_id)
    assert before == ["b.bin"]
    assert tree.paths() == looked_at_late.paths()
    assert tree.changed_files() == looked_at_late.changed_files()


def take(tree: LiveTree, entries: list[OpEntry]) -> None:
    for entry in entries:
        tree.take(stamp_of(entry), read_op(entry["domain_op"]))


@st.composite
def ops_on_names(draw: st.DrawFn) -> Any:
    """Make entries that create files, some of which are moved or removed, at few paths; and an order of them.

    Each file is made before anything is done to it; the stamps say nothing of that.
    """
    stamps = draw(st.permutations(range(1, 19)))
    made: list[OpEntry] = []
    for number in range(draw(st.integers(2, 6))):
        path, stamp = draw(st.sampled_from(PATHS)), stamps[3 * number]
        named = {"address": path, "file_id": f"{number:032x}"}
        create = {"op": "insert", "position": None, "base64": "AAE="} | named
        move = {"op": "move", "to_address": draw(st.sampled_from(PATHS))} | named
        removal = {"op": "delete", "position": None, "content_id": object_id(b"\0\1")} | named
        ops: list[Any] = [create, *draw(st.lists(st.sampled_from([move, removal]), max_size=2))]
        made += [make_op_entry("ada", "code", op, stamp + at) for at, op in enumerate(ops)]
    return made


@settings(deadline=None)
@given(ops_on_names(), st.randoms(use_true_random=False))
def test_the_place_of_each_file_is_the_same_whatever_came_first_and_was_looked_at(
    entries: list[OpEntry], chance: Any
) -> None:
    together = Head(FILES).commit(entries).files
    creations = [entry for entry in entries if entry["domain_op"]["op"] == "insert"]
    others = [entry for entry in entries if entry["domain_op"]["op"] != "insert"]
    chance.shuffle(creations)
    chance.shuffle(others)
    objects: dict[str, bytes] = {}
    looked_at, order = LiveTree(FILES, {}, objects.__getitem__, ""), [*creations, *others]
    for count in range(1, len(order) + 1):
        take(looked_at, order[count - 1 : count])
        looked_at_late = LiveTree(FILES, {}, objects.__getitem__, "")
        take(looked_at_late, order[:count])
        assert looked_at.places() == looked_at_late.places()
    assert looked_at.paths() == sorted(together)
    head = Head(FILES)
    for entry in chance.sample(entries, len(entries)):
        head = head.commit([entry])
    assert head.files == together
