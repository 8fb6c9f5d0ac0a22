"""The table gives the rows that were added, like a dict of lists, in either form, over whatever snapshot."""

import random
import tracemalloc
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muse.core import compiled
from muse.core.file import id_file
from muse.core.file.id_file import Facts, IdFile, bits_for, write_id_file
from muse.core.file.id_table import IdTable
from muse.disk.storage import LOCAL

FORMS = [None] if compiled.NATIVE is None else [None, compiled.NATIVE]


@pytest.fixture(params=FORMS, ids=lambda native: "compiled" if native else "python")
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form of the table that the test uses, in words."""
    monkeypatch.setattr(compiled, "NATIVE", request.param)
    return "compiled" if request.param else "python"


uses_both_forms = pytest.mark.usefixtures("form")


def octets(numbers: list[int]) -> bytes:
    return b"".join([number.to_bytes(8, "big") for number in numbers])


class Model:
    """A table beside what it should hold, and the snapshot that it rests on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[int, list[int]] = defaultdict(list)
        self.end = 0
        self.turns = 0
        self.segments: list[bytes] = []
        self.table = IdTable(None)

    def add(self, numbers: list[int]) -> None:
        is_asked = len(numbers) % 2 == 0  # others are added to what is not whole yet
        are_new = is_asked and not self.table.find(octets(numbers))
        starts = list(range(self.end, self.end + len(numbers)))
        self.end += len(numbers)
        left_out = self.table.add(octets(numbers), starts, are_new=are_new)
        assert left_out == sorted(left_out)
        for which, number in enumerate(numbers):
            if which in left_out:
                assert self.known[number]
                self.table.add_one(octets([number]), starts[which])
            self.known[number].append(starts[which])

    def find(self, numbers: list[int]) -> None:
        expected = [
            (which, start) for which, number in enumerate(numbers) for start in self.known.get(number, ())
        ]
        assert sorted(self.table.find(octets(numbers))) == expected

    def find_all(self) -> None:
        self.find(list(self.known))

    def write(self, meanwhile: list[int]) -> IdFile:
        count = sum(map(len, self.known.values()))
        bits, covered = bits_for(count), self.end
        self.table.freeze()
        expected = sorted(
            octets([number, start]) for number, starts in self.known.items() for start in starts
        )
        self.add(meanwhile)
        self.find_all()
        segments = [self.table.rows(bits, number) for number in range(1 << bits)]
        assert b"".join(segments) == b"".join(expected)
        write_id_file(str(self.path), LOCAL, Facts(bits, bytes(96), covered, bytes(32)), segments)
        self.segments = segments
        return IdFile(str(self.path), LOCAL)

    def go_on(self) -> None:
        """Write a snapshot and rest on it, as the process that made the table does."""
        file = self.write([1, 2, 3])
        self.turns += 1
        keeps = compiled.NATIVE is not None and self.turns % 2
        self.table.rest_on(file, [*self.segments] if keeps else [])

    def open_again(self) -> None:
        """Write a snapshot and open it, as another process does."""
        file = self.write([])
        self.table.close()
        self.table = IdTable(file)


PLACES = (0, 1 << 63, 0xDEADBEEF << 32, (1 << 64) - 1000)


@st.composite
def numbers(draw: st.DrawFn) -> list[int]:
    """Fingerprints: spread, crowded, or mostly equal ones."""
    seed, count = draw(st.integers(0, 50)), draw(st.sampled_from((1, 3, 50, 700, 1_200)))
    chance = random.Random(seed)
    kind = draw(st.sampled_from(("spread", "crowded", "near", "equal")))
    if kind == "spread":
        return [chance.getrandbits(64) for _ in range(count)]
    base = draw(st.sampled_from(PLACES))
    if kind == "crowded":
        return [base + number for number in range(min(count, 900))]
    if kind == "near":
        return [(base + (number << 40)) % (1 << 64) for number in range(count)]
    return [base + chance.randrange(3) for _ in range(min(count, 300))]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), numbers()),
        st.tuples(st.just("find"), numbers()),
        st.tuples(st.sampled_from(("find_all", "go_on", "open_again")), st.just([])),
    ),
    max_size=9,
)


@uses_both_forms
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_table_is_a_dict_of_lists(steps: list[tuple[str, list[int]]], tmp_path: Path) -> None:
    model = Model(tmp_path / "ids")
    for step, given_numbers in [*steps, ("find_all", [])]:
        if step in {"add", "find"}:
            getattr(model, step)(given_numbers)
        else:
            getattr(model, step)()
    model.table.close()


@uses_both_forms
def test_a_long_table_is_one_too(tmp_path: Path) -> None:
    chance = random.Random(3)
    model = Model(tmp_path / "ids")
    for turn in range(30):
        model.add([chance.getrandbits(64) for _ in range(1_001)])
        if turn % 10 == 6:
            model.go_on()
        if turn % 10 == 9:
            model.open_again()
            model.add([chance.getrandbits(64) for _ in range(2_999)])
    model.find_all()
    model.find([chance.getrandbits(64) for _ in range(5_000)])
    model.table.close()


@uses_both_forms
@pytest.mark.parametrize("step", [0, 1, 1 << 20, 1 << 55])
def test_thousands_of_crowded_fingerprints_are_found(tmp_path: Path, step: int) -> None:
    model = Model(tmp_path / "ids")
    some = 500 if step else 120  # to find many equal ones takes time in Python
    for turn in range(6):
        numbers = range(some * turn, some * turn + some)
        model.add([((5 << 60) + step * number) % (1 << 64) for number in numbers])
    model.add([random.Random(step).getrandbits(64) for _ in range(3_000)])
    model.find_all()
    model.open_again()
    model.find_all()
    model.table.close()


def bytes_a_row(count: int) -> float:
    chance = random.Random(count)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        table, start = IdTable(None), 0
        while start < count:
            table.add(chance.randbytes(8 * 500), list(range(start, start + 500)), are_new=False)
            start += 500
        return (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [50_000, 61_000, 80_000, 100_000, 125_000, 160_000])
def test_a_row_takes_few_bytes_of_memory(form: str, count: int) -> None:
    assert bytes_a_row(count) < (48 if form == "python" else 40)


@uses_both_forms
def test_crowded_fingerprints_take_no_more_memory_than_they_are_many() -> None:
    tracemalloc.start()
    table = IdTable(None)
    for start in range(0, 20_000, 500):
        prints = octets([(7 << 50) + number for number in range(start, start + 500)])
        table.add(prints, list(range(500)), are_new=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_the_form_in_python_reads_segments_again_rather_than_keep_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "NATIVE", None)
    monkeypatch.setattr("muse.core.file.id_table.CACHE_BYTES", 40_000)
    monkeypatch.setattr(id_file, "_ROWS_A_SEGMENT", 64)
    chance = random.Random(1)
    model = Model(tmp_path / "ids")
    model.add([chance.getrandbits(64) for _ in range(40_000)])
    model.open_again()
    model.find_all()
    assert sum(map(len, model.table._cache.values())) <= 40_000
    model.table.close()
