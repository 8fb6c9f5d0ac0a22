"""CodeReplica on a session of a server: its edits arrive, and those of others come in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muse.client import Client, ServerError
from muse.client.local_copy import LocalCopy
from muse.errors import ConflictError, DomainError, UsageError
from muse.history.repository import Repository
from muse.plugins.code.ops import INLINE_BYTES
from muse.session.live import LiveSession
from muse.session.policy import Policy
from muse.session.text_replica import CodeReplica
from tests.samples.server_process import ServerProcess, running_server
from tests.samples.trees import committed_files


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server() as running:
        yield running


@pytest.fixture(params=["cached", "not cached"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return str(tmp_path / "cache") if request.param == "cached" else None


def client(server: ServerProcess, actor: str, scope: str = "append", **options: Any) -> Client:
    return Client(server.url, token=server.token(actor, scope), **options)


def committed(server: ServerProcess, session: str, message: str = "Commit") -> dict[str, bytes]:
    """Commit on the server's side; return the files of the branch."""
    with LiveSession(server.root, session) as live:
        assert not live.commit(message).ignored
    return committed_files(Repository.open(str(server.root)))


def test_edits_arrive_and_those_of_others_come_in(server: ServerProcess, cache: str | None) -> None:
    name = "live-cached" if cache else "live"
    path = f"{name}.py"
    with client(server, "ada") as ada_client, client(server, "bob") as bob_client:
        ada_client.create_session(name)
        with (
            ada_client.session(name, "ada", cache=cache) as ada_session,
            bob_client.session(name, "bob") as bob_session,
        ):
            ada, bob = CodeReplica(ada_session), CodeReplica(bob_session)
            ada.create(path, "one\n")
            assert [entry["actor_id"] for entry in bob.refresh()] == ["ada"]
            assert bob.read(path) == "one\n"
            bob.insert(path, 4, "two\n")
            ada.edit(path, [(0, 0, "zero\n"), (5, 3, "ONE")])
            ada.refresh()
            bob.refresh()
            assert ada.read(path) == bob.read(path) == "zero\nONE\ntwo\n"
            assert committed(server, name)[path] == b"zero\nONE\ntwo\n"
            ada.refresh()
            ada.move(path, f"{name}-2.py")
            ada.insert(f"{name}-2.py", 0, "after a commit\n")
            bob.refresh()
            assert bob.read(f"{name}-2.py") == "after a commit\nzero\nONE\ntwo\n"
            ada.remove(f"{name}-2.py")
    assert path not in committed(server, name)
    with client(server, "zoe") as zoe_client, zoe_client.session(name, "zoe") as session:
        assert f"{name}-2.py" not in CodeReplica(session).paths()


