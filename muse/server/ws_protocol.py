"""uvicorn's WebSocket protocol, which lets go of a client that no longer reads."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class AbortableWebSocket(WebSocketsSansIOProtocol):
    """The application finds `abort` in its scope's state: to close waits for the client, to abort does not.

    Once the application is done, the client has some seconds to take what is left.
    """

    async def run_asgi(self) -> None:
        self.scope["state"]["abort"] = self.transport.abort
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(self.close_timeout, self.transport.abort)
