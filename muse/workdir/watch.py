"""Watcher: a working directory as a live participant of a session."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from muse.core.entry import check_new_name
from muse.core.timestamp import now_text
from muse.disk import layout
from muse.disk.tree_watch import TreeWatch
from muse.errors import ConflictError, MuseError, StorageError
from muse.workdir.authors import Authors
from muse.workdir.base import now_ns
from muse.workdir.concerns import Concerns
from muse.workdir.presence import AwayError
from muse.workdir.quiet import FAULT_NS, TICK_NS, Complaints, Quiet
from muse.workdir.record import shortly
from muse.workdir.scan import Directory
from muse.workdir.workdir import RecordOutcome, Workdir

if TYPE_CHECKING:
    from muse.workdir.server_link import ServerLink

EventKind = Literal[
    "started",
    "recorded",
    "brought",
    "left_out",
    "waiting",
    "going_on",
    "offline",
    "online",
    "refused",
    "stopped",
]
_OF_SERVER: dict[str, EventKind] = {"away": "offline", "back": "online", "refused": "refused"}

_UNCONCERNED_SECONDS = 1.0
"""A change of what is no concern may have hidden one that is: the next look is no later than this."""

_LONGEST_REST_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_AWAY_SECONDS = 1.0
"""Nothing tells that a directory went away or came back: so often it is looked for."""
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something that happened: when, what kind of thing, to which file, who did it, and in words what.

    `change` and `op_ids` are those of what was recorded or brought.
    """

    kind: EventKind
    what: str
    path: str = ""
    actor_ids: tuple[str, ...] = ()
    change: str = ""
    op_ids: tuple[str, ...] = ()
    created_at: str = ""


