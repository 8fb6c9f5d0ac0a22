"""Makes what is measured: `python -m benchmarks.growth.projects KIND SIZE DIRECTORY`.

A kind says what there is much of: ops of one session, sessions, commits, files of a tree, or notes of a MIDI
file. All else is small.
"""

import random
import sys
from collections.abc import Callable

from muse.core.op_log import OpLog, make_op_entry
from muse.core.timestamp import now_text
from muse.history.repository import Repository
from muse.plugins.music.midi_bytes import Event, EventFile, EventTrack, encode
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica

SESSION = "bench"
READY = "ready"
ROUNDS_AT_MOST = 9
"""For each round there is an actor of its own whose work is undone, or a file that is written in."""

_ACTORS = 6
_FILES = 100
_COMMITS = 100
_OPS_A_COMMIT = 1_000
_LONGEST = 2_000
_LATE_OPS = 10
_TRACKS = 16
_LINE = "a line as long as lines mostly are\n"


def late_actor(number: int) -> str:
    """Return the actor whose few ops are the last, one for each round."""
    return f"late-{number}"


def _ops(root: str, count: int) -> None:
    """Six actors type in a hundred texts, which stay short; at most a hundred commits; then the late ones."""
    chance = random.Random(5)
    with LiveSession(root, SESSION) as live:
        replicas = [CodeReplica(live, live.log, f"agent-{number}") for number in range(_ACTORS)]
        paths = [f"d{number % 10}/f{number}.txt" for number in range(_FILES)]
        for path in paths:
            replicas[0].create(path, _LINE)
        every = max(_OPS_A_COMMIT, count // _COMMITS)
        # Each has files of its own in turn, so that what is measured is many ops, and no race for a place.
        lengths = dict.fromkeys(paths, len(_LINE))
        for number in range(_FILES, count):
            path = paths[number % _FILES]
            replica = replicas[number * _ACTORS // count]
            if number * _ACTORS // count != (number - 1) * _ACTORS // count:
                replica.refresh()
            if lengths[path] > _LONGEST:
                replica.delete(path, 0, _LONGEST // 2)
                lengths[path] -= _LONGEST // 2
            else:
                replica.insert(path, chance.randrange(lengths[path] + 1), _LINE[:20])
                lengths[path] += 20
            if number % every == 0:
                live.commit("some more", author="bench")
        for number in range(ROUNDS_AT_MOST + 1):
            late = CodeReplica(live, live.log, late_actor(number))
            for place in range(_LATE_OPS):
                late.insert(paths[place], 0, f"late {number}\n")
        live.commit("the late ones", author="bench")


def _sessions(root: str, count: int) -> None:
    """Sessions of a few ops each, none of them in history but the first."""
    for number in range(count):
        with OpLog(root, f"{SESSION}-{number}") as log:
            log.record_many("agent", "code", [{"op": "x-note", "address": f"f{number}.txt"}] * 3)


def _commits(root: str, count: int) -> None:
    """Commits of one line each, in a few texts."""
    with LiveSession(root, SESSION) as live:
        replica = CodeReplica(live, live.log, "agent")
        for number in range(10):
            replica.create(f"f{number}.txt", _LINE)
        for number in range(count):
            replica.insert(f"f{number % 10}.txt", 0, f"line {number}\n")
            live.commit("one more line", author="bench")


def _files(root: str, count: int) -> None:
    """A tree of small texts, all in history."""
    with LiveSession(root, SESSION) as live:
        replica = CodeReplica(live, live.log, "agent")
        for number in range(count):
            replica.create(f"d{number // 50:03}/f{number:05}.txt", _LINE)
        live.commit("all", author="bench")


def _notes(root: str, count: int) -> None:
    """A MIDI file with so many notes on sixteen tracks, beside the repository."""
    chance = random.Random(5)
    tracks = []
    for track in range(_TRACKS):
        at, events = 0, []
        for _ in range(count // _TRACKS):
            pitch = chance.randrange(30, 90)
            events.append(Event(at, bytes([0x90 | track, pitch, chance.randrange(1, 128)])))
            events.append(Event(at + 100, bytes([0x80 | track, pitch, 64])))
            at += 120
        tracks.append(EventTrack(tuple(sorted(events, key=lambda event: event.tick)), at + 100))
    with open(f"{root}.mid", "wb") as file:
        file.write(encode(EventFile(1, 480, tuple(tracks))))


KINDS: dict[str, Callable[[str, int], None]] = {
    "ops": _ops,
    "sessions": _sessions,
    "commits": _commits,
    "files": _files,
    "notes": _notes,
}


def ready_entry(number: int) -> object:
    """Return an entry that another replica made, as it comes in over a wire."""
    return make_op_entry("elsewhere", "code", {"op": "x-note", "n": number}, 1)


def main() -> None:
    kind, size, root = sys.argv[1:]
    if kind != "notes":
        Repository.init(root, now=now_text())
    KINDS[kind](root, int(size))


if __name__ == "__main__":
    main()
