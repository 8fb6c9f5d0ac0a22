"""The working tree takes in a commit's files, and never loses what a person did there."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from muse.core.content_id import object_id
from muse.core.file.objects import ObjectStore
from muse.disk.storage import Storage
from muse.errors import CorruptionError
from muse.history.working_tree import WorkingTreeUpdate, update_working_tree
from muse.testing import Fault, failing_at_every_call

Files = Mapping[str, bytes]


class Tree:
    """A root with an object store, brought from one set of files to another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: set[tuple[str, str]] = set()

    def update(self, before: Files | None, after: Files, storage: Storage | None = None) -> WorkingTreeUpdate:
        objects = ObjectStore(str(self.root))
        objects.put_many(after.values())
        manifests = [{path: object_id(files[path]) for path in files} for files in (before or {}, after)]
        return update_working_tree(
            str(self.root),
            objects,
            before=None if before is None else manifests[0],
            after=manifests[1],
            known=lambda path, found: (path, found) in self.known,
            storage=storage or Storage(),
        )

    def files(self) -> dict[str, bytes]:
        paths = [path for path in self.root.rglob("*") if path.is_file() and ".muse" not in path.parts]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_the_files_of_a_first_commit_are_written(tree: Tree) -> None:
    update = tree.update(None, {"b/c/x": b"1", "a": b""})
    assert update == WorkingTreeUpdate(written=["a", "b/c/x"])
    assert tree.files() == {"a": b"", "b/c/x": b"1"}


def test_changed_files_are_replaced_and_deleted_ones_removed(tree: Tree) -> None:
    before = {"same": b"0", "changed": b"1", "gone": b"2"}
    tree.update(None, before)
    update = tree.update(before, {"same": b"0", "changed": b"one"})
    assert update == WorkingTreeUpdate(written=["changed"], removed=["gone"])
    assert tree.files() == {"same": b"0", "changed": b"one"}


def test_directories_left_empty_are_removed_and_others_stay(tree: Tree) -> None:
    before = {"a/b/c/x": b"1", "d/y": b"2"}
    tree.update(None, before)
    (tree.root / "d" / "mine").write_text("by hand")
    tree.update(before, {})
    assert tree.files() == {"d/mine": b"by hand"}
    assert not (tree.root / "a").exists()
    assert tree.root.exists()


def test_a_file_changed_by_hand_is_neither_overwritten_nor_removed(tree: Tree) -> None:
    before = {"edited": b"1", "deleted": b"2"}
    tree.update(None, before)
    for name in before:
        (tree.root / name).write_bytes(b"by hand")
    (tree.root / "new").write_bytes(b"by hand")
    update = tree.update(before, {"edited": b"one", "new": b"3"})
    assert update == WorkingTreeUpdate(kept=["deleted", "edited", "new"])
    assert tree.files() == dict.fromkeys(["edited", "deleted", "new"], b"by hand")


def test_a_file_changed_by_hand_that_the_commit_leaves_alone_is_not_spoken_of(tree: Tree) -> None:
    tree.update(None, {"a": b"1"})
    (tree.root / "a").write_bytes(b"by hand")
    assert tree.update({"a": b"1"}, {"a": b"1"}) == WorkingTreeUpdate()


def test_a_file_at_an_older_version_known_from_history_is_brought_forward(tree: Tree) -> None:
    (tree.root / "late").write_bytes(b"version 1")
    (tree.root / "other").write_bytes(b"version 1")
    tree.known.add(("late", object_id(b"version 1")))
    update = tree.update({"late": b"version 2", "other": b"2"}, {"late": b"version 3", "other": b"3"})
    assert update == WorkingTreeUpdate(written=["late"], kept=["other"])


def test_a_file_removed_by_hand_is_written_again_when_the_commit_changes_it(tree: Tree) -> None:
    assert tree.update({"a": b"1", "b": b"2"}, {"a": b"one"}) == WorkingTreeUpdate(written=["a"])


def test_updating_again_finds_nothing_to_do(tree: Tree) -> None:
    before = {"a": b"1", "b": b"2"}
    tree.update(None, before)
    tree.update(before, {"a": b"one"})
    assert tree.update(before, {"a": b"one"}) == WorkingTreeUpdate()


def test_a_file_becomes_a_directory_and_back(tree: Tree) -> None:
    tree.update(None, {"a": b"1"})
    assert tree.update({"a": b"1"}, {"a/b": b"2"}) == WorkingTreeUpdate(written=["a/b"], removed=["a"])
    assert tree.update({"a/b": b"2"}, {"a": b"1"}) == WorkingTreeUpdate(written=["a"], removed=["a/b"])
    assert tree.files() == {"a": b"1"}


