"""`muse watch` on the address of a server: replicas that are live, and go on while the server is away."""

import shutil
from pathlib import Path

from tests.samples.server_process import ServerProcess, running_server
from tests.samples.waiting import wait_until
from tests.samples.watching import SECONDS, WatchProcess
from tests.workdir.test_midi import TUNE, midi
from tests.workdir.test_watch import entries, session_files, tree


def watch(server: ServerProcess, actor: str, place: Path) -> WatchProcess:
    return WatchProcess(server.url, actor, "--dir", str(place))


def test_two_directories_on_one_server_have_the_work_of_both(tmp_path: Path) -> None:
    with running_server() as server:
        ada_place, bob_place = tmp_path / "ada", tmp_path / "bob"
        with watch(server, "ada", ada_place) as ada, watch(server, "bob", bob_place) as bob:
            (ada_place / "a.txt").write_text("one\ntwo\n")
            assert bob.brought("a.txt")["actor_ids"] == ["ada"]
            (bob_place / "a.txt").write_text("one\ntwo\nthree\n")
            (bob_place / "big.bin").write_bytes(bytes(range(256)) * 4096)
            ada.brought("big.bin")
            wait_until(lambda: tree(ada_place) == tree(bob_place), SECONDS)
            ada.stop()
            bob.stop()
        assert tree(ada_place) == tree(bob_place) == session_files(server.root)
        assert {entry["actor_id"] for entry in entries(server.root)} == {"ada", "bob"}


def test_work_goes_on_while_the_server_is_away(tmp_path: Path) -> None:
    with running_server() as server:
        ada_place, bob_place = tmp_path / "ada", tmp_path / "bob"
        with watch(server, "ada", ada_place) as ada, watch(server, "bob", bob_place) as bob:
            (ada_place / "a.txt").write_text("one\n")
            bob.brought("a.txt")
            server.kill()
            (ada_place / "a.txt").write_text("one\nada offline\n")
            ada.recorded("a.txt")
            (bob_place / "a.txt").write_text("bob offline\none\n")
            bob.recorded("a.txt")
            ada.until_kind("offline")
            bob.kill()
            with watch(server, "bob", bob_place) as again:
                again.until_kind("offline")
                server.start()
                again.until_kind("online")
                for place in (ada_place, bob_place, server.root):
                    wait_until(lambda place=place: lines(place) == 3, SECONDS)
                again.stop()
            ada.stop()
        text = (ada_place / "a.txt").read_text()
        assert text == (bob_place / "a.txt").read_text() == "bob offline\none\nada offline\n"


def lines(place: Path) -> int:
    """How many lines the file has there, in the session."""
    return session_files(place).get("a.txt", b"").count(b"\n")


def test_a_replica_of_another_repository_is_named(tmp_path: Path) -> None:
    with running_server() as one, running_server() as other:
        place = tmp_path / "ada"
        with watch(one, "ada", place) as ada:
            ada.stop()
        with watch(other, "ada", place) as ada:
            assert "unrelated" in ada.until_kind("offline")["what"]


def test_a_token_that_may_append_is_enough_but_for_large_files(tmp_path: Path) -> None:
    with running_server() as server:
        token, place = server.token("ada"), tmp_path / "ada"
        with WatchProcess(server.url, "ada", "--dir", str(place), token=token) as ada:
            (place / "a.txt").write_text("one\n")
            log = server.root / ".muse/op_log/jam/ops.jsonl"
            wait_until(lambda: log.exists() and session_files(server.root) == {"a.txt": b"one\n"}, SECONDS)
            (place / "large.bin").write_bytes(bytes(1 << 20))
            refused = ada.until(lambda event: event["event"] in {"offline", "refused"})
            assert "needs scope 'commit'" in refused["what"]
            ada.stop()


def test_a_server_that_is_away_at_the_first_time_is_an_error(tmp_path: Path) -> None:
    with running_server() as server:
        url = server.url
    status, complaint = WatchProcess(url, "ada", "--dir", str(tmp_path / "ada")).fails()
    assert (status, "Traceback" in complaint) == (1, False)
    assert not (tmp_path / "ada").exists()


def test_what_the_server_has_is_not_recorded_again_where_an_older_copy_of_the_replica_was_put_back(
    tmp_path: Path,
) -> None:
    with running_server() as server:
        place, older = tmp_path / "ada", tmp_path / "older"
        with watch(server, "ada", place) as ada:
            (place / "a.txt").write_text("one\n")
            ada.recorded("a.txt")
            ada.stop()
        shutil.copytree(place / ".muse", older)
        with watch(server, "ada", place) as ada:
            (place / "a.txt").write_text("one\ntwo\n")
            ada.recorded("a.txt")
            (place / "b.mid").write_bytes(midi(*TUNE))
            ada.recorded("b.mid")
            ada.stop()
        before = entries(server.root)
        shutil.rmtree(place / ".muse")
        shutil.move(older, place / ".muse")
        with watch(server, "ada", place) as ada:
            ada.stop()
        assert entries(server.root) == before
        assert (place / "a.txt").read_text() == "one\ntwo\n"
