"""What is read of an op before any plugin looked at it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muse.plugins.op_fields import address_of, content_named_by, undone_by
from tests.samples.any_ops import json_values

NAMES = ("op", "address", "position", "content_id", "new_content_id", "undoes")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, json_values | st.just("a" * 64))))
def test_no_field_of_an_op_is_trusted_to_be_of_its_kind(op: dict[str, Any]) -> None:
    assert isinstance(address_of(op), str)
    assert content_named_by(op) is None
    assert all(isinstance(name, str) for name in undone_by(op))


def test_a_file_that_is_made_by_the_id_of_its_content_is_named_by_it() -> None:
    digest = "0" * 64
    made = {"op": "insert", "address": "a", "content_id": digest}
    assert content_named_by(made) == digest
    assert content_named_by({"op": "replace", "address": "a", "new_content_id": digest}) == digest
    assert content_named_by(made | {"text": "carried"}) is None
    assert content_named_by(made | {"op": [digest]}) is None
