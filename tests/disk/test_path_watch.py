"""A watch never misses that a file was renamed, replaced or deleted."""

import os
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
