"""A file that gives way to a directory of its name, or the reverse, whatever domains the files are of."""

import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.views.blame import blame_newest
from muse.workdir.workdir import Workdir
from tests.workdir.test_midi import midi

CONTENTS = {
    "tune": midi((60, 0, 240), (64, 480, 240), (67, 960, 240)),
    "song": midi((50, 0, 100), (52, 100, 100)),
    "text": b"some words\nand more of them\n",
    "data": b"\0\1\2 no text",
}
Tree = Mapping[str, str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path / "song"))
    return tmp_path / "song"


def on_disk(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file())
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    return {path: content for path, content in found.items() if not path.startswith(".muse")}


def put(root: Path, tree: Tree) -> None:
    """Replace all files."""
    for path in root.iterdir():
        if path.name != ".muse":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, kind in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(CONTENTS[kind])


def record(root: Path) -> None:
    """Record, and see that the session has then what was on the disk, and no more."""
    before = on_disk(root)
    outcome = Workdir(Repository.open(str(root)), None, "ada", session_id="jam").record()
    assert (outcome.faults, on_disk(root).keys()) == ([], before.keys())
    status = Workdir(Repository.open(str(root)), None, "ada", session_id="jam").status()
    assert (status.here, status.ahead, status.faults) == ([], [], [])


def commit(root: Path) -> list[str]:
    """Commit; return the files of the newest commit, and see that they are those on the disk."""
    with LiveSession(str(root), "jam") as session:
        outcome = session.commit("so far")
    assert outcome.ignored == ()
    repository = Repository.open(str(root))
    tree = [path for path in repository.read_tree(repository.dag.head("main")) if path[0] != "."]
    assert tree == sorted(on_disk(root))
    assert verify_repository(repository.root, replay=True).findings == []
    return tree


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a.mid": "tune"}, {"a.mid/b.txt": "text"}),
        ({"a.mid": "tune"}, {"a.mid/b.bin": "data"}),
        ({"a.mid": "tune"}, {"a.mid/b.mid": "song"}),
        ({"a.mid": "tune"}, {"a.mid/b.mid": "tune"}),  # a rename
        ({"a.mid": "tune"}, {"a.mid/b.mid": "tune", "a.mid/c.txt": "text"}),
        ({"a.txt": "text"}, {"a.txt/b.mid": "tune"}),
        ({"a.txt": "text"}, {"a.txt/b.txt": "text"}),
        ({"a": "data"}, {"a/b.mid": "tune", "a/b.txt": "text"}),
        ({"a.mid": "tune", "b.txt": "text"}, {"a.mid/c.txt": "text", "b.txt/d.mid": "song"}),  # both give way
        ({"a.mid": "tune", "b.txt": "text"}, {"a.mid/c.txt": "data", "b.txt/d.mid": "tune"}),
    ],
)
def test_what_gives_way_and_what_comes_are_recorded_and_committed_as_they_are_on_the_disk(
    root: Path, one: Tree, other: Tree, *, is_committed: bool
) -> None:
    for tree in (one, other, one, other):
        put(root, tree)
        record(root)
        if is_committed:
            commit(root)
    assert commit(root) == sorted(other)


def test_a_name_that_is_of_another_domain_now_is_given_up_first(root: Path) -> None:
    with LiveSession(str(root), "jam") as session:
        insert = {
            "op": "insert",
            "address": "a.mid",
            "position": None,
            "content_id": "",
            "text": "no notes\n",
        }
        session.edit("bob", "code", insert | {"file_id": "a" * 32, "content_summary": ""})
        session.commit("a text")
    record(root)
    put(root, {"a.mid": "tune"})
    record(root)
    assert commit(root) == ["a.mid"]
    assert on_disk(root)["a.mid"] == CONTENTS["tune"]


def test_notes_keep_their_maker_where_their_file_goes_into_a_directory_of_its_name(root: Path) -> None:
    put(root, {"a.mid": "tune"})
    record(root)
    commit(root)
    put(root, {"a.mid/a.mid": "tune", "a.mid/words.txt": "text"})
    repository = Repository.open(str(root))
    Workdir(repository, None, "bob", session_id="jam").record()
    for _ in range(2):
        makers = {
            path: {part.made.actor_id for part in blame_newest(Repository.open(str(root)), path, "jam").parts}
            for path in on_disk(root)
        }
        assert makers == {"a.mid/a.mid": {"ada"}, "a.mid/words.txt": {"bob"}}
        commit(root)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_gives_way_to_what_the_session_has_what_is_on_the_disk(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(5):
        tree: dict[str, str] = {}
        for name in ("p", "p.mid", "q.txt"):
            files = chance.choice([(), (name,), (f"{name}/x.txt",), (f"{name}/x.txt", f"{name}/y.mid")])
            for path in files:
                kind = "data" if path[0] == "q" else "text"
                tree[path] = chance.choice(("tune", "song")) if path.endswith(".mid") else kind
        put(root, tree)
        record(root)
        if chance.random() < 0.5:
            commit(root)
