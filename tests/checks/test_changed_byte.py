"""A single changed byte anywhere in a repository is found and named by `muse verify --replay`."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from muse.cli.app import run
from muse.history.repository import Repository
from muse.history.signing import TrustedKeys, create_key
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession
from muse.upkeep.archive import archive_session

NOW = "2026-01-02T03:04:05+00:00"
TEXT = "text-domain-without-plugin"
SAMPLED_PLACES = 5  # of each file, unless all are asked for
SMALL_BYTES = 20_000

NOT_CHECKED = {
    ".lock": "empty; a lock is held on the file, its bytes are never read",
    "op_index.ids": "a cache, made anew from the log",
    "effects.lines": "a cache, made anew from the commits",
    "items.sum": "a cache, made anew from the log",
    "ops.doubt": "a marker, gone once the next writer wrote the doubtful lines anew",
    "ops.damaged-1.jsonl": "what a repair took out of the log: damage, kept for people",
}
"""Files by the end of their names, and why no byte of them is evidence."""


def note_op(number: int) -> object:
    return insert_note("song.mid", f"note-{number}", Note(60 + number, 90, number * 480, 240))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains, two live sessions and an archived one; unsigned commits, then signed ones; pending ops."""
    root = tmp_path_factory.mktemp("whole") / "repository"
    repository, _ = Repository.init(str(root), now=NOW, any_domain=True)
    with LiveSession(root, "done", author="cy") as done:
        done.edit("cy", TEXT, {"op": "insert", "n": 0})
        done.commit("Before there were keys")
        done.edit("cy", "music", note_op(0))  # type: ignore[arg-type]
        done.commit("The first note")
        done.edit("cy", TEXT, {"op": "insert", "n": 1})
    signer = create_key(str(root.parent / "ada.pem"))
    TrustedKeys(str(root)).add(signer.key_id, signer.public_pem())
    for session_id, author in (("jam", "ada"), ("talk", "bo")):
        with LiveSession(root, session_id, author=author, signer=signer) as live:
            for take in range(2):
                for number in range(3):
                    live.edit(f"actor-{number % 2}", "music", note_op(8 * take + number + 1))  # type: ignore[arg-type]
                live.edit("actor-2", TEXT, {"op": "insert", "text": "caf\u00e9 \x01", "n": take})
                live.commit(f"Take {take}", full=take == 1)
            live.edit("actor-1", TEXT, {"op": "insert", "n": 9})
    archive_session(root, "done", abandon_pending=True)
    assert repository.dag.head("main")
    return root


def evidence(root: Path) -> list[Path]:
    files = [path for path in (root / ".muse").rglob("*") if path.is_file() and path.stat().st_size]
    return sorted(path for path in files if not path.name.endswith(tuple(NOT_CHECKED)))


def verify(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, set[str], str]:
    """Return the exit status of `muse verify --replay`, the paths it names, and all it says."""
    capsys.readouterr()
    status = run(["verify", "--replay", "--repo", str(root), "--json"])
    printed = capsys.readouterr()
    findings = json.loads(printed.out)["findings"] if printed.out else []
    return status, {finding["path"] for finding in findings}, printed.out + printed.err


def is_free(path: Path, whole: bytes, place: int) -> bool:
    """Whether no verification can know that the byte changed: other tools write `test_runs` later."""
    line = whole[whole.rfind(b"\n", 0, place) + 1 : place + 1]
    return path.parent.name == "commits" and line.startswith(b'  "test_runs": ')


def changes(root: Path, places: int | None) -> Iterator[tuple[Path, bytes, int, int]]:
    """Yield file, its bytes, a place and the byte to put there: one bit flipped, white space, or any."""
    chance = random.Random(20260102)
    for path in evidence(root):
        whole = path.read_bytes()
        sample: range | list[int] = range(len(whole))
        if places is not None or len(whole) > SMALL_BYTES:
            count = min(places or 2000, len(whole))
            sample = sorted({*chance.sample(sample, count), 0, len(whole) - 1})
        for place in sample:
            other = chance.choice(
                [whole[place] ^ 1 << chance.randrange(8), chance.choice(b" \t\r\n"), chance.randrange(256)]
            )
            if other != whole[place] and not is_free(path, whole, place):
                yield path, whole, place, other


def missed(root: Path, capsys: pytest.CaptureFixture[str], places: int | None) -> list[object]:
    """Change one byte at each place, and return where that was not found or its file not named."""
    found: list[object] = []
    for path, whole, place, other in changes(root, places):
        path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
        try:
            status, named, said = verify(root, capsys)
        finally:
            path.write_bytes(whole)
        if status != 1 or str(path) not in named:
            line = whole[whole.rfind(b"\n", 0, place) + 1 : place + 20]
            found.append((str(path.relative_to(root)), place, other, line[-60:], status, said[:300]))
    return found


def test_the_repository_is_whole_and_every_kind_of_file_is_in_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(root, capsys)[:2] == (0, set())
    kinds = {path.relative_to(root / ".muse").parts[0] for path in evidence(root)}
    assert kinds == {
        ".gitattributes",
        "HEAD",
        "archives",
        "commits",
        "keys",
        "objects",
        "op_log",
        "refs",
        "repo.json",
        "snapshots",
    }
    assert {path.name for path in evidence(root) if "op_log" in path.parts} == {
        *("ops.jsonl", "checkpoint.json", "receipt.json")
    }


def test_a_changed_byte_anywhere_is_found_and_its_file_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert missed(root, capsys, SAMPLED_PLACES) == []


@pytest.mark.long
def test_a_changed_byte_at_any_place_of_any_file_is_found_and_its_file_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert missed(root, capsys, None) == []


def test_what_no_verification_can_know_is_all_there_is(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    muse = root / ".muse"
    other_branch = muse / "refs" / "heads" / "lain"
    commit = min((muse / "commits").iterdir())
    noted = {**json.loads(commit.read_bytes()), "reviewed_by": ["bo"], "test_runs": 4}
    whole = {path: path.read_bytes() for path in (muse / "HEAD", commit)}
    try:
        other_branch.write_bytes((muse / "refs" / "heads" / "main").read_bytes())
        (muse / "HEAD").write_text("ref: refs/heads/lain\n", encoding="utf-8")
        commit.write_text(json.dumps(noted, indent=2), encoding="utf-8")
        assert verify(root, capsys)[:2] == (0, set())
    finally:
        other_branch.unlink()
        for path, data in whole.items():
            path.write_bytes(data)


def test_a_proof_with_a_changed_byte_does_not_hold(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "proof.json"
    line = (root / ".muse" / "op_log" / "jam" / "ops.jsonl").read_bytes().partition(b"\n")[0]
    assert run(["prove", json.loads(line)["op_id"], "--repo", str(root), "--out", str(path)]) == 0
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert run(["prove", "--check", str(path)]) == 1, place
    capsys.readouterr()
