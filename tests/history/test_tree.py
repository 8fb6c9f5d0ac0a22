"""The tree of a commit, with some of its files changed."""

from hypothesis import given
from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.history.tree import tree_changes, with_changes, with_contents

trees = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2", "3"]))


@given(trees, trees)
def test_the_changes_between_two_trees_lead_from_one_to_the_other(
    before: dict[str, str], after: dict[str, str]
) -> None:
    found = tree_changes(before, after)
    assert with_changes(before, found) == after
    assert list(found) == sorted(found)
    assert all(before.get(path) != after.get(path) for path in found)


def test_new_contents_are_named_by_their_ids_and_what_is_gone_is_left_out() -> None:
    tree = {"a": "1", "b": "2", "c": "3"}
    assert with_contents(tree, {"a": None, "c": b"new", "d": b"", "e": None}) == {
        "b": "2",
        "c": object_id(b"new"),
        "d": object_id(b""),
    }
    assert tree == {"a": "1", "b": "2", "c": "3"}


def test_each_new_content_is_stored_once() -> None:
    stored: list[bytes] = []

    def store(content: bytes) -> str:
        stored.append(content)
        return content.decode()

    assert with_contents({"a": "1"}, {"a": b"x", "b": b"y", "c": None}, store) == {"a": "x", "b": "y"}
    assert stored == [b"x", b"y"]
