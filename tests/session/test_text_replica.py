"""An editor's replica: what it records, what it takes in, and what commits make of it."""

import contextlib
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.checks.verify import verify_repository
from muse.core.entry import Limits, OpEntry
from muse.core.op_log import OpLog
from muse.core.timestamp import now_text
from muse.disk.storage import Storage
from muse.errors import DomainError, InvalidEntryError, MuseError
from muse.history.repository import Repository
from muse.plugins.code import ops
from muse.plugins.code.document import TextDocument
from muse.plugins.code.names import Places
from muse.plugins.code.ops import INLINE_BYTES
from muse.plugins.code.update import read_update
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import clone, pull
from muse.session.live import LiveSession
from muse.session.replica_source import LocalSource
from muse.session.text_replica import CodeReplica
from muse.testing import FailingStorage
from muse.views.blame import blame_file, blame_newest
from muse.views.overlaps import session_overlaps
from muse.views.undo import by_actor, undo
from tests.samples.code_samples import commit_files
from tests.samples.trees import committed_files


@pytest.fixture
def root(tmp_path: Path) -> str:
    repository, _ = Repository.init(str(tmp_path), now=now_text())
    commit_files(repository, {"a.py": b"x = 1\n", "logo.bin": b"\0"})
    return str(tmp_path)


def committed(root: str, path: str) -> bytes | None:
    files = committed_files(Repository.open(root))
    return files.get(path)


