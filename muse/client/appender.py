"""Brings the ops of an outbox to the server, in their order and each once, even if connections break."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec

from muse.client.address import Address
from muse.client.backoff import Backoff
from muse.client.failures import ServerError, UnreachableError, is_transient
from muse.client.mirror import Mirror, is_of_another_log
from muse.client.ops import Ack
from muse.client.outbox import Outbox, Waiting
from muse.client.socket import Socket, opened
from muse.session.receipt import Receipt

_ANSWER_SECONDS = 30.0
_OF_ONE_OP = frozenset({409, 413, 422})
_OF_THIS_REQUEST = frozenset({409, 413, 422, 429, 503, 507})


class Appender:
    """Sends one batch at a time over one WebSocket. While one is under way, the next one gathers.

    So the log has an actor's ops in the order in which they were made, even if some were sent again.
    """

    def __init__(
        self,
        address: Address,
        session_id: str,
        actor_id: str,
        outbox: Outbox,
        *,
        ack: Ack,
        mirror: Mirror | None = None,
    ) -> None:
        self._address = address
        self._session_id = session_id
        self._actor_id = actor_id
        self._outbox = outbox
        self._ack = ack
        self._mirror = mirror
        self._numbers = count(1)
        self._backoff = Backoff()
        self._succeeded_at = 0.0

    async def run(self) -> None:
        """Send whatever comes into the outbox, until cancelled."""
        while True:
            await self._outbox.some()
            try:
                await self._send_while_connected()
            except ServerError as error:
                await self._failed(error)

    async def _send_while_connected(self) -> None:
        """Connect and send; with a local log only to a server that has all that it acknowledged before."""
        params, mirror = {"follow": "false", "actor": self._actor_id}, self._mirror
        check = None
        if mirror is not None:
            params["since"], check = mirror.since, mirror.check_repository
        try:
            async with opened(self._address, self._session_id, params, check) as socket:
                await self._send(socket)
        except ServerError as error:
            if mirror is None or not is_of_another_log(error):
                raise
            await mirror.start_over()

    async def _send(self, socket: Socket) -> None:
        while True:
            batch = await self._outbox.batch()
            before = self._mirror and self._mirror.times_started_over
            try:
                receipts = await self._append(socket, batch)
            except ServerError as error:
                if error.status not in _OF_THIS_REQUEST:
                    raise
                await self._refused(batch, error)
                continue
            if before != (self._mirror and self._mirror.times_started_over):
                return  # what was answered is of the log before: all is sent again
            self._backoff.succeeded()
            self._succeeded_at = asyncio.get_running_loop().time()
            self._outbox.settle(batch, lambda one, found=receipts: self._settle(one, found[one.op_id]))  # type: ignore[misc]

    async def _append(self, socket: Socket, batch: Sequence[Waiting]) -> dict[str, Receipt]:
        number = next(self._numbers)
        bodies = b",".join(one.body for one in batch)
        await socket.send(
            b'{"type":"append","id":%d,"ack":"%b","seen_frontier":%b,"ops":[%b]}'
            % (number, self._ack.encode(), batch[0].seen, bodies)
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await _answer(socket, number)
        except TimeoutError as error:
            raise UnreachableError(
                f"session {self._session_id!r}: no receipt came within {_ANSWER_SECONDS:g} seconds"
            ) from error
        try:
            receipts = {
                receipt.op_id: receipt for receipt in msgspec.convert(answer.get("receipts"), list[Receipt])
            }
        except msgspec.ValidationError as error:
            raise ServerError(
                f"session {self._session_id!r}: the answer is not a receipt ({error})"
            ) from error
        if missing := [one.op_id for one in batch if one.op_id not in receipts]:
            raise ServerError(f"session {self._session_id!r}: no receipt came for op {missing[0]}")
        if self._mirror is not None and isinstance(cursor := answer.get("cursor"), str):
            self._mirror.copy.note_acknowledged(cursor)
        return receipts

    def _settle(self, one: Waiting, receipt: Receipt) -> None:
        if self._mirror is not None:
            self._mirror.settled(receipt)
        if not one.receipt.done():
            one.receipt.set_result(receipt)

    async def _refused(self, batch: Sequence[Waiting], error: ServerError) -> None:
        """Find the op at fault if there are several, reject it if it is the only one, or try again later."""
        if error.status not in _OF_ONE_OP:
            await self._failed(error)
        elif len(batch) > 1:
            self._outbox.part(batch)
        else:
            error.op_ids = (batch[0].op_id,)
            self._outbox.settle(batch, lambda one: self._reject(one, error))

    def _reject(self, one: Waiting, error: ServerError) -> None:
        if self._mirror is not None:
            self._mirror.settled(Receipt(one.op_id, "refused", reason=str(error)))
        if not one.receipt.done():
            one.receipt.set_exception(error)

    async def _failed(self, error: ServerError) -> None:
        outbox = self._outbox
        if not is_transient(error):
            outbox.fail(error)
        elif outbox.is_kept:
            outbox.keep()
        elif outbox.waited_since is not None:
            since = max(outbox.waited_since, self._succeeded_at)
            end = asyncio.get_running_loop().time() + (error.retry_after or 0)
            if end - since > self._address.patience_seconds:
                outbox.fail(error)
        if outbox.is_kept or is_transient(error):
            await self._backoff.wait(error if is_transient(error) else UnreachableError(str(error)))


async def _answer(socket: Socket, number: int) -> dict[str, Any]:
    while True:
        message = await socket.receive()
        if message.get("type") == "receipts" and message.get("id") == number:
            return message
