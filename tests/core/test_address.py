"""Which addresses touch, and which an op names."""

from hypothesis import given
from hypothesis import strategies as st

from muse.core.address import (
    ADDRESS_LENGTH,
    MOST_STEPS,
    AddressMap,
    addresses_of,
    narrower,
    parts_of,
    touch,
)

STEPS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4)


def test_an_address_covers_itself_and_what_is_below_it() -> None:
    assert touch("song.mid", "song.mid")
    assert touch("song.mid", "song.mid/note-1")
    assert touch("src/a.py::f", "src/a.py")
    assert touch("src", "src/a.py::f")
    assert touch("", "anything")


def test_a_name_that_only_starts_alike_is_another_address() -> None:
    assert not touch("song", "song.mid")
    assert not touch("song.mid/note-1", "song.mid/note-10")
    assert not touch("src/a.py::f", "src/a.py::g")


def test_no_other_spelling_leads_around_an_address() -> None:
    for spelling in ("song.mid/", "./song.mid", "//song.mid", "song.mid/."):
        assert parts_of(spelling) == parts_of("song.mid")


def test_a_step_up_leads_to_where_it_leads() -> None:
    assert touch("else/../song.mid/note-1", "song.mid")
    assert touch("../song.mid", "song.mid")
    assert not touch("song.mid/../else.mid", "song.mid")


def test_what_an_address_costs_is_bounded_and_no_deep_or_long_one_leads_around_a_claim() -> None:
    deep = "/".join(["a"] * 10_000)
    assert len(parts_of(deep)) == MOST_STEPS
    assert touch(deep, "a/a")
    assert not touch(deep, "b")
    long = "song.mid/" + "x" * ADDRESS_LENGTH
    assert addresses_of({"address": long}) == ("",)
    op = {"address": "b", "to_address": long, "child_ops": [{"address": long}]}
    assert addresses_of(op) == ("", "b")


def test_what_two_addresses_have_in_common_is_the_narrower() -> None:
    assert narrower("song.mid", "song.mid/note-1") == "song.mid/note-1"
    assert narrower("src/a.py::f", "src") == "src/a.py::f"


def test_an_op_touches_every_address_it_names_and_its_inner_ops_name() -> None:
    op = {
        "op": "patch",
        "address": "new.mid",
        "from_address": "old.mid",
        "child_ops": [
            {"address": "new.mid/1"},
            {"address": "new.mid/2", "to_address": "else.mid", "child_ops": [{"address": "deep"}, 5]},
        ],
    }
    assert addresses_of(op) == ("deep", "else.mid", "new.mid", "new.mid/1", "new.mid/2", "old.mid")


def test_an_op_that_names_no_address_may_touch_anything() -> None:
    assert addresses_of({"op": "tidy"}) == ("",)
    assert addresses_of({"address": 7, "from_address": None, "child_ops": "x"}) == ("",)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), STEPS, max_size=12), STEPS)
def test_the_map_finds_what_comparing_one_by_one_finds(held: dict[str, list[str]], asked: list[str]) -> None:
    by_address: AddressMap[str] = AddressMap()
    for key, steps in held.items():
        for values in by_address.places("/".join(steps)):
            values[key] = key
    address = "/".join(asked)
    touching = {key for key, steps in held.items() if touch("/".join(steps), address)}
    assert set(by_address.touching(address)) == touching
    for key, steps in held.items():
        by_address.discard("/".join(steps), key)
    assert len(by_address) == 0
    assert list(by_address.touching("")) == []
