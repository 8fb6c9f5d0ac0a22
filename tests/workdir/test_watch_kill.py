"""A watch that is killed at any moment, again and again: nothing that anyone saved is lost."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from tests.samples.server_process import running_server
from tests.samples.waiting import wait_until
from tests.samples.watching import SECONDS, WatchProcess
from tests.workdir.test_watch import session_files, tree

Check = Callable[[Path, int, int], None]
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


def check_kills(
    root: Path, place: Path, watching: Callable[[], WatchProcess], rounds: int, seed: int
) -> None:
    """Ada saves in files at `place` while her watch is killed; bob edits the session in the repository."""
    chance = random.Random(seed)
    with watching() as watch:
        for name in FILES:
            (place / name).write_text("start\n")
            watch.recorded(name)
        wait_until(lambda: session_files(root).keys() == set(FILES), SECONDS)
        watch.stop()
    said: dict[str, list[str]] = {name: ["start\n"] for name in FILES}
    for number in range(rounds):
        with watching() as watch, LiveSession(str(root), "jam") as session:
            bob = CodeReplica(session, session.log, "bob")
            for step in range(chance.randrange(1, 8)):
                name = chance.choice(FILES)
                if chance.random() < 0.5:
                    line = f"bob {number}.{step}\n"
                    bob.insert(name, 0, line)
                else:
                    line = f"ada {number}.{step}\n"
                    save(place / name, line, chance)
                said[name].append(line)
                if chance.random() < 0.4:
                    watch.until(lambda event: event["event"] in {"recorded", "brought"})
            watch.kill()
    expected = {path: sorted(lines) for path, lines in said.items()}
    with watching() as watch:
        wait_until(lambda: lines_of(session_files(root)) == lines_of(tree(place)) == expected, SECONDS)
        watch.stop()
    with watching() as watch:
        watch.stop()
    assert lines_of(tree(place)) == expected
    assert session_files(root) == tree(place)


def lines_of(files: Mapping[str, bytes]) -> dict[str, list[str]]:
    return {path: sorted(text.decode().splitlines(True)) for path, text in files.items()}


def check_kills_here(tmp_path: Path, rounds: int, seed: int) -> None:
    root = tmp_path / "project"
    Repository.init(str(root))
    check_kills(root, root, lambda: WatchProcess(root, "ada"), rounds, seed)


def check_kills_beside_a_server(tmp_path: Path, rounds: int, seed: int) -> None:
    place = tmp_path / "ada"
    with running_server() as server:
        watching = partial(WatchProcess, server.url, "ada", "--dir", str(place))
        check_kills(server.root, place, watching, rounds, seed)


CHECKS = pytest.mark.parametrize("check", [check_kills_here, check_kills_beside_a_server])


@CHECKS
def test_a_watch_that_is_killed_loses_nothing(tmp_path: Path, check: Check) -> None:
    check(tmp_path, 4, 1)


@CHECKS
@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_watch_that_is_killed_many_times_loses_nothing(tmp_path: Path, check: Check, seed: int) -> None:
    check(tmp_path, 25, seed)
