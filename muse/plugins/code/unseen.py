"""Finds the files in which edits met that had not seen each other: only in those can edits overlap. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from muse.causality import CausalHistory
from muse.plugins.code.file_ids import Placement
from muse.plugins.code.merge import Entry, is_raw


def places_in_doubt(
    entries: Sequence[Entry], history: CausalHistory, placements: Mapping[str, Placement]
) -> list[int]:
    """Return the places of the entries that are about files which two actors changed unseen by each other.

    An op that names its file changes that one and no other, so the other files can be left out. They cannot
    where an op means a version of the whole tree: then all entries are in doubt. `placements` are those of
    the state that the entries come into.
    """
    if any(map(is_raw, entries)):
        return list(range(len(entries)))
    doubtful = _in_doubt(entries, history)
    for together in _sharing_paths(entries, placements):
        if not doubtful.isdisjoint(together):
            doubtful |= together
    return [place for place, entry in enumerate(entries) if _file_of(entry) in doubtful]


def _in_doubt(entries: Sequence[Entry], history: CausalHistory) -> set[str]:
    """Return the files of which an actor changed one without the last change of another before that."""
    doubtful: set[str] = set()
    last: dict[str, dict[str, int]] = {}  # file -> actor -> the place of its last change
    for place, entry in enumerate(entries):
        file_id, actor = _file_of(entry), entry["actor_id"]
        of_file = last.setdefault(file_id, {})
        if file_id not in doubtful and not all(history.knows(place, earlier) for earlier in of_file.values()):
            doubtful.add(file_id)
        of_file[actor] = place
    return doubtful


def _sharing_paths(entries: Sequence[Entry], placements: Mapping[str, Placement]) -> list[set[str]]:
    """Group the files that begin, or are, at one path of the tree: which is there bears on the others."""
    groups: dict[Any, set[str]] = {}
    for file_id, placement in placements.items():
        groups.setdefault(placement.shown, set()).add(file_id)
    for entry in entries:
        if entry["domain_op"].get("base"):
            groups.setdefault(str(entry["domain_op"].get("address")), set()).add(_file_of(entry))
    groups.pop(None, None)
    joined: list[set[str]] = []
    for group in groups.values():
        if len(group) > 1:
            touched = [other for other in joined if not other.isdisjoint(group)]
            joined = [other for other in joined if other.isdisjoint(group)]
            joined.append(group.union(*touched))
    return joined


def _file_of(entry: Entry) -> str:
    return str(entry["domain_op"]["file_id"])
