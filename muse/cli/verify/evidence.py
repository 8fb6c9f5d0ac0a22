"""What `muse verify` checks beyond hashes and links: signatures, and every commit made again."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse.checks.replay import Rederivation, check_archived_logs, rederive
from muse.checks.signatures import SignatureReport, check_signatures
from muse.checks.verify import Finding
from muse.cli.shared.options import current_directory
from muse.cli.shared.output import Output, count_of
from muse.history.repository import Repository
from muse.history.signing import TrustedKeys

_SHORT_ID = 12
_IDS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was asked for, and what came of it."""

    signatures: SignatureReport
    replayed: Rederivation | None = None
    findings: list[Finding] = field(default_factory=list)

    def as_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {"signed": self.signatures.signed, "unsigned": self.signatures.unsigned}
        if self.replayed is not None:
            record["replayed"] = {
                "commits": self.replayed.commits,
                "ops": self.replayed.ops,
                "not_made": self.replayed.not_made,
                "without_plugin": sorted(self.replayed.without_plugin),
            }
        return record

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked for could be checked here."""
        return self.replayed is None or not self.replayed.without_plugin

    def print(self, output: Output) -> None:
        """Print what was done; silent about signatures where nobody signs."""
        if self.replayed is not None:
            made = self.replayed.commits - self.replayed.not_made
            commits, ops = count_of(made, "commit"), count_of(self.replayed.ops, "op")
            output.line(f"Replayed: {commits} of {ops} made anew from the logs")
            if self.replayed.not_made:
                domains = ", ".join(sorted(self.replayed.without_plugin))
                output.line(
                    f"Not made: {count_of(self.replayed.not_made, 'commit')}, as no plugin is installed here "
                    f"of domain {domains}; only their logs and deltas were compared with the seals"
                )
        if self.signatures.signed and self.signatures.unsigned:
            shown = [commit_id[:_SHORT_ID] for commit_id in self.signatures.unsigned[:_IDS_SHOWN]]
            more = len(self.signatures.unsigned) - len(shown)
            output.line(f"Unsigned: {', '.join(shown)}" + (f" and {more} more" if more else ""))
        if self.signatures.signed:
            output.line(f"Signed:   {count_of(self.signatures.signed, 'commit')}, by trusted keys")


def gather_evidence(
    repository: Repository,
    *,
    replay: bool,
    require_signatures: bool,
    key_files: Sequence[str],
    progress: Callable[[int], None],
) -> Evidence:
    """Check all signatures, and the ops in archives; with `replay` make every commit of a session again."""
    keys = TrustedKeys(repository.root, repository.storage)
    for path in key_files:
        keys.use(os.path.join(current_directory(), path))
    signatures = check_signatures(repository, keys, required=require_signatures)
    replayed = rederive(repository, progress) if replay else None
    findings = signatures.findings + (replayed or check_archived_logs(repository)).findings
    return Evidence(signatures, replayed, findings)
