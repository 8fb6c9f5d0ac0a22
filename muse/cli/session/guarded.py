"""Opens a session with its policy and its proposals, for the commands that list proposals and decide."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from muse.cli.shared.options import Invocation, check_session
from muse.core.op_log import OpLog
from muse.disk import layout
from muse.errors import NotFoundError
from muse.session.guarded_log import GuardedLog

ProposalArgument = Annotated[
    str, typer.Argument(metavar="PROPOSAL", help="Its op id, or how that starts.", show_default=False)
]
_SHORTEST_NAME = 4


@contextmanager
def opened_guarded(invocation: Invocation, session: str) -> Iterator[GuardedLog]:
    """Open a session that is there, even if it has nothing but its policy and proposals."""
    repository = invocation.repository()
    proposals_file = layout.proposals_file(repository.root, session)
    if not repository.storage.exists(proposals_file):
        session = check_session(repository, session)
    with OpLog(repository.root, session) as log:
        yield GuardedLog(repository, log)


def named_proposal(guarded: GuardedLog, session: str, name: str) -> str:
    """Return the id of the proposal with this id, or of the only one whose id starts with it."""
    found = [one.proposal_id for one in guarded.proposals(settled=True) if one.proposal_id.startswith(name)]
    if name in found:
        return name
    if len(name) < _SHORTEST_NAME or len(found) != 1:
        raise NotFoundError(
            f"session {session!r} has {len(found)} proposals that start with {name!r}: see "
            f"'muse session proposals {session}'"
        )
    return found[0]
