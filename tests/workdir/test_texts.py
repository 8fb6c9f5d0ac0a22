"""Texts in a directory, and a session: recorded by their characters, merged in three ways."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from muse.checks.verify import verify_repository
from muse.core.op_log import OpLog
from muse.errors import UsageError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica
from muse.views.blame import blame_file, blame_newest
from muse.views.undo import by_actor, undo
from muse.workdir.workdir import RecordOutcome, Workdir


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repository.init(str(tmp_path / "project"))
    return tmp_path / "project"


def workdir(root: Path, actor: str = "ada", directory: Path | None = None) -> Workdir:
    return Workdir(
        Repository.open(str(root)),
        None if directory is None else str(directory),
        actor,
        session_id="jam",
    )


def record(root: Path, actor: str = "ada", directory: Path | None = None) -> RecordOutcome:
    outcome = workdir(root, actor, directory).record()
    assert outcome.faults == []
    return outcome


def ops(root: Path) -> list[dict[str, object]]:
    with OpLog(str(root), "jam") as log:
        return [dict(entry["domain_op"]) for entry in log.read_all()]


def others(root: Path) -> Iterator[CodeReplica]:
    with LiveSession(str(root), "jam") as session:
        yield CodeReplica(session, session.log, "bob")


def session_text(root: Path, path: str) -> str | bytes:
    with LiveSession(str(root), "jam") as session:
        return CodeReplica(session, session.log, "reader").read(path)


def write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())


def read(place: Path) -> str:
    return place.read_bytes().decode()


def test_a_new_text_is_one_op_and_an_edit_is_what_differs(root: Path) -> None:
    write(root / "notes" / "a.txt", "one\ntwo\nthree\n")
    record(root)
    write(root / "notes" / "a.txt", "one\nTWO words\nthree\n")
    outcome = record(root)
    assert [change.change.kind for change in outcome.recorded] == ["modified"]
    kinds = [(op["op"], op.get("position"), op.get("length"), op.get("text")) for op in ops(root)]
    assert kinds == [("insert", None, None, "one\ntwo\nthree\n"), ("replace", 4, 3, "TWO words")]
    assert session_text(root, "notes/a.txt") == "one\nTWO words\nthree\n"


def test_nothing_is_recorded_twice(root: Path) -> None:
    write(root / "a.txt", "one\n")
    record(root)
    assert record(root).recorded == []
    assert len(ops(root)) == 1


def test_what_others_typed_meanwhile_is_merged_and_comes_to_the_disk(root: Path) -> None:
    write(root / "a.txt", "one\ntwo\nthree\n")
    record(root)
    for bob in others(root):
        bob.replace("a.txt", 0, 3, "ONE")
    write(root / "a.txt", "one\ntwo\nthree\nfour\n")
    record(root)
    assert read(root / "a.txt") == session_text(root, "a.txt") == "ONE\ntwo\nthree\nfour\n"
    assert workdir(root).status().here == workdir(root).status().ahead == []


def test_a_line_that_comes_where_another_goes_is_whole(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(root / "f.py", "import os\nimport time\n\nprint(os)\n")
    record(root)
    record(root, "bob", other)
    write(other / "f.py", "import os\nimport sys\nimport time\n\nprint(os)\n")
    write(root / "f.py", "import os\n\nprint(os)\n")

    record(root)
    record(root, "bob", other)

    assert read(other / "f.py") == "import os\nimport sys\n\nprint(os)\n"


def test_a_line_is_begun_in_another_way_behind_a_line_that_others_put_before_it(
    root: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    names = [f"{number}.py" for number in range(6)]  # the ids of those that write are random
    for name in names:
        write(root / name, "one = 1\ntwo = 2\n")
    record(root)
    record(root, "bob", other)
    for name in names:
        write(other / name, "one = 1\nnew = 3\ntwo = 2\n")
        write(root / name, "one = 1\na two = 2\n")

    record(root)
    record(root, "bob", other)

    assert {read(other / name) for name in names} == {"one = 1\nnew = 3\na two = 2\n"}


def test_a_file_that_turned_into_a_text_is_one_in_which_two_write(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (root / "a.bin").write_bytes(b"\xff\0")
    record(root)
    (root / "a.bin").write_bytes(b"one\ntwo\n")
    record(root)
    record(root, "bob", other)
    (other / "a.bin").write_bytes(b"zero\none\ntwo\n")
    (root / "a.bin").write_bytes(b"one\ntwo\nthree\n")

    record(root)
    outcome = record(root, "bob", other)

    assert outcome.faults == []
    assert (other / "a.bin").read_bytes() == b"zero\none\ntwo\nthree\n"


def test_an_edit_inside_what_others_deleted_is_kept(root: Path) -> None:
    write(root / "a.txt", "one two three\n")
    record(root)
    for bob in others(root):
        bob.delete("a.txt", 3, 4)
    write(root / "a.txt", "one tw-MINE-o three\n")
    record(root)
    assert read(root / "a.txt") == "one-MINE- three\n"


def test_an_op_names_as_causes_what_its_author_had_before_it(root: Path) -> None:
    write(root / "a.txt", "one\n")
    record(root)
    with OpLog(str(root), "jam") as log:
        [first] = log.read_all()
    for bob in others(root):
        bob.insert("a.txt", 0, "bob\n")
    write(root / "a.txt", "one\nada\n")
    record(root)
    with OpLog(str(root), "jam") as log:
        last = log.read_all()[-1]
    assert last["actor_id"] == "ada"
    assert last["parent_op_ids"] == [first["op_id"]]  # ada had not seen bob's


def test_it_goes_on_across_commits_that_others_make(root: Path) -> None:
    write(root / "a.txt", "one\ntwo\n")
    record(root)
    with LiveSession(str(root), "jam") as session:
        session.commit("first")
        bob = CodeReplica(session, session.log, "bob")
        bob.insert("a.txt", 0, "bob\n")
        session.commit("second")  # it writes the file, as that was in history
    assert read(root / "a.txt") == "bob\none\ntwo\n"
    write(root / "a.txt", "bob\none\ntwo\nada\n")
    for again in others(root):
        again.insert("a.txt", 0, "late\n")
    record(root)
    assert read(root / "a.txt") == session_text(root, "a.txt") == "late\nbob\none\ntwo\nada\n"


def test_files_of_a_commit_that_nobody_edited_live_are_merged(root: Path) -> None:
    write(root / "a.txt", "one\ntwo\n")
    record(root)
    with LiveSession(str(root), "jam") as session:
        session.commit("first")
    (root / ".muse" / "workdir" / "root.json").unlink()
    assert workdir(root).status().here == []
    write(root / "a.txt", "one\ntwo\nada\n")
    for bob in others(root):
        bob.insert("a.txt", 0, "bob\n")
    record(root)
    assert read(root / "a.txt") == session_text(root, "a.txt") == "bob\none\ntwo\nada\n"


def test_a_renamed_file_takes_along_what_others_type(root: Path) -> None:
    write(root / "a.txt", "one\ntwo\nthree\nfour\n")
    record(root)
    for bob in others(root):
        bob.insert("a.txt", 0, "bob\n")
    os.rename(root / "a.txt", root / "b.txt")
    write(root / "b.txt", "one\ntwo\nthree\nfour\nfive\n")
    outcome = record(root)
    [renamed] = [one.change for one in outcome.recorded]
    assert (renamed.kind, renamed.from_path, renamed.path) == ("renamed", "a.txt", "b.txt")
    assert read(root / "b.txt") == session_text(root, "b.txt") == "bob\none\ntwo\nthree\nfour\nfive\n"
    assert not (root / "a.txt").exists()


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize(
    "moves",
    [{"a.txt": "b.txt", "b.txt": "a.txt"}, {"a.txt": "b.txt", "b.txt": "c.txt"}],
    ids=["exchange", "one after another"],
)
def test_files_that_take_each_others_places_are_moved(
    root: Path, moves: dict[str, str], *, is_committed: bool
) -> None:
    before = {"a.txt": "a1\na2\na3\n", "b.txt": "b1\nb2\nb3\n"}
    for path, text in before.items():
        write(root / path, text)
    record(root)
    with LiveSession(str(root), "jam") as session:
        if is_committed:
            session.commit("first", author="ada")
    for path in moves:
        os.rename(root / path, root / f"{path}.aside")
    for path, to in moves.items():
        os.rename(root / f"{path}.aside", root / to)
    outcome = record(root, "bob")
    found = {one.change.from_path: (one.change.kind, one.change.path) for one in outcome.recorded}
    assert found == {path: ("renamed", to) for path, to in moves.items()}
    repository = Repository.open(str(root))
    for path, to in moves.items():
        assert read(root / to) == session_text(root, to) == before[path]
        makers = {part.changed.actor_id for part in blame_newest(repository, to, "jam").parts}
        assert makers == {"ada"}
    assert workdir(root).status().here == workdir(root).status().ahead == []
    with LiveSession(str(root), "jam") as session:
        commit = session.commit("moved", author="bob")
    assert commit is not None
    for to in moves.values():
        assert {
            part.changed.actor_id for part in blame_file(repository, to, repository.dag.resolve("HEAD")).parts
        } == {"ada"}
    assert verify_repository(str(root), replay=True).findings == []


def test_two_files_that_were_changed_to_short_contents_are_no_moves(root: Path) -> None:
    write(root / "a.txt", "on\n")
    write(root / "b.txt", "off\n")
    record(root)
    write(root / "a.txt", "off\n")
    write(root / "b.txt", "on\n")
    assert [one.change.kind for one in record(root).recorded] == ["modified", "modified"]


@pytest.mark.parametrize("added", ["", "6\n"])
@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("to", ["nA.txt", "nB.txt"])
def test_a_file_that_two_rename_is_one_file(
    root: Path, tmp_path: Path, to: str, added: str, *, is_committed: bool
) -> None:
    text, others = "1\n2\n3\n4\n5\n", tmp_path / "bob"
    write(root / "n.txt", text)
    record(root)
    with LiveSession(str(root), "jam") as session:
        if is_committed:
            session.commit("first", author="ada")
    others.mkdir()
    record(root, "bob", others)
    os.rename(root / "n.txt", root / "nA.txt")
    record(root)
    os.rename(others / "n.txt", others / to)
    write(others / to, text + added)
    outcome = record(root, "bob", others)
    if to != "nA.txt":
        [change] = [one.change for one in outcome.recorded]
        assert (change.kind, change.from_path, change.is_edited) == ("renamed", "n.txt", bool(added))
        assert change.others_path == "nA.txt"
    record(root)
    for place in (root, others):
        assert {one.name: read(one) for one in place.glob("*.txt")} == {to: text + added}
    parts = blame_newest(Repository.open(str(root)), to, "jam").parts
    assert [part.made.actor_id for part in parts] == ["ada"] * 5 + ["bob"] * bool(added)


def test_a_file_that_one_removed_and_another_renamed_stays_with_its_text(root: Path, tmp_path: Path) -> None:
    others = tmp_path / "bob"
    write(root / "n.txt", "1\n2\n3\n")
    record(root)
    others.mkdir()
    record(root, "bob", others)
    (root / "n.txt").unlink()
    record(root)
    os.rename(others / "n.txt", others / "nB.txt")
    record(root, "bob", others)
    assert read(others / "nB.txt") == session_text(root, "nB.txt") == "1\n2\n3\n"


def test_an_edit_follows_a_file_that_others_renamed(root: Path) -> None:
    write(root / "a.txt", "one\n")
    record(root)
    for bob in others(root):
        bob.move("a.txt", "b.txt")
    write(root / "a.txt", "one\ntwo\n")
    record(root)
    assert read(root / "b.txt") == "one\ntwo\n"
    assert not (root / "a.txt").exists()


def test_a_removal_is_recorded_and_a_file_in_which_others_wrote_meanwhile_stays(root: Path) -> None:
    write(root / "a.txt", "one\n")
    write(root / "b.txt", "other\n")
    record(root)
    for bob in others(root):
        bob.insert("b.txt", 0, "bob\n")
    (root / "a.txt").unlink()
    (root / "b.txt").unlink()
    record(root)
    assert not (root / "a.txt").exists()
    assert read(root / "b.txt") == "bob\nother\n"


def test_a_base_that_was_damaged_takes_nothing_of_others_away(root: Path) -> None:
    write(root / "a.txt", "one\ntwo\n")
    record(root)
    for bob in others(root):
        bob.insert("a.txt", 0, "bob\n")
    index = root / ".muse" / "workdir" / "root.json"
    index.write_bytes(index.read_bytes().replace(b'"size": 8', b'"size": 9'))
    write(root / "a.txt", "one\ntwo\nada\n")
    record(root)
    assert read(root / "a.txt") == session_text(root, "a.txt")
    assert {"bob", "one", "two", "ada"} == set(read(root / "a.txt").split())
    assert record(root).recorded == []


def test_a_directory_stays_with_its_session_while_that_has_ops_in_no_commit(root: Path) -> None:
    write(root / "a.txt", "one\n")
    record(root)
    other = Workdir(Repository.open(str(root)), None, "ada", session_id="other")
    with pytest.raises(UsageError, match="show session 'jam', of which 1 ops are in no commit"):
        other.record()
    with LiveSession(str(root), "jam") as session:
        session.commit("first")
    write(root / "a.txt", "one\ntwo\n")
    assert len(other.record().recorded) == 1


def test_encodings_and_ends_of_lines_come_back_as_they_were(root: Path) -> None:
    wide = "\ufeffgrün\r\n".encode("utf-16-le")
    (root / "wide.txt").write_bytes(wide)
    record(root)
    (root / "wide.txt").write_bytes(wide + "blau\r\n".encode("utf-16-le"))
    for bob in others(root):
        bob.insert("wide.txt", 1, "rot\r\n")
    record(root)
    assert (root / "wide.txt").read_bytes().decode("utf-16-le") == "\ufeffrot\r\ngrün\r\nblau\r\n"


def test_the_base_is_json_with_a_digest(root: Path) -> None:
    write(root / "a.txt", "one\n")
    record(root)
    document = json.loads((root / ".muse" / "workdir" / "root.json").read_bytes())
    assert document["format"] == 1
    assert list(document)[-1] == "digest"
    assert set(document["files"]) == {"a.txt"}


def test_two_directories_of_one_session_show_the_same(root: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    write(root / "a.txt", "one\ntwo\nthree\n")
    record(root)
    record(root, "bob", second)
    assert read(second / "a.txt") == "one\ntwo\nthree\n"
    write(root / "a.txt", "one\ntwo by ada\nthree\n")
    write(second / "a.txt", "one\ntwo\nthree\nfour by bob\n")
    record(root)
    record(root, "bob", second)
    record(root)
    expected = "one\ntwo by ada\nthree\nfour by bob\n"
    assert read(root / "a.txt") == read(second / "a.txt") == expected


def test_bring_merges_what_is_not_recorded_with_what_others_did(root: Path) -> None:
    write(root / "a.txt", "one\ntwo\n")
    record(root)
    for bob in others(root):
        bob.insert("a.txt", 0, "bob\n")
    write(root / "a.txt", "one\ntwo\nada\n")
    outcome = workdir(root).bring()
    assert outcome.faults == []
    assert read(root / "a.txt") == "bob\none\ntwo\nada\n"
    assert session_text(root, "a.txt") == "bob\none\ntwo\n"
    record(root)
    assert session_text(root, "a.txt") == "bob\none\ntwo\nada\n"


WORDS = st.lists(st.sampled_from(["ab", "c", "\n", "é", "😀", " "]), max_size=12).map("".join)


@st.composite
def edits(draw: st.DrawFn) -> tuple[int, int, str]:
    return draw(st.integers(0, 30)), draw(st.integers(0, 6)), draw(WORDS)


def edited(text: str, edit: tuple[int, int, str], mark: str) -> str:
    """The text with one edit, in which what comes is told by `mark`."""
    position, length, added = edit
    position = min(position, len(text))
    return f"{text[:position]}{mark}{added}{mark}{text[position + length :]}"


@settings(max_examples=20, deadline=None, phases=[Phase.reuse, Phase.generate])  # to shrink takes too long
@given(start=WORDS, rounds=st.lists(st.tuples(edits(), edits(), st.booleans()), min_size=1, max_size=3))
def test_whatever_two_directories_type_nobodys_text_is_lost_and_they_converge(
    tmp_path_factory: pytest.TempPathFactory,
    start: str,
    rounds: list[tuple[tuple[int, int, str], tuple[int, int, str], bool]],
) -> None:
    base = tmp_path_factory.mktemp("two")
    one, two = base / "one", base / "two"
    Repository.init(str(one))
    two.mkdir()
    write(one / "a.txt", start)
    record(one)
    record(one, "bob", two)
    for number, (mine, theirs, commits) in enumerate(rounds):
        marks = chr(0xE000 + 2 * number), chr(0xE001 + 2 * number)  # of nobody else
        here, there = (
            edited(read(one / "a.txt"), mine, marks[0]),
            edited(read(two / "a.txt"), theirs, marks[1]),
        )
        write(one / "a.txt", here)
        write(two / "a.txt", there)
        record(one)
        if commits:
            with LiveSession(str(one), "jam") as session:
                session.commit("so far")
        record(one, "bob", two)
        record(one)
        text = read(one / "a.txt")
        assert text == read(two / "a.txt") == session_text(one, "a.txt")
        assert text.count(marks[0]) == text.count(marks[1]) == 2
    assert record(one).recorded == record(one, "bob", two).recorded == []


@pytest.mark.parametrize(
    ("changed", "expected"), [("FOO bar", "foo bar"), ("bar", "foo bar"), ("now foo bar", "foo bar")]
)
def test_what_is_undone_at_the_start_of_a_line_stays_out_of_the_line_added_before_it(
    root: Path, changed: str, expected: str
) -> None:
    for actor, line in (("ada", "foo bar"), ("bot", changed), ("ada", f"new\n{changed}")):
        write(root / "a.txt", f"one\n{line}\ntwo\n")
        record(root, actor)
    with LiveSession(str(root), "jam") as session:
        undo(session, by_actor("bot"), "ada")
    assert session_text(root, "a.txt") == f"one\nnew\n{expected}\ntwo\n"


def test_commits_that_came_without_a_look_between_double_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "a.txt", "one\n")
    record(root)
    numbers = iter(range(1 << 20, 0, -1))  # what is random gets lower: names are not in order because of it
    random_bytes = os.urandom  # ids of ops are made many at once, and kept for the tests that come after

    def lower(count: int) -> bytes:
        return next(numbers).to_bytes(count) if count <= 16 else random_bytes(count)

    monkeypatch.setattr(os, "urandom", lower)
    with LiveSession(str(root), "jam") as session:
        for word in ("two", "three"):
            CodeReplica(session, session.log, "bob").insert("a.txt", 0, f"{word}\n")
            session.commit(word)
    assert read(root / "a.txt") == "three\ntwo\none\n"
    write(root / "a.txt", "three\ntwo\none\nmine\n")
    record(root)
    assert session_text(root, "a.txt") == "three\ntwo\none\nmine\n"
