"""How is a session live?"""

from typing import TYPE_CHECKING

from muse.compat.lazy import lazy_names

__all__ = ["CommitOutcome", "HandEditedError", "LiveSession", "LostCommitError"]

if TYPE_CHECKING:
    from muse.session.commit import CommitOutcome, HandEditedError
    from muse.session.live import LiveSession
    from muse.session.recovery import LostCommitError

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CommitOutcome": "muse.session.commit",
        "HandEditedError": "muse.session.commit",
        "LiveSession": "muse.session.live",
        "LostCommitError": "muse.session.recovery",
    },
)
