"""Checks the signatures of all stored commits, and the trusted keys. Reads only, and goes on after a fault.

Where keys are known, commits are expected to be signed from the first signed one on: an unsigned
commit passes only if it is older, so that a signed one has it in its history, and it has none. A
commit that was made with a signature says so in its message, and is never taken for one without. A merge that
was made by a pull needs no signature: it is made again from what it merges, and must be the same.
"""

from dataclasses import dataclass, field

from muse.checks.finding import Findings, Needed
from muse.checks.merges import MergeCheck
from muse.disk import layout
from muse.errors import MuseError
from muse.history.commit_record import CommitRecord, parents
from muse.history.repository import Repository
from muse.history.signing import SignatureError, SigningUnavailableError, TrustedKeys, check_signer
from muse.history.walk import ancestors, children_of


@dataclass(slots=True)
class SignatureReport:
    """What was found. `signed` counts the commits whose signatures hold, `unsigned` names the others' ids."""

    findings: Findings = field(default_factory=Findings)
    signed: int = 0
    unsigned: list[str] = field(default_factory=list)


def check_signatures(repository: Repository, keys: TrustedKeys, *, required: bool = False) -> SignatureReport:
    """Check every signed commit against the trusted keys, and every key in `.muse/keys`.

    An unsigned commit is a fault where it was signed once, where keys are known and it is not older
    than the first signed commit of its history, nor a merge that follows from its parents, and with
    `required` always.
    """
    check = _SignatureCheck(repository, keys, required=required)
    try:
        check.check_keys()
        check.check_commits()
    except SigningUnavailableError as error:
        path = layout.keys_directory(repository.root)
        check.report.findings.add(path, "signature", f"signatures cannot be checked: {error}")
    else:
        with check.report.findings.noting(layout.keys_directory(repository.root), "signature"):
            check.check_unsigned()
    return check.report


class _SignatureCheck:
    """One check. The steps are called in the order of `check_signatures`."""

    def __init__(self, repository: Repository, keys: TrustedKeys, *, required: bool) -> None:
        self.report = SignatureReport()
        self._repository = repository
        self._keys = keys
        self._required = required
        self._merges = MergeCheck(repository)
        self._parents: dict[str, list[str]] = {}
        self._signed: set[str] = set()
        self._stripped: set[str] = set()

    def _found(self, path: str, message: object, needs: Needed | None = None) -> None:
        self.report.findings.add(path, "signature", message, needs)

    def check_keys(self) -> None:
        directory = layout.keys_directory(self._repository.root)
        for key_id in self.report.findings.each_of(self._keys.ids, directory, "signature"):
            try:
                self._keys.check_file(key_id)
            except SigningUnavailableError:
                raise
            except MuseError as error:
                self._found(layout.public_key_file(self._repository.root, key_id), error)

    def check_commits(self) -> None:
        directory = layout.commits_directory(self._repository.root)
        for commit_id in self.report.findings.each_of(self._repository.dag.commit_ids, directory, "commit"):
            path = self._repository.dag.path_of(commit_id)
            try:
                record = self._repository.dag.read_commit(commit_id)
            except MuseError:
                continue  # `muse.checks.stored` names it
            self._parents[commit_id] = parents(record)
            try:
                self._check(record, path)
            except SigningUnavailableError:
                raise
            except MuseError as error:
                needs: Needed | None = ("commit", commit_id) if isinstance(error, SignatureError) else None
                self._found(path, error, needs)

    def _check(self, record: CommitRecord, path: str) -> None:
        is_signed = bool(record["signature"] or record["signer_key_id"])
        if is_signed:
            self._signed.add(record["commit_id"])
        else:
            self.report.unsigned.append(record["commit_id"])
        try:
            check_signer(record, path)
        except SignatureError:
            if not is_signed:
                self._stripped.add(record["commit_id"])
            raise
        if is_signed:
            self._keys.check(record, path)
            self.report.signed += 1

    def _follows_from_parents(self, commit_id: str) -> bool:
        return len(self._parents[commit_id]) > 1 and self._merges.follows_from_parents(
            self._repository.dag.read_commit(commit_id)
        )

    def check_unsigned(self) -> None:
        """Name the unsigned commits that should be signed."""
        if not self._required and not self._keys:
            return
        signed = self._signed | self._stripped
        later = set(ancestors(signed, children_of(self._parents)))
        older = set(ancestors(signed, lambda commit_id: self._parents.get(commit_id, ()))) - later
        for commit_id in self.report.unsigned:
            if commit_id in self._stripped or (commit_id in older and not self._required):
                continue
            if not self._required and self._follows_from_parents(commit_id):
                continue
            path = self._repository.dag.path_of(commit_id)
            why = ""
            if not self._required:
                why = ", and a commit before it is: ask who made it"
                if commit_id not in later:
                    why = ", and keys are known here: to vouch for it, sign the next commit, with --sign"
            self._found(path, f"{path} is not signed{why}")
