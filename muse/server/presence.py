"""Who is in a session, and where: a line an actor, however many connections it has."""

from typing import Any

import orjson


class Presence:
    """The actors of a session by their connections. An actor is where it said last."""

    def __init__(self) -> None:
        self._actors: dict[int, str] = {}
        self._connections: dict[str, set[int]] = {}
        self._places: dict[str, tuple[int, Any]] = {}  # of those that said where: by which connection
        self._message: bytes | None = None

    def here(self) -> list[dict[str, Any]]:
        """Return the actors that are here, and where: null for one that has not said it."""
        return [{"actor": actor, "where": self._where(actor)} for actor in self._connections]

    @property
    def message(self) -> bytes:
        """The message that lists who is here. It is made once for all who arrive before anything changes."""
        if self._message is None:
            self._message = orjson.dumps({"type": "presence", "here": self.here()})
        return self._message

    def arrive(self, connection: int, actor: str) -> bool:
        """Note a connection; return whether its actor was not here before."""
        self._actors[connection] = actor
        connections = self._connections.setdefault(actor, set())
        connections.add(connection)
        is_new = len(connections) == 1
        if is_new:
            self._message = None
        return is_new

    def move(self, connection: int, where: Any) -> str:
        """Note where a connection's actor is; return the actor."""
        actor = self._actors[connection]
        self._places[actor] = (connection, where)
        self._message = None
        return actor

    def leave(self, connection: int) -> str | None:
        """Forget a connection, and the place that it said; return its actor if that was the last one."""
        actor = self._actors.pop(connection)
        connections = self._connections[actor]
        connections.discard(connection)
        if self._places.get(actor, (None,))[0] == connection:
            del self._places[actor]
            self._message = None
        if connections:
            return None
        del self._connections[actor]
        self._message = None
        return actor

    def _where(self, actor: str) -> Any:
        return self._places[actor][1] if actor in self._places else None
