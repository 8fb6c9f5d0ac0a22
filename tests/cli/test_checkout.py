"""A checkout while others commit brings the files of what is the head once it has its turn."""

import threading
from pathlib import Path

from muse.cli.checkout import _check_out
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.history.repository import Repository
from muse.session.live import LiveSession


class AnnouncingStorage(Storage):
    """Says when a lock is asked for."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def lock(self, descriptor: int, *, exclusive: bool = True, wait: bool = True) -> bool:
        self.asked.set()
        return super().lock(descriptor, exclusive=exclusive, wait=wait)


def test_a_checkout_waits_for_a_commit_that_brings_its_files(tmp_path: Path) -> None:
    root = str(tmp_path)
    repository, _ = Repository.init(root)
    with LiveSession(root, "jam") as session:
        for name in ("a.txt", "b.txt"):
            op = {"op": "insert", "address": name, "position": None, "text": name}
            session.edit("ada", "code", op)
            session.commit(name)
    newest = repository.dag.head("main") or ""
    older = repository.dag.read_commit(newest)["parent_commit_id"] or ""
    repository.dag.swap_head("main", newest, older)
    (tmp_path / "b.txt").unlink()

    storage = AnnouncingStorage()
    found = []
    checkout = threading.Thread(
        target=lambda: found.append(_check_out(Repository.open(root, storage), "HEAD", force=False))
    )
    with LOCAL.locked(layout.working_tree_lock_file(root)):  # as a committer that brings its files
        checkout.start()
        assert storage.asked.wait(30)
        repository.dag.swap_head("main", older, newest)
        (tmp_path / "b.txt").write_text("b.txt")
    checkout.join()
    (update,) = found
    assert (update[0], update[2].kept) == (newest, [])
    assert (tmp_path / "b.txt").read_text() == "b.txt"


def test_a_checkout_brings_which_files_may_be_run_and_which_no_more(tmp_path: Path) -> None:
    root = str(tmp_path)
    repository, _ = Repository.init(root)
    script = tmp_path / "run.sh"
    with LiveSession(root, "jam") as session:
        session.edit("ada", "code", {"op": "insert", "address": "run.sh", "position": None, "text": "true\n"})
        first = session.commit("It runs", executable=["run.sh"]).commit_id or ""
        session.edit("ada", "code", {"op": "insert", "address": "b.txt", "position": None, "text": "b\n"})
        session.commit("It runs no more", executable=[])
    assert script.stat().st_mode & 0o111 == 0
    _check_out(repository, first, force=False)
    assert script.stat().st_mode & 0o111 == 0o111
    _check_out(repository, "main", force=False)
    assert script.stat().st_mode & 0o111 == 0
