"""Turns what was done to files into ops of a session, planned first so that a crash doubles nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from muse.apply.domain_order import excluded_by
from muse.core.op_ids import OP_IDS
from muse.errors import MuseError
from muse.session.guarded_log import Request
from muse.session.policy import Policy, read_policy
from muse.workdir.base import Base, BaseFile, BaseStore
from muse.workdir.code_steps import CodeSteps
from muse.workdir.newest import Newest
from muse.workdir.scan import FileFault
from muse.workdir.status import ChangedFile, Divergence, find_similar
from muse.workdir.step import NoTextError, Step, is_music, no_text_reason, rows_after, step_json

if TYPE_CHECKING:
    from muse.workdir.music_steps import MusicSteps

_MOST_SAID = 3

Steps: TypeAlias = "CodeSteps | MusicSteps"


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A change of a file that is in the log now: by how many ops, and what they are, for people."""

    change: ChangedFile
    op_ids: tuple[str, ...]
    summaries: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """What is to be recorded: the changes with their steps, and the files that are left out."""

    changes: list[tuple[ChangedFile, list[Step]]] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)


class Recorder:
    """Makes and carries out plans for one comparison of a directory with a session."""

    def __init__(self, newest: Newest, store: BaseStore) -> None:
        self._newest = newest
        self._store = store
        self._code = CodeSteps(newest, store)

    @cached_property
    def _music(self) -> "MusicSteps":
        from muse.workdir.music_steps import MusicSteps  # noqa: PLC0415 - most directories have no MIDI files

        return MusicSteps(self._newest, self._store)

    def steps_for(self, path: str) -> Steps:
        """Return what makes the steps for a file of this name."""
        return self._music if is_music(path) else self._code

    def row_of(self, path: str) -> BaseFile:
        """Return what is to be remembered of a file that is as the session has it now."""
        return self.steps_for(path).row_of(path)

    def find_renames(self, found: Divergence) -> None:
        """Take what is gone for new files that are nearly the same, of texts though others renamed them."""
        if not any(change.kind == "new" for change in found.here.values()):
            return
        gone = [path for path, change in found.here.items() if change.kind == "deleted"]
        others_paths = dict(self._moved_by_both(found))
        before = {
            path: self.steps_for(path).content_of(path, found.base.files[path])
            for path in (*gone, *others_paths)
        }
        known = {path: content for path, content in before.items() if content is not None}
        find_similar(found, known, others_paths)

    def _moved_by_both(self, found: Divergence) -> Iterator[tuple[str, str]]:
        """Yield the files that are gone on both sides, and still in the session: from where, and to where."""
        for path in found.agreed:
            if path not in found.scan.files and not is_music(path):
                now = self._code.present_path(path, found.base.files[path])
                if now is not None and now != path:
                    yield path, now

    def lost_texts(self, found: Divergence, paths: Iterable[str]) -> Iterator[FileFault]:
        """Yield those of the texts that turned into something else that are not recorded unless named."""
        for path in paths:
            row = found.row(path)
            if row is not None and not self._code.is_begun(path, row, found.contents[path]):
                yield FileFault(path, no_text_reason(path))

    # -- planning --------------------------------------------------------------------------------

    def plan(
        self,
        found: Divergence,
        changes: Iterable[ChangedFile],
        contents: Mapping[str, bytes],
        is_named: Callable[[str], bool],
    ) -> Plan:
        """Plan the steps of changes; `contents` has what the changed files hold now.

        A text that turned into something else is recorded only where somebody named it, or it was the start
        of a file that its only author goes on to write.
        """
        plan = Plan()
        for change in _in_order(list(changes)):
            if found.scan.is_unknown(change.path):
                continue  # it is at fault already
            try:
                steps = list(self._steps(found, change, contents.get(change.path), is_named))
            except MuseError as error:
                plan.faults.append(FileFault(change.path, str(error)))
                continue
            _look_at(steps, found)
            if any(step.ops for step in steps):
                plan.changes.append((change, steps))
            else:
                for step in steps:
                    _apply_rows(found.base, step.after)
                if change.kind == "deleted":
                    reason = "others changed it since you had it: it stays"
                    plan.faults.append(FileFault(change.path, reason))
        return plan

    def _steps(
        self,
        found: Divergence,
        change: ChangedFile,
        content: bytes | None,
        is_named: Callable[[str], bool],
    ) -> Iterator[Step]:
        path, steps = change.path, self.steps_for(change.path)
        row = found.row(change.from_path or path)
        if change.kind == "deleted" and row is not None:
            yield steps.remove(path, row)
            return
        if content is None:
            raise AssertionError("a file that was changed is read before its steps are made")
        if change.kind == "renamed" and row is not None:
            if is_music(change.from_path) != is_music(path):
                yield self.steps_for(change.from_path).remove(change.from_path, row)
                yield steps.create(path, content)
                return
            step = steps.rename(change.from_path, path, row)
            if change.from_path in found.here:
                del step.after[change.from_path]  # another file took its place
            yield step
            moved = step.after[path]
            if change.is_edited and moved is not None:
                yield steps.change(path, moved, content)
            return
        if row is not None:
            try:
                yield steps.change(path, row, content)
            except NoTextError:
                if not (is_named(path) or self._code.is_begun(path, row, content)):
                    raise
                yield self._code.put_whole(path, row, content)
        elif found.base.is_lost and isinstance(steps, CodeSteps):
            yield steps.add_to(path, content)
        else:
            yield steps.create(path, content)

    # -- carrying out ----------------------------------------------------------------------------

    def store_plan(self, base: Base, plan: Plan, actor_id: str, intent_id: str) -> None:
        """Keep a plan, durably: from here on it is carried out, by the next command if not by this one."""
        steps = []
        for _, own in plan.changes:
            for step in own:
                for content in step.stored:
                    self._newest.repository.objects.put(content)
                steps.append(step_json(step, step.drafts(intent_id)))
        base.plan = {
            "plan_id": OP_IDS.next(),
            "session_id": self._newest.session_id,
            "actor_id": actor_id,
            "steps": steps,
        }
        self._store.write_journal(base)

    def carry_out(self, base: Base) -> list[list[str]]:
        """Append the ops of the plan, those that are not in the log yet, and bring the base up to that.

        Returns for each step the reasons for which ops of it were refused: then nothing of it counts.
        """
        if base.plan is None:
            return []
        repository, log = self._newest.repository, self._newest.log
        policy = _without_proposals(read_policy(repository.root, log.session_id(), repository.storage))
        guarded = self._newest.guarded(policy)
        steps: list[Mapping[str, Any]] = base.plan["steps"]
        requests = [Request(base.plan["actor_id"], step["drafts"]) for step in steps]
        answers = guarded.append_requests(requests, durability="disk")
        refusals = [[one.reason for one in receipts if not one.is_in_log] for receipts in answers]
        if self._newest.is_seen and all(self._is_plain(step, base) for step in steps) and not any(refusals):
            digests = {path: row["digest"] for step in steps for path, row in step["after"].items()}
            drafts = [draft for step in steps for draft in step["drafts"]]
            self._newest.take_own(digests, drafts, [one for receipts in answers for one in receipts])
        else:
            self._newest.refresh()
        for step, refused in zip(steps, refusals, strict=True):
            if not refused:
                _apply_rows(base, rows_after(step))
        return refusals

    def _is_plain(self, step: Mapping[str, Any], base: Base) -> bool:
        """Return whether a step of the plan edits a text that is in the session as it was in the base."""
        return all(
            row is not None
            and row.get("encoding")
            and path in base.files
            and self._newest.digests.get(path) == base.files[path].digest
            for path, row in step["after"].items()
        ) and not any(draft["domain_op"]["op"] == "move" for draft in step["drafts"])


