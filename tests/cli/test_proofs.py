"""`muse prove`, `muse key`, `muse commit --sign` and what `muse verify` makes of them."""

import json
import stat
from pathlib import Path

import pytest

from muse.checks.archives import check_archives
from muse.core.line import encode_line
from muse.disk.storage import LOCAL
from muse.upkeep.archive import archive_session
from tests.samples.muse_command import Muse, make_muse
from tests.samples.sealed_sample import SealedSample

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def sample(tmp_path: Path) -> SealedSample:
    return SealedSample(tmp_path / "song")


@pytest.fixture
def muse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sample: SealedSample) -> Muse:
    return make_muse(monkeypatch, capsys, sample.root)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Muse:
    """Run `muse` where there is no repository."""
    return make_muse(monkeypatch, capsys, tmp_path)


# -- prove ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("prove",), ("key",), ("key", "create"), ("key", "trust"), ("key", "list")]
)
def test_the_help_has_an_example_or_lists_the_commands(muse: Muse, arguments: tuple[str, ...]) -> None:
    ran = muse(*arguments, "--help")
    assert ran.status == 0
    assert f"Example: muse {' '.join(arguments)}" in ran.out or "Commands:" in ran.out


def test_a_proof_is_made_here_and_checked_where_there_is_no_repository(
    muse: Muse, elsewhere: Muse, sample: SealedSample, tmp_path: Path
) -> None:
    op_id = sample.first[1]["op_id"]
    ran = muse("prove", op_id, "--out", "../proof.json")
    assert (ran.status, ran.err) == (0, "")
    assert "is in commit" in ran.out
    (tmp_path / "commit.json").write_bytes(sample.commit_path(sample.take_one[0]).read_bytes())
    for more in ((), ("--commit", "commit.json")):
        ran = elsewhere("prove", "--check", "proof.json", *more, "--json")
        assert ran.record == {
            "holds": True,
            "op_id": op_id,
            "actor_id": "actor-1",
            "session_id": "jam",
            "commit_id": sample.take_one[0],
            "leaf_index": 1,
            "tree_size": 5,
        }


def test_a_proof_goes_to_stdout_by_default(
    muse: Muse, elsewhere: Muse, sample: SealedSample, tmp_path: Path
) -> None:
    op_id = sample.talk["op_id"]
    plain = muse("prove", op_id).out
    assert json.loads(plain) == muse("prove", op_id, "--session", "talk", "--json").record
    (tmp_path / "proof.json").write_text(plain, encoding="utf-8")
    assert elsewhere("prove", "--check", "proof.json").status == 0


def test_a_tampered_proof_and_another_commit_are_named_with_status_1(
    muse: Muse, elsewhere: Muse, sample: SealedSample, tmp_path: Path
) -> None:
    path = tmp_path / "proof.json"
    path.write_text(muse("prove", sample.first[0]["op_id"]).out, encoding="utf-8")
    ran = elsewhere("prove", "--check", "proof.json", "--commit", str(sample.commit_path(sample.take_two[0])))
    assert ran.status == 1
    assert "commit_id" in ran.complaint
    path.write_text(path.read_text().replace('"actor-0"', '"actor-9"'), encoding="utf-8")
    ran = elsewhere("prove", "--check", "proof.json")
    assert ran.status == 1
    assert "does not lead to the root" in ran.complaint
    path.write_text("{}", encoding="utf-8")
    ran = elsewhere("prove", "--check", "proof.json", "--json")
    assert (ran.status, json.loads(ran.err)["error"]["kind"]) == (1, "ProofError")


def test_an_op_that_is_unknown_or_pending_is_told_apart(muse: Muse, sample: SealedSample) -> None:
    ran = muse("prove", UNKNOWN)
    assert (ran.status, "there is no op" in ran.complaint) == (2, True)
    ran = muse("prove", sample.pending["op_id"])
    assert (ran.status, "no commit yet" in ran.complaint) == (1, True)


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("no/such/proof.json", "no directory"),
        ("proofs", "name a file"),
        ("proofs/", "name a file"),
        ("", "name a file"),
    ],
)
def test_a_proof_goes_into_a_directory_that_is_there(
    muse: Muse, sample: SealedSample, out: str, why: str
) -> None:
    (sample.root / "proofs").mkdir()
    before = sorted(sample.root.rglob("*"))
    ran = muse("prove", sample.first[0]["op_id"], "--out", out)
    assert (ran.status, why in ran.complaint) == (2, True)
    assert sorted(sample.root.rglob("*")) == before
    (sample.root / "link").symlink_to("proofs")
    assert muse("prove", sample.first[0]["op_id"], "--out", "link/one.json").status == 0
    assert (sample.root / "proofs" / "one.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x",),
        (UNKNOWN, "--check", "f"),
        (UNKNOWN, "--commit", "f"),
        ("--check", "f", "--out", "g"),
        ("--check", "missing.json"),
        (UNKNOWN, "--session", "../x"),
    ],
)
def test_misuse_has_status_2(muse: Muse, arguments: tuple[str, ...]) -> None:
    assert muse("prove", *arguments).status == 2


