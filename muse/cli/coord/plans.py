"""What several commands of `muse coord` do with reservations and intents."""

from muse.cli.shared.options import Invocation
from muse.coordination.record import Intent, Reservation
from muse.coordination.reservations import Coordination


def kind_of(plan: Reservation | Intent) -> str:
    """Return what a plan is called in JSON and in tables: "reservation" or "intent"."""
    return "reservation" if isinstance(plan, Reservation) else "intent"


def print_reservation(invocation: Invocation, reserved: Reservation, sentence: str) -> None:
    """Print a reservation: as a JSON record, or as a sentence with its id, its end and its epoch."""
    if invocation.output.as_json:
        invocation.output.record({"kind": "reservation", **reserved.to_json()})
    else:
        invocation.output.line(f"{sentence} until {reserved.expires_at}")
        invocation.output.line(f"Reservation {reserved.reservation_id}, epoch {reserved.epoch}")


def coordination_of(invocation: Invocation) -> Coordination:
    """Open the reservations and intents of the repository that a command works in."""
    return invocation.repository().coordination


def branch_of(invocation: Invocation, branch: str | None) -> str:
    """Return the branch that was named, or else the current one."""
    return invocation.repository().dag.current_branch() if branch is None else branch
