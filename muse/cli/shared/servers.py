"""How the command line finds a server: its address, and the token in the environment."""

import os
import ssl
from typing import TYPE_CHECKING

from muse.errors import UsageError

if TYPE_CHECKING:
    from muse.client import Client, RemotePeer

TOKEN_VARIABLE = "MUSE_TOKEN"  # noqa: S105 - the name of a variable
CA_VARIABLE = "MUSE_CA_FILE"
PATIENCE_SECONDS = 30.0


def is_url(text: str) -> bool:
    """Tell whether `text` is meant as the address of a server, rather than as a path."""
    return text.startswith(("http://", "https://"))


def remote_peer(url: str, patience_seconds: float = PATIENCE_SECONDS) -> "RemotePeer":
    """Return the repository of a server as a peer; the token is that of the environment."""
    require_client()
    from muse.client import RemotePeer  # noqa: PLC0415 - an extra, and slow to import

    return RemotePeer(url, token=_token(), tls=_tls(), patience_seconds=patience_seconds)


def client(url: str, patience_seconds: float = PATIENCE_SECONDS) -> "Client":
    """Return a client of a server; the token is that of the environment."""
    require_client()
    from muse.client import Client  # noqa: PLC0415

    return Client(url, token=_token(), tls=_tls(), patience_seconds=patience_seconds)


def require_client() -> None:
    """Raise `UsageError` unless what the client needs is installed."""
    try:
        import httpx  # noqa: F401, PLC0415
        import websockets  # noqa: F401, PLC0415
    except ImportError as error:
        raise UsageError(
            f"to speak to a server, {error.name} is needed: pip install 'muse-oplog[client]'"
        ) from error


def _token() -> str:
    return os.environ.get(TOKEN_VARIABLE, "")


def _tls() -> ssl.SSLContext | None:
    """Trust the authority that signed the server's certificate, if the environment names its file."""
    path = os.environ.get(CA_VARIABLE)
    if not path:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{CA_VARIABLE} is {path}, which is not a file of certificates: {error}") from error
