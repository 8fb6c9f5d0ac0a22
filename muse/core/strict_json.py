"""JSON that another program wrote, and what JSON can hold without a change. Pure."""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from muse.errors import InvalidEntryError

ATOMS = frozenset({str, int, bool, type(None)})
"""The types of values that hold no others, and that JSON gives back as they are."""

_KEY_CHARACTERS = 200
"""How much of a key an error names."""


def parse_strictly(line: bytes) -> Any:
    """Parse JSON that another program wrote; raise `InvalidEntryError` for what parsers let pass in silence.

    Refused: duplicate keys (most parsers keep the last), NaN and Infinity, numbers too large for a
    float, integers past 64 bits, lone surrogates, a byte order mark, encodings other than UTF-8.
    """
    try:
        text = line.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_bounded_integer,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError as error:
        raise InvalidEntryError(f"not UTF-8 (byte {error.start}): write the file as UTF-8") from None
    except RecursionError:
        raise InvalidEntryError("it nests too deeply") from None
    except json.JSONDecodeError as error:
        hint = " (it starts with a byte order mark: remove it)" if line.startswith(b"\xef\xbb\xbf") else ""
        raise InvalidEntryError(f"not JSON: {error.msg} at character {error.pos + 1}{hint}") from None
    if "\\u" in text and (found := unstorable(value, "value")):
        raise InvalidEntryError(f"{found[0]}: {found[1]} is not allowed")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = _first_repeated(key for key, _ in pairs)
        raise InvalidEntryError(f"the key {twice[:_KEY_CHARACTERS]!r} appears twice in one object")
    return value


def _first_repeated(keys: Iterable[str]) -> str:
    """Return the first key that was there before. Each key is looked up once: there may be millions."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise ValueError("no key is repeated")


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidEntryError(f"{name} is not allowed: JSON has no such number")


def _bounded_integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise InvalidEntryError(f"an integer of {len(digits)} digits is past 64 bits")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value - value != 0:
        raise InvalidEntryError(f"the number {digits[:40]} is too large")
    return value


# -- what JSON gives back unchanged ---------------------------------------------------------------


def count_containers(value: Any) -> int:
    """Count the dicts and lists in and with `value`; -1 if JSON would not give back exactly `value`.

    JSON gives back dicts, lists, str, int, finite float, bool and None, and no subclass of them.
    """
    pending = [value]
    for container in pending:  # grows while it is walked
        kind = type(container)
        if kind is dict:
            items = container.values()
        elif kind is list:
            items = container
        else:
            return -1
        if ATOMS.issuperset(map(type, items)):
            continue
        for item in items:
            kind = type(item)
            if kind is dict or kind is list:
                pending.append(item)
            elif kind not in ATOMS and (kind is not float or item - item != 0):
                return -1
    return len(pending)


def unstorable(value: Any, place: str, depth: int = 0) -> tuple[str, str] | None:
    """Find the first value JSON would change: where it is, and what."""
    if depth > 200:
        return place, "nesting this deep"
    if isinstance(value, dict) and type(value) is dict:
        for key, item in value.items():
            if not isinstance(key, str) or _has_surrogate(key):
                return place, f"the key {key!r}"
            if found := unstorable(item, f"{place}.{key}", depth + 1):
                return found
        return None
    if type(value) is list:
        found_in = (unstorable(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value))
        return next(filter(None, found_in), None)
    if type(value) is int:
        return None if -(2**63) <= value < 2**64 else (place, "an integer past 64 bits")
    if type(value) is str:
        return (place, "a lone surrogate") if _has_surrogate(value) else None
    return None if count_containers([value]) >= 0 else (place, f"{type(value).__name__} {str(value)[:40]}")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


# -- JSON that ends too early --------------------------------------------------------------------

_STRING = r'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+'
_INTEGER = r"-?+(?:0|[1-9][0-9]*+)"
_FRACTION = r"(?:\.[0-9]++)?+"
_WORDS = ("true", "false", "null")
_WORD_STARTS = "|".join(word[:length] for word in _WORDS for length in range(1, len(word)))
_TOKEN = re.compile(
    r"[ \t\n\r]*+(?:"
    rf'(?P<string>{_STRING}")'
    rf"|(?P<string_start>{_STRING}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?\Z)"
    rf"|(?P<atom_start>(?:-|{_INTEGER}\.|{_INTEGER}{_FRACTION}[eE][+-]?|{_WORD_STARTS})\Z)"
    rf"|(?P<atom>{_INTEGER}{_FRACTION}(?:[eE][+-]?[0-9]++)?+|{'|'.join(_WORDS)})"
    r"|(?P<mark>[{}\[\],:])"
    r"|(?P<end>\Z))"
)
_VALUE = frozenset({"{", "[", "string", "atom"})
_KEY = frozenset({"key"})
_NOT_ASCII = 0x80


def is_cut_short(text: bytes) -> bool:
    """Tell whether JSON ends before it is complete, and is right up to there.

    The end may lie inside a character: up to three bytes are left off for that. No parser is asked,
    as only its message would tell the end from a fault, and the words of messages change.
    """
    for length in range(len(text), max(len(text) - 4, 0), -1):
        if _is_utf8(text[:length]) and _ends_too_early(text[:length].decode()):
            return True
        if text[length - 1] < _NOT_ASCII:
            return False
    return not text


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ends_too_early(text: str) -> bool:
    closers: list[str] = []  # of the objects and lists that are open, the innermost last
    expected, place = _VALUE, 0
    while token := _TOKEN.match(text, place):
        kind, place = token.lastgroup or "", token.end()
        if kind == "end":
            return bool(expected)
        if kind.endswith("_start"):
            kind = kind.removesuffix("_start")
            return kind in expected or (kind == "string" and "key" in expected)
        if kind == "mark":
            kind = token["mark"]
        elif kind == "string" and "key" in expected:
            kind = "key"
        if kind not in expected:
            return False
        expected = _expected_after(kind, closers)
    return False


def _expected_after(kind: str, closers: list[str]) -> frozenset[str]:
    """Return what may follow a token; keep track of the open objects and lists in `closers`."""
    if kind == "{":
        closers.append("}")
        return _KEY | {"}"}
    if kind == "[":
        closers.append("]")
        return _VALUE | {"]"}
    if kind == "key":
        return frozenset({":"})
    if kind == ":":
        return _VALUE
    if kind == ",":
        return _KEY if closers[-1] == "}" else _VALUE
    if kind in {"}", "]"}:
        closers.pop()
    return frozenset({",", closers[-1]}) if closers else frozenset()
