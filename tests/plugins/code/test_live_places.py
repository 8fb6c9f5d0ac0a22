"""The paths of live files, kept up to date op by op, are those that placing all of them again gives."""

import random
from collections.abc import Callable

import pytest

from muse.plugins.code.file_ids import Stamp
from muse.plugins.code.live_tree import LiveTree
from muse.plugins.code.merge import Merger
from muse.plugins.code.names import LivePlaces
from muse.plugins.code.ops import CodeOp
from tests.plugins.code.test_code import new_file, raw
from tests.plugins.code.test_convergence import TEXTS
from tests.plugins.code.test_waiting import arrivals_of, batches
from tests.samples.code_samples import Head, taken_in


class Checked(LiveTree):
    """A tree that compares its paths with those of a tree that places all files again."""

    compared = 0

    def take(self, stamp: Stamp, op: CodeOp) -> None:
        self.places()
        try:
            super().take(stamp, op)
        finally:
            kept, self._names = self._names, None
            again = self._placed()
            if kept is not None:
                Checked.compared += 1
                assert kept.paths == again.paths
                assert kept.by_path == again.by_path
                self._names = kept


def test_paths_kept_up_to_date_are_those_of_placing_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muse.plugins.code.merge.LiveTree", Checked)
    for seed in range(250):
        check(random.Random(seed))
    assert Checked.compared > 5_000


def check(chance: random.Random) -> None:
    arrivals, head = arrivals_of(chance.randint(0, 50), chance.randint(1, 3), chance)
    for batch in batches(arrivals, chance):
        merger = Merger(head.files, head.state, head.fetch, "merge")
        merger.take(batch)
        changed, state = merger.tree.changed_files(), merger.changed_state()
        head = Head(taken_in(head.files, changed), taken_in(head.state, state), [], head.objects)
        head.store(head.files)
        if head.files and chance.random() < 0.3:
            head.files[chance.choice(list(head.files))] = chance.choice(TEXTS).encode()
        if head.files and chance.random() < 0.2:
            del head.files[chance.choice(list(head.files))]


@pytest.mark.parametrize("kind", ["edit", "move", "delete"])
@pytest.mark.parametrize("is_live", [False, True])
def test_raw_ops_on_many_files_place_them_a_few_times(
    kind: str, monkeypatch: pytest.MonkeyPatch, *, is_live: bool
) -> None:
    placed = 0

    def counted(place: Callable[..., None]) -> Callable[..., None]:
        def init(*arguments: object) -> None:
            nonlocal placed
            placed += 1
            place(*arguments)

        return init

    paths = [f"d/{number}.txt" for number in range(100)]
    head = Head(dict.fromkeys(paths, b"x"))
    if is_live:
        head = Head().commit(
            [raw(new_file(path, "x"), stamp=stamp) for stamp, path in enumerate(paths, start=1)]
        )
    monkeypatch.setattr(LivePlaces, "__init__", counted(LivePlaces.__init__))
    ops: dict[str, dict[str, object]] = {
        "edit": {"op": "insert", "position": 0, "text": "z", "content_id": "", "content_summary": ""},
        "move": {"op": "move", "from_position": 0, "to_position": 0},
        "delete": {"op": "delete", "position": None},
    }
    entries = [
        raw({**ops[kind], "address": path, "to_address": f"e/{path}"}, stamp=stamp)
        for stamp, path in enumerate(paths, start=200)
    ]
    after = head.commit(entries)
    assert after.ignored == []
    assert len(after.files) == (0 if kind == "delete" else 100)
    assert placed < 8
