"""Who may do what: bearer tokens, kept as hashes. They can be revoked while the server runs."""

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import msgspec
import orjson

from muse.core.content_id import sha256_hex
from muse.core.entry import check_new_name
from muse.disk import layout
from muse.disk.json_file import encode_with_digest, read_with_digest
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, NotFoundError, UsageError
from muse.server.faults import RequestError

Scope = Literal["read", "append", "commit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each may do what those before it may."""

NOBODY_COMES_IN = (
    "every token is revoked, or their file is gone: nobody can use this server; 'muse token create' makes one"
)
"""What is said where there were tokens and now there is not one."""

_MARK = "muse"
_NOBODY = "0" * 64
_LOOK_SECONDS = 0.1
"""How often a server looks whether the tokens changed."""

_LATEST = 253_402_300_799.0
"""The end of the year 9999: no token lasts longer."""


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a token: never the token itself, only its SHA-256. Times are seconds since 1970."""

    token_id: str
    sha256: str
    actor: str
    scope: Scope
    session: str
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """The sender of a request. Without tokens it has no `actor`: it may speak as any."""

    token_id: str = ""
    actor: str | None = None
    scope: Scope = "admin"
    session: str = "*"

    def check_scope(self, needed: Scope) -> None:
        """Raise the refusal unless this may do what needs `needed`."""
        if SCOPES.index(self.scope) < SCOPES.index(needed):
            raise RequestError(403, f"this needs scope {needed!r}, and the token has {self.scope!r}")

    def check_session(self, session_id: str) -> None:
        """Raise the refusal unless this may use the session."""
        if not self.may_use(session_id):
            raise RequestError(403, f"the token is not for session {session_id!r}")

    def check_everywhere(self) -> None:
        """Raise the refusal unless this may use every session: what it asks for is of all of them."""
        if self.session != "*":
            raise RequestError(403, f"this needs a token for all sessions: this one is for {self.session!r}")

    def may_use(self, session_id: str) -> bool:
        """Tell whether the token is for this session."""
        return fnmatchcase(session_id, self.session)

    def check_actor(self, actor: str) -> None:
        """Raise the refusal unless this may speak as `actor`."""
        if self.actor is not None and actor != self.actor:
            raise RequestError(403, f"the token speaks as {self.actor!r}, not as {actor!r}", field="actor_id")


ANYBODY = Principal()
"""The sender of every request to a server without tokens."""


class Tokens:
    """The tokens of the repository at `root`, in `.muse/server/tokens.json`, readable by its owner alone."""

    def __init__(
        self, root: str, *, storage: Storage = LOCAL, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = layout.server_directory(root)
        self._path = layout.tokens_file(root)
        self._lock_path = layout.tokens_lock_file(root)
        self._storage = storage
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._looked_at = -_LOOK_SECONDS
        self._tokens: dict[str, Token] = {}
        self._had_any = False

    def all(self) -> list[Token]:
        """Return all tokens, expired ones too, oldest first."""
        self._refresh(0)
        return sorted(self._tokens.values(), key=lambda token: token.created_at)

    def create(
        self, actor: str, scope: str, *, session: str = "*", lasts_seconds: float | None = None
    ) -> tuple[str, Token]:
        """Make a token and return its text, which is shown this once and kept nowhere, and what is kept."""
        if not actor or len(actor) > 256:
            raise UsageError("the actor is empty or longer than 256 characters: name who the token speaks as")
        check_new_name("actor", actor)
        if scope not in SCOPES:
            raise UsageError(f"scope {scope!r} is unknown: use one of {', '.join(SCOPES)}")
        if not session:
            raise UsageError("the session pattern is empty: use '*' for all sessions")
        now = self._clock()
        if lasts_seconds is not None and not 0 < lasts_seconds <= _LATEST - now:
            raise UsageError("a token must last longer than no time, and end before the year 10000")
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        text = f"{_MARK}_{token_id}_{secret}"
        expires_at = None if lasts_seconds is None else now + lasts_seconds
        token = Token(token_id, sha256_hex(text.encode()), actor, scope, session, now, expires_at)
        self._storage.make_directories(self._directory, sync=True)
        with self._storage.locked(self._lock_path):
            self._refresh(0)
            self._write({**self._tokens, token_id: token})
        return text, token

    def revoke(self, token_id: str) -> Token:
        """Remove a token; servers refuse it 0.1 s later. `NotFoundError` if it does not exist."""
        if not self._storage.exists(self._path):
            raise NotFoundError("there are no tokens: 'muse token create' makes one")
        with self._storage.locked(self._lock_path):
            self._refresh(0)
            left = dict(self._tokens)
            token = left.pop(token_id, None)
            if token is None:
                raise NotFoundError(f"there is no token {token_id!r}: see 'muse token list'")
            self._write(left)
        return token

    def is_empty(self) -> bool:
        """Return whether no token was ever made here up to this moment, not even one that was revoked.

        A file that was here and is gone is not empty: it lets nobody in.
        """
        self._refresh(0)
        return not self._had_any

    def are_gone(self) -> bool:
        """Return whether there were tokens and now there is not one: nobody can come in."""
        self._refresh()
        return self._had_any and not self._tokens

    def principal(self, text: str) -> Principal:
        """Return the actor and the rights that this token gives, or raise the refusal.

        The hash is compared in constant time, and for an id that is unknown as well.
        """
        self._refresh()
        token_id = text.split("_", 2)[1] if text.count("_") >= 2 else ""
        if token_id not in self._tokens:
            self._refresh(0)  # it may be new
        token = self._tokens.get(token_id)
        found = hmac.compare_digest(sha256_hex(text.encode()), token.sha256 if token else _NOBODY)
        if token is None or not found or self._is_expired(token):
            raise RequestError(401, "the token is unknown, expired or revoked")
        return Principal(token.token_id, token.actor, token.scope, token.session)

    def is_valid(self, principal: Principal) -> bool:
        """Return whether the sender may still come in: its token is neither revoked nor expired."""
        if principal is ANYBODY:
            return self.is_empty()
        self._refresh()
        token = self._tokens.get(principal.token_id)
        return token is not None and not self._is_expired(token)

    def check_valid(self, principal: Principal) -> None:
        """Raise the refusal unless the sender may still come in."""
        if not self.is_valid(principal):
            raise RequestError(401, "the token is revoked or expired")

    def _is_expired(self, token: Token) -> bool:
        return token.expires_at is not None and token.expires_at <= self._clock()

    def _refresh(self, after_seconds: float = _LOOK_SECONDS) -> None:
        """Read the file again if it changed since. One that cannot be read lets nobody in."""
        now = time.monotonic()
        if now - self._looked_at < after_seconds:
            return
        status = self._storage.look(self._path)
        seen = None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
        self._had_any = self._had_any or seen is not None
        if seen != self._seen:
            self._tokens = {}
            self._tokens = {} if seen is None else self._read()
            self._seen = seen
        self._looked_at = now

    def _read(self) -> dict[str, Token]:
        document = read_with_digest(self._path, self._storage)
        try:
            tokens = msgspec.convert(document.get("tokens"), list[Token])
        except msgspec.ValidationError as error:
            raise CorruptionError(
                f"{self._path} is not a list of tokens: {error}", path=self._path
            ) from error
        return {token.token_id: token for token in tokens}

    def _write(self, tokens: Mapping[str, Token]) -> None:
        document: dict[str, Any] = {
            "schema_version": 1,
            "tokens": orjson.loads(msgspec.json.encode([*tokens.values()])),
        }
        data = encode_with_digest(document, "the list of tokens")
        self._storage.write_atomically(self._path, data, mode=0o600)
