"""Policy: what a session does with ops that ignore reservations, or newer ops of others."""

import os.path
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from muse.disk import layout
from muse.disk.json_file import encode_with_digest, read_with_digest
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, NotFoundError, UsageError

SCHEMA_VERSION = 1

ReservationRule = Literal["off", "advisory", "refuse", "propose"]
StaleReadRule = Literal["off", "report", "propose"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for an op that gets in the way of others.

    `reservations` is for an op on an address that another actor holds, or that rests on a reservation that is
    over. With "off" nobody looks, with "advisory" the receipt says so, with "refuse" the op is refused, with
    "propose" it is set aside for the holder to decide.

    `stale_reads` is for an op whose author had not read newer ops of others on its addresses. With "off"
    nobody looks, with "report" the receipt names them, with "propose" the op is set aside.
    """

    reservations: ReservationRule = "advisory"
    stale_reads: StaleReadRule = "report"

    def __post_init__(self) -> None:
        _check("reservations", self.reservations, get_args(ReservationRule))
        _check("stale_reads", self.stale_reads, get_args(StaleReadRule))

    @property
    def enforces_reservations(self) -> bool:
        """Whether a reservation can keep an op out of the log."""
        return self.reservations in {"refuse", "propose"}

    @property
    def lets_all_pass(self) -> bool:
        """Whether no op is kept out of the log: at most, its receipt says something."""
        return not self.enforces_reservations and self.stale_reads != "propose"

    def to_json(self) -> dict[str, Any]:
        """Return the policy as its file has it."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}: use one of {', '.join(map(str, allowed))}")


DEFAULT_POLICY = Policy()


def read_policy(root: str, session_id: str, storage: Storage = LOCAL) -> Policy:
    """Return the policy of a session; the default one if the session has no file for it.

    `CorruptionError` for a file that holds no policy: a rule that cannot be read still counts as a rule.
    """
    path = layout.policy_file(root, session_id)
    try:
        document = read_with_digest(path, storage)
    except NotFoundError:
        return DEFAULT_POLICY
    version = document.pop("schema_version", None)
    try:
        _check("schema_version", version, (SCHEMA_VERSION,))
        return Policy(**document)
    except (UsageError, TypeError) as error:
        advice = f"'muse session policy {session_id} --reservations ... --stale-reads ...' writes a new one"
        raise CorruptionError(f"{path} is not a policy: {error}; {advice}", path=path) from error


def write_policy(root: str, session_id: str, policy: Policy, storage: Storage = LOCAL) -> None:
    """Replace a session's policy, durably and in one step.

    Every append that starts after this has returned obeys it, in every process.
    """
    path = layout.policy_file(root, session_id)
    storage.make_directories(os.path.dirname(path), sync=True)
    with storage.locked(layout.session_lock_file(root, session_id)):
        replace_policy(root, session_id, policy, storage)


def replace_policy(root: str, session_id: str, policy: Policy, storage: Storage = LOCAL) -> None:
    """Do `write_policy` while the caller holds the session's lock."""
    path = layout.policy_file(root, session_id)
    storage.write_atomically(path, encode_with_digest(policy.to_json(), "policy.json"))
