"""Requests over HTTP. They are tried again while that may help; errors say what happened."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn, Self
from urllib.parse import quote

import httpx
import orjson

from muse.client.address import Address
from muse.client.backoff import repeated
from muse.client.failures import ServerError, UnreachableError, failure_in
from muse.replication.wire import longest_answer

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 300.0  # a commit of a long session takes its time
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_ANSWER_BYTES = longest_answer("get")
"""The longest answer that is taken: that with the largest object that a server takes in."""
_LINE_BYTES = 1 << 25
"""The longest line of a stream that is taken: an op is far shorter."""

Params = Mapping[str, str | int | None]


class Requests:
    """Speaks HTTP to one server. An async context manager."""

    def __init__(self, address: Address, headers: Mapping[str, str] | None = None) -> None:
        self.address = address
        # http needs no context of TLS, and making one takes 40 ms; a redirect is not followed
        verify: ssl.SSLContext | bool = address.tls or address.is_encrypted
        self._client = httpx.AsyncClient(
            headers={**address.headers, **(headers or {})},
            timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
            verify=verify,
            trust_env=False,
        )

    async def json(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        params: Params | None = None,
        is_idempotent: bool = True,
    ) -> Any:
        """Send a JSON document, and return the object that comes back; None if the answer is empty.

        A field that it lacks raises `ServerError` once it is asked for.
        """
        body = b"" if document is None else orjson.dumps(document)
        answer = await self.content(
            method, path, body, "application/json", params=params, is_idempotent=is_idempotent
        )
        if not answer:
            return None
        try:
            found = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise ServerError(f"{method} {path}: the answer is not JSON: is this a Muse server?") from error
        if not isinstance(found, dict):
            raise ServerError(f"{method} {path}: the answer is not a JSON object: is this a Muse server?")
        return _Fields(found)

    async def content(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        media_type: str = "application/octet-stream",
        *,
        params: Params | None = None,
        is_idempotent: bool = True,
        at_most: int | None = None,
    ) -> bytes:
        """Send bytes, and return those that come back; `ServerError` if they are more than `at_most`.

        A failure that may pass is tried again: see `repeated`.
        """

        async def attempt() -> bytes:
            headers = {"content-type": media_type} if body else {}
            try:
                async with self._client.stream(
                    method, self._url(path), content=body, headers=headers, params=_given(params)
                ) as response:
                    answer = await _whole(response, f"{method} {path}", at_most)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error
            if response.is_success:
                return answer
            raise failure_in(response.status_code, answer, f"{method} {path}")

        return await repeated(attempt, self.address.patience_seconds, is_idempotent=is_idempotent)

    @asynccontextmanager
    async def lines(self, path: str, params: Params | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask for a stream of JSON lines, and yield an iterator over them."""
        try:
            async with self._client.stream("GET", self._url(path), params=_given(params)) as response:
                if not response.is_success:
                    raise failure_in(
                        response.status_code, await _whole(response, f"GET {path}"), f"GET {path}"
                    )
                yield _whole_lines(response)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _url(self, path: str) -> str:
        return self.address.http + quote(path)

    def _unreachable(self, error: httpx.HTTPError) -> UnreachableError:
        reason = str(error) or type(error).__name__
        failure = UnreachableError(
            f"{self.address.url} gave no answer ({reason}): is the server up, and reachable?"
        )
        failure.was_sent = not isinstance(error, _NEVER_SENT)
        return failure

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Fields(dict[str, Any]):
    """The JSON object of an answer, which another program than a server of ours may have written."""

    def __missing__(self, name: str) -> NoReturn:
        raise ServerError(f"the answer of the server has no {name!r}: is this a Muse server?")


def _given(params: Params | None) -> dict[str, str | int]:
    return {name: value for name, value in (params or {}).items() if value is not None}


async def _whole(response: httpx.Response, what: str, at_most: int | None = None) -> bytes:
    """Return the body of an answer, unless it is longer than any that a server sends."""
    limit = _ANSWER_BYTES if at_most is None else min(at_most, _ANSWER_BYTES)
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ServerError(
                f"{what}: the answer is longer than {limit} bytes, and was not read to its end: is "
                "this a Muse server?",
                status=response.status_code,
            )
    return b"".join(parts)


async def _whole_lines(response: httpx.Response) -> AsyncIterator[bytes]:
    begun: list[bytes] = []
    size = 0
    async for data in response.aiter_bytes():
        first, *lines = data.split(b"\n")
        begun.append(first)
        size += len(first)
        if size > _LINE_BYTES:
            raise ServerError(
                f"a line of the stream is longer than {_LINE_BYTES} bytes: is this a Muse server?",
                status=response.status_code,
            )
        for line in lines:
            if whole := b"".join(begun):
                yield whole
            begun, size = [line], len(line)
    if any(begun):
        raise ServerError("the stream ended in the middle of a line: ask again from the last cursor")
