"""A watch that is killed at any moment, again and again: nothing that anyone saved is lost."""

import random
from pathlib import Path

import pytest

from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from tests.samples.watching import WatchProcess
from tests.workdir.test_watch import session_files, tree

FILES = ("a.txt", "b.txt")


def save(place: Path, line: str, chance: random.Random) -> None:
    """Add a line at the end: in place, as a program that appends does, or by a rename over the file."""
    if chance.random() < 0.7:
        with place.open("a") as writing:
            writing.write(line)
        return
    other = place.with_name(f".{place.name}.swp")
    with place.open("a"):  # nobody replaces the file between the reading and the rename
        other.write_text(place.read_text() + line)
        other.rename(place)


def check_kills(tmp_path: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    root = tmp_path / "project"
    Repository.init(str(root))
    for name in FILES:
        (root / name).write_text("start\n")
    with WatchProcess(root, "ada") as watch:
        watch.stop()
    said: dict[str, list[str]] = {name: ["start\n"] for name in FILES}
    for number in range(rounds):
        with WatchProcess(root, "ada") as watch, LiveSession(str(root), "jam") as session:
            bob = CodeReplica(session, session.log, "bob")
            for step in range(chance.randrange(1, 8)):
                name = chance.choice(FILES)
                if chance.random() < 0.5:
                    line = f"bob {number}.{step}\n"
                    bob.insert(name, 0, line)
                else:
                    line = f"ada {number}.{step}\n"
                    save(root / name, line, chance)
                said[name].append(line)
                if chance.random() < 0.4:
                    watch.until(lambda event: event["event"] in {"recorded", "brought"})
            watch.kill()
    with WatchProcess(root, "ada") as watch:
        watch.stop()
    with WatchProcess(root, "ada") as watch:
        watch.stop()
    found = tree(root)
    assert session_files(root) == found
    assert {path: sorted(text.decode().splitlines(True)) for path, text in found.items()} == {
        path: sorted(lines) for path, lines in said.items()
    }


def test_a_watch_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    check_kills(tmp_path, rounds=4, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_watch_that_is_killed_many_times_loses_nothing(tmp_path: Path, seed: int) -> None:
    check_kills(tmp_path, rounds=25, seed=seed)
