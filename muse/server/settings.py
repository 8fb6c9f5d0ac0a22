"""Every setting of the server with its default. See `docs/server.md` for what it means."""

from dataclasses import dataclass, fields
from typing import Any

import msgspec

from muse.errors import UsageError

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with. Sizes are in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 7437
    certificate: str = ""
    private_key: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()

    requests_per_second: float = 1_000
    ops_per_second: float = 2_000
    ops_burst: int = 10_000
    bytes_per_second: float = 4 << 20
    bytes_burst: int = 32 << 20
    presence_per_second: float = 20
    claims_per_second: float = 10
    sessions_per_hour: float = 600
    sessions_burst: int = 200

    header_bytes: int = 32 << 10
    header_seconds: float = 10
    body_bytes: int = 16 << 20
    body_seconds: float = 60
    bodies_bytes: int = 1 << 30
    frame_bytes: int = 4 << 20
    request_ops: int = 10_000
    sorted_bytes: int = 64 << 20
    keep_alive_seconds: int = 60
    send_seconds: float = 30
    connections: int = 2_000
    connections_per_address: int = 256
    connects_per_second: float = 200
    connections_per_token: int = 500
    subscriptions_per_token: int = 200
    pending_appends: int = 64
    waiting_bytes: int = 64 << 20

    queue_messages: int = 1_000
    queue_bytes: int = 8 << 20
    gather_seconds: float = 0.02
    ping_seconds: float = 20
    session_idle_seconds: float = 60
    open_sessions: int = 512
    sessions_per_token: int = 64

    threads: int = 8
    drain_seconds: float = 10
    retry_after_seconds: int = 2
    log_level: str = "info"
    otlp_endpoint: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.private_key):
            raise UsageError("TLS needs both a certificate and its private key: give both files, or neither")
        if not 0 <= self.port < 1 << 16:
            raise UsageError(f"port {self.port} is outside 0 to 65535")
        if self.log_level not in {"debug", "info", "warning", "error"}:
            raise UsageError(f"log_level {self.log_level!r} is unknown: use debug, info, warning or error")
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, int | float) and setting.name != "port" and not value > 0:
                raise UsageError(f"{setting.name} is {value}: it must be more than 0")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in _LOOPBACK

    @property
    def hosts(self) -> frozenset[str]:
        """The names that a request may call this server by, without a port."""
        return frozenset(name.lower() for name in (*_LOOPBACK, self.host, *self.allowed_hosts))


def read_settings(document: dict[str, Any]) -> Settings:
    """Return the settings of a configuration; `UsageError` names what is unknown or of a wrong type."""
    known = [setting.name for setting in fields(Settings)]
    for name in document:
        if name not in known:
            raise UsageError(f"the setting {name!r} is unknown: there are {', '.join(known)}")
    try:
        return msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"the settings are not usable: {error}") from error
