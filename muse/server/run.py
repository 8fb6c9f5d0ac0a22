"""Starts a server, closes what is idle while it runs, and stops it gracefully."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import uvicorn

from muse import __version__
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, MuseError, UsageError
from muse.history.repository import Repository
from muse.server.api.calls import Live, Service
from muse.server.api.live import POLICY_VIOLATION, RESTARTING
from muse.server.app import App
from muse.server.edge.access import NOBODY_COMES_IN, Principal, Tokens
from muse.server.edge.door import Door, Guest
from muse.server.edge.http_protocol import BoundedHttp
from muse.server.edge.limits import Budget, DistinctSlots, Quotas, Slots
from muse.server.edge.ws_protocol import AbortableWebSocket
from muse.server.logs import make_logger
from muse.server.metrics import Metrics
from muse.server.named_contents import NamedContents
from muse.server.peers import Peers
from muse.server.sessions import Sessions
from muse.server.settings import Settings
from muse.server.shares import Shares
from muse.server.tracing import Tracing

_HOUSEKEEPING_SECONDS = 1.0
_BACKLOG = 2048
_SORTS_PER_TOKEN = 2
_PARTS = 4
"""How many tokens keep all threads at work, at least."""


def _never() -> bool:
    return False


def serve(
    root: str,
    settings: Settings,
    *,
    log_to: TextIO,
    ready: Callable[[str], None],
    is_over: Callable[[], bool] = _never,
    storage: Storage = LOCAL,
) -> None:
    """Serve the repository at `root` until `is_over` says so, or until Ctrl-C in the main thread.

    `ready` is told the URL once the server answers; `is_over` is asked ten times a second. It may run in any
    thread, and changes nothing of the process: no signal handler, no logging, no limit.

    Raises `UsageError` before anything is begun if the address is in use, if the TLS files are not usable, or
    if other machines could reach the server though there are no tokens.
    """
    repository = Repository.open(root, storage)
    tokens = Tokens(root, storage=storage)
    _check_open_to(settings, tokens)
    listener = _listen(settings)
    loop_factory = _config(settings, _no_app).get_loop_factory()
    serving = _serve(repository, tokens, settings, listener, log_to=log_to, ready=ready, is_over=is_over)
    with contextlib.closing(listener), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serving)


def _check_open_to(settings: Settings, tokens: Tokens) -> None:
    if not settings.is_loopback and not tokens.all():
        raise UsageError(
            f"{settings.host} can be reached from other machines, and there are no tokens: make one with "
            "'muse token create --actor NAME', or serve on 127.0.0.1"
        )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"could not listen on {settings.host} port {settings.port}: {error.strerror or error}; choose "
            "another with --host and --port"
        ) from error


def _no_app() -> None:
    """Take the place of the application where only the configuration is wanted."""


class _Config(uvicorn.Config):
    """uvicorn's configuration, which leaves the logging of the process as it is."""

    def configure_logging(self) -> None:
        """Change no level, handler or name of the process."""


def _config(settings: Settings, app: object) -> uvicorn.Config:
    return _Config(
        app,  # type: ignore[arg-type]
        host=settings.host,
        port=settings.port,
        loop="auto",
        ws=AbortableWebSocket,
        ws_max_size=settings.frame_bytes,
        ws_ping_interval=settings.ping_seconds,
        ws_ping_timeout=settings.ping_seconds,
        ws_per_message_deflate=False,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
        ssl_certfile=settings.certificate or None,
        ssl_keyfile=settings.private_key or None,
    )


