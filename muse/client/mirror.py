"""A mirror keeps a local log and the server's equal: it takes in what others did, and sends what lacks."""

import asyncio
from collections.abc import Iterable

from muse.client.failures import InvalidRequestError, OtherLogCursorError, ServerError, is_transient
from muse.client.follower import START, AsyncFollower
from muse.client.local_copy import LocalCopy
from muse.client.ops import encoded
from muse.client.outbox import Outbox
from muse.client.requests import Params, Requests
from muse.core.entry import OpEntry
from muse.errors import StorageError
from muse.session.receipt import Receipt


class Mirror:
    """The local log of one session, as its sending and its reading see it.

    The server may have another log than before, as after a backup was put back. It is then taken in from its
    start, and all own ops are sent again: each is there once, by its id.
    """

    def __init__(
        self, copy: LocalCopy, requests: Requests, session_id: str, actor_id: str, outbox: Outbox
    ) -> None:
        self.copy = copy
        self._requests = requests
        self._session_id = session_id
        self._path = f"/sessions/{session_id}"
        self._actor_id = actor_id
        self._outbox = outbox
        self.unread: ServerError | None = None
        self.times_started_over = 0

    # -- sending --------------------------------------------------------------------------------

    @property
    def since(self) -> str:
        """The cursor behind the own ops that the server has: one that refuses it may have lost some of them.

        How far the log was read says nothing of them: it may have been read on in another one.
        """
        return self.copy.cursor if self.copy.acknowledged == START else self.copy.acknowledged

    def settled(self, receipt: Receipt) -> None:
        """Note what the server will never have."""
        if not receipt.is_in_log:
            self.copy.refused.add(receipt.op_id)

    def send_unsent(self) -> None:
        """Hand over what the server may not have."""
        self._send(self.copy.unsent())

    def _send(self, entries: Iterable[OpEntry]) -> None:
        self._outbox.put_first([(entry["op_id"], encoded(entry)) for entry in entries])

    def note_sent(self) -> None:
        """Note what was sent. It runs on the loop as each op is handed over, so none comes in between."""
        if not self._outbox:
            self.copy.all_sent()

    async def start_over(self) -> None:
        """Take in and send everything again: the server's log is not the one it was."""
        shown = await self._requests.json("GET", self._path)
        await self.check_repository(shown.get("repo_id", ""))
        own = await asyncio.to_thread(self.copy.own)
        self.times_started_over += 1
        self.copy.start_over()
        self._send(own)  # at once, or it would seem that all had been sent

    async def is_there_still(self) -> bool:
        """Return whether the server has all that it acknowledged; if not, begin to bring it there again.

        Waits until the server can be asked.
        """
        before = self.times_started_over
        for cursor in {self.copy.acknowledged, self.copy.cursor} - {START}:
            try:
                await self._ask_for(cursor)
            except ServerError as error:
                if not is_of_another_log(error):
                    raise
                await self.start_over()
                break
        return self.times_started_over == before  # the taking in may have found it out meanwhile

    async def _ask_for(self, cursor: str) -> None:
        """Ask until there is an answer whether the server's log has this cursor."""
        params: Params = {"since": cursor, "limit": 1}
        while True:
            try:
                await self._requests.content("GET", f"{self._path}/ops", params=params)
            except ServerError as error:
                if not is_transient(error):
                    raise
            else:
                return

    async def check_repository(self, repo_id: str) -> None:
        """Raise `ServerError` unless the local log is of this repository."""
        try:
            await asyncio.to_thread(self.copy.check_repository, repo_id)
        except StorageError as error:
            raise ServerError(f"session {self._session_id!r}: {error}") from error
        self.unread = None

    # -- taking in ------------------------------------------------------------------------------

    async def take_in(self) -> None:
        """Take in everything as it comes, until a failure that waiting does not mend."""
        try:
            await self._take_all_in()
        except ServerError as error:
            if is_of_another_log(error):
                await self.start_over()
            elif not is_transient(error):
                self.unread = error

    async def _take_all_in(self) -> None:
        following = AsyncFollower(
            self._requests.address,
            self._session_id,
            self._actor_id,
            self.copy.cursor,
            None,
            check=self.check_repository,
            starts_over=False,
        )
        async with following as follower:
            while True:
                entries = await follower.batch()
                await asyncio.to_thread(self.copy.take, entries, follower.cursor)

    async def save(self) -> None:
        """Write down how far both logs are equal."""
        self.note_sent()
        await asyncio.to_thread(self.copy.save)

    def close(self) -> None:
        """Write down how far both logs are equal, and release the local log."""
        self.note_sent()
        self.copy.save()
        self.copy.close()


def is_of_another_log(error: ServerError) -> bool:
    """Return whether a server refused a cursor; an older one says so of any that it does not know."""
    return isinstance(error, OtherLogCursorError) or (
        isinstance(error, InvalidRequestError) and error.field == "since"
    )
