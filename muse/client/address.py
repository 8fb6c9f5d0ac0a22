"""The address of a server, with the token and the TLS context to use."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from muse.errors import UsageError

_SCHEMES = {"http": "ws", "https": "wss"}
PREFIX = "/v1"


@dataclass(frozen=True, slots=True)
class Address:
    """A server. `tls` is your own context for https; `patience_seconds` says how long a call tries again.

    The token is not part of the text of this object, so that it does not get into a log.
    """

    url: str
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    patience_seconds: float = 30.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_whole = parts.scheme in _SCHEMES and parts.port != 0 and (parts.hostname or "").encode("idna")
        except ValueError:  # no number for a port, no name of a host
            is_whole = False
        if not is_whole or parts.query or parts.fragment:
            raise UsageError(
                f"{self.url!r} is not the address of a server: use one such as http://127.0.0.1:7437"
            )
        if parts.username is not None or parts.password is not None:
            raise UsageError("a user or password in the address is not used: give a token instead")

    @property
    def http(self) -> str:
        """The URL that all paths of the interface are appended to."""
        return self.url.rstrip("/") + PREFIX

    @property
    def websocket(self) -> str:
        """The same URL for live connections, `ws` or `wss`."""
        scheme, _, rest = self.http.partition("://")
        return f"{_SCHEMES[scheme.lower()]}://{rest}"

    @property
    def is_encrypted(self) -> bool:
        """Say whether the server is spoken to over TLS."""
        return self.url.lower().startswith("https:")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request: the token, if there is one."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}