async def _serve(
    repository: Repository,
    tokens: Tokens,
    settings: Settings,
    listener: socket.socket,
    *,
    log_to: TextIO,
    ready: Callable[[str], None],
    is_over: Callable[[], bool],
) -> None:
    metrics = Metrics()
    threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="muse")
    service = Service(
        repository=repository,
        settings=settings,
        tokens=tokens,
        sessions=Sessions(repository, threads, settings, metrics),
        quotas=Quotas(settings),
        contents=NamedContents(repository, settings.bytes_burst),
        sockets=Slots(settings.connections_per_token, "connections"),
        subscriptions=Slots(settings.subscriptions_per_token, "subscriptions"),
        requests=Slots(settings.connections_per_token, "requests"),
        used_sessions=DistinctSlots(settings.sessions_per_token, "sessions"),
        bodies=Budget(settings.bodies_bytes),
        sorts=Slots(_SORTS_PER_TOKEN, "sorted reads"),
        peers=Peers(repository.root),
        metrics=metrics,
        tracing=Tracing(settings.otlp_endpoint, __version__),
        threads=threads,
        shares=Shares(threads, max(1, settings.threads // _PARTS)),
        log=make_logger(log_to, settings.log_level),
    )
    config = _config(settings, App(service, __version__))
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the certificate or its private key is not usable: {error}") from error
    server = _Server(config, service, listener, ready, is_over)
    keeping = asyncio.create_task(_keep_house(service))
    try:
        await server.serve(sockets=[listener])
    finally:
        keeping.cancel()
        await service.sessions.close()
        service.peers.close()
        service.tracing.close()
        threads.shutdown()
        service.log.info("stopped")


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it answers, and tells its clients before it stops."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        listener: socket.socket,
        ready: Callable[[str], None],
        is_over: Callable[[], bool],
    ) -> None:
        super().__init__(config)
        self._service = service
        self._door = Door(listener, service.settings, service.metrics.count_refused)
        self._port = listener.getsockname()[1]
        self._ready = ready
        self._is_over = is_over

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals of the process to its owner."""
        yield

    async def main_loop(self) -> None:
        """Serve until it is over, or until the event loop turns Ctrl-C into a cancellation."""
        with contextlib.suppress(asyncio.CancelledError):
            await super().main_loop()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._is_over()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the door accept connections, in the place of uvicorn's servers."""
        del sockets
        self._door.open(self._protocol_of, self.config.ssl)
        self.servers = [self._door]  # type: ignore[list-item]  # closed and waited for as a server is
        self.started = True
        settings = self._service.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"{'https' if self.config.is_ssl else 'http'}://{host}:{self._port}"
        self._service.log.info("started", url=url, tokens=len(self._service.tokens.all()))
        self._ready(url)

    def _protocol_of(self, guest: Guest) -> BoundedHttp:
        service = self._service
        count_refused = service.metrics.count_refused
        return BoundedHttp(service.settings, count_refused, guest, self.config, self.server_state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new work, tell all clients when to come back, finish what was begun, and close."""
        service = self._service
        service.is_stopping = True
        service.log.info("stopping", live=len(service.live))
        self._door.close()
        loop, retry_after = asyncio.get_running_loop(), service.settings.retry_after_seconds
        ends_at = loop.time() + service.settings.drain_seconds
        loop.call_at(ends_at, service.end)
        for live in list(service.live):
            live.leave(
                RESTARTING, "the server is stopping", message={"type": "closing", "retry_after": retry_after}
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends_at):
                while service.live or not service.sessions.are_drained:  # noqa: ASYNC110 - once in a life
                    await asyncio.sleep(0.01)
        for live in list(service.live):
            live.abort()
        # Requests have what is left of the same time.
        self.config.timeout_graceful_shutdown = max(0, ends_at - loop.time())  # type: ignore[assignment]
        await super().shutdown(sockets)


async def _keep_house(service: Service) -> None:
    """Close sessions and peers that nobody uses, and clients that do not read or whose token is revoked."""
    asked: set[Live] = set()
    is_shut = False
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        try:
            _tidy(service)
            _send_away(service, asked)
            was_shut, is_shut = is_shut, service.tokens.are_gone()
            if is_shut and not was_shut:
                service.log.warning("shut", reason=NOBODY_COMES_IN)
        except (MuseError, OSError) as error:  # tokens that cannot be read now, for example
            service.told(error)


def _tidy(service: Service) -> None:
    service.sessions.close_idle()
    service.peers.close_idle()
    too_old = asyncio.get_running_loop().time() - service.settings.send_seconds
    for live in list(service.live):
        if live.sending_since is not None and live.sending_since < too_old:
            service.metrics.count_refused("not_reading")
            live.abort()


def _send_away(service: Service, asked: set[Live]) -> None:
    """Let those go whose tokens are no longer valid, and drop those that were asked to before."""
    asked &= service.live
    for live in list(service.live):
        if not _may_stay(service, live.principal):
            if live in asked:  # it is still busy with what it had begun
                live.abort()
            asked.add(live)
            live.leave(POLICY_VIOLATION, "the token is revoked or expired")


def _may_stay(service: Service, principal: Principal) -> bool:
    """Tell whether a sender's token is valid still: damaged tokens let nobody in, and nobody stay."""
    try:
        return service.tokens.is_valid(principal)
    except CorruptionError:
        return False
