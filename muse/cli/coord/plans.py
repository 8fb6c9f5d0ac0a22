"""What several commands of `muse coord` do with reservations and intents."""

from muse.cli.shared.options import Invocation
from muse.coordination.record import Intent, Reservation
from muse.coordination.reservations import Coordination


def kind_of(plan: Reservation | Intent) -> str:
    return "reservation" if isinstance(plan, Reservation) else "intent"


def print_reservation(invocation: Invocation, reserved: Reservation, sentence: str) -> None:
    if invocation.output.as_json:
        invocation.output.record({"kind": "reservation", **reserved.to_json()})
    else:
        invocation.output.line(f"{sentence} until {reserved.expires_at}")
        invocation.output.line(f"Reservation {reserved.reservation_id}, epoch {reserved.epoch}")


def coordination_of(invocation: Invocation) -> Coordination:
    return invocation.repository().coordination


def branch_of(invocation: Invocation, branch: str | None) -> str:
    return invocation.repository().dag.current_branch() if branch is None else branch
