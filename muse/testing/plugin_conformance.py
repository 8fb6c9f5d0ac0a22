"""Tests to inherit say what every domain plugin must do.

class TestMyPlugin(DomainPluginConformance):
    def plugin(self) -> DomainPlugin: ...
    def files(self) -> dict[str, bytes]: ...     # a small tree
    def ops(self) -> list[dict]: ...             # ops with an effect on it, two or more
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from muse.domain import Application, DomainPlugin, SquashingPlugin
from muse.errors import NotFoundError
from muse.history.tree import with_changes

NONSENSE: tuple[Any, ...] = (
    {},
    {"op": "no such kind", "address": "a"},
    {"op": "insert"},
    {"op": "delete", "address": "there/is/no/such/thing"},
    {"op": "insert", "address": None, "position": "first", "content_id": 7},
    {"op": "replace", "address": ["a"], "old_content_id": {}, "new_content_id": []},
    {"op": "patch", "address": "a", "child_ops": "none"},
    {"op": "patch", "address": "a", "child_domain": "x", "child_ops": [None, 1, {"op": "insert"}]},
    {"op": "mutate", "address": "../../outside", "fields": {"x": {"old": 1}}},
    {"op": 1, "address": "\0"},
)


class DomainPluginConformance:
    """The tests of a plugin. A subclass makes the plugin, a tree, and ops that have an effect on it."""

    def plugin(self) -> DomainPlugin:
        """Return the plugin that is tested. A suite must say this."""
        raise NotImplementedError

    def files(self) -> dict[str, bytes]:
        """Return the files that the ops are applied to, path -> content; by default there are no files."""
        return {}

    def ops(self) -> list[dict[str, Any]]:
        """Return ops that all have an effect on the files, in this order. A suite must say this."""
        raise NotImplementedError

    def fetch(self, content_id: str) -> bytes:
        """Return the stored object that an op names; without an override, no object is stored."""
        raise NotFoundError(f"object {content_id} is not stored")

    def _apply(self, files: Mapping[str, bytes], ops: Sequence[Mapping[str, Any]]) -> Application:
        return self.plugin().apply(files, ops, self.fetch)

    def test_it_is_a_plugin_and_its_ops_have_an_effect(self) -> None:
        assert isinstance(self.plugin(), DomainPlugin)
        application = self._apply(self.files(), self.ops())
        assert application.files
        assert application.ignored == []

    def test_what_it_is_handed_is_not_changed(self) -> None:
        files, ops = self.files(), self.ops()
        files_before, ops_before = copy.deepcopy(files), copy.deepcopy(ops)
        self._apply(files, ops)
        assert (files, ops) == (files_before, ops_before)

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        plugin = self.plugin()
        first = plugin.apply(self.files(), self.ops(), self.fetch)
        reversed_tree = dict(reversed(self.files().items()))
        assert (
            plugin.apply(reversed_tree, self.ops(), self.fetch)
            == first
            == self._apply(self.files(), self.ops())
        )

    def test_only_changed_files_are_in_the_result(self) -> None:
        before = self.files()
        for path, content in self._apply(before, self.ops()).files.items():
            assert content != before.get(path)
            assert content is None or isinstance(content, bytes)
        assert self._apply(before, []) == Application({})

    def test_ops_in_two_steps_give_the_bytes_of_one(self) -> None:
        at_once = with_changes(self.files(), self._apply(self.files(), self.ops()).files)
        for place in range(len(self.ops()) + 1):
            half = with_changes(self.files(), self._apply(self.files(), self.ops()[:place]).files)
            assert with_changes(half, self._apply(half, self.ops()[place:]).files) == at_once

    def test_an_op_without_sense_is_listed_with_a_reason_and_keeps_no_other_back(self) -> None:
        wanted = self._apply(self.files(), self.ops())
        for nonsense in NONSENSE:
            alone = self._apply(self.files(), [nonsense])
            assert alone.files == {}
            assert [found.index for found in alone.ignored][:1] == [0]
            assert all(found.reason for found in alone.ignored)
            among = self._apply(self.files(), [nonsense, *self.ops(), nonsense])
            assert among.files == wanted.files
            assert {found.index for found in among.ignored} == {0, len(self.ops()) + 1}

    def test_the_net_of_its_ops_if_it_squashes_gives_the_same_bytes(self) -> None:
        plugin = self.plugin()
        if isinstance(plugin, SquashingPlugin):
            net = plugin.squash(self.files(), self.ops(), self.fetch)
            assert self._apply(self.files(), net).files == self._apply(self.files(), self.ops()).files
