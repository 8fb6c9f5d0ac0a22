"""A replica of the text files of a branch, for an editor: its edits are recorded, those of others come in."""

import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from muse.core.entry import OpEntry, total_order
from muse.core.op_log import OpLog
from muse.errors import DomainError, UsageError
from muse.history.repository import Repository
from muse.plugins.code.document import Patch
from muse.plugins.code.encodings import decode, detect
from muse.plugins.code.file_ids import DOMAIN
from muse.plugins.code.file_ops import (
    check_patch_of_text,
    creation_op,
    edit_op,
    hunk_op,
    removal_op,
    renaming_op,
    replacement_op,
)
from muse.plugins.code.hunks import patches_between
from muse.plugins.code.live_tree import LiveFile, LiveTree
from muse.plugins.code.merge import Merger, is_raw
from muse.plugins.code.ops import INLINE_BYTES, encoded, pieces_of, read_op
from muse.plugins.code.raw import stamp_of
from muse.session.live import LiveSession
from muse.session.replica_source import HasReplicaSource, LocalSource, ReplicaSource

PARENTS = 256


class CodeReplica:
    """One actor's view of a branch and of the ops of a log that are still to come into it.

    It works on a `LiveSession` or `Repository` and a log, or on a session of a `Client` alone, as its actor:
    then on the log and the branch of the server, which reads the session's ops at first.
    Each edit is in the log, for every process to read, when its method returns. Those of others come in with
    `take` or `refresh`. Replicas that took in the same entries show the same files. For one thread.
    Where two replicas insert at one place at the same time, the text of the one with the lower `rank` (0 to
    4095) comes first; without a rank, chance decides.
    """

    def __init__(
        self,
        session_or_repository: LiveSession | Repository | HasReplicaSource,
        log: OpLog | None = None,
        actor_id: str | None = None,
        *,
        branch: str | None = None,
        rank: int | None = None,
    ) -> None:
        self._source = _source(session_or_repository, log, actor_id, branch)
        self._rank = rank
        self._heard: dict[str, OpEntry] = {}  # what `take` was given, unless the log is known to hold it
        self._reopen()

    def _reopen(self) -> None:
        found = self._source.look(self._heard)
        self._head = found.head
        merger = Merger(found.files, found.state, found.fetch, secrets.token_hex(16), self._rank)
        self._heard = {op_id: entry for op_id, entry in self._heard.items() if op_id not in found.known}
        entries = sorted([*found.pending, *self._heard.values()], key=total_order)
        merger.take(entries)
        self._merger: Merger | None = merger
        self._place = found.place
        self._heads: dict[str, str] = dict.fromkeys(found.committed, "")  # of each its actor
        self._last: dict[str, tuple[int, str]] = {}  # the newest op here of each actor: stamp and id
        self._taken = set(self._heard)  # the ops that the log has not before the place, and that are here
        self._based: set[str] = set()  # files whose present base the log knows
        for entry in entries:
            self._know(entry)

    @property
    def _tree(self) -> LiveTree:
        if self._merger is None:
            self._reopen()
        assert self._merger is not None  # noqa: S101 - `_reopen` made it
        return self._merger.tree

    def _know(self, entry: OpEntry) -> None:
        for parent in entry["parent_op_ids"]:
            self._heads.pop(parent, None)
        before, own = self._last.get(entry["actor_id"], (0, "")), (entry["lamport_ts"], entry["op_id"])
        if before < own:  # else one that its actor made later, and that follows from it, is here
            self._heads.pop(before[1], None)
            self._heads[entry["op_id"]] = entry["actor_id"]
            self._last[entry["actor_id"]] = own
        self._based.add(str(entry["domain_op"].get("file_id", "")))

    # -- looking --------------------------------------------------------------------------------

    @property
    def version(self) -> tuple[str, ...]:
        """The ops from which all here follows: the last of each actor, unless another op names it."""
        return tuple(self._heads)

    @property
    def heads(self) -> dict[str, str]:
        """The ops of `version`, each with its actor, "" for one that is known from a commit only."""
        return self._heads.copy()

    def paths(self) -> list[str]:
        """Return the paths of all files, sorted."""
        return self._tree.paths()

    def read(self, path: str) -> str | bytes:
        """Return the text of a file, or its bytes if it is not text; `DomainError` if it does not exist."""
        file_id = self._tree.file_at(path)
        if file_id is not None:
            file = self._tree.file(file_id)
            return file.content if file.document is None else file.document.text
        content = self._tree.content(path)
        if content is None:
            raise DomainError(f"there is no file {path!r}: it was removed or moved, or never made", path=path)
        encoding = detect(content)
        return content if encoding is None else decode(content, encoding)

    def changed_files(self) -> dict[str, bytes | None]:
        """Return what differs here from the branch: path -> content, None for a file that is gone."""
        return self._tree.changed_files()

    def live_file(self, path: str) -> tuple[LiveFile, str]:
        """Return the file at `path` with all that its merging needs, and the object that an op on it names.

        The object is what the file was in the tree, or "" where the log knows that. The file is not to be
        changed. Raises `DomainError` if it does not exist.
        """
        return self._open(path)

    def file_of(self, file_id: str) -> LiveFile | None:
        """Return the live file of an id; None for one that no op and no commit has named."""
        tree = self._tree
        return tree.file(file_id) if file_id in tree.placements else None

    def path_of(self, file_id: str) -> str | None:
        """Return the path of a live file; None for one that was removed or is not live."""
        return self._tree.places().get(file_id)

    # -- editing text ---------------------------------------------------------------------------

    def insert(self, path: str, position: int, text: str) -> OpEntry:
        """Insert `text` before the code point at `position`."""
        return self.replace(path, position, 0, text)

    def delete(self, path: str, position: int, length: int) -> OpEntry:
        """Delete `length` code points at `position`."""
        return self.replace(path, position, length, "")

    def replace(self, path: str, position: int, length: int, text: str) -> OpEntry:
        """Put `text` in the place of `length` code points at `position`; return the op recorded.

        What is too long for one op is several, with one append; the last of them is returned. Raises
        `DomainError`, nothing recorded, where there is no such place or the file cannot hold the text.
        """
        return self._edit(path, [(position, length, text)])[-1]

    def edit(self, path: str, patches: Iterable[Patch]) -> list[OpEntry]:
        """Apply patches (position, length, text), one after the other, in as few ops as they need.

        All of them are in the log, with one append, or none is.
        """
        return self._edit(path, _joined(patches))

    def _edit(
        self, path: str, patches: Sequence[Patch], op_of: Callable[..., dict[str, Any]] = edit_op
    ) -> list[OpEntry]:
        if not patches:
            return []
        file, base = self._open(path)
        ops: list[dict[str, Any]] = []
        try:
            document = file.require_document(path)
            for patch in patches:
                check_patch_of_text(path, document, file.encoding, patch)
                named = {"file_id": file.file_id}
                ops.extend(op_of(path, document, piece) | named for piece in pieces_of(patch))
            if base:
                ops[0]["base"] = base
            return self._record(*ops)
        except BaseException as error:
            if base or ops or not isinstance(error, DomainError):  # or nothing was changed
                self._merger = None  # the log does not know of this edit: go on from what it knows
            raise

    def write(self, path: str, content: str | bytes) -> list[OpEntry]:
        """Give the file at `path` a new content, of a text only what differs in its lines and words.

        Each piece that differs is an op; all of them are in the log, with one append, or none is.
        """
        if not self._tree.has(path):
            return [self.create(path, content)]
        present = self.read(path)
        if isinstance(present, str) and isinstance(content, bytes):
            encoding = self._encoding(path)
            if encoding is not None and _is_in(content, encoding):
                content = decode(content, encoding)
        if isinstance(present, str) and isinstance(content, str):
            return self._edit(path, patches_between(present, content), hunk_op)
        if isinstance(present, str):
            return [self.remove(path), self.create(path, content)]
        data = content.encode() if isinstance(content, str) else content
        return [] if data == present else [self._replace_whole(path, present, data)]

    # -- files ----------------------------------------------------------------------------------

    def create(self, path: str, content: str | bytes = "") -> OpEntry:
        """Make a file."""
        if self._tree.has(path):
            raise DomainError(f"a file {path!r} is already there", path=path)
        data = content.encode() if isinstance(content, str) else content
        return self._bring(creation_op(path, data, uuid.uuid4().hex), content)

    def remove(self, path: str) -> OpEntry:
        """Remove a file. It stays if others are writing to it meanwhile."""
        with self._opened(path) as (file, base):
            vector, lifts = (None, file.lifts) if file.document is None else (file.document.vector, 0)
            op = removal_op(path, file.file_id, file.whole(), vector, base, lifts=lifts)
            return self._take_own(op)

    def move(self, path: str, to: str) -> OpEntry:
        """Give a file another path. Edits that others make meanwhile follow it."""
        if self._tree.has(to):
            raise DomainError(f"a file {to!r} is already there", path=to)
        with self._opened(path) as (file, base):
            return self._take_own(renaming_op(path, to, file.file_id, file.whole(), base))

    def _replace_whole(self, path: str, old: bytes, new: bytes) -> OpEntry:
        with self._opened(path) as (file, base):
            return self._bring(replacement_op(path, file.file_id, old, new, base), new)

    def _bring(self, op: dict[str, Any], content: str | bytes) -> OpEntry:
        """Record an op that brings a whole file.

        A large one is in the store before the op is in the log, and no collector comes in between.
        """
        data = content.encode() if isinstance(content, str) else content
        if len(data) <= INLINE_BYTES:
            carried = {"text": content} if isinstance(content, str) else {"base64": encoded(content)}
            return self._take_own(op | carried)
        with self._source.keeping(data):
            return self._take_own(op)

    def _take_own(self, op: dict[str, Any]) -> OpEntry:
        """Record an op on a file, and take it in as every other replica does."""
        meant = read_op(op)
        (entry,) = self._record(op)
        try:
            self._tree.take(stamp_of(entry), meant)
        except BaseException:
            self._merger = None  # the log has it: go on from there
            raise
        return entry

    def _encoding(self, path: str) -> str | None:
        """Return the encoding of a text, None for any other file."""
        file_id, content = self._tree.file_at(path), self._tree.content(path)
        return self._tree.file(file_id).encoding if file_id is not None else detect(content or b"")

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[LiveFile, str]]:
        """Open a file for an op. If that is not recorded, go on from what the log knows."""
        file, base = self._open(path)
        try:
            yield file, base
        except BaseException:
            if base:
                self._merger = None
            raise

    def _open(self, path: str) -> tuple[LiveFile, str]:
        """Return a file, and the blob that it was in the tree where the log does not know that yet."""
        file, _ = self._tree.open(path)
        if file.file_id in self._based:
            return file, ""
        return file, file.base

    def _record(self, *ops: dict[str, Any]) -> list[OpEntry]:
        """Append ops of one file with one write, each the cause of the next."""
        heads = self._heads
        parents = list(heads) if len(heads) <= PARENTS else list(heads)[-PARENTS:]
        entries = self._source.record(ops, parents)
        heads.clear()
        self._know(entries[-1])
        self._taken.update(entry["op_id"] for entry in entries)
        return entries

    # -- others' edits --------------------------------------------------------------------------

    def take(self, entries: Iterable[OpEntry]) -> None:
        """Take in entries of others, in any order; those known already change nothing.

        They may be of another log, but for an op that names no file: that has to be in this one.
        """
        fresh = [
            entry for entry in entries if entry["domain"] == DOMAIN and entry["op_id"] not in self._taken
        ]
        self._heard.update((entry["op_id"], entry) for entry in fresh if not is_raw(entry))
        self._take(fresh)

    def _take(self, fresh: Sequence[OpEntry]) -> None:
        """Take in entries that are in the log or among what was heard."""
        if any(is_raw(entry) for entry in fresh) or self._merger is None:
            self._reopen()  # a raw op means a version of the tree: look at the whole again
            return
        ordered = sorted(fresh, key=total_order)
        self._merger.take(ordered)
        for entry in ordered:
            self._taken.add(entry["op_id"])
            self._know(entry)

    def refresh(self) -> list[OpEntry]:
        """Take in what others appended to the log since; return it.

        What the branch got in another way, from another tool or session, comes in too.
        """
        found, place = self._source.since(self._place)
        fresh = [entry for entry in found if entry["op_id"] not in self._taken]
        if self._is_moved_from_outside():
            self._reopen()
        else:
            self._take(fresh)
            self._place = place
        for entry in found:
            self._taken.discard(entry["op_id"])
            self._heard.pop(entry["op_id"], None)
        return fresh

    def _is_moved_from_outside(self) -> bool:
        """Return whether the branch holds what no op of the log brought."""
        head = self._source.head()
        if head == self._head:
            return False
        if not self._source.is_made_of_ops(self._head, head):
            return True
        self._head = head
        return False