class Watcher:
    """Records what programs save in a directory as an actor's ops, and brings what others do into the files.

    A file that is being written waits until it is quiet; one that changes just as it would be replaced stays.
    What was changed while nobody watched is recorded first. `run` returns once `stop` was called, from any
    thread or a signal's handler; `report` gets all that happens. Without `brings`, files are only read. With
    a `link`, what is recorded goes to a server, and what others do there comes here.
    """

    def __init__(
        self,
        workdir: Workdir,
        report: Callable[[WatchEvent], None],
        *,
        intent_id: str = "",
        brings: bool = True,
        link: "ServerLink | None" = None,
    ) -> None:
        check_new_name("actor_id", workdir.actor_id)
        check_new_name("intent_id", intent_id)
        self._workdir = workdir
        self._link = link
        self._report = report
        self._intent_id = intent_id
        self._brings = brings
        self._quiet = Quiet(workdir.directory.is_open_to_write, workdir.directory.is_closed)
        self._complaints = Complaints()
        self._authors = Authors(workdir.repository, workdir.actor_id)
        self._watch: TreeWatch | None = None
        self._is_stopping = False
        self._session_id = ""
        self._fault = ""
        self._is_away = False
        self._places = self._identities()
        self._pause = _FIRST_PAUSE_SECONDS
        self._due: float | None = None
        self._rests_until = 0.0

    def stop(self) -> None:
        """End soon: what was saved until now is recorded before."""
        self._is_stopping = True
        self.wake()

    def wake(self) -> None:
        """Look soon whether something changed."""
        if self._watch is not None:
            self._watch.wake()

    def run(self) -> bool:
        """Watch until `stop` is called; return whether all that is there is recorded.

        Raises `ConflictError` where the directory is watched already, `AwayError` where it is not there but
        had files, `UsageError` where nothing can be recorded here as asked for. A directory that goes away
        later is waited for.
        """
        with ExitStack() as stack:
            self._workdir.check_presence()
            stack.enter_context(self._watching_alone())
            stack.enter_context(self._workdir.keeping_open())
            self._watch = stack.enter_context(TreeWatch(self._watched()))
            self._meet_server_first()
            self._look_first()
            self._tell("started", self._start_words())
            if self._link is not None:
                stack.enter_context(self._link).start(self._session_id, self._workdir.actor_id, self.wake)
            while not self._is_stopping:
                self._wait(self._watch)
                self._tell_of_server()
                if self._is_due():
                    self._look()
            self._end()
            if self._link is not None:
                self._link.close()
                self._tell_of_server()
        missing = self._fault or ", ".join(self._complaints.paths)
        self._tell("stopped", f"not all is recorded: {missing}" if missing else "all is recorded")
        return not missing

    # -- what is watched ------------------------------------------------------------------------

    def _watching_alone(self) -> ExitStack:
        """Take the lock of those who watch this directory."""
        storage, root = self._workdir.repository.storage, self._workdir.repository.root
        path = layout.workdir_watch_lock_file(root, self._workdir.name)
        storage.make_directories(os.path.dirname(path))
        with ExitStack() as stack:
            if not stack.enter_context(storage.locked(path, wait=False)):
                place = self._workdir.directory.path
                raise ConflictError(
                    f"{place} is watched already: stop the other 'muse watch', or watch another directory"
                )
            return stack.pop_all()

    def _watched(self) -> list[str]:
        """Return the directories to watch: that of the files, and what of the repository is outside of it."""
        storage, place = self._workdir.repository.storage, self._workdir.directory.path
        root = os.path.abspath(self._workdir.repository.root)
        inside = [layout.op_log_directory(root), layout.branches_directory(root)]
        for one in (place, *inside):
            storage.make_directories(one)
        is_inside = f"{root}/".startswith(f"{place.rstrip('/')}/")
        return [place] if is_inside else [place, *inside]

    def _concerns(self) -> Concerns:
        root = os.path.abspath(self._workdir.repository.root)
        return Concerns(self._workdir.directory.path, root, self._session_id)

    def _start_words(self) -> str:
        polling = " (the system gives no more watches: files are looked at again and again)"
        is_polling = self._watch is not None and self._watch.is_polling
        return f"{self._workdir.directory.path} in session {self._session_id}{polling if is_polling else ''}"

    # -- when to look ---------------------------------------------------------------------------

    def _wait(self, watch: TreeWatch) -> None:
        """Wait until something is to be done, or may be."""
        left = self._seconds_left()
        is_brief = left is None or left > _AWAY_SECONDS
        places = watch.wait(_AWAY_SECONDS if is_brief else left)
        if not (is_brief and watch.is_timed_out):
            self._take(places)
        elif not self._is_away and self._identities() != self._places:
            self._look_within(0)

    def _identities(self) -> list[tuple[int, int] | None]:
        """Return which directories are watched."""
        workdir = self._workdir
        root = Directory(os.path.abspath(workdir.repository.root), workdir.repository.storage)
        return [one.identity() for one in (workdir.directory, root)]

    def _take(self, places: set[str]) -> None:
        """Note what was told to have changed."""
        if not places:
            self._look_within(0)  # woken, or it is time
            return
        concerns = self._concerns()
        files = set(concerns.files(places))
        self._quiet.touch(files, now_ns())
        self._complaints.touch(files)
        if any(map(concerns.is_of_session, places)):
            self._look_within(0)
        self._look_within(TICK_NS / 2e9 if files else _UNCONCERNED_SECONDS)  # a save that is done shows then

    def _look_within(self, seconds: float) -> None:
        at = time.monotonic() + seconds
        self._due = at if self._due is None else min(self._due, at)

    def _is_due(self) -> bool:
        return self._due is not None and max(self._due, self._rests_until) <= time.monotonic()

    def _seconds_left(self) -> float | None:
        if self._due is None:
            return None
        return max(0.0, max(self._due, self._rests_until) - time.monotonic())

    def _plan_next(self, began: float) -> None:
        """Decide when to look again though nothing is told; rest for as long as this look took."""
        now, ended = now_ns(), time.monotonic()
        self._rests_until = ended + min(ended - began, _LONGEST_REST_SECONDS)
        for due_ns in (self._quiet.due_ns, self._complaints.due_ns):
            if due_ns is not None:
                self._look_within(max(0, due_ns - now) / 1e9)
        if self._fault or self._complaints:
            self._look_within(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        else:
            self._pause = _FIRST_PAUSE_SECONDS

    # -- looking --------------------------------------------------------------------------------

    def _meet_server_first(self) -> None:
        if self._link is not None and (session_id := self._workdir.session().session_id):
            self._link.exchange_first(session_id)

    def _look_first(self) -> None:
        """Record what was changed while nobody watched; what cannot be done at all is told at once."""
        try:
            self._look_at_all()
        except AwayError:
            raise
        except StorageError as error:
            self._hold(error)
            self._session_id = self._workdir.session().session_id

    def _look(self) -> None:
        try:
            self._look_at_all()
        except MuseError as error:
            self._hold(error)

    def _look_at_all(self, *, is_last: bool = False) -> None:
        """Record what is settled, bring what is new, and say so; `is_last`: whatever there is."""
        began = time.monotonic()
        self._due = None
        self._quiet.begin(now_ns())
        self._authors.begin(self._session_id)
        try:
            outcome = self._workdir.record(
                intent_id=self._intent_id,
                brings=self._brings and not is_last,
                is_settled=None if is_last else self._is_settled,
            )
            self._session_id = outcome.session.session_id
            self._go_on()
            self._tell_outcome(outcome, is_last=is_last)
        finally:
            self._plan_next(began)

    def _is_settled(self, path: str, found: os.stat_result | None) -> bool:
        return self._quiet.is_settled(path, found, now_ns())

    def _end(self) -> None:
        """Record what is there, with a little patience for what is being written."""
        deadline = time.monotonic() + _END_SECONDS
        self._look()
        while self._quiet.due_ns is not None and time.monotonic() < deadline and self._watch is not None:
            self._watch.wait(self._seconds_left())
            self._look()
        try:
            self._look_at_all(is_last=True)
        except MuseError as error:
            self._hold(error)

    # -- telling --------------------------------------------------------------------------------

    def _hold(self, error: MuseError) -> None:
        """Say, once, why nothing can be done now; it is tried again after pauses that grow."""
        self._is_away = isinstance(error, AwayError)
        if str(error) != self._fault:
            self._fault = str(error)
            self._tell("waiting", self._fault)
        self._look_within(min(self._pause, _AWAY_SECONDS) if self._is_away else self._pause)

    def _go_on(self) -> None:
        if self._fault:
            self._fault, self._pause = "", _FIRST_PAUSE_SECONDS
            self._tell("going_on", "what could not be done before is done")
        places = self._identities()
        if self._watch is not None and (self._is_away or places != self._places):
            self._is_away, self._places = False, places
            self._watch.begin_again()
            self._look_within(0)  # what was saved before that was not told

    def _tell(self, kind: EventKind, what: str) -> None:
        self._report(WatchEvent(kind, what, created_at=now_text()))

    def _tell_of_server(self) -> None:
        """Say what the link to a server has to say."""
        for word, what in self._link.heard() if self._link is not None else ():
            self._tell(_OF_SERVER[word], what)

    def _tell_outcome(self, outcome: RecordOutcome, *, is_last: bool) -> None:
        for event in self._events(outcome):
            self._report(event)
        if outcome.recorded and self._link is not None:
            self._link.nudge()
        for fault in self._complaints.to_name(outcome.faults, now_ns(), 0 if is_last else FAULT_NS):
            self._report(WatchEvent("left_out", fault.reason, fault.path, created_at=now_text()))

    def _events(self, outcome: RecordOutcome) -> Iterator[WatchEvent]:
        own = (self._workdir.actor_id,)
        for one in outcome.recorded:
            change = one.change
            what = shortly(one.summaries)
            if change.from_path:
                what = f"was {change.from_path}" + (f"; {what}" if change.is_edited else "")
            yield WatchEvent("recorded", what, change.path, own, change.kind, one.op_ids, now_text())
        brought = outcome.brought
        if brought is None or not (brought.written or brought.merged or brought.removed):
            return
        by = self._authors.since_last(outcome.session.session_id)
        recorded = {one.change.path for one in outcome.recorded}
        event = partial(WatchEvent, "brought", created_at=now_text())
        for path in (*brought.written, *brought.merged):
            what, actors, op_ids = by.of(path)
            # A program may have written the same notes otherwise than the session does.
            yield event(what, path, actors or (own if path in recorded else ()), "written", op_ids)
        for path in brought.removed:
            _, actors, op_ids = by.of(path)
            yield event("removed", path, actors, "removed", op_ids)
