"""A file is replaced or removed just as another program saves it: what was saved is there."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muse.disk.put_over import left_behind, put_over, remove_version
from muse.disk.storage import Storage
from muse.disk.writers import is_open_to_write

Act = Callable[[Path], object]


class BusyStorage(Storage):
    """Another program acts on the path just before, or after, the names are exchanged or given."""

    def __init__(self, place: Path, *, before: Act | None = None, after: Act | None = None) -> None:
        self._place = place
        self._before = before
        self._after = after

    def _around(self, call: Callable[[], bool | None]) -> bool | None:
        before, self._before = self._before, None
        if before is not None:
            before(self._place)
        done = call()
        after, self._after = self._after, None
        if after is not None:
            after(self._place)
        return done

    def exchange(self, one: str, other: str) -> bool:
        return bool(self._around(lambda: super(BusyStorage, self).exchange(one, other)))

    def link(self, path: str, other: str) -> None:
        self._around(lambda: super(BusyStorage, self).link(path, other))

    def replace(self, source: str, target: str) -> None:
        if target.endswith("-whole") and source == str(self._place):
            self._around(lambda: super(BusyStorage, self).replace(source, target))
        else:
            super().replace(source, target)


def save_in_place(place: Path) -> None:
    place.write_bytes(b"saved meanwhile")


def save_by_rename(place: Path) -> None:
    other = place.with_name("other")
    other.write_bytes(b"saved meanwhile")
    other.rename(place)


def remove(place: Path) -> None:
    place.unlink()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "a.txt"


def content(place: Path) -> bytes | None:
    """What is at the path; nothing else is in the directory."""
    assert [one.name for one in place.parent.iterdir()] == ([place.name] if place.exists() else [])
    return place.read_bytes() if place.exists() else None


def test_a_file_is_replaced_whole_with_its_permissions(place: Path) -> None:
    place.write_bytes(b"old")
    status = put_over(Storage(), str(place), b"new", place.stat(), 0o640)
    assert status is not None
    assert (content(place), status.st_ino, status.st_mode & 0o777) == (b"new", place.stat().st_ino, 0o640)


@pytest.mark.parametrize("save", [save_in_place, save_by_rename])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_save_at_the_moment_of_a_replacement_is_there(place: Path, save: Act, moment: str) -> None:
    place.write_bytes(b"old")
    busy = BusyStorage(place, before=save) if moment == "before" else BusyStorage(place, after=save)
    status = put_over(busy, str(place), b"new", place.stat())
    assert content(place) == b"saved meanwhile"
    is_over_ours = moment == "after"
    assert (status is not None) is is_over_ours  # it is a later save then, which the next look finds


def test_a_save_that_follows_the_exchange_of_a_save_is_there(place: Path) -> None:
    place.write_bytes(b"old")

    def save_again(where: Path) -> None:
        where.write_bytes(b"saved again")

    busy = BusyStorage(place, before=save_in_place, after=save_again)
    assert put_over(busy, str(place), b"new", place.stat()) is None
    assert content(place) == b"saved again"


def test_a_file_that_is_gone_at_that_moment_stays_gone(place: Path) -> None:
    place.write_bytes(b"old")
    assert put_over(BusyStorage(place, before=remove), str(place), b"new", place.stat()) is None
    assert content(place) is None


def test_a_new_file_is_not_put_over_another_one(place: Path) -> None:
    assert put_over(BusyStorage(place, before=save_in_place), str(place), b"new", None) is None
    assert content(place) == b"saved meanwhile"
    place.unlink()
    assert put_over(Storage(), str(place), b"new", None) is not None
    assert content(place) == b"new"


@pytest.mark.parametrize("save", [save_in_place, save_by_rename])
def test_a_save_at_the_moment_of_a_removal_is_there(place: Path, save: Act) -> None:
    place.write_bytes(b"old")
    assert not remove_version(BusyStorage(place, before=save), str(place), place.stat())
    assert content(place) == b"saved meanwhile"
    assert remove_version(Storage(), str(place), place.stat())
    assert content(place) is None


def test_a_file_that_is_open_to_write_is_left_alone(place: Path) -> None:
    place.write_bytes(b"old")
    with place.open("ab") as writing:
        if not is_open_to_write(str(place)):
            pytest.skip("this system does not tell who writes")
        assert put_over(Storage(), str(place), b"new", place.stat()) is None
        assert not remove_version(Storage(), str(place), place.stat())
        writing.write(b" and more")
    assert content(place) == b"old and more"
    with place.open("rb"):
        assert not is_open_to_write(str(place))
        assert put_over(Storage(), str(place), b"new", place.stat()) is not None


def test_where_names_cannot_be_exchanged_a_file_is_replaced_after_a_look(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Storage, "exchange", lambda *_: False)
    place.write_bytes(b"old")
    before = place.stat()
    assert put_over(Storage(), str(place), b"new", before) is not None
    assert put_over(Storage(), str(place), b"newer", before) is None
    assert content(place) == b"new"


def test_what_a_killed_process_left_is_found(place: Path) -> None:
    place.write_bytes(b"old")
    code = f"""
import os
from muse.disk.put_over import put_over
from muse.disk.storage import Storage
class Dying(Storage):
    def exchange(self, one, other):
        super().exchange(one, other)
        os._exit(0)
put_over(Dying(), {str(place)!r}, b"new", os.stat({str(place)!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    [(left, is_whole)] = left_behind(Storage(), str(place))
    assert (place.read_bytes(), Path(left).read_bytes(), is_whole) == (b"new", b"old", True)
    assert os.path.dirname(left) == str(place.parent)
