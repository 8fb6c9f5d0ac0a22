"""What a session asks of those who append to it: whether claims and stale reads are enforced."""

import os.path
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from muse.disk import layout
from muse.disk.json_file import encode_json, read_json_object
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, NotFoundError, UsageError

SCHEMA_VERSION = 1

ReservationRule = Literal["off", "advisory", "refuse", "propose"]
StaleReadRule = Literal["off", "report", "propose"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of an op that comes in another's way.

    `reservations`: of one on an address that another actor holds, or that rests on a reservation which no
    longer stands. "off": nobody looks; "advisory": the receipt says so; "refuse": it is refused;
    "propose": it is set aside for the holder to decide.

    `stale_reads`: of one whose author had not read newer ops of others on its addresses. "off"; "report": the
    receipt names them; "propose".
    """

    reservations: ReservationRule = "advisory"
    stale_reads: StaleReadRule = "report"

    def __post_init__(self) -> None:
        _check("reservations", self.reservations, get_args(ReservationRule))
        _check("stale_reads", self.stale_reads, get_args(StaleReadRule))

    @property
    def enforces_reservations(self) -> bool:
        return self.reservations in {"refuse", "propose"}

    @property
    def lets_all_pass(self) -> bool:
        """Whether no op is kept out of the log: nothing is but told, if that."""
        return not self.enforces_reservations and self.stale_reads != "propose"

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}: use one of {', '.join(map(str, allowed))}")


DEFAULT_POLICY = Policy()


def read_policy(root: str, session_id: str, storage: Storage = LOCAL) -> Policy:
    """Return the policy of a session, the default one if it has none of its own.

    `CorruptionError` for a file that holds no policy: a rule that cannot be read is never taken for none.
    """
    path = layout.policy_file(root, session_id)
    try:
        document = read_json_object(path, storage)
    except NotFoundError:
        return DEFAULT_POLICY
    version = document.pop("schema_version", None)
    try:
        _check("schema_version", version, (SCHEMA_VERSION,))
        return Policy(**document)
    except (UsageError, TypeError) as error:
        advice = f"'muse session policy {session_id} --reservations ... --stale-reads ...' writes it anew"
        raise CorruptionError(f"{path} is no policy: {error}; {advice}", path=path) from error


def write_policy(root: str, session_id: str, policy: Policy, storage: Storage = LOCAL) -> None:
    """Replace a session's policy, durably and in one step.

    Every append that starts after this has returned obeys it, in whatever process.
    """
    path = layout.policy_file(root, session_id)
    storage.make_directories(os.path.dirname(path), sync=True)
    with storage.locked(layout.session_lock_file(root, session_id)):
        write_policy_alone(root, session_id, policy, storage)


def write_policy_alone(root: str, session_id: str, policy: Policy, storage: Storage = LOCAL) -> None:
    """Do `write_policy` for one who holds the session's lock."""
    path = layout.policy_file(root, session_id)
    storage.write_atomically(path, encode_json(policy.to_json(), "policy.json"))
