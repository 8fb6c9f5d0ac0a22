"""Takes JSON Lines into a log: each line an entry, or a bare op that is recorded as one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, cast

from muse.apply.domains import check_domain_is_known, check_of, domain_of_file
from muse.core.entry import DEFAULT_LIMITS, OpEntry
from muse.core.line import decode_line
from muse.core.op_log import OpLog
from muse.core.other_sessions import OtherSessions
from muse.core.strict_json import parse_strictly
from muse.errors import ConflictError, InvalidEntryError, UsageError
from muse.session.foresight import Foresight

_READ_BYTES = 1 << 18
_LINE_BYTES = 2 * DEFAULT_LIMITS.entry_bytes  # JSON that others write may be wider than ours


@dataclass(frozen=True, slots=True)
class BareOps:
    """The fields of entries made of bare ops. Without a `domain`, that of its file, or else `other_domain`.

    `any_domain`: ops and entries of a domain that no plugin knows are taken too.
    """

    actor_id: str | None
    domain: str | None
    other_domain: str
    intent_id: str
    reservation_id: str
    any_domain: bool

    def domain_of(self, op: Mapping[str, Any]) -> str:
        """Return the domain of an op, which has passed its check."""
        domain = self.domain or domain_of_file(op.get("address"), self.other_domain)
        self.check_domain(domain)
        check_of(domain)(op)
        return domain

    def check_domain(self, domain: object) -> None:
        """Raise `DomainError` for a domain that no plugin knows, unless any is taken."""
        if isinstance(domain, str) and domain and not self.any_domain:
            check_domain_is_known(domain)


class Ineffective(NamedTuple):
    """An op that is in the log and has no effect as things are now, and the line that it came from."""

    line_number: int
    op_id: str
    reason: str


class LineFeeder:
    """Takes lines into a log in their order, and stops at the first bad one; those before it are stored.

    A bare op rests on the heads of its domain. `ineffective` has the ops that have no effect, as far as
    `foresight` knew.
    """

    def __init__(
        self, log: OpLog, bare_ops: BareOps, others: OtherSessions, foresight: Foresight | None = None
    ) -> None:
        self.stored = 0
        self.known = 0
        self.ineffective: list[Ineffective] = []
        self._log = log
        self._bare_ops = bare_ops
        self._others = others
        self._foresight = foresight
        self._heads = log.heads
        self._has_heads = False
        self._lines: dict[str, int] = {}  # of the ops taken since it was last asked which have an effect
        self._entries: list[tuple[int, OpEntry]] = []  # consecutive ones, appended together

    def take(self, stream: BinaryIO, progress: Callable[[int], None] = lambda _done: None) -> None:
        """Take every line of `stream` as it comes. `InvalidEntryError` names the line at fault."""
        self._ask_for_effects()
        for lines in _arriving(stream):
            self._has_heads = False
            try:
                for number, line in lines:
                    self._take_line(number, line)
                self._flush()
            finally:
                self._ask_for_effects()
            progress(self.stored + self.known)

    def _ask_for_effects(self) -> None:
        """Note which of the ops that were taken since have no effect."""
        reasons = self._foresight.catch_up() if self._foresight is not None else {}
        self.ineffective += (
            Ineffective(self._lines[op_id], op_id, reason)
            for op_id, reason in reasons.items()
            if op_id in self._lines
        )
        self._lines.clear()

    def _take_line(self, number: int, line: bytes) -> None:
        if not line.strip():
            return
        try:
            value = _parse(line.strip())
        except UsageError as error:
            self._flush()
            raise self._bad_line(number, error) from error
        if "op_id" in value:
            self._entries.append((number, cast("OpEntry", value)))
            return
        self._flush()
        try:
            _check_is_op(value)
            self._record(number, value)
        except UsageError as error:
            raise self._bad_line(number, error) from error

    def _record(self, number: int, op: dict[str, Any]) -> None:
        bare = self._bare_ops
        actor_id = self._check_actor()
        domain = bare.domain_of(op)
        if not self._has_heads:
            self._heads.catch_up()
            self._has_heads = True
        entry = self._log.record(
            actor_id,
            domain,
            op,
            parent_op_ids=self._heads.names(domain),
            intent_id=bare.intent_id,
            reservation_id=bare.reservation_id,
        )
        self._heads.note(entry)
        self._lines[entry["op_id"]] = number
        self.stored += 1

    def _check_actor(self) -> str:
        if self._bare_ops.actor_id is None:
            raise InvalidEntryError("it is an op without an entry: say who makes it with --actor NAME")
        return self._bare_ops.actor_id

    def _flush(self) -> None:
        entries, self._entries = self._entries, []
        if not entries:
            return
        self._has_heads = False
        try:
            self._check_domains(entries)
            self._others.check(entry for _, entry in entries)
            self._count(self._log.append_many([entry for _, entry in entries]), len(entries))
            self._lines |= {entry["op_id"]: number for number, entry in entries}
        except (UsageError, ConflictError):
            # One of them is bad and none was stored: go one by one up to it.
            for number, entry in entries:
                self._append(number, entry)

    def _append(self, number: int, entry: OpEntry) -> None:
        try:
            self._check_domains([(number, entry)])
            self._others.check([entry])
            self._count(int(self._log.append(entry)), 1)
            self._lines[entry["op_id"]] = number
        except (UsageError, ConflictError) as error:
            raise self._bad_line(number, error) from error

    def _check_domains(self, entries: Iterable[tuple[int, OpEntry]]) -> None:
        for _, entry in entries:
            self._bare_ops.check_domain(entry.get("domain"))

    def _count(self, stored: int, taken: int) -> None:
        self.stored += stored
        self.known += taken - stored

    def _bad_line(self, number: int, error: Exception) -> InvalidEntryError:
        reason = str(error).removesuffix("; nothing was written")
        return InvalidEntryError(
            f"line {number}: {reason}; {self.stored} stored and {self.known} already known before it, "
            "nothing from it on: mend the line and send the rest",
            line_number=number,
        )


def _check_is_op(value: Mapping[str, Any]) -> None:
    if "op" not in value and "domain_op" in value:
        raise InvalidEntryError(
            "this is an entry without its op_id: add one, or give its domain_op alone and --actor"
        )


def _parse(line: bytes) -> dict[str, Any]:
    """Return the entry or bare op of a line; a crc, as logs have it, is checked and dropped."""
    value = parse_strictly(line)
    if not isinstance(value, dict):
        raise InvalidEntryError("an object is expected: an op, or an entry with its op_id")
    return cast("dict[str, Any]", decode_line(line)) if "op_id" in value and "crc" in value else value


def _arriving(stream: BinaryIO) -> Iterator[Iterable[tuple[int, bytes]]]:
    """Yield the numbered lines that are there, as soon as they are; the last may lack its newline."""
    rest = b""
    number = 1
    while data := _read_some(stream):
        *lines, rest = (rest + data).split(b"\n")
        yield enumerate(lines, start=number)
        number += len(lines)
        if len(rest) > _LINE_BYTES:
            raise InvalidEntryError(
                f"line {number}: it is longer than {_LINE_BYTES} bytes; all lines before it are stored",
                line_number=number,
            )
    if rest:
        yield [(number, rest)]


def _read_some(stream: BinaryIO) -> bytes:
    """Read what is there without waiting for more: an edit that is piped in live is stored at once."""
    read = getattr(stream, "read1", stream.read)
    data: bytes = read(_READ_BYTES)
    return data