def test_what_is_typed_is_in_the_log_at_once_and_in_the_commit_after(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada = CodeReplica(session, session.log, "ada")
        entry = ada.insert("a.py", 6, "y = 2\n")
        op = entry["domain_op"]
        assert (op["op"], op["address"], op["position"]) == ("insert", "a.py", 6)  # type: ignore[typeddict-item]
        assert session.log.read_all() == [entry]
        assert ada.read("a.py") == "x = 1\ny = 2\n"
        outcome = session.commit("y")
    assert outcome.ignored == ()
    assert committed(root, "a.py") == b"x = 1\ny = 2\n"


def test_replicas_of_one_session_see_each_other_through_the_log_across_commits(root: str) -> None:
    with LiveSession(root, "jam") as session, OpLog(root, "jam") as log:
        ada = CodeReplica(session, session.log, "ada")
        bob = CodeReplica(session.repository, log, "bob")
        ada.insert("a.py", 0, "# ada\n")
        bob.insert("a.py", 6, "# bob\n")
        assert [entry["actor_id"] for entry in bob.refresh()] == ["ada"]
        ada.refresh()
        text = "# ada\nx = 1\n# bob\n"
        assert ada.read("a.py") == bob.read("a.py") == text
        session.commit("both")
        bob.insert("a.py", len(text), "more\n")
        late = CodeReplica(session, session.log, "late")
        assert late.read("a.py") == text + "more\n"
        late.move("a.py", "b.py")
        ada.refresh()
        ada.insert("b.py", 0, "!")
        assert session.commit("moved").ignored == ()
        assert bob.refresh() != []
        assert bob.read("b.py") == "!" + text + "more\n"
        assert bob.refresh() == []
    assert (committed(root, "a.py"), committed(root, "b.py")) == (None, b"!" + (text + "more\n").encode())


def test_a_replica_that_opens_after_a_commit_knows_what_the_commit_holds(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada, bob = (CodeReplica(session, session.log, name) for name in ("ada", "bob"))
        made = [ada.insert("a.py", 0, "1"), bob.insert("a.py", 6, "2")]
        session.commit("both, unseen by each other")
        ada.refresh()
        made.append(ada.insert("a.py", 0, "3"))
        session.commit("ada")
        cy = CodeReplica(session, session.log, "cy")
        assert list(cy.version) == [made[2]["op_id"]]
        made.append(bob.insert("a.py", 0, "4"))
        session.commit("bob, who has not seen ada's last")
        cy = CodeReplica(session, session.log, "cy")
        assert sorted(cy.version) == sorted([made[2]["op_id"], made[3]["op_id"]])
        cy.insert("a.py", 0, "5")
        session.commit("cy")
    pairs = [
        {overlap.kept["actor_id"], overlap.overwritten["actor_id"]}
        for overlap in session_overlaps(Repository.open(root), "jam")
    ]
    assert pairs == [{"ada", "bob"}]


def test_what_another_replica_committed_is_known_once_it_is_pulled(tmp_path: Path) -> None:
    roots = [str(tmp_path / name) for name in ("a", "b")]
    commit_files(Repository.init(roots[0], now=now_text())[0], {"a.py": b"one\ntwo\n"})

    def commit(root: str, actor: str, text: str) -> OpEntry:
        with LiveSession(root, "jam") as session:
            entry = CodeReplica(session, session.log, actor).insert("a.py", 0, text)
            session.commit(text)
            return entry

    def bring(source: str, target: str) -> None:
        with LocalPeer(source) as peer, LocalPeer(target) as own:
            pull(own, peer)

    ada = commit(roots[0], "ada", "1")
    with LocalPeer(roots[0]) as peer:
        clone(peer, roots[1])
    bob = commit(roots[1], "bob", "2")
    assert bob["parent_op_ids"] == [ada["op_id"]]
    both = [commit(roots[0], "ada", "3"), commit(roots[1], "bob", "4")]
    bring(roots[1], roots[0])
    after = commit(roots[0], "cy", "5")
    assert sorted(after["parent_op_ids"]) == sorted(entry["op_id"] for entry in both)
    bring(roots[0], roots[1])
    found = [session_overlaps(Repository.open(root), "jam") for root in roots]
    assert [overlap.kept["actor_id"] for overlap in found[0]] == ["bob"]
    assert len(found[1]) == 1


def test_an_open_replica_takes_in_what_another_tool_or_session_committed(root: str) -> None:
    with LiveSession(root, "jam") as session, LiveSession(root, "other") as other:
        ada = CodeReplica(session, session.log, "ada")
        ada.insert("a.py", 0, "# ada\n")
        session.commit("ada")
        assert ada.refresh() == []
        commit_files(session.repository, {"a.py": b"# ada\nx = 2\n", "new.py": b"new\n"})
        assert ada.refresh() == []
        assert (ada.paths(), ada.read("a.py")) == (["a.py", "new.py"], "# ada\nx = 2\n")
        CodeReplica(other, other.log, "bob").insert("a.py", 0, "# bob\n")
        other.commit("bob")
        ada.refresh()
        ada.insert("a.py", 6, "# and ada\n")
        assert session.commit("both").ignored == ()
        ada.refresh()
        assert ada.read("a.py") == "# bob\n# and ada\n# ada\nx = 2\n"
    assert committed(root, "a.py") == b"# bob\n# and ada\n# ada\nx = 2\n"


def test_its_version_is_what_its_next_edit_names_as_its_causes(root: str) -> None:
    with OpLog(root, "a") as one, OpLog(root, "b") as other:
        repository = Repository.open(root)
        ada, bob = CodeReplica(repository, one, "ada"), CodeReplica(repository, other, "bob")
        assert list(ada.version) == []
        first, second = ada.insert("a.py", 0, "a"), bob.insert("a.py", 0, "b")
        ada.take([second])
        ada.take([second])
        assert sorted(ada.version) == sorted([first["op_id"], second["op_id"]])
        third = ada.insert("a.py", 0, "c")
        assert sorted(third["parent_op_ids"]) == sorted([first["op_id"], second["op_id"]])
        assert ada.version == (third["op_id"],)


def test_patches_that_touch_are_one_op(root: str) -> None:
    with OpLog(root, "jam") as log:
        ada = CodeReplica(Repository.open(root), log, "ada")
        typed = ada.edit("a.py", [(0, 0, "a"), (1, 0, "b"), (2, 1, "c")])
        assert [entry["domain_op"].get("text") for entry in typed] == ["abc"]
        assert len(ada.edit("a.py", [(2, 1, ""), (1, 1, "")])) == 1
        assert len(ada.edit("a.py", [(0, 0, "x"), (4, 0, "y")])) == 2
        assert ada.edit("a.py", []) == []
        assert ada.read("a.py") == "xa =y 1\n"


def test_a_text_is_written_by_its_difference_and_another_file_as_a_whole(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada = CodeReplica(session, session.log, "ada")
        (edit,) = ada.write("a.py", "x = 12\n")
        assert edit["domain_op"].get("text") == "2"
        assert ada.write("a.py", b"x = 12\n") == []
        assert [e["domain_op"]["op"] for e in ada.write("logo.bin", b"\0\1")] == ["replace"]
        assert [e["domain_op"]["op"] for e in ada.write("a.py", b"\0")] == ["delete", "insert"]
        large = os.urandom(1 << 20)
        (create,) = ada.write("big.bin", large)
        assert "base64" not in create["domain_op"]
        assert ada.paths() == ["a.py", "big.bin", "logo.bin"]
        assert session.commit("files").ignored == ()
    found = [committed(root, path) for path in ("a.py", "big.bin", "logo.bin")]
    assert found == [b"\0", large, b"\0\1"]


def test_what_two_wrote_as_a_whole_stays_of_each_and_is_undone_alone(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada, bob = (CodeReplica(session, session.log, actor) for actor in ("ada", "bob"))
        ada.write("song.txt", "one\ntwo\nthree\nfour\n")
        bob.refresh()
        assert len(bob.write("song.txt", "ONE\ntwo\nthree\nFOUR\n")) == 2
        blame = blame_newest(session.repository, "song.txt", "jam")
        assert [part.changed.actor_id for part in blame.parts] == ["bob", "ada", "ada", "bob"]
        ada.refresh()
        ada.write("song.txt", "ONE\ntwo\nthree and more\nFOUR\n")
        undo(session, by_actor("bob"), "eve")
        ada.refresh()
        assert ada.read("song.txt") == "one\ntwo\nthree and more\nfour\n"
        assert session.commit("written").ignored == ()


def test_bytes_without_the_mark_of_an_utf_16_text_are_a_new_file_whatever_their_number(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada = CodeReplica(session, session.log, "ada")
        ada.create("w.txt", "\ufeffwide".encode("utf-16-le"))
        (edit,) = ada.write("w.txt", "\ufeffwider".encode("utf-16-le"))
        assert edit["domain_op"].get("text") == "r"
        ada.write("w.txt", b"even")
        assert ada.read("w.txt") == "even"
        assert session.commit("even").ignored == ()
    assert committed(root, "w.txt") == b"even"


def test_what_cannot_be_is_refused_and_nothing_is_recorded(root: str) -> None:
    with OpLog(root, "jam") as log:
        ada = CodeReplica(Repository.open(root), log, "ada")
        for wrong in (
            lambda: ada.insert("none.py", 0, "x"),
            lambda: ada.insert("a.py", 7, "x"),
            lambda: ada.insert("a.py", -1, "x"),
            lambda: ada.delete("a.py", 5, 2),
            lambda: ada.delete("a.py", 0, -1),
            lambda: ada.insert("a.py", 0, ""),
            lambda: ada.insert("a.py", 0, "\0"),
            lambda: ada.insert("a.py", 0, "\ud800"),
            lambda: ada.insert("logo.bin", 0, "x"),
            lambda: ada.create("a.py", "x"),
            lambda: ada.create("../a.py", "x"),
            lambda: ada.move("a.py", "logo.bin"),
            lambda: ada.read("none.py"),
            lambda: ada.remove("none.py"),
        ):
            with pytest.raises(DomainError):
                wrong()
        assert log.read_all() == []
        assert ada.read("a.py") == "x = 1\n"


def test_an_edit_that_the_log_refused_is_not_in_the_text_either(root: str) -> None:
    with OpLog(root, "jam") as log:
        ada = CodeReplica(Repository.open(root), log, "ada")
        ada.insert("a.py", 0, "kept ")
        with OpLog(root, "jam", limits=Limits(entry_bytes=2000)) as narrow:
            assert isinstance(ada._source, LocalSource)
            ada._source._log = narrow
            with pytest.raises(InvalidEntryError, match="bytes"):
                ada.insert("a.py", 0, "x" * 3000)
        ada._source._log = log
        ada.insert("a.py", 0, "and ")
        assert ada.read("a.py") == "and kept x = 1\n"
        assert CodeReplica(Repository.open(root), log, "bob").read("a.py") == "and kept x = 1\n"


def random_text(seed: int, length: int) -> str:
    return "".join(random.Random(seed).choices('ab\n\x01"é\u2028🎵', k=length))


@pytest.mark.parametrize("size", [10, INLINE_BYTES + 1])
def test_whichever_call_fails_the_replica_shows_what_the_log_holds(root: str, size: int) -> None:
    failures = 0
    for number in range(1, 60):
        storage = FailingStorage(1 << 60, "EIO")
        with LiveSession(root, f"jam-{number}", storage=storage) as session:
            ada = CodeReplica(session, session.log, "ada")
            ada.insert("a.py", 0, "# mine\n")
            storage.fail_at(len(storage.calls) + number)
            with contextlib.suppress(MuseError):
                ada.create("new.bin", bytes(size - 8) + number.to_bytes(8, "big"))
            failures += storage.failed
            storage.fail_at(1 << 60)
            ada.refresh()
            again = CodeReplica(session, session.log, "ada")
            assert ada.paths() == again.paths(), number
            assert ada.version == again.version, number
            if "new.bin" in again.paths():
                assert ada.read("new.bin") == again.read("new.bin")
        if not storage.failed and failures < number:
            break
    assert 2 <= failures < 59


def test_a_text_too_long_for_one_op_is_several_that_enter_together(root: str) -> None:
    old, new = random_text(1, 300_000), random_text(2, 400_000)
    with LiveSession(root, "jam") as session:
        ada = CodeReplica(session, session.log, "ada")
        ada.create("package.lock", old)
        writes = CountingStorage()
        with OpLog(root, "jam", storage=writes) as log:
            bob = CodeReplica(session, log, "bob")
            entries = bob.write("package.lock", new)
        assert len(entries) > 20
        assert writes.lines == [len(entries)]
        assert [entry["parent_op_ids"] for entry in entries[1:]] == [[each["op_id"]] for each in entries[:-1]]
        ada.refresh()
        assert ada.read("package.lock") == bob.read("package.lock") == new
        ada.insert("package.lock", len(new), "more")
        session.commit("Generate it again")
    assert committed(root, "package.lock") == f"{new}more".encode()
    assert verify_repository(root, replay=True).findings == []


class CountingStorage(Storage):
    """Remembers how many lines each write to a log has."""

    def __init__(self) -> None:
        self.lines: list[int] = []

    def write(self, descriptor: int, data: bytes) -> int:  # type: ignore[override]
        self.lines.append(data.count(b"\n"))
        return os.write(descriptor, data)


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    data=st.data(),
    longest=st.integers(1, 5),
)
def test_an_edit_in_one_piece_and_in_many_gives_the_same_text(
    text: str, data: st.DataObject, longest: int
) -> None:
    position = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, len(text) - position))
    patch = (position, length, data.draw(st.text("ab\n🎵é", max_size=40)))
    whole, split = TextDocument(1), TextDocument(1)
    reader = TextDocument(2)
    for document in (whole, split):
        update = document.edit([(0, 0, text)])
    reader.apply(read_update(update))
    whole.edit([patch])
    with pytest.MonkeyPatch.context() as small:
        small.setattr(ops, "_OP_BYTES", 0)
        small.setattr(ops, "_PIECE_LENGTH", longest)
        pieces = ops.pieces_of(patch)
    assert all(max(removed, len(added)) <= longest for _, removed, added in pieces) or pieces == [patch]
    for at, removed, added in pieces:
        update = (not removed and split.type_on(at, added)) or split.edit([(at, removed, added)])
        if update:
            reader.apply(read_update(update))
    assert whole.text == split.text == reader.text


@given(st.text(max_size=50), st.integers(0, 10**7), st.integers(1, 40_000))
def test_no_piece_is_longer_than_an_op_may_be(text: str, length: int, times: int) -> None:
    pieces = ops.pieces_of((3, length, text * times))
    assert sum(removed for _, removed, _ in pieces) == length
    assert "".join(added for _, _, added in pieces) == text * times
    for _, removed, added in pieces:
        text_twice = len(json.dumps(added, ensure_ascii=False).encode()) + 4 * len(added.encode()) // 3
        assert 20 * removed + text_twice < 1_030_000


def test_a_raw_op_of_a_tool_without_a_crdt_comes_in_as_a_commit_takes_it(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada = CodeReplica(session, session.log, "ada")
        ada.insert("a.py", 0, "# ")
        raw = {"op": "insert", "address": "a.py", "position": 0, "text": "raw ", "content_id": ""}
        session.edit("tool", "code", raw)
        ada.refresh()
        text = ada.read("a.py")
        assert isinstance(text, str)
        assert "raw " in text
        ada.insert("a.py", 0, "!")
        assert session.commit("raw").ignored == ()
    assert committed(root, "a.py") == ("!" + text).encode()


def test_the_stored_delta_is_its_net_in_lines(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada = CodeReplica(session, session.log, "ada")
        for place, letter in enumerate("y = 2\n"):
            ada.insert("a.py", 6 + place, letter)
        ada.create("b.py", "new\n")
        commit_id = session.commit("net").commit_id
    record = Repository.open(root).dag.read_commit(str(commit_id))
    delta = json.loads(json.dumps(record["structured_delta"]))
    assert [(op["op"], op["address"]) for op in delta["ops"]] == [("patch", "a.py"), ("insert", "b.py")]
    assert delta["ops"][0]["child_ops"][0]["text"] == "y = 2\n"


def test_blame_names_the_maker_of_each_line_across_commits(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada, bob = (CodeReplica(session, session.log, name) for name in ("ada", "bob"))
        ada.insert("a.py", 6, "y = 2\n")
        ada.insert("a.py", 12, "z = 3\n")
        session.commit("ada")
        bob.refresh()
        bob.insert("a.py", 0, "# bob\n")
        bob.replace("a.py", 16, 1, "two")
        session.commit("bob")
    repository = Repository.open(root)
    parts = blame_file(repository, "a.py", str(repository.dag.head("main"))).parts
    assert [(part.summary, part.made.actor_id, part.changed.actor_id) for part in parts] == [
        ("# bob", "bob", "bob"),
        ("x = 1", "a person", "a person"),
        ("y = two", "ada", "bob"),
        ("z = 3", "ada", "ada"),
    ]


def test_a_text_that_another_tool_made_binary_is_read_as_it_is_at_the_first_look(root: str) -> None:
    with LiveSession(root, "jam") as session:
        CodeReplica(session, session.log, "ada").write("a.py", "text\n")
        session.commit("text")
        commit_files(session.repository, {"a.py": b"\xff\xff"})
        bob = CodeReplica(session, session.log, "bob")
        assert (bob.paths(), bob.read("a.py"), bob.read("a.py")) == (["a.py"], b"\xff\xff", b"\xff\xff")


def test_an_edit_that_is_refused_leaves_a_file_unknown_that_the_log_does_not_know(root: str) -> None:
    with LiveSession(root, "jam") as session:
        ada, bob = CodeReplica(session, session.log, "ada"), CodeReplica(session, session.log, "bob")
        commit_files(session.repository, {"logo.bin": b"\xff\xff"})
        ada.refresh()
        with pytest.raises(DomainError):
            ada.insert("logo.bin", 0, "x")
        bob.write("logo.bin", b"\xff\xfe\xff")  # on what was there before
        session.commit("bob")
        ada.refresh()
        assert (ada.paths(), ada.read("logo.bin")) == (["logo.bin"], committed(root, "logo.bin"))


def take_a_step(session: LiveSession, editor: CodeReplica, random_: random.Random) -> None:
    path = random_.choice(["a.py", "logo.bin", "new.py"])
    match random_.randrange(8):
        case 0 | 1:
            editor.insert(path, 0, random_.choice("xyz") * 2)
        case 2:
            written: list[str | bytes] = [b"\xff\xfe\xff", "new\n", "x = 1\n"]
            editor.write(path, random_.choice(written))
        case 3:
            editor.remove(path)
        case 4:
            files = {name: committed(str(session.repository.root), name) for name in ("a.py", "logo.bin")}
            files[path] = random_.choice([b"\xff\xff", b"outside\n", b"x = 1\n", None])
            commit_files(session.repository, {name: data for name, data in files.items() if data is not None})
        case 5:
            raw = {"op": "insert", "address": path, "position": 0, "text": "raw ", "content_id": ""}
            session.edit("tool", "code", raw)
        case 6:
            session.commit("some")
        case 7:
            editor.refresh()


@pytest.mark.parametrize("seed", range(40))
def test_an_editor_that_refreshed_shows_the_files_of_the_branch_whatever_others_did(
    root: str, seed: int
) -> None:
    random_ = random.Random(seed)
    with LiveSession(root, "jam") as session:
        editors = [CodeReplica(session, session.log, name) for name in ("ada", "bob")]
        for _ in range(random_.randint(2, 9)):
            with contextlib.suppress(DomainError):
                take_a_step(session, random_.choice(editors), random_)
        session.commit("end")
        files = committed_files(session.repository)
        for editor in (*editors, CodeReplica(session, session.log, "cy")):
            editor.refresh()
            shown = {path: editor.read(path) for path in editor.paths()}
            assert {
                path: content.encode() if isinstance(content, str) else content
                for path, content in shown.items()
            } == files


def test_files_are_created_without_a_look_at_those_that_are_there(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    class CountedPlaces(Places):
        def __init__(self, fixed: Iterable[str]) -> None:
            made.append(1)
            super().__init__(fixed)

    monkeypatch.setattr("muse.plugins.code.names.Places", CountedPlaces)
    with LiveSession(root, "jam") as session:
        ada = CodeReplica(session, session.log, "ada")
        for number in range(50):
            ada.create(f"src/m{number % 7}/f{number}.py", "x\n")
        ada.create("src/m1", "a file where a directory is\n")
        assert len(made) <= 5
        bob = CodeReplica(session, session.log, "bob")
        assert bob.paths() == ada.paths()
        assert len(ada.paths()) == 53


def test_what_a_replica_heard_of_another_log_is_kept_after_a_refused_edit(root: str) -> None:
    with OpLog(root, "a") as one, OpLog(root, "b") as other:
        repository = Repository.open(root)
        ada, bob = CodeReplica(repository, one, "ada"), CodeReplica(repository, other, "bob")
        before, heard = bob.insert("a.py", 0, "1 "), bob.create("new.py", "new\n")
        ada.take([before])
        with pytest.raises(DomainError):
            ada.insert("logo.bin", 0, "x")
        ada.take([heard])
        assert (ada.paths(), ada.read("a.py")) == (bob.paths(), bob.read("a.py"))
        assert ada.version == (heard["op_id"],)
        one.append_many([before, heard])
        ada.refresh()
        assert (ada.paths(), ada.read("a.py"), ada.version) == (bob.paths(), "1 x = 1\n", bob.version)
