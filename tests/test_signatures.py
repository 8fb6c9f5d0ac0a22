"""Every stored commit's signature is checked; the unsigned, wrongly signed and unknown are named."""

import sys
from pathlib import Path

import pytest

from muse.core.signing import Signer, TrustedKeys, create_key
from muse.signatures import SignatureReport, check_signatures
from tests.sealed_sample import SealedSample


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
    assert check(sample, required=True) == SignatureReport([], 4, [])


def test_an_unsigned_commit_is_named_and_a_fault_only_where_signatures_are_required(
    sample: SealedSample,
) -> None:
    [commit_id] = sample.talked
    sample.rewrite(commit_id, signature="", signer_key_id="")
    assert check(sample) == SignatureReport([], 3, [commit_id])
    [finding] = check(sample, required=True).findings
    assert (finding.kind, finding.path) == ("signature", str(sample.commit_path(commit_id)))


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