def test_a_file_that_a_directory_took_the_place_of_is_gone_and_one_whose_directory_is_a_file(
    tree: Tree,
) -> None:
    before, after = {"a": b"1", "b/x": b"2"}, {"a/y": b"3", "b": b"4"}
    tree.update(None, before)
    (tree.root / "a").unlink()
    (tree.root / "a").mkdir()
    (tree.root / "a" / "y").write_bytes(b"3")
    (tree.root / "b" / "x").unlink()
    (tree.root / "b").rmdir()
    (tree.root / "b").write_bytes(b"4")
    assert tree.update(before, after) == WorkingTreeUpdate()
    assert tree.files() == after


def test_a_directory_or_file_in_the_way_is_kept(tree: Tree) -> None:
    (tree.root / "a").mkdir()
    (tree.root / "b").write_bytes(b"by hand")
    update = tree.update(None, {"a": b"1", "b/x": b"2"})
    assert update == WorkingTreeUpdate(kept=["a", "b/x"])


def test_nothing_is_written_or_removed_through_a_link(
    tree: Tree, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x").write_bytes(b"1")
    os.symlink(outside, tree.root / "directory")
    os.symlink(outside / "x", tree.root / "file")
    os.symlink(outside / "missing", tree.root / "dangling")
    before = {"directory/x": b"1", "file": b"1"}
    after = {"directory/x": b"2", "directory/new": b"2", "file": b"2", "dangling": b"2"}
    assert tree.update(before, after) == WorkingTreeUpdate(kept=sorted(after))
    assert tree.update(before, {}) == WorkingTreeUpdate(kept=sorted(before))
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"x": b"1"}


class ClosedStorage(Storage):
    """May not open one path, nor look below it: what a process without permission meets."""

    def __init__(self, closed: Path) -> None:
        self.closed = str(closed)

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        if path == self.closed:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return super().open(path, flags, mode)

    def path_status(self, path: str) -> os.stat_result:
        if path.startswith(f"{self.closed}/"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return super().path_status(path)


@pytest.mark.parametrize("closed", ["a", "d"])
def test_what_may_not_be_read_is_kept_and_the_rest_is_brought(tree: Tree, closed: str) -> None:
    tree.update(None, {"a": b"1", "d/b": b"1", "c": b"1"})
    storage = ClosedStorage(tree.root / closed)
    after = {"a": b"2", "d/b": b"2", "c": b"2"}
    update = tree.update({"a": b"1", "d/b": b"1", "c": b"1"}, after, storage)
    kept = "a" if closed == "a" else "d/b"
    assert (update.kept, update.written) == ([kept], sorted(after.keys() - {kept}))
    gone = tree.update(after, {"c": b"2"}, storage)
    assert (gone.kept, gone.removed) == ([kept], sorted({"a", "d/b"} - {kept}))


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", ".muse/HEAD", ".MUSE/HEAD", "a/../../x", ".git/config", "a\0b", ""]
)
def test_a_path_that_leaves_the_tree_stops_all_before_anything_is_touched(tree: Tree, path: str) -> None:
    with pytest.raises(CorruptionError, match="not safe"):
        tree.update(None, {"a": b"1", path: b"2"})
    with pytest.raises(CorruptionError, match="not safe"):
        tree.update({path: b"2"}, {"a": b"1"})
    assert tree.files() == {}


def test_a_replaced_file_keeps_its_permissions(tree: Tree) -> None:
    tree.update(None, {"run.sh": b"1"})
    (tree.root / "run.sh").chmod(0o755)
    tree.update({"run.sh": b"1"}, {"run.sh": b"2"})
    assert (tree.root / "run.sh").stat().st_mode & 0o777 == 0o755


def test_the_longest_file_name_is_written(tree: Tree) -> None:
    name = "é" * 127
    assert tree.update(None, {name: b"1"}) == WorkingTreeUpdate(written=[name])


@pytest.mark.parametrize("fault", ["EIO", "short", "crash"])
def test_a_fault_at_any_call_leaves_each_file_whole_and_a_rerun_does_the_rest(
    tmp_path: Path, fault: Fault
) -> None:
    before = {"a": b"1" * 99, "d/gone": b"2", "hand": b"3"}
    after = {"a": b"one" * 99, "new/x": b"4", "hand": b"5"}
    number = 0

    def update(storage: Storage) -> None:
        nonlocal number
        number += 1
        (tmp_path / str(number)).mkdir()
        tree = Tree(tmp_path / str(number))
        tree.update(None, before)
        (tree.root / "hand").write_bytes(b"by hand")
        tree.update(before, after, storage)

    faults = 0
    for raised in failing_at_every_call(update, fault):
        tree = Tree(tmp_path / str(number))
        for path, content in tree.files().items():
            assert ".tmp-" in path or content in {before.get(path), after.get(path), b"by hand"}
        tree.update(before, after)
        whole = {path: content for path, content in tree.files().items() if ".tmp-" not in path}
        assert whole == {"a": b"one" * 99, "new/x": b"4", "hand": b"by hand"}
        faults += raised
    assert faults > 10


