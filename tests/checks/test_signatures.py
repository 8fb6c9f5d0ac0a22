"""Every stored commit's signature is checked; the unsigned, wrongly signed and unknown are named."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muse.checks.finding import Findings
from muse.checks.signatures import SignatureReport, check_signatures
from muse.history.signing import Signer, TrustedKeys, create_key
from muse.session.live import LiveSession
from tests.samples.sealed_sample import TEXT, SealedSample


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return create_key(str(tmp_path / "ada.pem"))


@pytest.fixture
def sample(tmp_path: Path, signer: Signer) -> SealedSample:
    TrustedKeys(str(tmp_path)).add(signer.key_id, signer.public_pem())
    return SealedSample(tmp_path, signer)


def check(sample: SealedSample, *, required: bool = False) -> SignatureReport:
    return check_signatures(sample.repository, TrustedKeys(str(sample.root)), required=required)


def test_commits_of_a_session_with_a_signer_are_signed(sample: SealedSample) -> None:
    assert check(sample, required=True) == SignatureReport(Findings(), 4, [])


def paths(report: SignatureReport) -> list[str]:
    assert {finding.kind for finding in report.findings} <= {"signature"}
    return [finding.path for finding in report.findings]


@pytest.mark.parametrize("without_keys", [False, True])
@pytest.mark.parametrize("name", ["take_one", "talked"])
def test_a_signature_that_was_taken_away_is_found_whatever_keys_are_known(
    sample: SealedSample, name: str, *, without_keys: bool
) -> None:
    [commit_id] = getattr(sample, name)
    for signed in (*sample.take_one, *sample.take_two, *sample.talked) if without_keys else (commit_id,):
        sample.rewrite(signed, signature="", signer_key_id="")
    if without_keys:
        for path in (sample.muse / "keys").iterdir():
            path.unlink()
    report = check(sample)
    assert (str(sample.commit_path(commit_id)) in paths(report), commit_id in report.unsigned) == (True, True)
    assert len(report.findings) == (4 if without_keys else 1)


def unsigned_commit(sample: SealedSample, signer: Signer | None = None) -> str:
    with LiveSession(sample.root, "later", signer=signer) as live:
        live.edit("bo", TEXT, {"op": "insert"})
        return str(live.commit("Later").commit_id)


def test_commits_older_than_signing_are_findings_until_the_next_one_is_signed(
    tmp_path: Path, signer: Signer
) -> None:
    sample = SealedSample(tmp_path)
    before = {str(sample.commit_path(path.stem)) for path in (sample.muse / "commits").iterdir()}
    assert check(sample).findings == []  # nobody signs here
    TrustedKeys(str(tmp_path)).add(signer.key_id, signer.public_pem())
    assert set(paths(check(sample))) == before
    unsigned_commit(sample, signer)
    report = check(sample)
    assert (report.findings, report.signed, len(report.unsigned)) == ([], 1, 4)
    assert set(paths(check(sample, required=True))) == before


def test_an_unsigned_commit_after_a_signed_one_is_found(sample: SealedSample, signer: Signer) -> None:
    commit_id = unsigned_commit(sample)
    unsigned_commit(sample, signer)
    report = check(sample)
    assert (paths(report), report.unsigned) == ([str(sample.commit_path(commit_id))], [commit_id])


def test_a_signature_by_another_key_than_the_commit_was_made_with_is_found(
    sample: SealedSample, tmp_path: Path
) -> None:
    other = create_key(str(tmp_path / "eve.pem"))
    TrustedKeys(str(tmp_path)).add(other.key_id, other.public_pem())
    [commit_id] = sample.talked
    signed = other.sign(sample.record(commit_id))
    sample.rewrite(commit_id, signature=signed["signature"], signer_key_id=other.key_id)
    assert paths(check(sample)) == [str(sample.commit_path(commit_id))]


@pytest.mark.parametrize("change", [lambda pem: pem[:-1], lambda pem: b"x\n" + pem, lambda _: b""])
def test_a_damaged_key_is_found_though_no_commit_needs_it(
    sample: SealedSample, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    other = create_key(str(tmp_path / "eve.pem"))
    TrustedKeys(str(tmp_path)).add(other.key_id, other.public_pem())
    path = sample.muse / "keys" / f"{other.key_id}.pub"
    path.write_bytes(change(path.read_bytes()))
    assert paths(check(sample)) == [str(path)]


@pytest.mark.parametrize(
    "changes",
    [{"author": "eve"}, {"signature": "0" * 128}, {"signature": ""}, {"signer_key_id": "0" * 64}],
    ids=str,
)
def test_a_wrongly_signed_commit_is_a_fault_and_the_rest_is_checked(
    sample: SealedSample, changes: dict[str, str]
) -> None:
    [commit_id] = sample.talked
    sample.rewrite(commit_id, **changes)
    report = check(sample)
    [finding] = report.findings
    assert (finding.kind, finding.path) == ("signature", str(sample.commit_path(commit_id)))
    assert report.signed == 3


def test_without_the_library_signed_commits_are_not_taken_for_checked(
    sample: SealedSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    [finding] = check(sample).findings
    assert "pip install muse-oplog[sign]" in finding.message
