"""uvicorn's WebSocket protocol, which sends one frame to many, and lets go of who no longer reads."""

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class AbortableWebSocket(WebSocketsSansIOProtocol):
    """The application finds two more ways in its scope's state.

    `abort` ends the connection: to close waits for the client. `send_frame` sends a whole frame that was
    serialized before. Once the application is done, the client has some seconds to take what is left.
    """

    async def run_asgi(self) -> None:
        self.scope["state"] |= {"abort": self.transport.abort, "send_frame": self._send_frame}
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(self.close_timeout, self.transport.abort)

    async def _send_frame(self, frame: bytes) -> None:
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        self.transport.write(frame)
