"""Workdir: a directory of files, and the session that they are recorded in and brought up to date from."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from muse.core.entry import check_new_name
from muse.disk import layout
from muse.errors import StorageError, UsageError
from muse.history.repository import Repository
from muse.history.working_tree import WrittenFiles, notes_of_written
from muse.plugins.op_fields import NAMES_DIRECTORY
from muse.workdir.base import Base, BaseFile, BaseStore, Seen, now_ns, workdir_name
from muse.workdir.log_version import log_version
from muse.workdir.presence import check_directory, check_repository
from muse.workdir.scan import Directory, FileFault
from muse.workdir.scope import Scope, Settled, scope_of
from muse.workdir.sessions import ChosenSession, choose_session
from muse.workdir.status import ChangedFile, Divergence, compare, no_texts, unreadable_music

if TYPE_CHECKING:
    from muse.workdir.bring import Brought
    from muse.workdir.newest import Newest
    from muse.workdir.record import RecordedFile, Recorder


@dataclass(slots=True)
class WorkdirStatus:
    """How a directory and a session differ: what was done `here`, what the session has `ahead` of that.

    `faults` are files that are left out, and why.
    """

    session: ChosenSession
    branch: str
    here: list[ChangedFile] = field(default_factory=list)
    ahead: list[ChangedFile] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)


@dataclass(slots=True)
class RecordOutcome:
    """What was recorded, what came in from others, and the files that are left out, with the reasons."""

    session: ChosenSession
    recorded: "list[RecordedFile]" = field(default_factory=list)
    brought: "Brought | None" = None
    faults: list[FileFault] = field(default_factory=list)


class Workdir:
    """A directory of files that people and programs edit, beside a session that others edit too.

    `directory` is by default the root of the repository. Each method looks at files and session again, and
    may be called from several processes at once. Nothing that was typed, here or by others, is lost: what
    both sides did since they last agreed is merged, and a crash at any moment is made good by the next call.
    """

    def __init__(
        self,
        repository: Repository,
        directory: str | None = None,
        actor_id: str = "",
        *,
        session_id: str | None = None,
    ) -> None:
        root = os.path.abspath(repository.root)
        path = root if directory is None else os.path.abspath(directory)
        name = workdir_name(root, path)
        self.repository = repository
        self.actor_id = actor_id
        self.directory = Directory(path, repository.storage)
        self.name = name
        self._is_root = path == root
        self._session_id = session_id
        self._keeps_open = False
        self._kept: Newest | None = None
        self._takes_writes = True
        self._store = BaseStore(root, name, repository.storage)

    # -- looking --------------------------------------------------------------------------------

    def status(self, paths: Iterable[str] = ()) -> WorkdirStatus:
        """Compare the files with their base and with the newest state of the session; nothing is recorded.

        With `paths`, only those files, and those in those directories; `NotFoundError` where nothing is.
        """
        wanted = scope_of(paths)
        with self._begun(wanted, wait=False) as (base, chosen, is_ours), ExitStack() as opened:
            found, recorder = self._quick_comparison(base, chosen), None
            if found is None:
                newest = opened.enter_context(self._newest(chosen))
                found, recorder = self._compared(base, newest)
            wanted.check(found)
            here = [change for change in _sorted(found) if wanted.has(change.path)]
            refused = unreadable_music(found, here, self.directory)
            if lost := [path for path in no_texts(found, self._store) if wanted.has(path)]:
                recorder = recorder or self._recorder(opened.enter_context(self._newest(chosen)))
                refused += recorder.lost_texts(found, lost)
            left_out = {fault.path for fault in refused}
            outcome = WorkdirStatus(
                chosen,
                self.repository.dag.current_branch(),
                [change for change in here if change.path not in left_out | found.scan.unknown],
                [change for change in found.ahead_changes() if wanted.has(change.path)],
                [fault for fault in (*found.faults, *refused) if wanted.has(fault.path)],
            )
            if is_ours and found.is_news:
                with suppress(StorageError):  # a full disk: the next one looks at the files again
                    self._store.write(base)
        return outcome

    def contents(
        self, paths: Iterable[str] = ()
    ) -> tuple[dict[str, bytes], dict[str, bytes], list[FileFault]]:
        """Return what the session has and what the files have, where they differ: two trees, path -> content.

        A file that cannot be read, or is not the MIDI file that its name says, is in neither, but among the
        faults. Nothing is recorded; see `status`.
        """
        wanted = scope_of(paths)
        with self._begun(wanted, wait=False) as (base, chosen, _), self._newest(chosen) as newest:
            found, _ = self._compared(base, newest)
            wanted.check(found)
            moved = (change.from_path for change in found.here.values() if change.from_path)
            places = {path for path in (*found.here, *found.ahead, *moved) if wanted.has(path)}
            here = [path for path in sorted(places) if path in found.scan.files]
            for path in here:
                found.read(path, self.directory)
            refused = unreadable_music(found, _sorted(found), self.directory)
            places -= found.scan.unknown | {fault.path for fault in refused}
            before = {path: newest.files[path] for path in places if path in newest.digests}
        faults = [fault for fault in (*found.faults, *refused) if wanted.has(fault.path)]
        return before, {path: found.contents[path] for path in here if path in places}, faults

    def session(self) -> ChosenSession:
        """Return the session that the directory works in; its id is "" where that is not known."""
        return choose_session(self.repository, self._store.read(), self._session_id, self.actor_id)

    def shows(self, session_id: str) -> bool:
        """Return whether the files were last compared with this session."""
        return self._store.read().session_id == session_id

    def _quick_comparison(self, base: Base, chosen: ChosenSession) -> Divergence | None:
        """Compare with the state of the session that is known from the last time; None if it moved since."""
        dag = self.repository.dag
        branch = dag.current_branch()
        is_known = not (base.is_new or base.is_lost or base.coming or base.plan)
        if not is_known or (base.session_id, base.branch) != (chosen.session_id, branch):
            return None
        if self._notes():
            return None
        log = log_version(self.repository, chosen.session_id)
        if (base.seen.head, base.seen.log) != (dag.head(branch), log):
            return None
        newest = {path: row.digest for path, row in base.files.items()}
        for path, digest in base.seen.ahead.items():
            if digest is None:
                newest.pop(path, None)
            else:
                newest[path] = digest
        taken_ns = now_ns()
        found = compare(base, self.directory.scan({**base.files, **newest}), newest, self.directory)
        if found.agreed:
            return None
        self._note_looks(base, found, taken_ns)
        return found

    # -- recording ------------------------------------------------------------------------------

    def record(
        self,
        paths: Iterable[str] = (),
        *,
        intent_id: str = "",
        is_trial: bool = False,
        brings: bool = True,
        is_settled: Settled | None = None,
    ) -> RecordOutcome:
        """Record what was done to files since the directory and the session last agreed, and merge.

        With `paths`, only those files, and those in those directories. What others did is brought into the
        files then. Files that cannot be recorded are left out and named, the rest is recorded; of one file
        all is, or nothing. With `is_trial`, it is only said what would be recorded; without `brings`, nothing
        is brought. A file that is not `is_settled` waits: it is neither recorded nor written. Raises
        `UsageError` where there is no actor, `NotFoundError` for a path that nothing is at.
        """
        if not self.actor_id:
            raise UsageError("nobody is named whose edits these are: name an actor")
        check_new_name("actor_id", self.actor_id)
        check_new_name("intent_id", intent_id)
        wanted = scope_of(paths, is_settled)
        with self._begun(wanted) as (base, chosen, _):
            quick = self._quick_comparison(base, chosen)
            if quick is not None and wanted.has_nothing(quick, brings=brings):
                wanted.check(quick)
                if quick.is_news:
                    self._store.write(base)
                faults = [fault for fault in quick.faults if wanted.has(fault.path)]
                return RecordOutcome(chosen, faults=faults)
            known = None if quick is None else quick.newest
            with self._newest(chosen, base, known) as newest:
                found, recorder = self._compared(base, newest, quick)
                wanted.check(found)
                outcome = self._record(found, recorder, wanted, chosen, intent_id, is_trial=is_trial)
                if not is_trial:
                    self._bring(found, recorder, newest, wanted, outcome, brings=brings)
        return outcome

    def _record(
        self,
        found: Divergence,
        recorder: "Recorder",
        wanted: Scope,
        chosen: ChosenSession,
        intent_id: str,
        *,
        is_trial: bool,
    ) -> RecordOutcome:
        from muse.workdir.record import recorded_files  # noqa: PLC0415

        changes = [change for change in _sorted(found) if wanted.takes(change, found)]
        contents = self._contents(found, changes)
        changes = [change for change in changes if wanted.takes(change, found)]  # as they were read
        plan = recorder.plan(found, changes, contents, wanted.names)
        faults = [fault for fault in found.faults if wanted.has(fault.path)]
        outcome = RecordOutcome(chosen, faults=[*faults, *plan.faults])
        if plan.changes and is_trial:
            outcome.recorded = recorded_files(plan, None, [])
        elif plan.changes:
            recorder.store_plan(found.base, plan, self.actor_id, intent_id)
            steps: Sequence[Mapping[str, Any]] = found.base.plan["steps"] if found.base.plan else ()
            refusals = recorder.carry_out(found.base)
            outcome.recorded = recorded_files(plan, steps, refusals)
            for step, reasons in zip(steps, refusals, strict=True):
                outcome.faults += [FileFault(step["path"], reason) for reason in reasons[:1]]
        return outcome

    def _contents(self, found: Divergence, changes: Iterable[ChangedFile]) -> Mapping[str, bytes]:
        """Read what changed files hold, as far as that was not read before."""
        for change in changes:
            if change.kind != "deleted" and change.path not in found.contents:
                found.read(change.path, self.directory)
        return found.contents

    # -- bringing -------------------------------------------------------------------------------

    def bring(self, paths: Iterable[str] = ()) -> RecordOutcome:
        """Write what others did into the files, and record nothing.

        A file that was changed here too, and not recorded, has the changes of both sides then, if it is a
        text; any other stays as it is and is named.
        """
        wanted = scope_of(paths)
        with self._begun(wanted) as (base, chosen, _), self._newest(chosen) as newest:
            found, recorder = self._compared(base, newest)
            wanted.check(found)
            faults = [fault for fault in found.faults if wanted.has(fault.path)]
            outcome = RecordOutcome(chosen, faults=faults)
            self._bring(found, recorder, newest, wanted, outcome, merges=True)
        return outcome

    def _bring(
        self,
        found: Divergence,
        recorder: "Recorder",
        newest: "Newest",
        wanted: Scope,
        outcome: RecordOutcome,
        *,
        merges: bool = False,
        brings: bool = True,
    ) -> None:
        from muse.workdir.bring import Bringer  # noqa: PLC0415

        bringer = Bringer(newest, recorder, self._store, self.directory)
        is_wanted = partial(wanted.may_write, found) if brings else _nothing
        # The session is looked at before the lock: that may wait for a commit, which waits for this lock.
        outcome.brought, coming = bringer.look(found, is_wanted, merges=merges)
        tree_lock = layout.working_tree_lock_file(self.repository.root)
        with self.repository.storage.locked(tree_lock) if self._is_root else nullcontext():
            bringer.put(found, coming, outcome.brought)
        outcome.faults += outcome.brought.faults
        self._note_session(found.base, newest, recorder)
        self._store.write(found.base)
        self._store.sweep(found.base, is_all=not newest.is_known)

    # -- the base -------------------------------------------------------------------------------

    def check_presence(self) -> None:
        """Raise `AwayError` if the directory, or one like it, is not there, and had files."""
        check_repository(self.repository.root, self.repository.storage)
        self._read_base(Scope(()))

    def _read_base(self, wanted: Scope) -> Base:
        """Return what is remembered of the directory. Raises `AwayError` if that is not there now."""
        base = self._store.read()
        check_directory(self.directory, base, self._store.path, is_named=bool(wanted.paths))
        return base

    @contextmanager
    def _begun(self, wanted: Scope, *, wait: bool = True) -> Iterator[tuple[Base, ChosenSession, bool]]:
        """Begin a call: give its block the base, the session, and whether the lock is held; see `_locked`.

        Raises `AwayError` if the directory is not there now.
        """
        with self._locked(wait=wait) as is_ours:
            base = self._read_base(wanted)
            if is_ours:
                self._finish(base)
            yield base, choose_session(self.repository, base, self._session_id, self.actor_id), is_ours

    @contextmanager
    def _locked(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of the directory; yield False, without it, where it is taken or can be none."""
        storage = self.repository.storage
        check_repository(self.repository.root, storage)
        with ExitStack() as held:
            try:
                storage.make_directories(os.path.dirname(self._store.lock_path))
                is_ours = held.enter_context(storage.locked(self._store.lock_path, wait=wait))
            except StorageError:
                if wait:
                    raise
                is_ours, self._takes_writes = False, False
            yield is_ours

    @contextmanager
    def keeping_open(self) -> Iterator[None]:
        """Keep the session open between calls in the block: each reads only what came since the last one."""
        self._keeps_open = True
        try:
            yield
        finally:
            self._keeps_open = False
            self._let_go()

    def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    @contextmanager
    def _newest(
        self, chosen: ChosenSession, base: Base | None = None, digests: Mapping[str, str] | None = None
    ) -> "Iterator[Newest]":
        """Open the session; these are the `digests` of its files, if it is as it was for the base."""
        from muse.workdir.newest import Known, Newest  # noqa: PLC0415 - not needed where nothing moved

        known = None
        if base is not None and digests is not None:
            known = Known(base.seen.head, base.seen.log, digests, base.seen.heads)
        branch = self.repository.dag.current_branch()
        kept, self._kept = self._kept, None
        try:
            is_fit = kept is not None and kept.is_of(chosen.session_id, branch)
            if kept is None or not is_fit:
                if kept is not None:
                    kept.close()
                session_id, heals = chosen.session_id, self._takes_writes
                kept = Newest(self.repository, session_id, branch, self.actor_id, heals=heals, known=known)
            else:
                kept.refresh(known)
            yield kept
        except BaseException:  # what is open may be half of something: the next call begins again
            if kept is not None:
                kept.close()
            raise
        if self._keeps_open:
            self._kept = kept
        else:
            kept.close()

    def _recorder(self, newest: "Newest") -> "Recorder":
        from muse.workdir.record import Recorder  # noqa: PLC0415

        return Recorder(newest, self._store)

    def _finish(self, base: Base) -> None:
        """Do what is left of a plan that a crash cut off."""
        if base.plan is None:
            return
        chosen = ChosenSession(base.plan["session_id"], "that of the plan")
        with self._newest(chosen) as newest:
            self._recorder(newest).carry_out(base)
            base.session_id, base.branch = newest.session_id, base.branch or newest.branch
        base.done, base.plan = base.plan["plan_id"], None

    def _compared(
        self, base: Base, newest: "Newest", quick: Divergence | None = None
    ) -> "tuple[Divergence, Recorder]":
        """Compare with the newest state of the session; take files that agree with it into the base.

        A `quick` comparison is as good, if the session has not moved since.
        """
        from muse.workdir.settle import Settler  # noqa: PLC0415

        recorder = self._recorder(newest)
        if quick is not None and not _is_other(base, newest):
            recorder.find_renames(quick)
            return quick, recorder
        self._check_session(base, newest)
        if base.is_new and self._is_root:
            head = newest.head or ""
            committed = {
                path: BaseFile(digest, commit=head)
                for path, digest in newest.committed.items()
                if not path.startswith(f"{NAMES_DIRECTORY}/")
            }
            base.files = committed | base.files  # a plan that was finished just now knows better
        while True:
            taken_ns, notes = now_ns(), self._notes()
            scan = self.directory.scan({**base.files, **newest.digests})
            settler = Settler(base, scan, self.directory, newest, recorder)
            settler.take_coming()
            for one in notes:
                settler.take_notes(one)
            found = compare(base, scan, newest.digests, self.directory)
            if notes == self._notes():
                break  # or else a commit or checkout replaced files meanwhile
        base.notes = [one.place for one in notes]
        recorder.find_renames(found)
        for path in found.agreed:
            if path in newest.digests:
                base.files[path] = recorder.row_of(path).seen_as(scan.files[path])
            else:
                base.files.pop(path, None)
        self._note_looks(base, found, taken_ns)
        found.is_news |= bool(found.agreed or notes) or base.is_new or _is_other(base, newest)
        self._note_session(base, newest, recorder)
        return found, recorder

    def _notes(self) -> list[WrittenFiles]:
        """Return what Muse replaced in the working tree since the base was written."""
        return notes_of_written(self.repository.root, self.repository.storage) if self._is_root else []

    def _check_session(self, base: Base, newest: "Newest") -> None:
        """Refuse to go on in another session while the last one has ops that no commit has."""
        from muse.workdir.newest import pending_count  # noqa: PLC0415

        last = base.session_id
        if last and last != newest.session_id:
            if count := pending_count(self.repository, last, base.branch):
                raise UsageError(
                    f"the files here show session {last!r}, of which {count} ops are in no commit: commit "
                    f"them first, with 'muse commit {last} -m MESSAGE', or go on with --session {last}"
                )
            base.files = {path: msgspec.structs.replace(row, heads=()) for path, row in base.files.items()}
        if last == newest.session_id and base.seen.log and _is_older(newest.version, base.seen.log):
            base.files = {path: row for path, row in base.files.items() if row.commit}
            base.is_lost = True

    def _note_looks(self, base: Base, found: Divergence, taken_ns: int) -> None:
        """Remember how files are on the disk that are as the base has them."""
        for path in found.contents:
            row, status = base.files.get(path), found.scan.files.get(path)
            if row is not None and status is not None and found.disk[path] == row.digest:
                seen = row.seen_as(status)
                found.is_news |= seen != row
                base.files[path] = seen
        base.taken_ns = taken_ns
        found.is_news |= base.has_moved

    def _note_session(self, base: Base, newest: "Newest", recorder: "Recorder") -> None:
        from muse.workdir.settle import renew_texts  # noqa: PLC0415

        if not newest.is_known and _is_other(base, newest):
            renew_texts(base, newest, recorder)
        base.session_id, base.branch = newest.session_id, newest.branch
        ahead = base.differing(newest.digests)
        base.seen = Seen(newest.head, newest.version, ahead, dict(newest.known_heads()))


def _nothing(_path: str) -> bool:
    return False


def _sorted(found: Divergence) -> list[ChangedFile]:
    return [found.here[path] for path in sorted(found.here)]


def _is_other(base: Base, newest: "Newest") -> bool:
    """Return whether the session is another one, or moved on, since the base was written."""
    seen = base.session_id, base.branch, base.seen.head, base.seen.log
    return seen != (newest.session_id, newest.branch, newest.head, newest.version)


def _is_older(version: tuple[int, ...], seen: tuple[int, ...]) -> bool:
    """Return whether a log is shorter than it was: another one was put in its place."""
    return not version or version[0] < seen[0]
