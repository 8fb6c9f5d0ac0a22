"""Nothing that is acknowledged is without effect in silence: causes, domains, receipts, commits and lists."""

import json
from pathlib import Path
from typing import Any

import pytest

from muse.core.op_log import OpLog, make_op_entry
from muse.history.repository import Repository
from muse.session.policy import Policy, write_policy
from tests.samples.muse_command import Muse, make_muse

FILE = {"op": "insert", "address": "a.txt", "position": None, "text": "one\n"}
EDIT = {"op": "insert", "address": "a.txt", "position": 4, "text": "two\n"}
LOST = {"op": "delete", "address": "none.txt", "position": None}
NO_FILE = "there is no file 'none.txt'"


def lines(*ops: Any) -> bytes:
    return b"".join(json.dumps(op).encode() + b"\n" for op in ops)


@pytest.fixture
def muse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Muse:
    muse = make_muse(monkeypatch, capsys, tmp_path)
    assert muse("init").status == 0
    return muse


@pytest.fixture(params=[False, True], ids=["open", "guarded"])
def guarded(request: pytest.FixtureRequest, muse: Muse, tmp_path: Path) -> bool:
    """Whether the session has a policy that keeps ops out: another way into the log."""
    del muse
    if request.param:
        write_policy(str(tmp_path), "jam", Policy("refuse", "propose"))
    return bool(request.param)


def append(muse: Muse, actor: str, *ops: Any, more: tuple[str, ...] = ()) -> Any:
    ran = muse("session", "append", "jam", "--actor", actor, "--json", *more, stdin=lines(*ops))
    assert (ran.status, ran.err) == (0, "")
    return ran.record


def entries(root: Path) -> list[Any]:
    with OpLog(root, "jam") as log:
        return log.read_all()


# -- parents --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
def test_an_edit_after_an_insert_by_another_actor_works(muse: Muse, tmp_path: Path) -> None:
    append(muse, "ada", FILE)
    append(muse, "bob", EDIT, EDIT)
    append(muse, "zoe", EDIT)
    made, *edits = entries(tmp_path)
    assert made["parent_op_ids"] == []
    before = made["op_id"]
    for edit in edits:
        assert edit["parent_op_ids"] == [before]
        before = edit["op_id"]
    ran = muse("commit", "jam", "-m", "All")
    assert (ran.status, "without effect" in ran.out) == (0, False)
    assert (tmp_path / "a.txt").read_bytes() == b"one\ntwo\ntwo\ntwo\n"


@pytest.mark.usefixtures("guarded")
def test_parents_are_of_the_domain_of_the_op(muse: Muse, tmp_path: Path) -> None:
    append(muse, "ada", FILE)
    append(muse, "bob", {"op": "delete", "address": "no.mid"})
    append(muse, "zoe", EDIT)
    made, other, edit = entries(tmp_path)
    assert (other["domain"], other["parent_op_ids"]) == ("music", [])
    assert edit["parent_op_ids"] == [made["op_id"]]