def _in_order(changes: Sequence[ChangedFile]) -> list[ChangedFile]:
    """Put what goes first, and then what was moved out of the way of another file."""
    coming = (one.path for one in changes if one.kind != "deleted")
    in_the_way = excluded_by(coming, [one.from_path for one in changes if one.from_path])
    return sorted(changes, key=lambda one: (one.kind != "deleted", one.from_path not in in_the_way, one.path))


def _look_at(steps: Iterable[Step], found: Divergence) -> None:
    """Note in what is to be remembered of files how they are on the disk now."""
    for step in steps:
        for path, row in step.after.items():
            status = found.scan.files.get(path)
            if row is not None and status is not None and found.disk.get(path) == row.digest:
                step.after[path] = row.seen_as(status)


def _without_proposals(policy: Policy) -> Policy:
    """Return a policy that refuses what another would set aside: a file cannot be both changed and not."""
    refuses = policy.reservations == "propose"
    reads = "report" if policy.stale_reads == "propose" else policy.stale_reads
    return replace(policy, reservations="refuse" if refuses else policy.reservations, stale_reads=reads)


def _apply_rows(base: Base, after: Mapping[str, BaseFile | None]) -> None:
    for path, row in after.items():
        if (before := base.files.get(path)) is not None:
            base.left |= {before.part, before.digest}
        if row is None:
            base.files.pop(path, None)
        else:
            base.files[path] = row


def recorded_files(
    plan: Plan, steps: Sequence[Mapping[str, Any]] | None, refusals: Sequence[Sequence[str]]
) -> list[RecordedFile]:
    """Say what was recorded, or, without `steps`, what would be: not what was refused."""
    found, place = [], 0
    for change, own in plan.changes:
        ids = [
            [draft["op_id"] for draft in step["drafts"]] for step in (steps or ())[place : place + len(own)]
        ]
        refused = refusals[place : place + len(own)]
        place += len(own)
        kept = [step for step, reasons in zip_longest(own, refused) if not reasons]
        op_ids = tuple(
            op_id for some, reasons in zip(ids, refused, strict=True) if not reasons for op_id in some
        )
        if kept:
            summaries = tuple(summary_of(op) for step in kept for op in step.ops)
            found.append(RecordedFile(change, op_ids, summaries))
    return found


def summary_of(op: Mapping[str, Any]) -> str:
    """Say in a few words what an op does."""
    for name in ("content_summary", "child_summary"):
        if text := op.get(name):
            return f"{op['op']}: {text}" if op["op"] != "patch" else str(text)
    if op["op"] == "replace":
        return f"replace {op.get('old_summary', '')} by {op.get('new_summary', '')}"
    return f"{op['op']} to {op['to_address']}" if "to_address" in op else str(op["op"])


def shortly(summaries: Iterable[str]) -> str:
    """Say in a few words what ops do."""
    found = list(summaries)
    rest = len(found) - _MOST_SAID
    return "; ".join(found[:_MOST_SAID]) + (f"; and {rest} more" if rest > 0 else "")
