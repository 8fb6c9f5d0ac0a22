"""How a domain's plugin applies entries, and what it keeps beside the files of each commit."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

from muse.core.entry import OpEntry
from muse.domain import (
    Application,
    CheckingPlugin,
    DomainPlugin,
    FileKnowingPlugin,
    IgnoredOp,
    MergingPlugin,
    RuledPlugin,
    WaitingPlugin,
)
from muse.errors import DomainError, NotFoundError
from muse.history.commit_record import STATE_KEY, CommitRecord, state_snapshots
from muse.history.repo_record import is_name_for_others
from muse.history.repository import Repository, TreeFiles
from muse.history.seal import read_merge_seal, read_seal
from muse.history.tree import with_changes
from muse.plugins.registry import find_plugin, plugin_names

ABSENT = "absent"
"""The file of a domain's state that names, one a line, the objects that a commit did not find."""

OTHER_FILES = "code"
"""The domain of files that no plugin knows by their names."""

_RULES = re.compile(r"^Muse-Rules: (.*)$", re.MULTILINE)
_RULE = re.compile(r"(\S+) ([1-9][0-9]{0,8})(?:, |$)")


def apply_entries(
    domain: str,
    entries: Sequence[OpEntry],
    files: Mapping[str, bytes],
    fetch: Callable[[str], bytes],
    state: Mapping[str, bytes],
    *,
    rules: Mapping[str, int] | None = None,
) -> Application:
    """Apply entries of one domain, in the total order. Without a plugin, nothing changes.

    A `MergingPlugin` keeps what it needs in the state. For any other, the state says which objects were not
    here, so that the commit can be made again once they are. `rules` are those that a commit names: it is
    made again by them.
    """
    plugin = find_plugin(domain) if rules is None else plugin_by_rules(domain, rules)
    if plugin is None:
        return Application({})
    if isinstance(plugin, MergingPlugin):
        return plugin.merge(files, entries, fetch, state)
    absent = set[str]()

    def noting(object_id: str) -> bytes:
        try:
            return fetch(object_id)
        except NotFoundError:
            absent.add(object_id)
            raise

    applied = plugin.apply(files, [entry["domain_op"] for entry in entries], noting)
    kept = "\n".join(sorted(absent)).encode() or None
    return applied if kept == state.get(ABSENT) else replace(applied, state={ABSENT: kept})


def without_effect(
    domain: str, entries: Sequence[OpEntry], application: Application, *, any_domain: bool = False
) -> list[IgnoredOp]:
    """Return which of the applied `entries` had no effect, with their ids and the reasons of the domain.

    Ops of a domain without a plugin change no file: unless `any_domain` says that this is meant, all of
    them are told. `Application.ignored` of a plugin names places only.
    """
    found = application.ignored
    if not any_domain and find_plugin(domain) is None:
        reason = f"no plugin of domain {domain!r} is installed here: it is in history, and changes no file"
        found = [
            IgnoredOp(place, str(entry["domain_op"].get("address", "")), reason)
            for place, entry in enumerate(entries)
        ]
    return [replace(one, op_id=entries[one.index]["op_id"]) for one in found if one.index < len(entries)]


def plugin_by_rules(domain: str, rules: Mapping[str, int]) -> DomainPlugin | None:
    """Find the plugin of a domain as it was by the rules that a commit names."""
    plugin = find_plugin(domain)
    return plugin.by_rule(rules.get(domain, 1)) if isinstance(plugin, RuledPlugin) else plugin


def rules_text(domains: Iterable[str]) -> str | None:
    """Name the rules by which files of these domains are made now; None if all are the first."""
    return text_of_rules(rules_of(domains))


def rules_of(domains: Iterable[str]) -> dict[str, int]:
    """Return the rules by which files of these domains are made now; the first ones are left out."""
    plugins: dict[str, object] = {domain: find_plugin(domain) for domain in domains}
    return {domain: plugin.rule for domain, plugin in plugins.items() if isinstance(plugin, RuledPlugin)}


def text_of_rules(rules: Mapping[str, int]) -> str | None:
    """Write rules as `stated_rules` reads them; None for no rules."""
    return ", ".join(f"{name} {rule}" for name, rule in sorted(rules.items())) or None


def stated_rules(message: str) -> dict[str, int]:
    """Return the rules that the message of a commit names, by domain."""
    seal, found = read_seal(message), _RULES.search(message)
    text = (found[1] if found else "") if seal is None else seal.rules or ""
    return {domain: int(rule) for domain, rule in _RULE.findall(text)}


def check_domain_is_known(domain: str) -> None:
    """Raise `DomainError`, with the names that there are, for a domain that no installed package offers."""
    if find_plugin(domain) is None:
        known = " and ".join(map(repr, plugin_names())) or "none"
        raise DomainError(
            f"no domain {domain!r} is known here, but {known}: name one of them, install the package that "
            "offers it, or take ops of any domain with --any-domain, or once and for all with "
            "'muse init --any-domain'"
        )


