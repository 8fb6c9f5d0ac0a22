"""Hypothesis strategies for entries as anybody may hand them over: right, nearly right, and anything else."""

import enum
import uuid
from typing import Any

from hypothesis import strategies as st

from muse.core.entry import DEFAULT_LIMITS, ENTRY_FIELDS, Limits, check_entry
from muse.core.line import encode_any_line
from muse.errors import InvalidEntryError


class Colour(enum.IntEnum):
    RED = 1


class OwnStr(str):
    __slots__ = ()


class OwnInt(int):
    pass


class OwnDict(dict[str, Any]):
    pass


TRICKY = 'ab"\\\n\t\x00\x1f\x7fé€😀\ud800{}:,op_id'
FLOATS = (
    1e16,
    1e15,
    123456789012345680.0,
    1e-4,
    1e-5,
    1.5e-7,
    5e-324,
    1.7976931348623157e308,
    -0.0,
    0.1,
    1e22,
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-300, 300)
    | st.sampled_from((2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64))
    | st.floats()
    | st.sampled_from(FLOATS)
    | st.text()
    | st.text(alphabet=TRICKY, max_size=40)
    | st.sampled_from((b"x", (), OwnStr("x"), OwnInt(1), OwnDict(), object(), Colour.RED, uuid.UUID(int=5)))
)
good_keys = st.text(max_size=12) | st.just("op_id") | st.text(alphabet=TRICKY[:-6], max_size=20)
bad_keys: st.SearchStrategy[Any] = good_keys | st.sampled_from((1, None, OwnStr("k"), b"k", "\ud800"))


def trees(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


ops = st.dictionaries(good_keys, trees(scalars, good_keys), max_size=6) | st.dictionaries(
    bad_keys, trees(scalars, bad_keys), max_size=4
)
op_ids = st.uuids(version=4).map(str)
changes = st.dictionaries(
    st.sampled_from((*ENTRY_FIELDS, "extra")),
    trees(scalars, good_keys) | st.text(max_size=300) | st.integers(-3, 2**54) | st.lists(op_ids, max_size=3),
    max_size=2,
)


def line_in_python(entry: Any, limits: Limits = DEFAULT_LIMITS) -> bytes | None:
    try:
        check_entry(entry, limits)
        return encode_any_line(entry, limits)
    except InvalidEntryError:
        return None
