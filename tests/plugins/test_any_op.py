"""Whatever a log may hold, a plugin takes effect or says why not, and keeps nothing else back."""

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.core.entry import OpEntry
from muse.core.line import encode_line
from muse.core.new_entries import make_op_entry
from muse.disk.tree_path import path_fault
from muse.domain import Application
from muse.errors import DomainError, InvalidEntryError
from muse.plugins.code import CodePlugin
from muse.plugins.music import MusicPlugin
from tests.samples.any_ops import OBJECTS, SCORE, ops
from tests.samples.code_samples import taken_in

FILES = {"a": b"one\ntwo\n", "b.bin": b"\xff\0\xff", "dir/c.txt": b"c\n", "a.mid": SCORE}


@st.composite
def entries(draw: st.DrawFn) -> Any:
    """Make entries of two actors, some of which name the one before as their cause."""
    made: list[OpEntry] = []
    for number, op in enumerate(draw(st.lists(ops, min_size=1, max_size=6)), 1):
        is_caused: bool = draw(st.booleans())
        parents = [made[-1]["op_id"]] if made and is_caused else []
        actor_id = draw(st.sampled_from(("ada", "bob")))
        entry = make_op_entry(actor_id, "code", op, number, parent_op_ids=parents)
        entry["op_id"] = str(uuid.UUID(int=number, version=4))
        with contextlib.suppress(InvalidEntryError):
            encode_line(entry)
            made.append(entry)
    return made


def check(application: Application, count: int) -> None:
    for path, content in application.files.items():
        assert path_fault(path) is None
        assert content is None or isinstance(content, bytes)
    for ignored in application.ignored:
        assert 0 <= ignored.index < count
        assert ignored.reason
        ignored.reason.encode()
        ignored.address.encode()


def check_ops(plugin: CodePlugin | MusicPlugin, entries: Sequence[OpEntry]) -> None:
    for entry in entries:
        with contextlib.suppress(DomainError):
            plugin.check_op(entry["domain_op"])


ANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@ANY
@given(entries(), st.integers(0, 6), st.booleans())
def test_the_code_domain_takes_any_op(entries: list[OpEntry], cut: int, on_files: bool) -> None:  # noqa: FBT001
    plugin = CodePlugin()
    check_ops(plugin, entries)
    objects = dict(OBJECTS)
    fetch = objects.__getitem__
    files: Mapping[str, bytes] = FILES if on_files else {}
    state: Mapping[str, bytes] = {}
    for some in (entries[:cut], entries[cut:]):
        application = plugin.merge(files, some, fetch, state)
        check(application, len(some))
        plugin.overlaps(files, some, fetch, state)
        after = taken_in(files, application.files)
        objects |= {object_id(content): content for content in after.values()}
        for path in after:
            plugin.blame_entries(files, some, fetch, state, path)
        net: list[Any] = plugin.net(files, application.files)
        assert taken_in(files, plugin.apply(files, net, fetch).files) == after
        files, state = after, taken_in(state, application.state)
    domain_ops: list[Any] = [entry["domain_op"] for entry in entries]
    check(plugin.apply(FILES, domain_ops, fetch), len(domain_ops))


@ANY
@given(entries(), st.booleans())
def test_the_music_domain_takes_any_op(entries: list[OpEntry], on_files: bool) -> None:  # noqa: FBT001
    plugin = MusicPlugin()
    check_ops(plugin, entries)
    files: Mapping[str, bytes] = FILES if on_files else {}
    domain_ops: list[Any] = [entry["domain_op"] for entry in entries]
    fetch = OBJECTS.__getitem__
    application = plugin.apply(files, domain_ops, fetch)
    check(application, len(domain_ops))
    after = taken_in(files, application.files)
    plugin.squash(files, domain_ops, fetch)
    plugin.overlaps(files, entries, fetch, {})
    plugin.undo(files, domain_ops, fetch, range(len(domain_ops)), after)
    for path in after:
        plugin.blame(files, domain_ops, fetch, path)
