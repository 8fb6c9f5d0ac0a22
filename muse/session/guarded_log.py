"""GuardedLog: appends to a session as its policy allows, with a receipt for every op."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, cast

import msgspec

from muse.coordination.reservations import Claim, Coordination, HeldError, Standing, describe
from muse.core.address import AddressMap, addresses_of
from muse.core.entry import ENTRY_FIELDS, OpEntry, check_entry
from muse.core.line import encode_line
from muse.core.op_ids import OP_IDS
from muse.core.op_log import Durability, OpLog
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.domain import CheckingPlugin
from muse.errors import ConflictError, DomainError, InvalidEntryError, NotFoundError
from muse.history.repository import Repository
from muse.plugins.registry import find_plugin
from muse.session.policy import Policy, read_policy
from muse.session.proposals import Proposal, ProposalFile
from muse.session.receipt import Kind, Receipt, Status
from muse.session.stale_reads import Arriving, Touch, Touches

MOST_OPEN_PROPOSALS = 10_000
OVERLAPS_NAMED = 100
_STAMP_FIELDS = frozenset({"lamport_ts", "created_at"})
_DRAFT_FIELDS = frozenset(ENTRY_FIELDS) - _STAMP_FIELDS


@dataclass(frozen=True, slots=True)
class Request:
    """Ops that one actor appends together.

    An op is an entry with its nine fields, or a draft: `domain`, `domain_op`, and, if wanted, `op_id`,
    `actor_id`, `parent_op_ids`, `intent_id`, `reservation_id`; it is stamped when it enters the log. A draft
    that is sent again with its `op_id` is the same op. `seen_frontier`: per actor, the highest Lamport that
    the author has read; None: not said, and nothing is called stale.
    """

    actor_id: str
    ops: Sequence[Mapping[str, Any]]
    run_id: str = ""
    seen_frontier: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Trespass:
    """An op in the log on an address that another actor held when its author says it was made."""

    entry: OpEntry
    claim: Claim


@dataclass(slots=True)
class _Offer:
    """An op on its way in: whole, but for the stamp of a draft. No receipt: nothing is said of it yet."""

    entry: OpEntry
    is_draft: bool
    request: Request
    receipt: Receipt | None = None
    is_admitted: bool = False
    first: "_Offer | None" = None  # the same op, earlier in the same requests

    @property
    def is_proposed(self) -> bool:
        return self.receipt is not None and self.receipt.status == "proposed"

    @property
    def said(self) -> Receipt:
        """The receipt, in the end. What the same requests had stored before is known."""
        if self.first is None:
            return cast("Receipt", self.receipt)
        said = self.first.said
        return msgspec.structs.replace(said, status="known") if said.status == "stored" else said

    def is_same(self, entry: Mapping[str, Any]) -> bool:
        """Whether an op that was stored or set aside is this one."""
        return _are_same(self.entry, entry, is_draft=self.is_draft)


class GuardedLog:
    """A session's log behind its policy. For any number of threads and processes.

    `policy` None: that of the session's file, read anew when it changes. Claims count on their branch;
    `branch` None: the one HEAD names when an op is appended or decided on. Whoever appends by a plain
    `OpLog` passes by: that is not prevented, `trespasses` finds it.
    """

    def __init__(
        self,
        repository: Repository,
        log: OpLog,
        *,
        policy: Policy | None = None,
        branch: str | None = None,
        coordination: Coordination | None = None,
    ) -> None:
        self._repository = repository
        self._log = log
        self._given_policy = policy
        self._policy_read: tuple[object, Policy] | None = None
        self._given_branch = None if branch is None else layout.check_branch(branch)
        self._branch_read: tuple[object, str] | None = None
        self.coordination = repository.coordination if coordination is None else coordination
        root, session_id = repository.root, log.session_id()
        self._policy_path = layout.policy_file(root, session_id)
        self._proposals = ProposalFile(layout.proposals_file(root, session_id), repository.storage)
        self._touches = Touches(log)

    # -- appending ------------------------------------------------------------------------------

    def append(
        self,
        ops: Iterable[Mapping[str, Any]],
        *,
        actor_id: str,
        run_id: str = "",
        seen_frontier: Mapping[str, int] | None = None,
        durability: Durability | None = None,
    ) -> list[Receipt]:
        """Append what the policy allows; return a receipt for each op, in order.

        Whether an op may enter is found in the same step in which it enters. Nothing is raised for one op:
        its receipt says what is wrong. `StorageError`: nothing is acknowledged, though some may be stored;
        append the same ops again, and each is there once.
        """
        request = Request(actor_id, list(ops), run_id, seen_frontier)
        return self.append_requests([request], durability=durability)[0]

    def append_requests(
        self, requests: Sequence[Request], *, durability: Durability | None = None
    ) -> list[list[Receipt]]:
        """Do `append` for several requests in one step, with one write: the receipts of each, in order."""
        offers = [[self._offer(op, request) for op in request.ops] for request in requests]
        valid = [offer for some in offers for offer in some if offer.receipt is None]
        reads = any(request.seen_frontier is not None for request in requests)
        if valid:
            if reads and self.policy().stale_reads != "off":
                self._touches.catch_up()  # most of it, while others may append
            with self._log.exclusive():
                policy = self.policy()
                if reads and policy.stale_reads != "off":
                    self._touches.catch_up()
                several = reads and len({request.actor_id for request in requests}) > 1
                arriving = Arriving() if several and policy.stale_reads != "off" else None
                with self._standing(policy) as standing:
                    self._judge(valid, policy, standing, arriving)
                    self._enter([offer for offer in valid if offer.is_admitted])
                if arriving is not None:
                    _settle_overlaps(valid)
                self._propose([offer for offer in valid if offer.is_proposed])
            if (durability or self._log.durability) == "disk":
                self._log.sync()
        return [[offer.said for offer in some] for some in offers]

    def append_at_once(self, requests: Sequence[Request]) -> list[list[Receipt]] | None:
        """Do `append_requests`, not durably, if nothing can make it wait; else return None, nothing done.

        It may wait where others are at work or have written much, and where claims or reads are looked at.
        """
        policy = self.policy()
        if policy.enforces_reservations or (policy.reservations != "off" and self.coordination.is_used()):
            return None
        if policy.stale_reads != "off" and any(one.seen_frontier is not None for one in requests):
            return None
        with self._log.exclusive(wait=False) as is_alone:
            return self.append_requests(requests, durability="os") if is_alone else None

    def _offer(self, op: Mapping[str, Any], request: Request) -> _Offer:
        """Complete an op, and check all that can be known of it alone."""
        is_draft = isinstance(op, dict) and _STAMP_FIELDS.isdisjoint(op)
        entry: Any = op
        try:
            if is_draft:
                entry = _completed(op, request.actor_id)
            check_entry(entry)
            if entry["actor_id"] != request.actor_id:
                reason = f"{request.actor_id} cannot append as {entry['actor_id']}: let each append their own"
                return _Offer(entry, is_draft, request, _refused(entry, "actor", reason))
            _check_of(entry["domain"])(entry["domain_op"])
        except (InvalidEntryError, DomainError) as error:
            return _Offer(entry, is_draft, request, _refused(entry, "invalid", str(error)))
        return _Offer(entry, is_draft, request)

    def _standing(self, policy: Policy) -> AbstractContextManager[Standing | None]:
        if policy.reservations == "off":
            return nullcontext()
        return self.coordination.standing(first_too=policy.enforces_reservations)

    def _judge(
        self,
        offers: Sequence[_Offer],
        policy: Policy,
        standing: Standing | None,
        arriving: Arriving | None,
    ) -> None:
        """Decide what becomes of each op; where nothing is in its way, it is admitted.

        With `arriving`, those that are admitted count as newer ops for those that come after them.
        """
        known = self._log.find(offer.entry["op_id"] for offer in offers)
        proposals = self._proposals.all()
        left = MOST_OPEN_PROPOSALS - self._proposals.open_count
        branch = "" if standing is None or standing.is_empty else self._branch()
        first: dict[str, _Offer] = {}
        for offer in offers:
            op_id = offer.entry["op_id"]
            earlier = first.setdefault(op_id, offer)
            if op_id in known:
                position, end, entry = known[op_id]
                stored = Receipt(op_id, "known", entry["lamport_ts"], position, end)
                offer.receipt = stored if offer.is_same(entry) else _in_conflict(offer.entry, "in the log")
            elif earlier is not offer:
                if offer.is_same(earlier.entry):
                    offer.first = earlier
                else:
                    offer.receipt = _in_conflict(offer.entry, "in the same request")
            elif op_id in proposals and proposals[op_id].state != "accepted":
                offer.receipt = _as_proposed(offer, proposals[op_id])
            else:
                offer.receipt = self._judged(offer, policy, standing, branch, arriving)
                offer.is_admitted = offer.receipt is None or offer.receipt.status == "stored"
                if offer.is_admitted and arriving is not None:
                    arriving.expect(offer.entry, is_stamped=not offer.is_draft)
                if offer.is_proposed:
                    left -= 1
                    self._check_room(offer, left)

    def _check_room(self, offer: _Offer, left: int) -> None:
        """Refuse what cannot be set aside: a log could not hold it, or too much is."""
        try:
            encode_line(offer.entry)
        except InvalidEntryError as error:
            offer.receipt = _refused(offer.entry, "invalid", str(error))
        if left < 0:
            reason = f"{MOST_OPEN_PROPOSALS} proposals are open, the limit: decide some first"
            offer.receipt = _refused(offer.entry, "full", reason)

    def _judged(
        self,
        offer: _Offer,
        policy: Policy,
        standing: Standing | None,
        branch: str,
        arriving: Arriving | None,
    ) -> Receipt | None:
        """Return what the policy has to say of an op; None if it is to be stored, and that is all."""
        entry, request = offer.entry, offer.request
        is_claimed = standing is not None and (entry["reservation_id"] or not standing.is_empty)
        if request.seen_frontier is None and not is_claimed:
            return None
        addresses = addresses_of(entry["domain_op"])
        kind: Kind = ""
        reason = ""
        status: Status = "stored"
        claims: list[Claim] = []
        if standing is not None:
            claims = standing.claims_of_others(addresses, branch, request.actor_id)
            fault = (
                standing.fault_of(entry["reservation_id"], request.actor_id)
                if entry["reservation_id"]
                else ""
            )
            granted = [claim for claim in claims if claim.epoch]
            if fault:
                kind, reason = "fenced", f"reservation {entry['reservation_id']} {fault}"
            elif granted:
                kind, reason = "held", describe(granted)
            if kind and policy.enforces_reservations:
                status = "refused" if policy.reservations == "refuse" else "proposed"
        overlaps: list[Touch] = []
        if request.seen_frontier is not None and policy.stale_reads != "off":
            overlaps = self._touches.unread(addresses, request.actor_id, request.seen_frontier, arriving)
            if overlaps and status == "stored" and (not kind or policy.stale_reads == "propose"):
                newest = overlaps[-1]
                kind, reason = "stale", f"{newest.actor_id} touched {newest.address} since it was last read"
                status = "proposed" if policy.stale_reads == "propose" else "stored"
        return Receipt(
            entry["op_id"],
            status,
            None if offer.is_draft else entry["lamport_ts"],
            kind=kind,
            reason=reason,
            overlaps=tuple(touch._asdict() for touch in overlaps[-OVERLAPS_NAMED:]),
            reservations=tuple(claim.to_json() for claim in claims),
        )

    def _enter(self, offers: list[_Offer]) -> None:
        """Append what is admitted: with one write or, where the log does not take one of them, one by one."""
        for are_drafts, run in groupby(offers, attrgetter("is_draft")):
            some = list(run)
            if are_drafts:
                self._stamp([offer.entry for offer in some])
            try:
                self._write(some)
            except InvalidEntryError:
                for offer in some:
                    try:
                        self._write([offer])
                    except InvalidEntryError as error:
                        offer.receipt = _refused(offer.entry, "invalid", str(error))

    def _stamp(self, entries: list[OpEntry]) -> None:
        first, at = self._log.next_lamport_ts(len(entries)), now_text()
        for stamp, entry in enumerate(entries, first):
            entry["lamport_ts"] = stamp
            entry["created_at"] = at

    def _write(self, offers: list[_Offer]) -> None:
        places = self._log.append_new([offer.entry for offer in offers])
        for offer, (start, end) in zip(offers, places, strict=True):
            entry, told = offer.entry, offer.receipt
            offer.receipt = Receipt(entry["op_id"], "stored", entry["lamport_ts"], start, end)
            if told is not None:
                offer.receipt = msgspec.structs.replace(
                    told, lamport_ts=entry["lamport_ts"], position=start, next_position=end
                )

    def _propose(self, offers: list[_Offer]) -> None:
        new = [offer for offer in offers if offer.entry["op_id"] not in self._proposals.all()]
        if new:
            at = now_text()
            self._proposals.add(
                [
                    Proposal(
                        {**offer.entry, "lamport_ts": None if offer.is_draft else offer.entry["lamport_ts"]},
                        offer.said.kind,
                        offer.said.reason,
                        offer.request.run_id,
                        at,
                    )
                    for offer in new
                ]
            )

    # -- policy ---------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """Return the policy that the next append obeys."""
        if self._given_policy is not None:
            return self._given_policy
        repository = self._repository
        version = self._version(self._policy_path)
        if self._policy_read is None or self._policy_read[0] != version:
            policy = read_policy(repository.root, self._log.session_id(), repository.storage)
            self._policy_read = version, policy
        return self._policy_read[1]

    def _branch(self) -> str:
        """Return the branch whose claims count now."""
        if self._given_branch is not None:
            return self._given_branch
        version = self._version(layout.head_file(self._repository.root))
        if self._branch_read is None or self._branch_read[0] != version:
            self._branch_read = version, self._repository.dag.current_branch()
        return self._branch_read[1]

    def _version(self, path: str) -> object:
        found = self._repository.storage.look(path)
        return found and (found.st_ino, found.st_mtime_ns, found.st_size)

    # -- proposals ------------------------------------------------------------------------------

    def proposals(self, *, settled: bool = False) -> list[Proposal]:
        """Return the open proposals in the order they came; with `settled` the decided ones too."""
        with self._log.exclusive():
            found = list(self._proposals.all().values())
            in_log = self._log.find(one.proposal_id for one in found if one.state == "open")
        seen = [replace(one, state="accepted") if _is_in(one, in_log) else one for one in found]
        return [one for one in seen if settled or one.state == "open"]

    def accept(self, proposal_id: str, *, actor_id: str) -> Receipt:
        """Append a proposed op under its own op id, durably. Idempotent; a crash leaves it open or accepted.

        Who holds one of its addresses decides; where nobody does, anyone. A draft is stamped now. Raises
        `NotFoundError` for no such proposal, `ConflictError` if it was rejected or the log holds another op
        with its id, `HeldError` if another decides, `InvalidEntryError` if the log can no longer take it.
        """
        with self._log.exclusive(), self.coordination.standing() as standing:
            proposal = self._proposal(proposal_id)
            if proposal.state == "rejected":
                raise ConflictError(
                    f"proposal {proposal_id} was rejected by {proposal.decided_by}: send the op anew, under "
                    "another op id",
                    op_id=proposal_id,
                )
            in_log = self._log.find([proposal_id])
            known = in_log.get(proposal_id)
            if known is not None and not _is_in(proposal, in_log):
                raise ConflictError(
                    f"proposal {proposal_id} cannot be accepted: the log holds another op with its id; "
                    "reject it, and have its op sent anew under another op id",
                    op_id=proposal_id,
                )
            if known is None:
                self._check_decides(proposal, actor_id, standing)
                entry: Any = dict(proposal.entry)
                if entry["lamport_ts"] is None:
                    self._stamp([entry])
                self._log.append(entry)
            self._log.sync()
            position, end, stored = known or self._log.find([proposal_id])[proposal_id]
            if proposal.state == "open":
                self._proposals.decide(proposal_id, "accepted", actor_id, now_text())
        status: Status = "stored" if known is None else "known"
        return Receipt(proposal_id, status, stored["lamport_ts"], position, end)

    def reject(self, proposal_id: str, *, actor_id: str, reason: str = "") -> Proposal:
        """Set a proposal aside for good. Idempotent. Its author may take it back so; see `accept`."""
        with self._log.exclusive(), self.coordination.standing() as standing:
            proposal = self._proposal(proposal_id)
            if proposal.state == "rejected":
                return proposal
            if _is_in(proposal, self._log.find([proposal_id])):
                raise ConflictError(
                    f"proposal {proposal_id} was accepted, its op is in the log: 'muse undo' takes it back",
                    op_id=proposal_id,
                )
            if proposal.entry["actor_id"] != actor_id:
                self._check_decides(proposal, actor_id, standing)
            return self._proposals.decide(proposal_id, "rejected", actor_id, now_text(), reason)

    def _proposal(self, proposal_id: str) -> Proposal:
        try:
            return self._proposals.all()[proposal_id]
        except KeyError:
            session_id = self._log.session_id()
            raise NotFoundError(
                f"session {session_id!r} has no proposal {proposal_id!r}: see "
                f"'muse session proposals {session_id}'"
            ) from None

    def _check_decides(self, proposal: Proposal, actor_id: str, standing: Standing) -> None:
        if standing.is_empty:
            return
        addresses = addresses_of(proposal.entry["domain_op"])
        found = standing.claims_of_others(addresses, self._branch(), actor_id)
        claims = [claim for claim in found if claim.epoch]
        if claims:
            raise HeldError(f"{actor_id} cannot decide this: {describe(claims)}, and decides", claims)

    # -- looking --------------------------------------------------------------------------------

    def trespasses(self) -> list[Trespass]:
        """Find ops on an address that another actor holds, made since then by the time their authors gave.

        They came by a plain `OpLog`, a merge or another tool, or before the session asked for more.
        Accepted proposals are none. Reads the whole log.
        """
        held: AddressMap[Claim] = AddressMap()
        for claim in self.coordination.claims(branch=self._branch()):
            for address in claim.addresses if claim.epoch else ():
                for values in held.places(address):
                    values[claim.reservation_id] = claim
        accepted = {one.proposal_id for one in self.proposals(settled=True) if one.state == "accepted"}
        entries = (one for one in self._log.entries(salvage=True) if one["op_id"] not in accepted)
        return [
            Trespass(entry, claim)
            for entry in entries
            for claim in _touched(entry, held)
            if claim.actor_id != entry["actor_id"] and claim.created_at <= entry["created_at"]
        ]


def _are_same(one: Mapping[str, Any], other: Mapping[str, Any], *, is_draft: bool) -> bool:
    """Whether two entries are one op. A draft's stamp is not its author's."""
    return all(one[name] == other[name] for name in (_DRAFT_FIELDS if is_draft else ENTRY_FIELDS))


def _is_in(proposal: Proposal, in_log: Mapping[str, tuple[int, int, OpEntry]]) -> bool:
    """Whether the op of a proposal is among those that were found in the log."""
    found = in_log.get(proposal.proposal_id)
    is_draft = proposal.entry["lamport_ts"] is None
    return found is not None and _are_same(proposal.entry, found[2], is_draft=is_draft)


def _touched(entry: OpEntry, held: AddressMap[Claim]) -> Iterable[Claim]:
    found = (claim for address in addresses_of(entry["domain_op"]) for claim in held.touching(address))
    return {claim.reservation_id: claim for claim in found}.values()


def _completed(draft: Mapping[str, Any], actor_id: str) -> dict[str, Any]:
    """Make an entry of a draft. Its stamp is none yet."""
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
        "parent_op_ids": draft.get("parent_op_ids", []),
        "domain": draft["domain"],
        "domain_op": draft["domain_op"],
        "created_at": "-",
        "intent_id": draft.get("intent_id", ""),
        "reservation_id": draft.get("reservation_id", ""),
    }


@cache
def _check_of(domain: str) -> Callable[[Mapping[str, Any]], None]:
    """Find how a domain checks an op before it is logged; one that does not say lets all through."""
    plugin = find_plugin(domain)
    return plugin.check_op if isinstance(plugin, CheckingPlugin) else lambda _op: None


def _settle_overlaps(offers: Sequence[_Offer]) -> None:
    """Give overlaps of one step the stamps under which they entered; leave out what the log did not take.

    What was set aside because of one that the log did not take stays so: somebody decides.
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
            elif other.said.status == "stored":
                overlaps.append({**overlap, "lamport_ts": other.entry["lamport_ts"]})
        overlaps.sort(key=itemgetter("lamport_ts"))
        receipt = msgspec.structs.replace(receipt, overlaps=tuple(overlaps))
        if receipt.kind == "stale" and receipt.status == "stored" and not overlaps:
            receipt = msgspec.structs.replace(receipt, kind="", reason="")
        offer.receipt = receipt


def _refused(entry: Mapping[str, Any], kind: Kind, reason: str) -> Receipt:
    op_id = entry.get("op_id", "") if isinstance(entry, dict) else ""
    return Receipt(str(op_id)[:64], "refused", kind=kind, reason=reason)


def _in_conflict(entry: OpEntry, where: str) -> Receipt:
    reason = (
        f"another op with this id is {where}: an op id belongs to one op for good, give it one of its own"
    )
    return _refused(entry, "conflict", reason)


def _as_proposed(offer: _Offer, proposal: Proposal) -> Receipt:
    """Say of an op that was set aside before what has become of it."""
    if not offer.is_same(proposal.entry):
        return _in_conflict(offer.entry, "among the proposals")
    if proposal.state == "rejected":
        why = f": {proposal.decision_reason}" if proposal.decision_reason else ""
        return _refused(offer.entry, "rejected", f"{proposal.decided_by} rejected it{why}")
    stamp = proposal.entry["lamport_ts"]
    return Receipt(proposal.proposal_id, "proposed", stamp, kind=proposal.kind, reason=proposal.reason)