def _source(
    work_on: LiveSession | Repository | HasReplicaSource,
    log: OpLog | None,
    actor_id: str | None,
    branch: str | None,
) -> ReplicaSource:
    """Return what a replica of an actor reads from and records to."""
    if isinstance(work_on, HasReplicaSource):
        return work_on.replica_source(actor_id, DOMAIN, branch)
    if not isinstance(work_on, LiveSession | Repository):
        raise UsageError(
            f"a replica works on a LiveSession, a Repository or a session of a Client, not on "
            f"{type(work_on).__name__}: its calls block"
        )
    if log is None or actor_id is None:
        raise UsageError("name the log and the actor: CodeReplica(session, session.log, 'ada')")
    if isinstance(work_on, LiveSession):
        work_on.heal()
        branch, repository = branch or work_on.branch, work_on.repository
    else:
        repository = work_on
    return LocalSource(repository, log, actor_id, DOMAIN, branch or repository.dag.current_branch())


def _joined(patches: Iterable[Patch]) -> Sequence[Patch]:
    """Join patches that touch: typing on, deleting on."""
    joined: list[Patch] = []
    for position, length, text in patches:
        if joined:
            start, before, typed = joined[-1]
            if position == start + len(typed):
                joined[-1] = (start, before + length, typed + text)
                continue
            if not typed and position + length == start:
                joined[-1] = (position, length + before, text)
                continue
        joined.append((position, length, text))
    return [patch for patch in joined if patch[1] or patch[2]]


def _is_in(content: bytes, encoding: str) -> bool:
    """Return whether bytes are a text in an encoding. Any even number is UTF-16: there its mark decides."""
    if encoding.startswith("utf-16"):
        return detect(content) == encoding
    try:
        decode(content, encoding)
    except DomainError:
        return False
    return True
