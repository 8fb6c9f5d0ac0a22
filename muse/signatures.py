"""Checks the signatures of all stored commits. Reads only, and goes on after a fault."""

from dataclasses import dataclass, field

from muse.core import layout
from muse.core.commit_record import CommitRecord
from muse.core.signing import SigningUnavailableError, TrustedKeys
from muse.core.verify import Finding
from muse.errors import MuseError
from muse.repository import Repository
from muse.sealed import commit_ids


@dataclass(slots=True)
class SignatureReport:
    """What was found. `signed` counts the commits whose signatures hold, `unsigned` names the others' ids."""

    findings: list[Finding] = field(default_factory=list)
    signed: int = 0
    unsigned: list[str] = field(default_factory=list)


def check_signatures(repository: Repository, keys: TrustedKeys, *, required: bool = False) -> SignatureReport:
    """Check every signed commit against the trusted keys; with `required`, an unsigned one is a fault."""
    report = SignatureReport()
    for commit_id in commit_ids(repository.root, repository.storage):
        path = layout.commit_file(repository.root, commit_id)
        try:
            record = repository.dag.read_commit(commit_id)
            _check(report, keys, record, path, required=required)
        except SigningUnavailableError as error:
            report.findings.append(Finding(path, "signature", f"{path} cannot be checked: {error}"))
            return report
        except MuseError as error:
            report.findings.append(Finding(path, "signature", str(error)))
    return report


def _check(
    report: SignatureReport, keys: TrustedKeys, record: CommitRecord, path: str, *, required: bool
) -> None:
    if record["signature"] or record["signer_key_id"]:
        keys.check(record, path)
        report.signed += 1
        return
    report.unsigned.append(record["commit_id"])
    if required:
        report.findings.append(Finding(path, "signature", f"{path} is not signed"))
