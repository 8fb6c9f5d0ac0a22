"""`muse serve`: the live server of a repository."""

import gc
import os
import resource
import signal
import sys
import threading
import tomllib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from muse.cli.shared.options import JsonOption, RepoOption, current_directory, remember
from muse.disk.storage import LOCAL
from muse.errors import UsageError

_OBJECTS_BETWEEN_COLLECTIONS = 20_000
_TURN_SECONDS = 0.001
_DESCRIPTORS = 1 << 16
_GRACE_SECONDS = 5.0
_CUT_OFF = (
    "muse: what a request began did not end in time, and is cut off; nothing acknowledged is lost: start the "
    "server again, and ask once more\n"
)


def serve(
    ctx: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(help="The address to serve on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 7437. 0: any that is free.")] = None,
    certificate: Annotated[str | None, typer.Option(metavar="FILE", help="TLS: a PEM file.")] = None,
    private_key: Annotated[str | None, typer.Option(metavar="FILE", help="TLS: its private key.")] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name the server goes by.")
    ] = None,
    allowed_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="A site whose pages may use it.")
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="Settings, as TOML.")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the sessions of a repository over HTTP, WebSocket and Server-Sent Events.

    Without tokens it serves this machine alone: see 'muse token create'. Ends with Ctrl-C or SIGTERM.

    Example: muse serve --port 7437
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository = invocation.repository()
    chosen = {
        "host": host,
        "port": port,
        "certificate": _path(certificate),
        "private_key": _path(private_key),
        "allowed_hosts": allowed_host,
        "allowed_origins": allowed_origin,
    }
    document = {**_settings_in(config), **{name: value for name, value in chosen.items() if value}}
    if port == 0:
        document["port"] = 0
    server, settings_module, access, logs = _server()
    settings = settings_module.read_settings(document)
    open_to_all = access.Tokens(repository.root).is_empty()

    def ready(url: str) -> None:
        if invocation.output.as_json:
            invocation.output.record({"url": url, "repository": repository.root, "tokens": not open_to_all})
            return
        invocation.output.line(f"Muse serves {repository.root} on {url}")
        if open_to_all:
            invocation.output.line("There are no tokens: everyone on this machine may do everything.")

    logs.take_in_libraries(logs.make_logger(sys.stderr, settings.log_level))
    _favour_latency()
    _allow_descriptors()
    is_over = _told_by(signal.SIGTERM, partial(_cut_off_after, settings.drain_seconds + _GRACE_SECONDS))
    server.serve(repository.root, settings, log_to=sys.stderr, ready=ready, is_over=is_over)


def _told_by(number: int, act: Callable[[], None]) -> Callable[[], bool]:
    """Return what says whether a signal came; at the first, act. Ctrl-C is heard by the event loop."""
    came: list[int] = []

    def hear(_number: int, _frame: object) -> None:
        if not came:
            act()
        came.append(number)

    signal.signal(number, hear)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    return lambda: bool(came)


def _cut_off_after(seconds: float) -> None:
    """End the process after a time, whatever it is at: a commit may compute for long.

    To be killed costs nothing that was acknowledged, and a supervisor would do it next.
    """

    def cut_off() -> None:
        sys.stderr.write(_CUT_OFF)
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()


def _favour_latency() -> None:
    """Change threads sooner: the loop and a write each wait for the other's turn to end, several times.

    Look for cycles less often: requests leave few behind, and each look stops the loop.
    """
    sys.setswitchinterval(_TURN_SECONDS)
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)


def _allow_descriptors() -> None:
    """Let the process have as many descriptors as it may: the soft limit of a shell is meant for less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _server() -> tuple[Any, Any, Any, Any]:
    """Import the server; `UsageError` says how to install what it needs."""
    try:
        from muse.server import logs, run, settings  # noqa: PLC0415 - it needs an extra
        from muse.server.edge import access  # noqa: PLC0415 - it needs an extra
    except ImportError as error:
        raise UsageError(
            f"the server is not installed ({error}): pip install 'muse-oplog[server]'"
        ) from error
    return run, settings, access, logs


def _path(path: str | None) -> str | None:
    return path and os.path.join(current_directory(), path)


def _settings_in(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(LOCAL.read_bytes(os.path.join(current_directory(), path)).decode())
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
