"""Who made each part of a file, and who changed it last: found in history, commit by commit."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from muse.apply.domains import read_state
from muse.apply.merge_heads import is_merge_of_ops, merged_work, stated_base
from muse.core.entry import OpEntry
from muse.domain import BlamingPlugin, EntryBlamingPlugin, Origin
from muse.errors import CorruptionError, DomainError, NotFoundError
from muse.history.commit_record import CommitRecord, parents
from muse.history.covered_ops import SealedCommit, SealedCommits, SessionOps, covered_by
from muse.history.repository import Repository, TreeFiles
from muse.plugins.registry import find_plugin, plugin_names
from muse.views.as_of import blaming_plugins


@dataclass(frozen=True, slots=True)
class Maker:
    """Who did it. `op_id` is "" where only the commit is known: one without a log behind it."""

    actor_id: str
    commit_id: str
    op_id: str = ""
    intent_id: str = ""
    session_id: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class BlamedPart:
    """A note, or a line: who made it, and who changed it last."""

    address: str
    summary: str
    made: Maker
    changed: Maker


@dataclass(frozen=True, slots=True)
class Blame:
    """The parts of a file, in their order. `faults`: which logs are not what the commits seal, for people."""

    parts: list[BlamedPart]
    faults: list[str]


@dataclass(frozen=True, slots=True)
class _Step:
    """A commit that changed the file, or one that the file was before a rename."""

    commit_id: str
    parent_id: str | None
    author: str
    when: str
    sealed: SealedCommit | None = None
    merge: CommitRecord | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """The entries that a step brought, of one domain, in the total order, and who made each."""

    domain: str
    entries: Sequence[OpEntry]
    makers: Sequence[Maker]


_Known = dict[str, dict[str, tuple[Maker, Maker]]]
_NOBODY = Maker("", "")


def blame_file(repository: Repository, path: str, commit_id: str) -> Blame:
    """Tell of each part of the file at `path`, as `commit_id` has it, who made and who changed it.

    Goes along the first parents. A merge that was made from ops is seen through: what either side brought
    is its author's; what another tool merged is that merge's. Nobody is named whom no commit
    seals: parts that come from a commit without a log, whose log is not here, or whose log was cut or
    changed, are its author's; the last of these is a fault. Raises `NotFoundError` if the commit
    has no such file, `DomainError` if no domain knows the parts of it.
    """
    files = TreeFiles(repository, repository.read_tree(commit_id))
    if path not in files:
        raise NotFoundError(f"commit {commit_id[:12]} has no file {path!r}: see 'muse show {commit_id[:12]}'")
    plugin = _plugin_for(repository, files, path)
    steps, paths = _steps(repository, commit_id, path)
    known: _Known = {}
    faults: list[str] = []
    for step in reversed(steps):
        try:
            work = _work(repository, plugin, step)
        except CorruptionError as error:
            work, faults = None, [*faults, str(error)]
        known |= _blame_step(repository, plugin, step, work=work, known=known, paths=paths)
    makers = known.get(path, {})
    parts = [
        BlamedPart(part.address, part.summary, *makers.get(part.address, (_NOBODY, _NOBODY)))
        for part in plugin.blame(files, (), repository.objects.get, path)
    ]
    return Blame(parts, faults)


def _plugin_for(repository: Repository, files: Mapping[str, bytes], path: str) -> BlamingPlugin:
    for plugin in blaming_plugins():
        if plugin.blame(files, (), repository.objects.get, path):
            return plugin
    raise DomainError(
        f"no domain here knows notes or lines in {path!r}, so there is nobody to name", path=path
    )


def _steps(repository: Repository, commit_id: str, path: str) -> tuple[list[_Step], set[str]]:
    """Find the commits that matter, newest first, and every path that the file may have had."""
    paths, steps, sealed = {path}, [], SealedCommits()
    cursor: str | None = commit_id
    for record in repository.dag.history(commit_id):
        found = sealed.add(record)
        if record["commit_id"] != cursor:
            continue  # beside the line of first parents: only the seals count
        merge = record if is_merge_of_ops(record) else None
        cursor = stated_base(record) if merge else record["parent_commit_id"]
        is_named = _add_sources(paths, record)
        before = repository.read_tree(cursor)
        after = repository.dag.read_snapshot(record["snapshot_id"])["manifest"]
        if is_named or any(before.get(name) != after.get(name) for name in paths):
            when = record["committed_at"]
            steps.append(_Step(record["commit_id"], cursor, record["author"], when, found, merge))
    return steps, paths


def _add_sources(paths: set[str], record: CommitRecord) -> bool:
    """Add what the files at `paths` were called before a commit; whether an op of it names one of them."""
    is_named = False
    ops: Sequence[Any] = (record["structured_delta"] or {"ops": []})["ops"]
    for op in reversed(ops):
        source = op.get("from_address")
        if op.get("address") in paths:
            is_named = True
            if isinstance(source, str):
                paths.add(source)
    return is_named


def _blame_step(
    repository: Repository,
    plugin: BlamingPlugin,
    step: _Step,
    *,
    work: _Work | None,
    known: _Known,
    paths: set[str],
) -> _Known:
    before = TreeFiles(repository, repository.read_tree(step.parent_id))
    after = TreeFiles(repository, repository.read_tree(step.commit_id))
    fetch = repository.objects.get
    updated: _Known = {}
    for path in sorted(paths):
        if work is not None:
            origins = _blamed(repository, plugin, step, work, path)
            makers = work.makers
        else:
            origins = _compared(
                plugin.blame(before, (), fetch, path), plugin.blame(after, (), fetch, path), path
            )
            makers = [Maker(step.author, step.commit_id, when=step.when)]
        updated[path] = {origin.address: _makers(origin, makers, known) for origin in origins}
    return updated


def _blamed(
    repository: Repository, plugin: BlamingPlugin, step: _Step, work: _Work, path: str
) -> list[Origin]:
    """Ask the plugin which of the entries that a commit covers each part of a file stems from."""
    files = TreeFiles(repository, repository.read_tree(step.parent_id))
    fetch = repository.objects.get
    if isinstance(plugin, EntryBlamingPlugin):
        state = read_state(repository, step.parent_id, work.domain)
        return plugin.blame_entries(files, work.entries, fetch, state, path)
    return plugin.blame(files, [entry["domain_op"] for entry in work.entries], fetch, path)


def _makers(origin: Origin, makers: Sequence[Maker], known: _Known) -> tuple[Maker, Maker]:
    made, changed = known.get(origin.came_from, {}).get(origin.was or origin.address, (_NOBODY, _NOBODY))
    if origin.made is not None:
        made = makers[origin.made]
    if origin.changed is not None:
        changed = makers[origin.changed]
    return made, changed


def _work(repository: Repository, plugin: BlamingPlugin, step: _Step) -> _Work | None:
    """Return what ops of the plugin's domain a step brought; None where it was not made from them."""
    if step.merge is not None:
        domain = _domain_of(plugin)
        first, second = parents(step.merge)
        work = merged_work(repository, first, second, step.parent_id)
        entries = [entry for entry in work.entries if entry["domain"] == domain]
        return _Work(domain, entries, [_maker_of(entry, *work.came_in[entry["op_id"]]) for entry in entries])
    if step.sealed is None or step.sealed.domain != _domain_of(plugin):
        return None
    covered = _covered(repository, step.sealed)
    if covered is None:
        return None
    session_id = step.sealed.seal.session_id
    makers = [_maker_of(entry, step.commit_id, session_id) for entry in covered]
    return _Work(step.sealed.domain, covered, makers)


def _domain_of(plugin: object) -> str:
    return next(name for name in plugin_names() if find_plugin(name) is plugin)


def _maker_of(entry: OpEntry, commit_id: str, session_id: str) -> Maker:
    return Maker(
        entry["actor_id"], commit_id, entry["op_id"], entry["intent_id"], session_id, entry["created_at"]
    )


def _compared(before: Sequence[Origin], after: Sequence[Origin], path: str) -> list[Origin]:
    """Tell what a commit without a log made and changed, as if by one op."""
    old = {part.address: part.summary for part in before}
    return [
        Origin(
            part.address,
            part.summary,
            made=None if part.address in old else 0,
            changed=None if old.get(part.address) == part.summary else 0,
            came_from=path if part.address in old else "",
        )
        for part in after
    ]


def _covered(repository: Repository, commit: SealedCommit) -> list[OpEntry] | None:
    """Return the entries that a commit covers, in the total order; None where there is no log."""
    with closing(SessionOps(repository.root, commit.seal.session_id, repository.storage)) as ops:
        return covered_by(commit, ops, repository.objects) if ops.is_there else None