def test_edits_on_what_the_local_log_has_not_taken_in_arrive_and_rest_on_it(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(server, "ada") as ada_client, client(server, "bob") as bob_client:
        ada_client.create_session("slow")
        with bob_client.session("slow", "bob") as session:
            bob = CodeReplica(session)
            bob.create("slow.py", "one\n")
            bob.insert("slow.py", 4, "two\n")
        with monkeypatch.context() as patched:
            patched.setattr(LocalCopy, "take", lambda *_: None)
            with ada_client.session("slow", "ada", cache=str(tmp_path)) as session:
                ada = CodeReplica(session)
                ada.create("fast.py", "three\n")
                ada.edit("slow.py", [(0, 0, "zero\n"), (5, 3, "ONE")])
                ada.insert("slow.py", 0, "#\n")
                session.flush()
        with ada_client.session("slow", "ada", cache=str(tmp_path)) as session:
            assert CodeReplica(session).read("slow.py") == "#\nzero\nONE\ntwo\n"
            session.flush()
    assert committed(server, "slow")["slow.py"] == b"#\nzero\nONE\ntwo\n"


def test_a_replica_that_begins_later_goes_on_from_commit_and_pending_ops(server: ServerProcess) -> None:
    with client(server, "ada") as ada_client:
        ada_client.create_session("later")
        with ada_client.session("later", "ada") as session:
            ada = CodeReplica(session, actor_id="ada")
            ada.create("later.py", "a\n")
            committed(server, "later")
            ada.insert("later.py", 2, "b\n")
            head = ada.version
    with client(server, "bob") as bob_client, bob_client.session("later", "bob") as session:
        bob = CodeReplica(session)
        assert bob.read("later.py") == "a\nb\n"
        assert bob.version == head
        entry = bob.insert("later.py", 4, "c\n")
        assert entry["parent_op_ids"] == list(head)
    assert committed(server, "later")["later.py"] == b"a\nb\nc\n"


def test_what_another_session_committed_comes_in(server: ServerProcess) -> None:
    with client(server, "ada") as ada_client:
        ada_client.create_session("first-of-two")
        with ada_client.session("first-of-two", "ada") as session:
            ada = CodeReplica(session)
            with LiveSession(server.root, "second-of-two") as live:
                CodeReplica(live, live.log, "bob").create("from-the-second.py", "here\n")
                live.commit("From the second")
            ada.refresh()
            assert ada.read("from-the-second.py") == "here\n"
            ada.insert("from-the-second.py", 5, "too\n")
    assert committed(server, "first-of-two")["from-the-second.py"] == b"here\ntoo\n"


def test_an_edit_that_the_server_sets_aside_raises_and_is_not_shown(server: ServerProcess) -> None:
    with client(server, "ada", "admin") as ada_client, client(server, "bob") as bob_client:
        ada_client.create_session("guarded", Policy("refuse", "report").to_json())
        with ada_client.session("guarded", "ada") as session:
            ada = CodeReplica(session)
            ada.create("guarded.py", "mine\n")
            bob_client.reserve(["guarded.py"], "bob")
            with pytest.raises(ConflictError, match=r"it was refused: .*bob"):
                ada.insert("guarded.py", 0, "not ")
            assert ada.read("guarded.py") == "mine\n"


def test_a_large_content_goes_to_the_store_or_is_refused(server: ServerProcess) -> None:
    large = bytes(range(256)) * (INLINE_BYTES // 256 + 1)
    with client(server, "ada") as ada_client:
        ada_client.create_session("large")
        with ada_client.session("large", "ada") as session, pytest.raises(ServerError, match="scope"):
            CodeReplica(session).create("large.bin", large)
    with client(server, "ada", "commit") as ada_client, ada_client.session("large", "ada") as session:
        CodeReplica(session).create("large.bin", large)
    assert committed(server, "large")["large.bin"] == large


def test_edits_made_while_the_server_is_away_arrive_later(tmp_path: Path) -> None:
    with running_server() as server, client(server, "ada", patience_seconds=1) as ada_client:
        ada_client.create_session("away")
        cache = str(tmp_path / "cache")
        with ada_client.session("away", "ada", cache=cache) as session:
            ada = CodeReplica(session)
            ada.create("away.py", "one\n")
            server.kill()
            ada.insert("away.py", 4, "two\n")
            assert ada.refresh() == []
            assert ada.read("away.py") == "one\ntwo\n"
            server.start()
            session.flush()
        assert committed(server, "away")["away.py"] == b"one\ntwo\n"


def test_wrong_uses_raise_at_the_first_call(server: ServerProcess, tmp_path: Path) -> None:
    with client(server, "ada") as ada_client:
        ada_client.create_session("wrong")
        with ada_client.session("wrong", "ada", cache=str(tmp_path)) as session:
            with pytest.raises(UsageError, match="is of 'ada'"):
                CodeReplica(session, actor_id="bob")
            assert session.log is not None
            repository = Repository.open(str(server.root))
            mixed = CodeReplica(repository, session.log, "ada")
            with pytest.raises(UsageError, match="is a copy of the server's: record with the session"):
                mixed.create("mixed.py", "")
            with pytest.raises(DomainError, match=r"there is no file 'none\.py'"):
                CodeReplica(session).read("none.py")
    wrong: Any = object()
    with pytest.raises(UsageError, match="not on object"):
        CodeReplica(wrong)
    with pytest.raises(UsageError, match="name the log and the actor"):
        CodeReplica(Repository.open(str(server.root)))