def domain_of_file(path: object, default: str) -> str:
    """Return the domain whose plugin knows a file by its name; `default` if none does."""
    if not isinstance(path, str):
        return default
    return next((name for name, plugin in _knowing_files() if plugin.knows_file(path)), default)


def domain_of_other_files(repository: Repository) -> str:
    """Return the domain of the files that no plugin knows by their names.

    It is the one in `repo.json`, unless only other tools know that name: it is then one of a kind of files.
    """
    return OTHER_FILES if is_name_for_others(repository.domain) else repository.domain


@lru_cache(maxsize=1)
def _knowing_files() -> list[tuple[str, FileKnowingPlugin]]:
    found: list[tuple[str, FileKnowingPlugin]] = []
    for name in plugin_names():
        with suppress(DomainError):  # what does not load knows no file
            plugin: object = find_plugin(name)
            if isinstance(plugin, FileKnowingPlugin):
                found.append((name, plugin))
    return found


@lru_cache(maxsize=64)
def check_of(domain: str) -> Callable[[Mapping[str, Any]], None]:
    """Find how a domain checks an op before it is logged; one that does not say lets all through."""
    plugin = find_plugin(domain)
    return plugin.check_op if isinstance(plugin, CheckingPlugin) else lambda _op: None


def check_domain_op(entry: Mapping[str, Any]) -> None:
    """Raise `DomainError` if the domain of an entry could never apply its op."""
    check_of(entry["domain"])(entry["domain_op"])


def read_states(repository: Repository, commit_id: str | None) -> dict[str, dict[str, str]]:
    """Return, for each domain, what its plugin keeps beside the files of a commit: name -> object id.

    A commit names them as snapshots in its metadata, `state:<domain>`, and hands on its parent's.
    What one names that another tool made is passed over: the nearest ancestor that was made from logs counts.
    """
    named = handed_on_states(repository, commit_id)
    return {domain: repository.read_manifest(snapshot_id) for domain, snapshot_id in named.items()}


def handed_on_states(repository: Repository, commit_id: str | None) -> dict[str, str]:
    """Return, by domain, the snapshots of what its plugin keeps beside the files of a commit."""
    history = () if commit_id is None else repository.dag.history(commit_id)
    return next((stated_states(record) for record in history if _is_of_logs(record)), {})


def stated_states(record: CommitRecord) -> dict[str, str]:
    """Return, by domain, the snapshots of what plugins keep that a commit names which was made from logs."""
    return state_snapshots(record) if _is_of_logs(record) else {}


def _is_of_logs(record: CommitRecord) -> bool:
    return read_seal(record["message"]) is not None or read_merge_seal(record["message"]) is not None


def read_state(repository: Repository, commit_id: str | None, domain: str) -> Mapping[str, bytes]:
    """Return what a domain's plugin keeps beside the files of a commit: name -> bytes."""
    return TreeFiles(repository, read_states(repository, commit_id).get(domain, {}))


class States:
    """What plugins keep beside the files: of a commit, and then of what was applied on it in memory."""

    def __init__(self, repository: Repository, commit_id: str | None) -> None:
        self._repository = repository
        self._commit_id = commit_id
        self._changed: dict[str, dict[str, bytes | None]] = {}

    def of(self, domain: str) -> Mapping[str, bytes]:
        """Return what a domain's plugin keeps: name -> bytes."""
        state = read_state(self._repository, self._commit_id, domain)
        return with_changes(state, self._changed[domain]) if domain in self._changed else state

    def take(self, domain: str, changed: Mapping[str, bytes | None]) -> None:
        """Take in what the plugin changed of it."""
        self._changed.setdefault(domain, {}).update(changed)


def fetch_at(repository: Repository, commit_id: str, domain: str) -> Callable[[str], bytes]:
    """Return how objects were fetched when a commit was made: what entries still wait for was not there."""
    plugin: object = find_plugin(domain)
    state = read_state(repository, commit_id, domain)
    absent = set(state.get(ABSENT, b"").decode().split())
    if isinstance(plugin, WaitingPlugin):
        absent.update(entry["absent"] for entry in plugin.waiting(state) if "absent" in entry)

    def fetch(object_id: str) -> bytes:
        if object_id in absent:
            raise NotFoundError(f"object {object_id} was not here when commit {commit_id} was made")
        return repository.objects.get(object_id)

    return fetch


def write_states(
    repository: Repository, states: Mapping[str, Mapping[str, str]], created_at: str
) -> dict[str, str]:
    """Store them and return the metadata that names them."""
    return {
        f"{STATE_KEY}{domain}": repository.dag.write_snapshot(manifest, created_at)
        for domain, manifest in sorted(states.items())
        if manifest
    }
