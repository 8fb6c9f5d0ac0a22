"""What becomes of an op that is handed to a session: it is stored, refused or set aside."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, cast

import msgspec

from muse.apply.domains import check_domain_is_known, check_domain_op
from muse.coordination.record import Reservation
from muse.coordination.reservations import FrozenReservations, describe
from muse.core.address import addresses_of
from muse.core.entry import ENTRY_FIELDS, OpEntry, check_entry, check_new_name
from muse.core.line import encode_line
from muse.core.op_ids import OP_IDS
from muse.errors import DomainError, InvalidEntryError
from muse.session.file_names import FileNames
from muse.session.policy import Policy
from muse.session.proposals import Proposal, ProposalCounts
from muse.session.receipt import Kind, Receipt, Status
from muse.session.stale_reads import Arriving, Touch, Touches

MOST_OPEN_PROPOSALS = 10_000
MOST_OPEN_OF_ONE = 1_000
MOST_OPEN_BYTES = 64 << 20
MOST_OPEN_BYTES_OF_ONE = 16 << 20
MOST_PROPOSALS = 50_000
MOST_PROPOSALS_OF_ONE = 10_000
MOST_PROPOSAL_BYTES = 256 << 20
MOST_PROPOSAL_BYTES_OF_ONE = 64 << 20
"""How much a session keeps of what was ever proposed, decided or not: all of it is read at each start."""

OVERLAPS_NAMED = 100
ADDRESSES_NAMED = 10
"""How many addresses of a reservation a receipt names at most."""

NAMED_AT_ONCE = 5_000
"""After how many overlaps and addresses of reservations the receipts of one actor's ops, that enter together,
name no more."""

STAMPS_AHEAD = 100_000
"""How far ahead of a session's ops, and of those that come with it, the stamp of an op may be. So an actor
cannot use up the stamps of all within years."""

_STAMP_FIELDS = frozenset({"lamport_ts", "created_at"})
_DRAFT_FIELDS = frozenset(ENTRY_FIELDS) - _STAMP_FIELDS

InLog = Mapping[str, tuple[int, int, OpEntry]]
"""Op id -> where the line of an entry starts in the log, where the next one starts, and the entry."""


@dataclass(slots=True)
class Request:
    """Ops that one actor appends together.

    An op is an entry with its nine fields, or a draft: `domain`, `domain_op`, and, if wanted, `op_id`,
    `actor_id`, `parent_op_ids`, `intent_id`, `reservation_id`; it is stamped when it enters the log. A draft
    that is sent again with its `op_id` is the same op. `seen_frontier` has for each actor the highest Lamport
    that the author has read; where it is not given, nothing is called stale. A draft without `parent_op_ids`
    rests on the heads of what its author has read or, where that is not given, of what is in the log.
    The append adds to `bytes_set_aside` what it keeps of these ops as proposals that were not there before.
    """

    actor_id: str
    ops: Sequence[Mapping[str, Any]]
    run_id: str = ""
    seen_frontier: Mapping[str, int] | None = None
    bytes_set_aside: int = 0


@dataclass(slots=True)
class Offer:
    """An op on its way into the log, whole but for the stamp of a draft, and what is decided about it."""

    entry: OpEntry
    is_draft: bool
    request: Request
    receipt: Receipt | None = None
    is_admitted: bool = False
    states_parents: bool = True
    first: "Offer | None" = None  # the same op, earlier in the same requests

    @property
    def is_proposed(self) -> bool:
        """Whether the op is set aside."""
        return self.receipt is not None and self.receipt.status == "proposed"

    @property
    def final_receipt(self) -> Receipt:
        """The receipt that the author gets: an op that came twice was known the second time."""
        if self.first is None:
            return cast("Receipt", self.receipt)
        receipt = self.first.final_receipt
        return msgspec.structs.replace(receipt, status="known") if receipt.status == "stored" else receipt

    def is_same(self, entry: Mapping[str, Any]) -> bool:
        """Return whether an op that was stored or set aside is this one."""
        if self.states_parents:
            return are_same(self.entry, entry, is_draft=self.is_draft)
        return are_same({**self.entry, "parent_op_ids": entry["parent_op_ids"]}, entry, is_draft=True)


def make_offer(op: Mapping[str, Any], request: Request, *, any_domain: bool = False) -> Offer:
    """Complete an op, and check all that can be known of it without the log."""
    is_draft = isinstance(op, dict) and _STAMP_FIELDS.isdisjoint(op)
    states_parents = not is_draft or op.get("parent_op_ids") is not None
    entry: Any = op
    try:
        if is_draft:
            entry = _completed(op, request.actor_id)
            check_new_name("actor_id", entry["actor_id"])
            check_new_name("intent_id", entry["intent_id"])
        check_entry(entry)
        if entry["actor_id"] != request.actor_id:
            reason = f"{request.actor_id} cannot append as {entry['actor_id']}: let each append their own"
            return Offer(entry, is_draft, request, refused(entry, "actor", reason))
        if not any_domain:
            check_domain_is_known(entry["domain"])
        check_domain_op(entry)
    except (InvalidEntryError, DomainError) as error:
        return Offer(entry, is_draft, request, refused(entry, "invalid", str(error)))
    return Offer(entry, is_draft, request, states_parents=states_parents)


def _completed(draft: Mapping[str, Any], actor_id: str) -> dict[str, Any]:
    """Make an entry of a draft. Its stamp is given when it enters the log."""
    for name in ("domain", "domain_op"):
        if name not in draft:
            raise InvalidEntryError(f"the op lacks {name}", field=name)
    if not _DRAFT_FIELDS.issuperset(draft):
        unknown = min(str(name) for name in draft if name not in _DRAFT_FIELDS)
        raise InvalidEntryError(f"the op has an unknown field: {unknown}", field=unknown)
    return {
        "op_id": draft["op_id"] if "op_id" in draft else OP_IDS.next(),
        "actor_id": draft.get("actor_id", actor_id),
        "lamport_ts": 1,
        "parent_op_ids": [] if draft.get("parent_op_ids") is None else draft["parent_op_ids"],
        "domain": draft["domain"],
        "domain_op": draft["domain_op"],
        "created_at": "-",
        "intent_id": draft.get("intent_id", ""),
        "reservation_id": draft.get("reservation_id", ""),
    }


def are_same(one: Mapping[str, Any], other: Mapping[str, Any], *, is_draft: bool) -> bool:
    """Return whether two entries are one op. The stamp of a draft is not its author's."""
    return all(one[name] == other[name] for name in (_DRAFT_FIELDS if is_draft else ENTRY_FIELDS))


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides on ops while nobody else can append and no reservation can change.

    `reservations` are missing where the policy does not ask for them. With `arriving`, ops that are admitted
    count as newer ops for those that come after them. `latest` is the highest stamp that an op may
    bring. `names`, where reservations are enforced, knows more of the addresses that an op touches.
    """

    policy: Policy
    reservations: FrozenReservations | None
    branch: str
    touches: Touches
    arriving: Arriving | None
    latest: int
    names: FileNames | None

    def decide(
        self,
        offers: Sequence[Offer],
        in_log: InLog,
        proposals: Mapping[str, Proposal],
    ) -> None:
        """Decide what becomes of each op; one that nothing is in the way of is admitted."""
        named: Counter[str] = Counter()
        first: dict[str, Offer] = {}
        for offer in offers:
            op_id = offer.entry["op_id"]
            earlier = first.setdefault(op_id, offer)
            if op_id in in_log:
                position, end, entry = in_log[op_id]
                stored = Receipt(op_id, "known", entry["lamport_ts"], position, end)
                offer.receipt = stored if offer.is_same(entry) else _in_conflict(offer.entry, "in the log")
            elif earlier is not offer:
                if offer.is_same(earlier.entry):
                    offer.first = earlier
                else:
                    offer.receipt = _in_conflict(offer.entry, "in the same request")
            elif op_id in proposals and proposals[op_id].state != "accepted":
                offer.receipt = _as_proposed(offer, proposals[op_id])
            elif not offer.is_draft and offer.entry["lamport_ts"] > self.latest:
                offer.receipt = refused(offer.entry, "invalid", self._too_late(offer.entry))
            else:
                actor = offer.request.actor_id
                offer.receipt = self._receipt_of(offer, may_name=named[actor] < NAMED_AT_ONCE)
                named[actor] += _named_in(offer.receipt)
                offer.is_admitted = offer.receipt is None or offer.receipt.status == "stored"
                if offer.is_admitted:
                    self._expect(offer)

    def _expect(self, offer: Offer) -> None:
        """Take what an admitted op touches into account for those that come after it."""
        entry = offer.entry
        if self.arriving is not None:
            self.arriving.expect(entry, is_stamped=not offer.is_draft)
        if self.names is not None:
            self.names.expect(entry, self.latest - STAMPS_AHEAD if offer.is_draft else entry["lamport_ts"])

    def _too_late(self, entry: OpEntry) -> str:
        stamp = entry["lamport_ts"]
        return f"lamport_ts {stamp} is far ahead of this session: at most {self.latest} is taken now"

    def _receipt_of(self, offer: Offer, *, may_name: bool) -> Receipt | None:
        """Return what the policy has to say of an op; nothing if it is stored without a remark.

        Unless it `may_name` them, overlaps and reservations are not named.
        """
        entry, request = offer.entry, offer.request
        reservations = self.reservations
        may_be_held = reservations is not None and (entry["reservation_id"] or not reservations.is_empty)
        if request.seen_frontier is None and not may_be_held:
            return None
        op = entry["domain_op"]
        addresses = addresses_of(op) if self.names is None else self.names.addresses_of(entry)
        status: Status = "stored"
        others: list[Reservation] = []
        kind: Kind = ""
        reason = ""
        if reservations is not None:
            others = reservations.of_others(addresses, self.branch, request.actor_id)
            kind, reason = _trespass_of(entry, request.actor_id, reservations, others)
            if kind and self.policy.enforces_reservations:
                status = "refused" if self.policy.reservations == "refuse" else "proposed"
        overlaps: list[Touch] = []
        if request.seen_frontier is not None and self.policy.stale_reads != "off":
            frontier = request.seen_frontier
            overlaps = self.touches.unread(addresses, request.actor_id, frontier, self.arriving)
            proposes = self.policy.stale_reads == "propose"
            if overlaps and status == "stored" and (not kind or proposes):
                newest = overlaps[-1]
                kind, reason = "stale", f"{newest.actor_id} touched {newest.address} since it was last read"
                status = "proposed" if proposes else "stored"
        return Receipt(
            entry["op_id"],
            status,
            None if offer.is_draft else entry["lamport_ts"],
            kind=kind,
            reason=reason,
            overlaps=tuple(touch._asdict() for touch in overlaps[-OVERLAPS_NAMED:] if may_name),
            reservations=tuple(_briefly(one) for one in others if may_name),
        )


def _briefly(reservation: Reservation) -> dict[str, Any]:
    """Return a reservation as a receipt has it, with the first of its addresses."""
    return replace(reservation, addresses=reservation.addresses[:ADDRESSES_NAMED]).to_json()


def _named_in(receipt: Receipt | None) -> int:
    """Return how many overlaps, and addresses of reservations, a receipt names."""
    if receipt is None:
        return 0
    return len(receipt.overlaps) + sum(len(one["addresses"]) for one in receipt.reservations)


def _trespass_of(
    entry: OpEntry, actor_id: str, reservations: FrozenReservations, others: Sequence[Reservation]
) -> tuple[Kind, str]:
    """Say how an op gets in the way of a reservation; ("", "") if it does not."""
    named = entry["reservation_id"]
    if named and (fault := reservations.fault_of(named, actor_id)):
        return "fenced", f"reservation {named} {fault}"
    in_the_way = [one for one in others if one.epoch]
    return ("held", describe(in_the_way)) if in_the_way else ("", "")


def check_room(offers: Iterable[Offer], are_open: ProposalCounts, ever: ProposalCounts) -> None:
    """Refuse the ops that cannot be set aside: a log could not hold one, or too many are set aside.

    They are as they are to be kept, with their parents.
    """
    are_open, ever = are_open.copy(), ever.copy()
    for offer in offers:
        _check_room(offer, are_open, ever)


def _check_room(offer: Offer, are_open: ProposalCounts, ever: ProposalCounts) -> None:
    actor = offer.entry["actor_id"]
    try:
        size = len(encode_line(offer.entry))
    except InvalidEntryError as error:
        offer.receipt = refused(offer.entry, "invalid", str(error))
        return
    are_open.add(actor, size)
    ever.add(actor, size)
    decide, another = "decide some first", "use another session"
    for found, limit, what, advice in (
        (are_open.count, MOST_OPEN_PROPOSALS, "proposals are open", decide),
        (are_open.size, MOST_OPEN_BYTES, "bytes of proposals are open", decide),
        (are_open.counts[actor], MOST_OPEN_OF_ONE, f"proposals of {actor} are open", decide),
        (are_open.sizes[actor], MOST_OPEN_BYTES_OF_ONE, f"bytes of proposals of {actor} are open", decide),
        (ever.count, MOST_PROPOSALS, "proposals were made", another),
        (ever.size, MOST_PROPOSAL_BYTES, "bytes of proposals were made", another),
        (ever.counts[actor], MOST_PROPOSALS_OF_ONE, f"proposals were made by {actor}", another),
        (ever.sizes[actor], MOST_PROPOSAL_BYTES_OF_ONE, f"bytes of proposals were made by {actor}", another),
    ):
        if found > limit:
            offer.receipt = refused(offer.entry, "full", f"{limit} {what}, the limit: {advice}")
            are_open.add(actor, -size, -1)
            ever.add(actor, -size, -1)
            return


def settle_overlaps(offers: Sequence[Offer]) -> None:
    """Give the overlaps of ops that entered together their stamps; leave out what the log did not take.

    What was set aside because of an op that the log did not take stays so: somebody decides.
    """
    admitted = {offer.entry["op_id"]: offer for offer in offers if offer.is_admitted}
    for offer in offers:
        receipt = offer.receipt
        if receipt is None or not receipt.overlaps:
            continue
        overlaps: list[dict[str, Any]] = []
        for overlap in receipt.overlaps:
            other = admitted.get(overlap["op_id"])
            if other is None:
                overlaps.append(overlap)
            elif other.final_receipt.status == "stored":
                overlaps.append({**overlap, "lamport_ts": other.entry["lamport_ts"]})
        overlaps.sort(key=itemgetter("lamport_ts"))
        receipt = msgspec.structs.replace(receipt, overlaps=tuple(overlaps))
        if receipt.kind == "stale" and receipt.status == "stored" and not overlaps:
            receipt = msgspec.structs.replace(receipt, kind="", reason="")
        offer.receipt = receipt


# -- receipts of what is not stored -----------------------------------------------------------------


def refused(entry: Mapping[str, Any], kind: Kind, reason: str) -> Receipt:
    """Return the receipt of an op that is refused."""
    op_id = entry.get("op_id", "") if isinstance(entry, dict) else ""
    return Receipt(str(op_id)[:64], "refused", kind=kind, reason=reason)


def _in_conflict(entry: OpEntry, where: str) -> Receipt:
    reason = f"another op with this id is {where}: an op id belongs to one op forever, give it one of its own"
    return refused(entry, "conflict", reason)


def _as_proposed(offer: Offer, proposal: Proposal) -> Receipt:
    """Return the receipt of an op that was set aside before."""
    if not offer.is_same(proposal.entry):
        return _in_conflict(offer.entry, "among the proposals")
    if proposal.state == "rejected":
        why = f": {proposal.decision_reason}" if proposal.decision_reason else ""
        return refused(offer.entry, "rejected", f"{proposal.decided_by} rejected it{why}")
    stamp = proposal.entry["lamport_ts"]
    return Receipt(proposal.proposal_id, "proposed", stamp, kind=proposal.kind, reason=proposal.reason)
