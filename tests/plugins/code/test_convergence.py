"""Code ops converge: any actors, partitions, arrivals, duplicates and splits into commits give one tree."""

import contextlib
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muse.core.entry import OpEntry
from muse.core.op_log import OpLog
from muse.core.timestamp import now_text
from muse.errors import DomainError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.testing.memory_storage import InMemoryStorage
from tests.samples.code_samples import Head, commit_files
from tests.samples.trees import committed_files

TEXTS = ("a", "xyz", "\n", "\r\n", "é", "e\u0301", "😀", "👩‍👩‍👧", "\ufeff", "line one\nline two\n", "漢字")
PATHS = ("a.py", "b.py", "lib/c.py", "lib", "a.py/x", "logo.bin")


class Actors:
    """Actors at replicas of one branch, each with a log of its own; chance decides what they do."""

    def __init__(self, count: int, chance: random.Random, files: dict[str, bytes]) -> None:
        storage = InMemoryStorage()
        self.repository, _ = Repository.init("root", now=now_text(), storage=storage)
        if files:
            commit_files(self.repository, files)
        self.chance = chance
        self.replicas = [
            CodeReplica(self.repository, OpLog("root", f"s{n}", storage=storage), f"actor{n}")
            for n in range(count)
        ]
        self.entries: list[OpEntry] = []
        self.known = [0] * count

    def step(self) -> None:
        chance, number = self.chance, self.chance.randrange(len(self.replicas))
        replica = self.replicas[number]
        if chance.random() < 0.2:
            self.hear(number)
            return
        before = replica.version
        try:
            made = self.act(replica)
        except DomainError:
            return
        assert made == [] or replica.version != before
        self.entries += made

    def hear(self, number: int) -> None:
        """Others' entries come to an actor: all there are, some of them again, in whatever order."""
        heard = self.entries[max(0, self.known[number] - 3) :]
        self.chance.shuffle(heard)
        self.known[number] = len(self.entries)
        self.replicas[number].take(heard)

    def act(self, replica: CodeReplica) -> list[OpEntry]:
        chance = self.chance
        paths = replica.paths()
        kind = chance.choice(("edit", "edit", "edit", "edit", "edit", "create", "remove", "move", "write"))
        if kind == "create" or not paths:
            content: str | bytes = chance.choice((*TEXTS, b"\x00\xff"))
            if chance.random() < 0.2:
                content = "\ufeffhi\r\n😀".encode("utf-16-le")
            return [replica.create(chance.choice(PATHS), content)]
        path = chance.choice(paths)
        if kind == "remove":
            return [replica.remove(path)]
        if kind == "move":
            return [replica.move(path, chance.choice(PATHS))]
        content = replica.read(path)
        if isinstance(content, bytes):
            return replica.write(path, bytes([0, chance.randrange(256)]))
        if kind == "write":
            return replica.write(path, chance.choice(TEXTS) + content + chance.choice(TEXTS))
        position = chance.randint(0, len(content))
        length = chance.randint(0, min(3, len(content) - position))
        return [replica.replace(path, position, length, chance.choice((*TEXTS, "")))]

    def tree(self, number: int) -> dict[str, str | bytes]:
        replica = self.replicas[number]
        return {path: replica.read(path) for path in replica.paths()}


def holds(files: dict[str, bytes], tree: dict[str, str | bytes]) -> bool:
    """Whether committed files are those that replicas show: a text in either of the encodings used here."""
    return files.keys() == tree.keys() and all(
        files[path]
        in ({content.encode(), content.encode("utf-16-le")} if isinstance(content, str) else {content})
        for path, content in tree.items()
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 4), st.integers(0, 60), st.integers(0, 2**32))
def test_all_replicas_and_all_ways_of_committing_come_to_the_same_tree(
    count: int, steps: int, seed: int
) -> None:
    chance = random.Random(seed)
    files = {path: text.encode() for path in PATHS[:3] if (text := chance.choice(("", *TEXTS)))}
    actors = Actors(count, chance, files)
    for _ in range(steps):
        actors.step()
    for number in range(count):
        actors.known[number] = 0
        actors.hear(number)
    trees = [actors.tree(number) for number in range(count)]
    assert all(tree == trees[0] for tree in trees)
    at_once = Head(files).commit(actors.entries)
    assert at_once.ignored == []
    assert holds(at_once.files, trees[0])
    for _ in range(3):
        arrivals = [*actors.entries, *chance.sample(actors.entries, len(actors.entries) // 4)]
        chance.shuffle(arrivals)
        head = Head(files)
        while arrivals:
            size = chance.randint(1, len(arrivals))
            head, arrivals = head.commit(arrivals[:size]), arrivals[size:]
        assert head.files == at_once.files


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 3), st.integers(0, 40), st.integers(0, 2**32))
def test_commits_and_replicas_opened_at_any_moment_change_nothing_of_what_all_come_to(
    count: int, steps: int, seed: int
) -> None:
    chance = random.Random(seed)
    storage = InMemoryStorage()
    repository, _ = Repository.init("root", now=now_text(), storage=storage)
    commit_files(repository, {"a.py": b"one\ntwo\n", "logo.bin": b"\0"})
    actors = Actors(0, chance, {})
    with LiveSession("root", "jam", storage=storage) as session:
        replicas = [CodeReplica(session, session.log, f"actor{number}") for number in range(count)]
        for _ in range(steps):
            number = chance.randrange(count)
            what = chance.random()
            if what < 0.1:
                assert session.commit("so far").ignored == ()
            elif what < 0.2:
                replicas[number] = CodeReplica(session, session.log, f"actor{number}")
            elif what < 0.4:
                replicas[number].refresh()
            else:
                with contextlib.suppress(DomainError):
                    actors.act(replicas[number])
        for replica in replicas:
            replica.refresh()
        assert session.commit("the rest").ignored == ()
        fresh = CodeReplica(session, session.log, "fresh")
        trees = [{path: replica.read(path) for path in replica.paths()} for replica in [*replicas, fresh]]
        assert all(tree == trees[0] for tree in trees)
        files = committed_files(repository)
        assert holds(files, trees[0])
