"""The session and branch of a server, for a replica of text files. See `muse.session.replica_source`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from muse.causality import heads_of
from muse.client.failures import ServerError, failure, is_transient
from muse.client.fetched import Fetched
from muse.client.follower import START, byte_of
from muse.client.loop_thread import LoopThread
from muse.client.session import AsyncSession
from muse.core.content_id import object_id
from muse.core.coverage import NOTHING, Coverage, coverage_of
from muse.core.entry import OpEntry, total_order
from muse.core.op_ids import OP_IDS
from muse.core.op_list import decode_op_list
from muse.core.timestamp import now_text
from muse.errors import ConflictError, UsageError
from muse.history.commit_record import CommitRecord, parents, state_snapshots
from muse.history.walk import first_lines
from muse.replication.received import check_hash, commit_in, snapshot_in
from muse.replication.wire import WirePeer
from muse.session.receipt import Receipt
from muse.session.replica_source import Place, Present, are_made_of_ops

_ATTEMPTS = 100
_KEPT_BYTES = 1 << 26


class _StoredFiles(Mapping[str, bytes]):
    """The files of a manifest, each fetched when it is first asked for."""

    def __init__(self, manifest: Mapping[str, str], fetch: Callable[[str], bytes]) -> None:
        self._manifest = manifest
        self._fetch = fetch

    def __getitem__(self, path: str) -> bytes:
        return self._fetch(self._manifest[path])

    def __iter__(self) -> Iterator[str]:
        return iter(self._manifest)

    def __len__(self) -> int:
        return len(self._manifest)

    def __contains__(self, path: object) -> bool:
        return path in self._manifest


class RemoteSource:
    """One session and one branch of a server. See `ReplicaSource`.

    What is stored under a hash is fetched once, as long as it is among the newest 64 MiB. An edit is on its
    way until the server has answered; with a local log, one that is made while the server is away is kept
    there.
    """

    def __init__(
        self,
        session: AsyncSession,
        loop: LoopThread,
        *,
        actor_id: str | None,
        domain: str,
        branch: str | None,
    ) -> None:
        if actor_id not in {None, session.actor_id}:
            raise UsageError(
                f"this session is of {session.actor_id!r}, so a replica on it is too, not of {actor_id!r}"
            )
        self._session = session
        self._requests = session.requests
        self._loop = loop
        self._domain = domain
        self._peer = WirePeer(
            lambda call, body: loop.run(
                session.requests.content("POST", f"/sync/{call}", body, is_idempotent=call != "advance")
            )
        )
        self._branch = branch or self._peer.identity().branch
        self._last_head: str | None = None
        self._highest = 0  # of the stamps that were read, or made on them
        self._objects: Fetched[bytes] = Fetched(_KEPT_BYTES)
        self._commits: Fetched[CommitRecord] = Fetched(_KEPT_BYTES)

    # -- looking --------------------------------------------------------------------------------

    def look(self, asked: Collection[str]) -> Present:
        for _ in range(_ATTEMPTS):
            head = self._last_head = self._head_there()
            coverage = self._coverage()
            found, place = self._read(START)
            if self._head_there() == head:
                break
        else:
            raise ConflictError(f"branch {self._branch!r} moved at each of {_ATTEMPTS} attempts: try again")
        listed = {op_id for name in coverage.op_lists for op_id in decode_op_list(self._fetch(name), name)}
        covered: list[OpEntry] = []
        pending: list[OpEntry] = []
        for end, entry in found:
            is_pending = coverage.is_pending(self._domain, end - 1) and entry["op_id"] not in listed
            (pending if is_pending else covered).append(entry)
        files, state = self._tree(head)
        known = {entry["op_id"] for _, entry in found}.intersection(asked)
        covered.sort(key=total_order)
        return Present(head, files, state, self._fetch, heads_of(covered), pending, known, place)

    def since(self, place: Place) -> tuple[list[OpEntry], Place]:
        try:
            found, place = self._read(place)
        except ServerError as error:
            self._check_may_go_on(error)
            return [], place
        return [entry for _, entry in found], place

    def head(self) -> str | None:
        try:
            self._last_head = self._head_there()
        except ServerError as error:
            self._check_may_go_on(error)
        return self._last_head

    def _head_there(self) -> str | None:
        return self._peer.branches().get(self._branch)

    def _check_may_go_on(self, error: ServerError) -> None:
        """Raise `error`, unless the server is away and what is made here meanwhile goes to the local log."""
        if self._session.log is None or not is_transient(error):
            raise error

    def is_made_of_ops(self, before: str | None, after: str | None) -> bool:
        if after is None or before == after:
            return before == after
        names = first_lines(after, lambda name: parents(self._commit(name)), {before})
        history = map(self._commit, names)
        return are_made_of_ops(history, self._session.session_id, self._domain, before)

    def _read(self, since: str) -> tuple[list[tuple[int, OpEntry]], str]:
        """Return the domain's entries after a cursor, each with the byte where its line ends."""
        return self._loop.run(self._lines(since))

    async def _lines(self, since: str) -> tuple[list[tuple[int, OpEntry]], str]:
        end = await self._session.end()
        found: list[tuple[int, OpEntry]] = []
        params = {"since": since, "until": end, "domain": self._domain, "order": "log"}
        async with self._requests.lines(f"/sessions/{self._session.session_id}/ops", params) as lines:
            async for line in lines:
                entry = orjson.loads(line)
                if "op_id" not in entry:
                    raise failure(500, entry, f"session {self._session.session_id!r}: the stream failed")
                found.append((byte_of(entry.pop("cursor")), entry))
                self._highest = max(self._highest, entry["lamport_ts"])
        return found, end

    def _coverage(self) -> Coverage:
        """Return what of the log is in history, as the server's checkpoint says."""
        document = self._loop.run(self._session.checkpoint())["checkpoint"]
        return (coverage_of(document) if document else None) or NOTHING

    def _tree(self, head: str | None) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        if head is None:
            return {}, {}
        record = self._commit(head)
        named = state_snapshots(record).get(self._domain)
        return self._files(record["snapshot_id"]), self._files(named) if named else {}

    def _files(self, snapshot_id: str) -> Mapping[str, bytes]:
        snapshot = snapshot_in(self._peer.get("snapshot", snapshot_id).data, snapshot_id)
        return _StoredFiles(snapshot["manifest"], self._fetch)

    def _commit(self, commit_id: str) -> CommitRecord:
        def fetched() -> tuple[CommitRecord, int]:
            data = self._peer.get("commit", commit_id).data
            return commit_in(data, commit_id), len(data)

        return self._commits.get(commit_id, fetched)

    def _fetch(self, digest: str) -> bytes:
        def fetched() -> tuple[bytes, int]:
            data = self._peer.get("object", digest).data
            check_hash("object", digest, object_id(data))
            return data, len(data)

        return self._objects.get(digest, fetched)

    # -- editing --------------------------------------------------------------------------------

    def record(self, ops: Sequence[Mapping[str, Any]], parents: Sequence[str]) -> list[OpEntry]:
        return self._loop.run(self._recorded(ops, list(parents)))

    async def _recorded(self, ops: Sequence[Mapping[str, Any]], parents: list[str]) -> list[OpEntry]:
        sent = []
        for op in ops:
            op_id = OP_IDS.next()
            future = await self._session.submit(
                self._domain, op, op_id=op_id, parent_op_ids=parents, above=self._highest
            )
            self._highest += 1
            sent.append((op_id, op, parents, future))
            parents = [op_id]
        return [self._entry(await future, op_id, op, causes) for op_id, op, causes, future in sent]

    def _entry(self, receipt: Receipt, op_id: str, op: Mapping[str, Any], parents: list[str]) -> OpEntry:
        """Return the entry that a receipt is for; `ConflictError` if it is not in the log."""
        if receipt.status == "local" and self._session.log is not None:
            return self._session.log.find([op_id])[op_id][2]
        if not receipt.is_in_log or receipt.lamport_ts is None:
            raise ConflictError(
                f"op {op_id} is not in the log, it was {receipt.status}: {receipt.reason}; the replica goes "
                "on from what the log has",
                op_id=op_id,
            )
        return {
            "op_id": op_id,
            "actor_id": self._session.actor_id,
            "lamport_ts": receipt.lamport_ts,
            "parent_op_ids": parents,
            "domain": self._domain,
            "domain_op": op,  # type: ignore[typeddict-item]
            "created_at": now_text(),
            "intent_id": "",
            "reservation_id": "",
        }

    @contextmanager
    def keeping(self, data: bytes) -> Iterator[None]:
        digest = object_id(data)
        self._peer.put("object", digest, data)
        yield
        self._peer.put("object", digest, data)  # a collector that came in between may have found it unnamed
