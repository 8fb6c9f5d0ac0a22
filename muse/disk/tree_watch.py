"""A watch of whole directories: it waits until something in them may have changed, and says where.

The system is asked through `watchfiles` (inotify, FSEvents, kqueue). Where it gives no more watches, all is
looked at again and again. It may tell too much, and in a flood too little: so whatever a wait returns, its
caller looks at what is there, and what was told is where to look closer.
"""

import contextlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from muse.disk.resource import Resource
from muse.errors import StorageError, UsageError

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

_STEP_MS = 5
"""How often it is looked whether something came. What comes within one step of another is told together."""

_GATHERED_MS = 100
_POLL_MS = 200
_LONGEST_SECONDS = 3600.0


def require_watching() -> None:
    """Raise `UsageError` unless what the watch needs is installed."""
    try:
        import watchfiles  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            f"to watch files, {error.name} is needed: pip install 'muse-oplog[watch]'"
        ) from error


class TreeWatch(Resource):
    """Watches directories, and all in them, for one waiter. `wake` may be called from anywhere.

    Raises `UsageError` where the extra is not installed, `StorageError` for a directory that is not there.
    """

    def __init__(self, directories: Sequence[str]) -> None:
        require_watching()
        self._directories = list(directories)
        self._woken = threading.Event()
        self.is_polling = False
        self.is_timed_out = False
        self._inner = self._begin()

    def _begin(self) -> "RustNotify":
        """Begin to watch, by looking again and again where the system gives no watch."""
        from watchfiles._rust_notify import (  # noqa: PLC0415 - an extra
            RustNotify,
            WatchfilesRustInternalError,
        )

        if not self.is_polling:
            try:
                return RustNotify(self._directories, False, False, _POLL_MS, True, True)
            except FileNotFoundError as error:
                raise StorageError(f"{error}: it cannot be watched", path=self._directories[0]) from error
            except (OSError, WatchfilesRustInternalError):
                self.is_polling = True  # most often, all watches of this user are taken
        try:
            return RustNotify(self._directories, False, True, _POLL_MS, True, True)
        except (OSError, WatchfilesRustInternalError) as error:
            path = self._directories[0]
            raise StorageError(f"{path} cannot be watched: {error}", path=path) from error

    def wait(self, seconds: float | None) -> set[str]:
        """Return paths at which something may have changed; none when woken, or after `seconds`.

        More than those may have changed. `is_timed_out` tells which of the two it was. Raises
        `KeyboardInterrupt` if a signal's handler raised.
        """
        from watchfiles._rust_notify import WatchfilesRustInternalError  # noqa: PLC0415

        limit = _LONGEST_SECONDS if seconds is None else min(seconds, _LONGEST_SECONDS)
        try:
            told = self._inner.watch(_GATHERED_MS, _STEP_MS, max(1, int(limit * 1000)), self._woken)
        except WatchfilesRustInternalError:  # a name that is no text: it tells nothing more after that
            self.begin_again()
            self.is_timed_out = False
            return set()
        if told == "signal":
            raise KeyboardInterrupt
        self.is_timed_out = told == "timeout"
        self._woken.clear()
        return set() if isinstance(told, str) else {path for _, path in told}

    def begin_again(self) -> None:
        """Watch what is at the paths now, where that may be others than before."""
        self._inner.close()
        self._inner = self._begin()

    def wake(self) -> None:
        """End the wait that is going on, or the next one: from any thread, or a signal's handler."""
        self._woken.set()

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._inner.close()
