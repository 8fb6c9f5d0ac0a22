"""What a refusal names is found out here: a library may word its errors as it likes."""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest

from muse.server.api.bodies import parse_json
from muse.server.api.ops import Append, Op, checked
from muse.server.faults import RequestError

GOOD: dict[str, Any] = {"actor_id": "ada", "domain": "text", "domain_op": {}}


@pytest.fixture(autouse=True)
def _other_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both libraries raise the errors they raise, with other texts."""
    loads, convert = orjson.loads, msgspec.convert

    def other_loads(data: bytes | str) -> Any:
        try:
            return loads(data)
        except orjson.JSONDecodeError as error:
            raise orjson.JSONDecodeError("kaputt", error.doc, error.pos) from None

    def other_convert(value: Any, kind: Any) -> Any:
        try:
            return convert(value, kind)
        except msgspec.ValidationError:
            raise msgspec.ValidationError("kaputt") from None

    monkeypatch.setattr(orjson, "loads", other_loads)
    monkeypatch.setattr(msgspec, "convert", other_convert)


def refusal(call: Callable[[], object]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({**GOOD, "domain": 7}, "domain"),
        ({**GOOD, "lamport_ts": 0}, "lamport_ts"),
        ({**GOOD, "parent_op_ids": ["a", 1]}, "parent_op_ids"),
        ({**GOOD, "surprise": 1}, "surprise"),
        ({**GOOD, "surprise`": 1}, "surprise`"),
        ({"domain_op": {}}, "domain"),
        ([], ""),
        (7, ""),
    ],
)
def test_the_field_at_fault_is_named(value: object, field: str) -> None:
    found = refusal(lambda: checked(value, Op, line=3))
    assert (found.status, found.field, found.line) == (422, field, 3)


def test_a_field_that_holds_fields_is_named_itself() -> None:
    assert refusal(lambda: checked({"ops": [], "seen_frontier": {"ada": 0}}, Append)).field == "seen_frontier"
    assert refusal(lambda: checked({"ada": 0}, dict[str, str])).field == ""


def test_the_line_at_fault_is_named_unless_the_text_is_no_utf8() -> None:
    assert refusal(lambda: parse_json(b'{"a":\n1,\n?}')).line == 3
    assert refusal(lambda: parse_json('{"a":\n1,\n?}')).line == 3
    assert refusal(lambda: parse_json(b'{"a":\n1,\n"\xff"}')).line is None
    assert refusal(lambda: parse_json(b'"\xff"', line=7)).line == 7
    assert refusal(lambda: parse_json('{"a": "\ud800"}')).line is None
