"""How is a session live?"""

from typing import TYPE_CHECKING

from muse.compat.lazy import lazy_names

__all__ = ["CommitOutcome", "HandEditedError", "LiveSession", "LostCommitError"]

if TYPE_CHECKING:
    from muse.session.live import CommitOutcome, HandEditedError, LiveSession, LostCommitError

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "muse.session.live"))