# -- verify --------------------------------------------------------------------------------------


def test_verify_makes_every_commit_anew_when_asked(muse: Muse) -> None:
    ran = muse("verify", "--replay")
    assert (ran.status, "Replayed: 4 commits of 10 ops" in ran.out) == (0, True)
    assert "replayed" not in muse("verify", "--json").record
    assert muse("verify", "--replay", "--json").record["replayed"]["ops"] == 10


def test_a_finding_of_the_replay_has_status_1(muse: Muse, sample: SealedSample) -> None:
    sample.ops_path("talk").unlink()
    ran = muse("verify", "--replay", "--json")
    assert ran.status == 1
    assert ("session", str(sample.ops_path("talk"))) in {
        (finding["kind"], finding["path"]) for finding in ran.record["findings"]
    }


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"repo_id": 3}'])
@pytest.mark.parametrize("option", [(), ("--replay",)])
def test_a_damaged_repo_json_is_one_finding_and_the_rest_is_checked(
    muse: Muse, sample: SealedSample, data: bytes, option: tuple[str, ...]
) -> None:
    (sample.muse / "repo.json").write_bytes(data)
    ran = muse("verify", "--json", *option)
    assert ran.status == 1
    [finding] = ran.record["findings"]
    assert (finding["kind"], finding["path"]) == ("repo", str(sample.muse / "repo.json"))
    sample.rewrite(sample.talked[0], author="eve")
    paths = {finding["path"] for finding in muse("verify", "--json", *option).record["findings"]}
    assert paths == {str(sample.muse / "repo.json"), str(sample.commit_path(sample.talked[0]))}


def test_ops_of_an_archive_that_are_not_those_the_commits_seal_are_found_without_a_replay(
    muse: Muse, sample: SealedSample
) -> None:
    """The archive, its manifest and its tombstone fit one another: they are of another log."""
    path = sample.ops_path("talk")
    entry = json.loads(path.read_bytes())
    del entry["crc"]
    entry["actor_id"] = "ob"
    path.write_bytes(encode_line(entry))
    archive_session(sample.root, "talk")
    assert check_archives(str(sample.root), LOCAL, lambda _what, _count: None) == (1, [])
    ran = muse("verify", "--json")
    archive = sample.muse / "archives" / "talk" / "ops.jsonl.zst"
    assert (ran.status, {finding["path"] for finding in ran.record["findings"]}) == (1, {str(archive)})


# -- keys and signatures -------------------------------------------------------------------------


def test_a_key_is_made_trusted_and_signs(muse: Muse, sample: SealedSample, tmp_path: Path) -> None:
    made = muse("key", "create", "--out", "../ada.pem", "--json").record
    assert made["trusted"]
    assert stat.S_IMODE((tmp_path / "ada.pem").stat().st_mode) == 0o600
    assert muse("key", "list").out.split() == [made["key_id"]]
    assert muse("commit", "jam", "-m", "Signed", "--sign", "../ada.pem").status == 0
    ran = muse("verify")
    assert ran.status == 0
    assert "Signed:   1 commit" in ran.out
    assert f"Unsigned: {min(sample.take_one + sample.take_two + sample.talked)[:12]}" in ran.out
    record = muse("verify", "--require-signatures", "--json").record
    assert (record["signed"], len(record["unsigned"]), len(record["findings"])) == (1, 4, 4)


def test_a_wrongly_signed_commit_is_named(muse: Muse, sample: SealedSample) -> None:
    muse("key", "create")
    muse("commit", "jam", "-m", "Signed", "--sign", "muse-signing-key.pem")
    commit_id = sample.repository.dag.head("main")
    sample.rewrite(str(commit_id), author="eve")
    ran = muse("verify")
    assert ran.status == 1
    assert "signature:" in ran.out
    assert "has a wrong signature" in ran.out


def test_an_unknown_key_is_named_until_it_is_given_or_trusted(muse: Muse, sample: SealedSample) -> None:
    key_id = muse("key", "create", "--json").record["key_id"]
    muse("commit", "jam", "-m", "Signed", "--sign", "muse-signing-key.pem")
    public = sample.muse / "keys" / f"{key_id}.pub"
    public.rename(sample.root / "ada.pub")
    ran = muse("verify")
    assert (ran.status, key_id in ran.out) == (1, True)
    assert muse("verify", "--key", "ada.pub").status == 0
    assert "is trusted now" in muse("key", "trust", "ada.pub").out
    assert "already" in muse("key", "trust", "ada.pub").out
    assert muse("verify").status == 0


def test_a_key_is_never_overwritten_and_a_missing_one_is_named(muse: Muse, elsewhere: Muse) -> None:
    assert elsewhere("key", "create").status == 0
    ran = elsewhere("key", "create")
    assert (ran.status, "never overwritten" in ran.complaint) == (2, True)
    assert "No keys" in muse("key", "list").out
    assert muse("commit", "jam", "-m", "x", "--sign", "missing.pem").status == 2
