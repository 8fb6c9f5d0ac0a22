"""What a live tree shows follows from what it holds, also where it was looked at before."""

from muse.core.content_id import object_id
from muse.core.new_entries import make_op_entry
from muse.plugins.code.live_tree import LiveTree
from tests.samples.code_samples import Head


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
