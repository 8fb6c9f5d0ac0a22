"""GuardedLog: appends to a session as its policy allows, with a receipt for every op."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, cast

import msgspec

from muse.apply.domains import read_state
from muse.coordination.record import Reservation, check_words, share_sessions
from muse.coordination.reservations import Coordination, FrozenReservations, HeldError, describe
from muse.core.address import AddressMap
from muse.core.entry import OpEntry
from muse.core.op_log import Durability, OpLog
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.errors import ConflictError, InvalidEntryError, NotFoundError
from muse.history.repository import Repository
from muse.plugins.code.file_ids import DOMAIN
from muse.session.decisions import (
    STAMPS_AHEAD,
    InLog,
    Judge,
    Offer,
    Request,
    are_same,
    check_room,
    make_offer,
    refused,
    settle_overlaps,
)
from muse.session.file_names import FileNames, Tree, names_file
from muse.session.foresight import Foresight
from muse.session.policy import Policy, read_policy
from muse.session.proposals import PAGE_PROPOSALS, Proposal, ProposalFile
from muse.session.receipt import Receipt, Status
from muse.session.stale_reads import Arriving, Touches

__all__ = ["GuardedLog", "Request", "Trespass"]


@dataclass(frozen=True, slots=True)
class Trespass:
    """An op in the log on an address that another actor held at the time its author gave."""

    entry: OpEntry
    reservation: Reservation


class GuardedLog:
    """A session's log behind its policy. For any number of threads and processes.

    Without a `policy`, that of the session's file counts, which is read again when it changes. Reservations
    count on their branch; without a `branch`, it is the one that HEAD names when an op is appended or decided
    on. A plain `OpLog` asks no policy: that is not prevented, `trespasses` finds its ops. Ops of a domain
    that no plugin knows are refused, unless the repository or `any_domain` lets them in.
    """

    def __init__(
        self,
        repository: Repository,
        log: OpLog,
        *,
        policy: Policy | None = None,
        branch: str | None = None,
        coordination: Coordination | None = None,
        any_domain: bool = False,
        foresees: bool = True,
    ) -> None:
        self._repository = repository
        self._log = log
        self._any_domain = any_domain or repository.any_domain
        self._given_policy = policy
        self._policy_read: tuple[object, Policy] | None = None
        self._given_branch = None if branch is None else layout.check_branch(branch)
        self._branch_read: tuple[object, str] | None = None
        self.coordination = repository.coordination if coordination is None else coordination
        root, session_id = repository.root, log.session_id()
        self._policy_path = layout.policy_file(root, session_id)
        self._proposals = ProposalFile(layout.proposals_file(root, session_id), repository.storage)
        self._touches = Touches(log)
        self._names = FileNames(log, self._last_tree)
        self._heads = log.heads
        self._foresight = Foresight(repository, log, self._branch) if foresees else None

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

        Whether an op may enter is decided in the same step in which it enters. Nothing is raised for one op:
        its receipt says what is wrong. `StorageError`: nothing is acknowledged, though some may be stored;
        append the same ops again, and each is there once.
        """
        request = Request(actor_id, list(ops), run_id, seen_frontier)
        return self.append_requests([request], durability=durability)[0]

    def append_requests(
        self, requests: Sequence[Request], *, durability: Durability | None = None
    ) -> list[list[Receipt]]:
        """Do `append` for several requests in one step, with one write; return the receipts of each."""
        return self._append(requests, durability, at_once=False)

    def _append(
        self, requests: Sequence[Request], durability: Durability | None, *, at_once: bool
    ) -> list[list[Receipt]]:
        offers = [
            [make_offer(op, request, any_domain=self._any_domain) for op in request.ops]
            for request in requests
        ]
        valid = [offer for some in offers for offer in some if offer.receipt is None]
        reads = any(request.seen_frontier is not None for request in requests)
        if valid:
            if self._foresight is not None:
                self._foresight.catch_up(at_once=at_once)
            if not all(offer.states_parents for offer in valid):
                self._heads.catch_up()
            recent = self._policy_read[1] if self._policy_read is not None else self.policy()
            self._catch_up(recent, valid, reads=reads)  # most of it, while others may append
            with self._log.exclusive():
                policy = self.policy()
                several = reads and len({request.actor_id for request in requests}) > 1
                arriving = Arriving() if several and policy.stale_reads != "off" else None
                with self._frozen(policy) as reservations:
                    self._catch_up(policy, valid, reads=reads)
                    self._decide(valid, policy, reservations, arriving)
                    self._enter([offer for offer in valid if offer.is_admitted])
                if arriving is not None:
                    settle_overlaps(valid)
                self._propose([offer for offer in valid if offer.is_proposed])
                self._tell_ineffective(valid, at_once=at_once)
            if (durability or self._log.durability) == "disk":
                self._log.sync()
        return [[offer.final_receipt for offer in some] for some in offers]

    def append_at_once(self, requests: Sequence[Request]) -> list[list[Receipt]] | None:
        """Do `append_requests`, not durably, if nothing can make it wait; else do nothing and return None.

        It may have to wait where others are at work or have written much, where the policy asks for
        reservations or reads, where the branch has moved since the last append, and where much of the log is
        to be read for the heads that a draft rests on.
        """
        if self._foresight is not None and not self._foresight.is_ready():
            return None
        policy = self.policy()
        if policy.enforces_reservations or (policy.reservations != "off" and self.coordination.is_used()):
            return None
        if policy.stale_reads != "off" and any(one.seen_frontier is not None for one in requests):
            return None
        with self._log.exclusive(wait=False) as is_exclusive:
            if not is_exclusive or (_rest_on_heads(requests) and self._heads.is_far_behind()):
                return None
            return self._append(requests, "os", at_once=True)

    def _catch_up(self, policy: Policy, offers: Sequence[Offer], *, reads: bool) -> None:
        """Take in what is in the log by now, as far as the policy asks for it."""
        if reads and policy.stale_reads != "off":
            self._touches.catch_up()
        if policy.enforces_reservations and self.coordination.is_used():
            by_id = any(names_file(offer.entry["domain_op"]) for offer in offers)
            self._names.catch_up(commits_too=by_id)

    def _frozen(self, policy: Policy) -> AbstractContextManager[FrozenReservations | None]:
        if policy.reservations == "off":
            return nullcontext()
        return self.coordination.frozen(self._log.session_id(), first_too=policy.enforces_reservations)

    def _decide(
        self,
        offers: Sequence[Offer],
        policy: Policy,
        reservations: FrozenReservations | None,
        arriving: Arriving | None,
    ) -> None:
        branch = "" if reservations is None or reservations.is_empty else self._branch()
        in_log = self._log.find(offer.entry["op_id"] for offer in offers)
        proposals = self._proposals.all()
        latest = self._log.cut().lamport_ts + len(offers) + STAMPS_AHEAD
        enforced = policy.enforces_reservations and reservations is not None and not reservations.is_empty
        names = self._names if enforced else None
        judge = Judge(policy, reservations, branch, self._touches, arriving, latest, names)
        judge.decide(offers, in_log, proposals)

    def _enter(self, offers: list[Offer]) -> None:
        """Append what is admitted with one write or, where the log does not take one of them, one by one."""
        for _, run in groupby(offers, attrgetter("is_draft")):
            some = list(run)
            try:
                self._write(some)
            except InvalidEntryError:
                for offer in some:
                    try:
                        self._write([offer])
                    except InvalidEntryError as error:
                        offer.receipt = refused(offer.entry, "invalid", str(error))

    def _stamp(self, entries: list[OpEntry]) -> None:
        first, at = self._log.next_lamport_ts(len(entries)), now_text()
        for stamp, entry in enumerate(entries, first):
            entry["lamport_ts"] = stamp
            entry["created_at"] = at

    def _write(self, offers: list[Offer]) -> None:
        """Append drafts, or else entries, with one write.

        A draft is stamped after the heads are read: others record meanwhile, and its parents are older.
        """
        is_any_named = not all(offer.states_parents for offer in offers)
        if is_any_named:
            self._heads.catch_up()
        if offers[0].is_draft:
            self._stamp([offer.entry for offer in offers])
        kept = None
        if is_any_named:
            kept = self._heads.kept({offer.entry["domain"] for offer in offers})
            self._name_parents(offers)
        try:
            places = self._log.append_new([offer.entry for offer in offers])
        except InvalidEntryError:  # of the batch, nothing is written
            if kept is not None:
                self._heads.put_back(kept)
            raise
        except BaseException:
            self._heads.forget()  # or ops would rest on what the log does not have
            raise
        if is_any_named:
            self._heads.pass_over(places[0][0], places[-1][1])
        for offer, (start, end) in zip(offers, places, strict=True):
            entry, told = offer.entry, offer.receipt
            offer.receipt = Receipt(entry["op_id"], "stored", entry["lamport_ts"], start, end)
            if told is not None:
                offer.receipt = msgspec.structs.replace(
                    told, lamport_ts=entry["lamport_ts"], position=start, next_position=end
                )

    def _name_parents(self, offers: Sequence[Offer]) -> None:
        """Let each draft without parents rest on what its author could have seen.

        Of a request that says what was read, an op after the first rests on the one before it.
        """
        before: dict[tuple[int, str], str] = {}
        for offer in offers:
            entry = offer.entry
            if not offer.states_parents:
                key = id(offer.request), entry["domain"]
                follows = key in before and offer.request.seen_frontier is not None
                entry["parent_op_ids"] = [before[key]] if follows else self._seen_by_author(offer)
                before[key] = entry["op_id"]
            self._heads.note(entry)

    def _seen_by_author(self, offer: Offer) -> list[str]:
        """Return the heads of what the author of an op says to have read, or of what is in the log."""
        frontier, domain = offer.request.seen_frontier, offer.entry["domain"]
        return self._heads.names(domain) if frontier is None else self._heads.seen_by(domain, frontier)

    def _tell_ineffective(self, offers: Sequence[Offer], *, at_once: bool) -> None:
        """Write into the receipts of ops that entered the log why they have no effect, as far as is known."""
        reasons = {} if self._foresight is None else self._foresight.catch_up(at_once=at_once)
        for offer in offers if reasons else ():
            reason, receipt = reasons.get(offer.entry["op_id"]), offer.receipt
            if reason and receipt is not None and receipt.status == "stored" and not receipt.kind:
                offer.receipt = msgspec.structs.replace(receipt, kind="ineffective", reason=reason)

    def _propose(self, offers: list[Offer]) -> None:
        known = self._proposals.all() if offers else {}
        new = [offer for offer in offers if offer.entry["op_id"] not in known]
        if any(not offer.states_parents for offer in new):
            self._heads.catch_up()
        for offer in new:
            if not offer.states_parents:
                offer.entry["parent_op_ids"] = self._seen_by_author(offer)
        check_room(new, self._proposals.open, self._proposals.ever)
        new = [offer for offer in new if offer.is_proposed]
        if new:
            at = now_text()
            self._proposals.add(
                [
                    Proposal(
                        {**offer.entry, "lamport_ts": None if offer.is_draft else offer.entry["lamport_ts"]},
                        offer.final_receipt.kind,
                        offer.final_receipt.reason,
                        offer.request.run_id,
                        at,
                    )
                    for offer in new
                ]
            )
        for offer in new:
            offer.request.bytes_set_aside += self._proposals.size_of(offer.entry["op_id"])

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
        """Return the branch whose reservations count now."""
        if self._given_branch is not None:
            return self._given_branch
        version = self._version(layout.head_file(self._repository.root))
        if self._branch_read is None or self._branch_read[0] != version:
            self._branch_read = version, self._repository.dag.current_branch()
        return self._branch_read[1]

    def _last_tree(self) -> tuple[str, Callable[[], Tree]]:
        """Return the last commit of the branch whose reservations count, and what reads its tree."""
        repository = self._repository
        commit_id = repository.dag.head(self._branch())
        return commit_id or "", lambda: (
            repository.read_tree(commit_id),
            read_state(repository, commit_id, DOMAIN),
        )

    def _version(self, path: str) -> object:
        found = self._repository.storage.look(path)
        return found and (found.st_ino, found.st_mtime_ns, found.st_size)

    # -- proposals ------------------------------------------------------------------------------

    def proposals(self, *, settled: bool = False) -> list[Proposal]:
        """Return the open proposals in the order they came; with `settled` the decided ones too."""
        with self._log.exclusive():
            return self._seen(self._proposals.all().values(), settled=settled)

    def proposals_after(
        self, proposal_id: str, *, settled: bool = False, at_most: int = PAGE_PROPOSALS
    ) -> tuple[list[Proposal], str | None]:
        """Return the proposals that came after one, the first ones after "", and the one to go on from.

        There are no more than `at_most`, nor so many that they take over a mebibyte, unless one alone does.
        To go on from None is not possible: there are no more.
        """
        with self._log.exclusive():
            page, is_last = self._proposals.after(
                self._proposal(proposal_id) if proposal_id else None, at_most
            )
            seen = self._seen(page, settled=settled)
        return seen, None if is_last else page[-1].proposal_id

    def _seen(self, found: Iterable[Proposal], *, settled: bool) -> list[Proposal]:
        """Return proposals as the log says: one whose op is there is accepted."""
        looked_up = [one for one in found if settled or one.state == "open"]
        in_log = self._log.find(one.proposal_id for one in looked_up if one.state == "open")
        seen = [replace(one, state="accepted") if _is_in(one, in_log) else one for one in looked_up]
        return [one for one in seen if settled or one.state == "open"]

    def accept(self, proposal_id: str, *, actor_id: str) -> Receipt:
        """Append a proposed op under its own op id, durably.

        May be repeated; a crash leaves the proposal open or accepted.

        The actor that holds one of its addresses decides; where nobody does, anyone. A draft is stamped now.
        Raises `NotFoundError` where there is no such proposal, `ConflictError` if it was rejected or the log
        holds another op with its id, `HeldError` if another decides, `InvalidEntryError` if the log can no
        longer take it.
        """
        with self._log.exclusive(), self.coordination.frozen(self._log.session_id()) as reservations:
            proposal = self._proposal(proposal_id)
            if proposal.state == "rejected":
                raise ConflictError(
                    f"proposal {proposal_id} was rejected by {proposal.decided_by}: send the op again, "
                    "under another op id",
                    op_id=proposal_id,
                )
            in_log = self._log.find([proposal_id])
            known = in_log.get(proposal_id)
            if known is not None and not _is_in(proposal, in_log):
                raise ConflictError(
                    f"proposal {proposal_id} cannot be accepted: the log holds another op with its id; "
                    "reject it, and have its op sent again under another op id",
                    op_id=proposal_id,
                )
            if known is None:
                self._check_decides(proposal, actor_id, reservations)
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
        """Reject a proposal permanently. May be repeated.

        The actors that may accept it may reject it, and so may its author. `UsageError` for a long reason.
        """
        check_words("main", actor_id, "", "", reason)
        with self._log.exclusive(), self.coordination.frozen(self._log.session_id()) as reservations:
            proposal = self._proposal(proposal_id)
            if proposal.state == "rejected":
                return proposal
            if _is_in(proposal, self._log.find([proposal_id])):
                raise ConflictError(
                    f"proposal {proposal_id} was accepted, its op is in the log: 'muse undo' takes it back",
                    op_id=proposal_id,
                )
            if proposal.entry["actor_id"] != actor_id:
                self._check_decides(proposal, actor_id, reservations)
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

    def _check_decides(self, proposal: Proposal, actor_id: str, reservations: FrozenReservations) -> None:
        if reservations.is_empty:
            return
        self._names.catch_up()
        addresses = self._names.addresses_of(cast("OpEntry", proposal.entry))
        others = reservations.of_others(addresses, self._branch(), actor_id)
        in_the_way = [one for one in others if one.epoch]
        if in_the_way:
            raise HeldError(f"{actor_id} cannot decide this: {describe(in_the_way)}, and decides", in_the_way)

    # -- looking --------------------------------------------------------------------------------

    def trespasses(self) -> list[Trespass]:
        """Find ops on an address that another actor holds, made since then by the time their authors gave.

        They came by a plain `OpLog`, a merge or another tool, or before the session asked for more.
        Accepted proposals are left out. Reads the whole log.
        """
        held: AddressMap[Reservation] = AddressMap()
        session_id = self._log.session_id()
        for reservation in self.coordination.reservations(branch=self._branch()):
            counts = reservation.epoch and share_sessions(reservation.sessions, session_id)
            for address in reservation.addresses if counts else ():
                for values in held.places(address):
                    values[reservation.reservation_id] = reservation
        self._names.catch_up()
        accepted = {one.proposal_id for one in self.proposals(settled=True) if one.state == "accepted"}
        entries = (one for one in self._log.entries(salvage=True) if one["op_id"] not in accepted)
        return [
            Trespass(entry, reservation)
            for entry in entries
            for reservation in _touched(self._names.addresses_of(entry), held)
            if reservation.actor_id != entry["actor_id"] and reservation.created_at <= entry["created_at"]
        ]


def _rest_on_heads(requests: Sequence[Request]) -> bool:
    ops: Iterable[Any] = (op for request in requests for op in request.ops)
    return any(isinstance(op, dict) and op.get("parent_op_ids") is None for op in ops)


def _is_in(proposal: Proposal, in_log: InLog) -> bool:
    """Return whether the op of a proposal is among those that were found in the log."""
    found = in_log.get(proposal.proposal_id)
    is_draft = proposal.entry["lamport_ts"] is None
    return found is not None and are_same(proposal.entry, found[2], is_draft=is_draft)


def _touched(addresses: Iterable[str], held: AddressMap[Reservation]) -> Iterable[Reservation]:
    found = (one for address in addresses for one in held.touching(address))
    return {one.reservation_id: one for one in found}.values()