def test_a_file_that_is_saved_just_as_a_commit_brings_its_own_is_kept(tmp_path: Path) -> None:
    root, tree = tmp_path, Tree(tmp_path)
    before, after = {"a.txt": b"old", "b.txt": b"old"}, {"a.txt": b"new"}
    tree.update(None, before)

    class Saving(Storage):
        """A person saves both files at the moment at which they are replaced, or removed."""

        def exchange(self, one: str, other: str) -> bool:
            if other == str(root / "a.txt") and (root / "a.txt").read_bytes() == b"old":
                (root / "a.txt").write_bytes(b"saved")
            return super().exchange(one, other)

        def replace(self, source: str, target: str) -> None:
            if source == str(root / "b.txt"):
                (root / "b.txt").write_bytes(b"saved")
            super().replace(source, target)

    update = tree.update(before, after, Saving())
    assert (update.kept, update.written, update.removed) == (["a.txt", "b.txt"], [], [])
    assert [(root / path).read_bytes() for path in ("a.txt", "b.txt")] == [b"saved", b"saved"]


def test_a_file_that_is_saved_just_as_it_may_be_run_is_kept(tmp_path: Path) -> None:
    files = {"run.sh": b"old"}
    Tree(tmp_path).update(None, files)

    class Saving(Storage):
        """A person saves the file at the moment at which it is replaced."""

        def exchange(self, one: str, other: str) -> bool:
            self._save()
            return super().exchange(one, other)

        def replace(self, source: str, target: str) -> None:
            if target == str(tmp_path / "run.sh"):
                self._save()
            super().replace(source, target)

        def _save(self) -> None:
            if (tmp_path / "run.sh").read_bytes() == b"old":
                (tmp_path / "run.sh").write_bytes(b"saved")

    objects = ObjectStore(str(tmp_path))
    manifest = {path: objects.put(content) for path, content in files.items()}
    update_working_tree(
        str(tmp_path),
        objects,
        before=manifest,
        after=manifest,
        known=lambda *_: True,
        executable=["run.sh"],
        storage=Saving(),
    )
    assert (tmp_path / "run.sh").read_bytes() == b"saved"


def test_a_file_that_may_be_run_no_more_is_so_in_the_tree_and_what_a_person_let_run_stays(
    tmp_path: Path,
) -> None:
    files = {name: name.encode() for name in ("same.sh", "changed.sh", "mine.sh")}
    objects = ObjectStore(str(tmp_path))
    before = {path: objects.put(content) for path, content in files.items()}
    after = {**before, "changed.sh": objects.put(b"new")}
    bits = ["same.sh", "changed.sh"]
    at = str(tmp_path)
    update_working_tree(at, objects, before=None, after=before, known=lambda *_: True, executable=bits)
    (tmp_path / "mine.sh").chmod(0o755)
    update_working_tree(at, objects, before=before, after=after, known=lambda *_: True, was_executable=bits)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in files}
    assert modes == {"same.sh": 0o644, "changed.sh": 0o644, "mine.sh": 0o755}
    assert (tmp_path / "changed.sh").read_bytes() == b"new"


def test_files_of_one_deep_directory_do_not_ask_for_all_above_them_each(tmp_path: Path) -> None:
    class Counting(Storage):
        looks = 0

        def look(self, path: str) -> os.stat_result | None:
            self.looks += 1
            return super().look(path)

    counting, tree, directory = Counting(), Tree(tmp_path), "d/" * 400
    files = {f"{directory}{number}": b"x" for number in range(50)}
    assert len(tree.update(None, files, counting).written) == 50
    assert counting.looks < 3 * 400 + 50 * 10


def test_a_link_that_takes_a_directory_s_place_between_two_files_is_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "b").mkdir(parents=True)

    class Swapping(Storage):
        def path_status(self, path: str) -> os.stat_result:
            if path.endswith("/2") and not (root / "a").is_symlink():
                os.rename(root / "a", tmp_path / "away")
                os.symlink(outside, root / "a")
            return super().path_status(path)

    root.mkdir()
    update = Tree(root).update(None, {"a/b/1": b"1", "a/b/2": b"2", "a/b/3": b"3"}, Swapping())
    assert update.kept == ["a/b/2", "a/b/3"]
    assert not list((outside / "b").iterdir())