def test_heads_that_are_apart_are_all_named(muse: Muse, tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        heads = [log.record(actor, "code", {"op": "x"})["op_id"] for actor in ("ada", "bob", "ada")][1:]
        named = log.record("eve", "code", {"op": "x"}, parent_op_ids=[heads[0]])["op_id"]
    append(muse, "zoe", FILE)
    assert entries(tmp_path)[-1]["parent_op_ids"] == [heads[1], named]


# -- effects --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
def test_an_append_names_the_lines_that_have_no_effect(muse: Muse, tmp_path: Path) -> None:
    told = append(muse, "ada", FILE, LOST)
    lost = entries(tmp_path)[1]
    [one] = told["ineffective"]
    assert (one["line_number"], one["op_id"]) == (2, lost["op_id"])
    assert NO_FILE in one["reason"]
    ran = muse("session", "append", "jam", "--actor", "ada", stdin=lines(LOST, EDIT))
    assert ran.status == 0
    assert f"line 1 has no effect as things are now: op {entries(tmp_path)[2]['op_id']}: {NO_FILE}" in ran.out
    assert "line 2" not in ran.out


def test_a_commit_says_which_ops_had_no_effect_and_exits_with_1(muse: Muse, tmp_path: Path) -> None:
    append(muse, "ada", FILE, LOST)
    lost = entries(tmp_path)[1]["op_id"]
    ran = muse("commit", "jam", "-m", "First")
    assert ran.status == 1
    assert "1 of these 2 ops had no effect" in ran.out
    assert f"  without effect: op {lost}: none.txt: {NO_FILE}" in ran.out
    assert (tmp_path / "a.txt").read_bytes() == b"one\n"
    append(muse, "ada", LOST)
    ran = muse("commit", "jam", "-m", "Second", "--allow-ineffective", "--json")
    assert ran.status == 0
    [told] = ran.record["ignored"]
    assert told["op_id"] == entries(tmp_path)[2]["op_id"]
    append(muse, "ada", EDIT)
    assert muse("commit", "jam", "-m", "Third").status == 0


def test_ops_without_effect_can_be_found_later(muse: Muse, tmp_path: Path) -> None:
    append(muse, "ada", FILE, LOST)
    muse("commit", "jam", "-m", "First")
    append(muse, "bob", LOST)
    _, first, second = entries(tmp_path)
    commit_id = Repository.open(str(tmp_path)).dag.head("main")
    for command in ("check", "conflicts"):
        ran = muse("session", command, "jam")
        assert ran.status == 0
        assert "2 ops without effect" in ran.out
        assert all(op["op_id"] in ran.out for op in (first, second))
        found = list(muse("session", command, "jam", "--json").records)
        assert [(one["op_id"], one["commit_id"], one["kind"]) for one in found] == [
            (first["op_id"], commit_id, "ineffective"),
            (second["op_id"], None, "ineffective"),
        ]
        assert all(NO_FILE in one["reason"] for one in found)


def test_a_session_where_all_took_effect_lists_nothing(muse: Muse) -> None:
    append(muse, "ada", FILE, EDIT)
    muse("commit", "jam", "-m", "First")
    assert muse("session", "check", "jam").out == "No damage.\n"
    assert muse("session", "conflicts", "jam", "--json").records == []


# -- domains --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
def test_a_domain_that_nobody_knows_is_refused_with_the_names_there_are(muse: Muse, tmp_path: Path) -> None:
    entry = make_op_entry("ada", "zither", {"address": "a"}, 1)
    for stdin, options in ((lines({"address": "a"}), ("--domain", "zither")), (lines(entry), ())):
        ran = muse("session", "append", "jam", "--actor", "ada", *options, stdin=stdin)
        assert ran.status == 2
        assert "no domain 'zither' is known here, but 'code' and 'music'" in ran.err
        assert "--any-domain" in ran.err
    assert entries(tmp_path) == []
    told = append(muse, "ada", {"address": "a"}, more=("--domain", "zither", "--any-domain"))
    assert told["stored"] == 1
    ran = muse("commit", "jam", "-m", "All")
    assert ran.status == 1
    assert "no plugin of domain 'zither' is installed here" in ran.out
    assert "zither: 1 other" in muse("show").out or "domain zither" in muse("show").out


def test_a_repository_may_take_any_domain(muse: Muse, tmp_path: Path) -> None:
    assert muse("init", "--any-domain").status == 0
    assert Repository.open(str(tmp_path)).any_domain
    append(muse, "ada", {"address": "a"}, more=("--domain", "zither"))
    assert muse("commit", "jam", "-m", "All").status == 0
    assert muse("verify", "--replay").status == 0
    assert "without effect" not in muse("session", "check", "jam").out


def test_that_setting_breaks_no_seal(muse: Muse) -> None:
    append(muse, "ada", FILE)
    muse("commit", "jam", "-m", "All")
    muse("init", "--any-domain")
    assert muse("verify", "--replay").status == 0


@pytest.mark.usefixtures("guarded")
def test_the_domain_of_an_op_follows_from_its_file(muse: Muse, tmp_path: Path) -> None:
    ops = [{"op": "delete", "address": path, "position": None} for path in ("a.mid", "B.MIDI", "c.py", "d")]
    append(muse, "ada", *ops)
    append(muse, "ada", FILE, more=("--domain", "code"))
    assert [entry["domain"] for entry in entries(tmp_path)] == ["music", "music", "code", "code", "code"]


@pytest.mark.parametrize(
    ("options", "named", "other_files"),
    [((), "code", "code"), (("--domain", "music"), "midi", "code"), (("--domain", "code"), "code", "code")],
)
def test_init_names_a_domain_that_other_tools_know(
    muse: Muse, tmp_path: Path, options: tuple[str, ...], named: str, other_files: str
) -> None:
    assert muse("init", "new", *options).status == 0
    assert json.loads((tmp_path / "new" / ".muse" / "repo.json").read_text())["domain"] == named
    muse("session", "append", "jam", "--repo", "new", "--actor", "ada", stdin=lines(FILE))
    [entry] = entries(tmp_path / "new")
    assert entry["domain"] == other_files


def test_a_repository_of_before_goes_on(muse: Muse, tmp_path: Path) -> None:
    Repository.init(str(tmp_path / "old"), domain="music")
    muse("session", "append", "jam", "--repo", "old", "--actor", "ada", stdin=lines(LOST))
    [entry] = entries(tmp_path / "old")
    assert entry["domain"] == "music"
    assert muse("commit", "jam", "--repo", "old", "-m", "All", "--allow-ineffective").status == 0
    assert muse("verify", "--repo", "old", "--replay").status == 0


# -- logs that a program began ------------------------------------------------------------------------


def begun_by_a_program(root: Path, *, checkpointed: bool) -> None:
    with OpLog(root, "jam") as log:
        log.record("ada", "code", FILE)
        if checkpointed:
            log.to_structured_delta("code")
            log.checkpoint("snapshot-1")


COMMANDS = (
    "commit jam -m x",
    "log",
    "show",
    "checkout",
    "session list",
    "session show jam",
    "session check jam",
    "session conflicts jam",
    "session append jam --actor ada",
    "verify",
    "gc",
    "serve",
    "undo jam --actor ada --as bob",
    "blame a.txt",
    "coord list",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_without_a_repository_is_named_by_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    begun_by_a_program(tmp_path, checkpointed=False)
    muse = make_muse(monkeypatch, capsys, tmp_path)
    for options in ((), ("--repo", str(tmp_path))):
        ran = muse(*command.split(), *options)
        assert ran.status == 2
        assert ran.complaint == (
            f"{tmp_path} is not a Muse repository yet: run 'muse init {tmp_path}' to make one around the "
            "session jam"
        )


def test_a_log_that_a_program_began_goes_into_history_once_there_is_a_repository(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    begun_by_a_program(tmp_path, checkpointed=False)
    muse = make_muse(monkeypatch, capsys, tmp_path)
    assert muse("init").status == 0
    assert muse("commit", "jam", "-m", "All").status == 0
    assert (tmp_path / "a.txt").read_bytes() == b"one\n"


def test_a_checkpoint_of_a_program_is_told_from_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    begun_by_a_program(tmp_path, checkpointed=True)
    muse = make_muse(monkeypatch, capsys, tmp_path)
    muse("init")
    ran = muse("commit", "jam", "-m", "All")
    assert ran.status == 1
    assert "1 op of session 'jam'" in ran.err
    assert "'muse session recover jam' makes them pending" in ran.err
    assert "in no commit" in muse("session", "show", "jam").out
    assert muse("session", "recover", "jam").status == 0
    assert muse("commit", "jam", "-m", "All").status == 0
    assert (tmp_path / "a.txt").read_bytes() == b"one\n"
