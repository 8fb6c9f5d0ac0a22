"""A cursor leads back to its place in its log, and is refused in every other."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse.core.file import cursors as module
from muse.core.file.cursors import START, Cursors, OtherLogError
from muse.core.file.log_file import LogFile
from muse.disk.storage import LOCAL
from muse.errors import UsageError


def cursors_of(path: Path, lines: list[bytes]) -> Cursors:
    path.write_bytes(b"".join(lines))
    return Cursors(LogFile(str(path), LOCAL))


def ends_of(lines: list[bytes]) -> list[int]:
    return [sum(map(len, lines[:count])) for count in range(len(lines) + 1)]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SPAN_BYTES", 4096)
    monkeypatch.setattr(module, "_STEP_BYTES", 64)
    monkeypatch.setattr(module, "_AHEAD_BYTES", 100)


LINES = [b"line %d%s\n" % (number, b"." * (number % 50)) for number in range(500)]


@pytest.mark.parametrize("seed", range(3))
def test_a_cursor_leads_to_its_place_in_whatever_order_and_by_whomever_it_is_asked(
    tmp_path: Path, seed: int
) -> None:
    ends = ends_of(LINES)
    one = cursors_of(tmp_path / "one", LINES)
    texts = {end: one.at(end) for end in ends}
    random.Random(seed).shuffle(ends)
    two = cursors_of(tmp_path / "two", LINES)
    shared = one.of(LogFile(str(tmp_path / "two"), LOCAL))
    assert [two.offset(texts[end]) for end in ends] == ends
    assert [shared.at(end) for end in ends] == [texts[end] for end in ends]


def test_a_cursor_stays_the_same_while_the_log_grows(tmp_path: Path) -> None:
    cursors = cursors_of(tmp_path / "log", LINES[:100])
    end = ends_of(LINES[:100])[-1]
    text = cursors.at(end)
    with (tmp_path / "log").open("ab") as file:
        file.writelines(LINES[100:])
    assert cursors.at(end) == text
    assert cursors.at(ends_of(LINES)[-1]) == cursors_of(tmp_path / "other", LINES).at(ends_of(LINES)[-1])


@settings(max_examples=30)
@given(changed=st.integers(0, 99), behind=st.integers(1, 100), how=st.sampled_from(["as long", "other"]))
def test_a_cursor_of_another_log_is_refused_though_all_lines_near_it_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, changed: int, behind: int, how: str
) -> None:
    base = tmp_path_factory.mktemp("logs")
    lines = LINES[:200]
    text = cursors_of(base / "first", lines).at(ends_of(lines)[changed + behind])
    lines[changed] = lines[changed].replace(b"l", b"L") if how == "as long" else b"an other line\n"
    with pytest.raises(OtherLogError, match="of another log"):
        cursors_of(base / "second", lines).offset(text)


def test_a_cursor_behind_the_end_is_of_another_log(tmp_path: Path) -> None:
    text = cursors_of(tmp_path / "long", LINES).at(ends_of(LINES)[-1])
    with pytest.raises(OtherLogError):
        cursors_of(tmp_path / "short", LINES[:-1]).offset(text)
    with pytest.raises(OtherLogError):
        cursors_of(tmp_path / "none", []).offset(text)


def test_the_start_is_in_every_log(tmp_path: Path) -> None:
    cursors = cursors_of(tmp_path / "log", [])
    assert cursors.at(0) == START
    assert cursors.offset(START) == cursors.offset("0-00000000") == 0


def test_a_number_of_an_older_build_is_believed_where_a_line_ends(tmp_path: Path) -> None:
    cursors = cursors_of(tmp_path / "log", LINES)
    ends = ends_of(LINES)
    assert [cursors.offset(str(end)) for end in ends] == ends
    for text in (str(ends[5] + 1), str(ends[-1] + 1)):
        with pytest.raises(UsageError, match="not a cursor of this session"):
            cursors.offset(text)


@pytest.mark.parametrize(
    "text", ["", "-1", "x", "1e3", "9" * 30, "12-", "12-xyz", "12-0000000", "٣", "1-0000000A"]
)
def test_what_is_no_cursor_is_said_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is not a cursor"):
        cursors_of(tmp_path / "log", LINES).offset(text)


def test_asking_place_after_place_reads_each_byte_about_once(tmp_path: Path) -> None:
    class Counted(LogFile):
        count = 0

        def read(self, offset: int, length: int) -> bytes:
            data = super().read(offset, length)
            self.count += len(data)
            return data

    path = tmp_path / "log"
    path.write_bytes(b"".join(LINES[:100]))
    file = Counted(str(path), LOCAL)
    cursors = Cursors(file)
    for end in ends_of(LINES[:100]):
        cursors.at(end)
    assert file.count < 3 * os.path.getsize(path)
