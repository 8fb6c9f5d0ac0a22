"""The bodies of requests: strict JSON, with limits on the size, the unpacked size and the time they take."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from muse.core.strict_json import parse_strictly
from muse.errors import InvalidEntryError
from muse.server.api.calls import Call
from muse.server.faults import RequestError

PARSED_AT_ONCE = 16 << 10
"""How many bytes of JSON are parsed while all else waits; more are parsed in a thread."""

DOCUMENT_BYTES = 4 << 20
"""How large a body of JSON may be that holds no ops."""

_FORM_TYPES = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
"""What a page of any site may send in its visitor's name, without asking."""

_UNPACKED_AT_ONCE = 1 << 20
_ENCODINGS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def media_type(call: Call) -> str:
    """Return the media type that a request says its body has; "" if it says none."""
    return (call.header(b"content-type") or "").partition(";")[0].strip().lower()


async def read_body(
    call: Call, *, limit: int | None = None, is_paid: bool = False, is_free: bool = False
) -> bytes:
    """Return the body, unpacked; raise the refusal of one that is too large or too slow.

    A body whose header says that it is too large is refused before any of it is read, and any body of an
    actor that owes something. Its actor pays for it, unless it `is_paid` in another way. One that `is_free`
    has no price, whatever its actor owes.
    """
    settings, quotas, actor = call.service.settings, call.service.quotas, call.principal.actor or ""
    if not is_free:
        quotas.check_debt(actor)
    limit = settings.body_bytes if limit is None else limit
    length = call.header(b"content-length") or "0"
    if not length.isdigit() or len(length) > 18:
        raise RequestError(400, "content-length is not a number")
    if int(length) > limit:
        _raise_too_large(limit)
    if media_type(call) in _FORM_TYPES:
        raise RequestError(415, "send application/json: what a form of a web page sends is not taken")
    encoding = (call.header(b"content-encoding") or "identity").strip().lower()
    if encoding != "identity" and encoding not in _ENCODINGS:
        raise RequestError(415, f"content-encoding {encoding!r} is not understood: use gzip, deflate or none")
    if call.request.scope["state"].get("is_whole"):
        data = await _read(call, limit)
    else:
        data = await _read_in_time(call, limit, settings.body_seconds)
        call.service.tokens.check_valid(call.principal)  # it may have been revoked meanwhile
    if encoding != "identity":
        packed = data
        with quotas.paying_for_refusal(actor, len(packed)):
            data = await call.in_thread(lambda: _unpack(call, packed, encoding, limit))
    if not (is_paid or is_free):
        quotas.pay(actor, len(data))
    return data


async def _read_in_time(call: Call, limit: int, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await _read(call, limit)
    except TimeoutError:
        raise RequestError(408, f"the body took longer than {seconds:g} s", reason="body") from None


async def _read(call: Call, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    is_more = True
    while is_more:
        message = await call.request.receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "the client left before its body was here", reason="disconnect")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            _raise_too_large(limit)
        call.hold_bytes(len(parts[-1]))
        is_more = message.get("more_body", False)
    return b"".join(parts)


def _unpack(call: Call, data: bytes, encoding: str, limit: int) -> bytes:
    """Unpack the data, but stop at the limit however large it would be, and where memory ends."""
    unpacker = zlib.decompressobj(_ENCODINGS[encoding])
    parts: list[bytes] = []
    size = 0
    rest = data
    try:
        while rest and not unpacker.eof:
            parts.append(unpacker.decompress(rest, _UNPACKED_AT_ONCE))
            size += len(parts[-1])
            if size > limit:
                _raise_too_large(limit)
            call.hold_bytes(len(parts[-1]))
            rest = unpacker.unconsumed_tail
    except zlib.error as error:
        raise RequestError(400, f"the body is not {encoding}: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise RequestError(400, f"the body is not one whole {encoding} stream")
    return b"".join(parts)


def _raise_too_large(limit: int) -> None:
    raise RequestError(413, f"the body is larger than {limit} bytes: send less at a time")


def parse_json(data: bytes | str, *, line: int | None = None) -> Any:
    """Return the value of a JSON text, or raise the refusal. `line`: the line that it is in what was sent.

    What is written as most programs write it is parsed fast, and anything else with care: a repeated key,
    NaN, a lone surrogate and a number that is too large are refused, as in a log.
    """
    try:
        value = orjson.loads(data)
        if orjson.dumps(value) == (data if isinstance(data, bytes) else data.encode()):
            return value
    except orjson.JSONDecodeError as error:
        if _is_utf8(data):  # in anything else it knows no place
            line = line or error.lineno
    except orjson.JSONEncodeError:
        pass
    try:
        return parse_strictly(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    except InvalidEntryError as error:
        raise RequestError(422, f"{f'line {line}: ' if line else ''}{error}", line=line) from None


def _is_utf8(data: bytes | str) -> bool:
    try:
        data.encode() if isinstance(data, str) else data.decode()
    except UnicodeError:
        return False
    return True


async def read_json(call: Call) -> Any:
    """Return the JSON value that is the body, an empty object if there is no body."""
    body = await read_body(call, limit=min(DOCUMENT_BYTES, call.service.settings.body_bytes))
    if len(body) > PARSED_AT_ONCE:
        return await call.in_thread(lambda: parse_json(body))
    return parse_json(body) if body else {}


async def read_object(call: Call) -> Mapping[str, Any]:
    """Return the JSON object that is the body."""
    value = await read_json(call)
    if not isinstance(value, dict):
        raise RequestError(422, "the body must be a JSON object")
    return value
