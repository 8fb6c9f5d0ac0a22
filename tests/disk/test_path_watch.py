"""A watch never misses that a file was renamed, replaced or deleted."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muse.disk.path_watch import watch_path


def noticed(path: Path, change: Callable[[], object]) -> bool:
    watch = watch_path(str(path))
    change()
    watch.ask()
    return bool(watch.answer[0]) and watch.may_have_moved()


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    return path


def test_a_rename_is_noticed(watched: Path) -> None:
    assert noticed(watched, lambda: watched.rename(watched.with_name("other")))


def test_a_replacement_is_noticed(watched: Path) -> None:
    other = watched.with_name("other")
    other.write_bytes(b"y")
    assert noticed(watched, lambda: other.replace(watched))


def test_a_deletion_is_noticed(watched: Path) -> None:
    assert noticed(watched, watched.unlink)


def test_a_deletion_is_noticed_while_the_file_is_open(watched: Path) -> None:
    with watched.open("rb"):
        assert noticed(watched, watched.unlink)


def test_a_second_name_is_noticed(watched: Path) -> None:
    assert noticed(watched, lambda: os.link(watched, watched.with_name("twin")))


# -- above the file -------------------------------------------------------------------------------


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    path = tmp_path / "one/two/three/file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize("height", range(3))
def test_a_directory_above_that_is_moved_is_noticed(deep: Path, height: int) -> None:
    directory = deep.parents[height]
    assert noticed(deep, lambda: directory.rename(directory.with_name("moved")))


def test_a_directory_above_that_is_moved_and_replaced_by_a_copy_is_noticed(deep: Path) -> None:
    def put_a_copy() -> None:
        shutil.copytree(deep.parents[1], deep.parents[2] / "copy")
        deep.parents[1].rename(deep.parents[2] / "moved")
        (deep.parents[2] / "copy").rename(deep.parents[1])

    assert noticed(deep, put_a_copy)


@pytest.mark.parametrize("target", ["one", "../{name}/one", "{root}/one", "first"])
def test_a_link_above_that_leads_elsewhere_is_noticed(deep: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "first").symlink_to("one")
    link = tmp_path / "link"
    link.symlink_to(target.format(name=tmp_path.name, root=tmp_path))
    (tmp_path / "next").symlink_to("elsewhere")
    assert (link / "two/three/file").samefile(deep)
    assert noticed(link / "two/three/file", lambda: (tmp_path / "next").replace(link))


def test_a_directory_that_a_link_leads_through_is_watched_too(deep: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("one/two")
    assert (link / "three/file").samefile(deep)
    assert noticed(link / "three/file", lambda: (tmp_path / "one").rename(tmp_path / "moved"))


def test_a_path_relative_to_the_working_directory_is_watched(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert noticed(Path("one/../one/two/three/file"), lambda: deep.parent.rename(tmp_path / "moved"))


def test_links_in_a_circle_are_looked_at_each_time(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    watch = watch_path(str(tmp_path / "link/file"))
    watch.ask()
    assert watch.answer[0]


def test_work_beside_the_file_is_no_reason_to_look(deep: Path) -> None:
    watch = watch_path(str(deep))
    (deep.parent / "beside").write_bytes(b"")
    (deep.parents[1] / "new").mkdir()
    (deep.parent / "beside").rename(deep.parents[1] / "new/beside")
    deep.write_bytes(b"more")
    watch.ask()
    assert not (watch.answer[0] and watch.may_have_moved()) or not sys.platform.startswith("linux")


def test_a_change_once_noticed_is_never_forgotten(watched: Path) -> None:
    watch = watch_path(str(watched))
    watched.rename(watched.with_name("other"))
    for _ in range(3):
        watch.ask()
        assert watch.answer[0]
        assert watch.may_have_moved()


def test_every_watch_of_a_file_notices_whichever_asks_first(watched: Path) -> None:
    watches = [watch_path(str(watched)) for _ in range(3)]
    watched.unlink()
    for watch in watches:
        watch.ask()
        assert watch.answer[0]
        assert watch.may_have_moved()


def test_a_path_that_cannot_be_watched_is_looked_at_each_time(tmp_path: Path) -> None:
    watch = watch_path(str(tmp_path / "none"))
    watch.ask()
    assert watch.answer[0]
    assert watch.may_have_moved()


def test_a_forked_child_and_its_parent_both_notice(watched: Path) -> None:
    before = watch_path(str(watched))
    child = os.fork()
    if child == 0:
        os._exit(0 if noticed(watched, lambda: watched.rename(watched.with_name("other"))) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    before.ask()
    assert before.answer[0]
    assert before.may_have_moved()
