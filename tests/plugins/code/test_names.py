"""Files that want one path are put beside one another, each where a tree may have it."""

from hypothesis import given
from hypothesis import strategies as st

from muse.plugins.code.names import Places
from muse.plugins.op_fields import parents_of, place_fault

parts = st.one_of(
    st.sampled_from(
        (
            "a",
            "b.txt",
            ".git~",
            "git",
            "muse_n",
            "d" * 199,
            "~",
            "..x",
            "x" * 255,
            "a." + "x" * 253,
            "." + "x" * 254,
        )
    ),
    st.sampled_from(("é" * 127, "a." + "é" * 126, "\U0001f3b5" * 60 + ".mid")),
)
paths = st.lists(parts, min_size=1, max_size=5).map("/".join).filter(lambda path: place_fault(path) is None)
file_ids = st.integers(0, 3).map(lambda number: f"{number:032x}") | st.just("f" * 64)


def check(fixed: list[str], wanted: list[tuple[str, str]]) -> dict[str, str]:
    given = Places(fixed)
    places = {file_id: given.take(path, file_id) for file_id, path in wanted}
    assert len({*places.values()}) == len(wanted)
    assert {*places.values()}.isdisjoint(fixed)
    files = {*places.values(), *fixed}
    for path in places.values():
        assert place_fault(path) is None
        assert files.isdisjoint(parents_of(path))
    return places


@given(st.sets(paths, max_size=3), st.dictionaries(file_ids, paths, max_size=4))
def test_each_file_has_a_place_of_its_own_in_the_tree(fixed: set[str], wanted: dict[str, str]) -> None:
    apart = [path for path in sorted(fixed) if fixed.isdisjoint(parents_of(path))]
    check(apart, list(wanted.items()))


def test_a_file_whose_every_mark_is_taken_gets_a_number() -> None:
    file_id = "ab" * 16
    taken = ["a.txt", *(f"a~{file_id[:length]}.txt" for length in (8, 16, 24, 32))]
    assert check(taken, [(file_id, "a.txt")]) == {file_id: f"a~{file_id}-2.txt"}
    assert check([*taken, f"a~{file_id}-2.txt"], [(file_id, "a.txt")]) == {file_id: f"a~{file_id}-3.txt"}


def test_an_extension_with_no_room_beside_a_mark_is_cut() -> None:
    places = check([], [("a" * 32, "a." + "x" * 248), ("b" * 32, "a." + "x" * 248)])
    assert places["b" * 32] == "a." + "x" * 229 + "~" + "b" * 8


def test_a_path_with_no_room_for_a_mark_is_left_for_the_top() -> None:
    path = "/".join(["d" * 203] * 5) + "/xx.t"
    assert check([path], [("b" * 32, path)]) == {"b" * 32: "xx.t~bbbbbbbb"}


def test_no_file_is_put_where_no_op_could_name_it() -> None:
    path = "/".join(["d" * 199] * 5) + "/fff.t"
    assert place_fault(path) is None
    assert check([], [("a" * 32, path), ("b" * 32, path)])["b" * 32] == "fff.t~bbbbbbbb"
    for name in ("git", "muse_n"):
        assert check([], [("a" * 32, name), ("1" * 32, name)])["1" * 32] == "file~11111111"
