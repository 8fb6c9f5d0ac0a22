"""What `muse session sync`, `pull`, `push` and `clone` share: the other replica, and what was moved."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muse.cli.shared.commit_text import SHORT_ID
from muse.cli.shared.options import Invocation
from muse.cli.shared.output import Output, count_of, size_of
from muse.cli.shared.servers import is_url, remote_peer
from muse.core.intake import Refusal
from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.errors import ConflictError, MuseError, UsageError
from muse.replication.counting_peer import CountingPeer, Traffic
from muse.replication.local_peer import LocalPeer
from muse.replication.mend import Mended
from muse.replication.sync import SessionSync
from muse.replication.transfer import Exchange, Transfer

if TYPE_CHECKING:
    from muse.client import RemotePeer

_REASONS_SHOWN = 10
PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH|URL",
        help="The other replica's directory, or the address of its server (MUSE_TOKEN holds the token).",
        show_default=False,
    ),
]
BranchOption = Annotated[str | None, typer.Option(help="Default: the branch of HEAD.")]


class SyncError(ConflictError):
    """Some ops could not be moved."""

    def __init__(self, sessions: Sequence[str]) -> None:
        names = ", ".join(sessions)
        super().__init__(f"what could be moved was, but not all ops of session {names}: the output says why")


class ChangedFilesError(MuseError):
    """The branch moved on, but files that were changed by hand stay as they are. `paths` names them."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(
            "the branch moved on, but these files were changed by hand, or are not plain files, and stay as "
            f"they are: {', '.join(paths)}; 'muse record' takes in what you changed, "
            "'muse checkout --force' gives it up"
        )
        self.paths = tuple(paths)


def open_other(own_root: str, path: str) -> "LocalPeer | RemotePeer":
    """Open the replica at a path or URL; `UsageError` if it is the one at `own_root` itself."""
    if is_url(path):
        return remote_peer(path)
    other = LocalPeer(os.path.abspath(path))
    if is_same_place(layout.repo_file(own_root), layout.repo_file(other.repository.root)):
        raise UsageError(f"{path} is this repository itself: name another replica of it")
    return other


def is_same_place(path: str, other: str) -> bool:
    """Return whether two paths lead to one file or directory, by whatever names, or both to none."""
    places = [LOCAL.look(path), LOCAL.look(other)]
    return len({(place.st_dev, place.st_ino) if place else None for place in places}) == 1


def transfer_branch(
    invocation: Invocation, path: str, move: Callable[[LocalPeer, CountingPeer], Exchange]
) -> None:
    """Pull or push a branch, as `move` does it, and print what was copied."""
    root = invocation.repository().root
    with LocalPeer(root) as own, open_other(root, path) as other, invocation.output.progress("copying"):
        peer = CountingPeer(other)
        exchange = move(own, peer)
    report_exchange(invocation.output, exchange, peer.traffic)


def report_exchange(output: Output, exchange: Exchange, traffic: Traffic) -> None:
    """Print what was moved; raise an error about what was not."""
    if output.as_json:
        output.record(
            {
                "branches": [transfer_record(transfer) for transfer in exchange.transfers],
                "sessions": [session_record(outcome) for outcome in exchange.sessions],
                "mended": mended_records(exchange.mended),
                "traffic": traffic_record(traffic),
            }
        )
    else:
        print_sessions(output, exchange.sessions)
        print_mended(output, exchange.mended)
        for transfer in exchange.transfers:
            output.line(_transfer_text(transfer))
        output.line(traffic_text(traffic))
    if kept := [file for transfer in exchange.transfers for file in transfer.kept]:
        raise ChangedFilesError(kept)
    raise_unsound(exchange.sessions)


def raise_unsound(outcomes: Sequence[SessionSync]) -> None:
    """Raise `SyncError` if ops of a session are in conflict, refused or waiting."""
    if unsound := [outcome.session_id for outcome in outcomes if not outcome.is_sound]:
        raise SyncError(unsound)


def session_record(outcome: SessionSync) -> dict[str, Any]:
    """Return the outcome for a session, for programs."""
    return {
        "session_id": outcome.session_id,
        "sent": outcome.sent,
        "received": outcome.received,
        "known": outcome.known,
        "held": outcome.orphans,
        "conflicts": outcome.conflicts,
        "refused": outcome.refused,
        "reasons": reason_records(outcome.reasons),
        "faults": list(outcome.faults),
    }


def reason_records(reasons: Sequence[Refusal]) -> list[dict[str, str]]:
    """Return why ops were not taken in, for programs."""
    return [{"op_id": reason.op_id, "reason": reason.reason} for reason in reasons]


def reason_lines(reasons: Sequence[Refusal]) -> list[str]:
    """Say for the first ops why they were not taken in."""
    return [f"op {reason.op_id or 'without id'}: {reason.reason}" for reason in reasons[:_REASONS_SHOWN]]


def transfer_record(transfer: Transfer) -> dict[str, Any]:
    """Return the outcome for a branch, for programs."""
    return {
        "branch": transfer.branch,
        "result": transfer.result,
        "before": transfer.before,
        "after": transfer.after,
        "commits": transfer.commits,
        "kept": list(transfer.kept),
    }


def traffic_record(traffic: Traffic) -> dict[str, int]:
    """Return the messages and bytes of an exchange, as JSON has them."""
    return {
        "round_trips": traffic.round_trips,
        "sent_bytes": traffic.sent_bytes,
        "received_bytes": traffic.received_bytes,
    }


def print_sessions(output: Output, outcomes: Sequence[SessionSync]) -> None:
    """Print a table of sessions, with how many ops went each way."""
    if not outcomes:
        output.line("There are no sessions.")
        return
    headings = ("SESSION", "SENT", "RECEIVED", "KNOWN", "HELD", "IN CONFLICT", "REFUSED")
    rows = [
        (
            outcome.session_id,
            outcome.sent,
            outcome.received,
            outcome.known,
            outcome.orphans,
            outcome.conflicts,
            outcome.refused,
        )
        for outcome in outcomes
    ]
    output.table(headings, rows)
    for outcome in outcomes:
        for fault in outcome.faults:
            output.line(f"{outcome.session_id}: {fault}")
        for line in reason_lines(outcome.reasons):
            output.line(f"{outcome.session_id}: {line}")


def _transfer_text(transfer: Transfer) -> str:
    after = (transfer.after or "no commit")[:SHORT_ID]
    if transfer.result == "up to date":
        return f"Branch {transfer.branch} is up to date, at {after}."
    if transfer.result == "ahead":
        return f"Branch {transfer.branch} is ahead, at {after}: it has all that the other side has, and more."
    verb = "moved on" if transfer.result == "fast-forward" else "merged"
    return f"Branch {transfer.branch} is {verb}, with {count_of(transfer.commits, 'commit')}, to {after}."


def mended_records(mended: Sequence[Mended]) -> list[dict[str, str]]:
    """Return what was mended, for programs."""
    return [{"kind": one.kind, "id": one.name, "aside": one.aside} for one in mended]


def print_mended(output: Output, mended: Sequence[Mended]) -> None:
    """Print a line for each file that was mended."""
    for one in mended:
        kept = f"; its damaged bytes are kept in {one.aside}" if one.aside else ""
        output.line(f"Mended: {one.kind} {one.name}{kept}")


def traffic_text(traffic: Traffic) -> str:
    """Return the messages and bytes of an exchange, in a line for people."""
    return (
        f"{count_of(traffic.round_trips, 'round trip')}, {size_of(traffic.sent_bytes)} there, "
        f"{size_of(traffic.received_bytes)} back."
    )
