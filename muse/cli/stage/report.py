"""The report of a live performance: what each actor did, what is in history, and whether it is right."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from muse.checks.verify import Report, verify_repository
from muse.cli.shared.commit_text import SHORT_ID, subject
from muse.cli.shared.output import Output, count_of
from muse.cli.stage.performance import Performance
from muse.cli.verify.report import report_record, report_text
from muse.errors import MuseError
from muse.history.repository import Repository
from muse.session.live import LiveSession
from muse.views.prove import ActorProof, prove_each_actor


class PerformanceError(MuseError):
    """The outcome is not what was to be played. `path` names the file."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class Comparison(Protocol):
    """How the outcome compares with what was wanted."""

    @property
    def path(self) -> str:
        """The file it is about, in the repository; "" if there are several."""

    @property
    def fault(self) -> str:
        """What differs from what was wanted; "" if nothing does."""

    @property
    def record(self) -> dict[str, Any]:
        """The facts, as JSON has them."""

    @property
    def text(self) -> str:
        """The facts, in a line for people."""


@dataclass(frozen=True, slots=True)
class NoteComparison:
    """A file of notes: those alike, those wanted, those found."""

    path: str
    alike: int
    wanted: int
    found: int
    others_alike: bool = True

    @property
    def fault(self) -> str:
        if self.alike == self.wanted == self.found and self.others_alike:
            return ""
        others = "" if self.others_alike else "; its other events differ"
        return (
            f"{self.path} has {self.found} notes, {self.alike} of them as they were to be, of "
            f"{self.wanted}{others}"
        )

    @property
    def record(self) -> dict[str, Any]:
        return {
            "notes": self.found,
            "notes_wanted": self.wanted,
            "notes_alike": self.alike,
            "other_events_alike": self.others_alike,
        }

    @property
    def text(self) -> str:
        return f"Notes     {self.found} in the file, {self.alike} as wanted, of {self.wanted}"


@dataclass(frozen=True, slots=True)
class FileComparison:
    """Files, byte by byte: how many are wanted, their bytes, and which differ, are missing or too many."""

    path: str
    wanted: int
    byte_count: int
    different: tuple[str, ...]

    @property
    def fault(self) -> str:
        if not self.different:
            return ""
        return f"{len(self.different)} of {self.wanted} files are not as they were to be: {self.different[0]}"

    @property
    def record(self) -> dict[str, Any]:
        return {"files": self.wanted, "bytes": self.byte_count, "different": list(self.different)}

    @property
    def text(self) -> str:
        state = f"{len(self.different)} differ" if self.different else "exactly as wanted"
        return f"Compared  {count_of(self.wanted, 'file')}, {count_of(self.byte_count, 'byte')}: {state}"


@dataclass(frozen=True, slots=True)
class Ending:
    """All that the report says."""

    repository: Repository
    session_id: str
    performance: Performance
    comparison: Comparison
    logged: int
    verified: Report
    proofs: Sequence[ActorProof]

    @property
    def fault(self) -> str:
        """What is wrong, in a line; "" if nothing is."""
        comparison = self.comparison
        if found := len(self.verified.findings):
            return f"verify found {found} faults in {self.repository.root}: see 'muse verify'"
        if comparison.fault:
            return comparison.fault
        if self.logged < self.performance.acknowledged:
            lost = self.performance.acknowledged - self.logged
            return f"{lost} acknowledged edits are not in the log of session {self.session_id}"
        if wrong := [proof for proof in self.proofs if proof.fault]:
            return f"op {wrong[0].op_id} of {wrong[0].actor_id} is not proven: {wrong[0].fault}"
        return ""


def conclude(live: LiveSession, performance: Performance, comparison: Comparison) -> Ending:
    """Verify the repository, count the log, and prove an op of each actor, once all is played."""
    repository = live.repository
    verified = verify_repository(repository.root, repository.storage)
    logged = sum(1 for _ in live.log.entries(salvage=True))
    session_id = live.log.session_id()
    proofs = prove_each_actor(repository, session_id)
    return Ending(repository, session_id, performance, comparison, logged, verified, proofs)


def present(ending: Ending, output: Output) -> None:
    """Print the ending; raise `PerformanceError` if anything is wrong."""
    if output.as_json:
        output.record(_record(ending))
    else:
        _print(ending, output)
    if ending.fault:
        raise PerformanceError(ending.fault, os.path.join(ending.repository.root, ending.comparison.path))


def _record(ending: Ending) -> dict[str, Any]:
    performance, comparison = ending.performance, ending.comparison
    return {
        "event": "finished",
        "repository": ending.repository.root,
        "session_id": ending.session_id,
        "seconds": round(performance.seconds, 3),
        "acknowledged": performance.acknowledged,
        "logged": ending.logged,
        "actors": [
            {
                "actor": result.actor_id,
                "edits": result.edits,
                "seconds": round(result.seconds, 3),
                "edits_per_second": round(result.rate, 1),
            }
            for result in performance.results
        ],
        "commits": [
            {"commit_id": commit.commit_id, "op_count": commit.op_count, "ignored": len(commit.ignored)}
            for commit in performance.commits
        ],
        "proofs": [
            {
                "actor": proof.actor_id,
                "op_id": proof.op_id,
                "commit_id": proof.commit_id,
                "holds": not proof.fault,
            }
            for proof in ending.proofs
        ],
        "verify": report_record(ending.verified),
        "file": {
            "path": os.path.join(ending.repository.root, comparison.path),
            **comparison.record,
            "exact": not comparison.fault,
        },
    }


def _print(ending: Ending, output: Output) -> None:
    performance, comparison = ending.performance, ending.comparison
    rows = [
        (result.actor_id, result.edits, round(result.seconds, 1), round(result.rate, 1))
        for result in performance.results
    ]
    output.line()
    output.table(("ACTOR", "EDITS", "SECONDS", "EDITS/S"), rows)
    output.line()
    output.table(("COMMIT", "EDITS", "MESSAGE"), _history(ending))
    output.line()
    output.line(f"Log       {ending.logged} entries; {performance.acknowledged} edits were acknowledged")
    output.line(f"Verify    {report_text(ending.verified)}")
    for finding in ending.verified.findings:
        output.line(f"          {finding.kind}: {finding.message}")
    _print_proofs(ending, output)
    output.line(comparison.text)
    output.line(f"File      {os.path.join(ending.repository.root, comparison.path)}")


def _print_proofs(ending: Ending, output: Output) -> None:
    held = [proof for proof in ending.proofs if not proof.fault]
    output.line(f"Proofs    {len(held)} of {len(ending.proofs)} hold, for one op of each actor:")
    for proof in ending.proofs:
        fate = proof.fault or f"is in commit {proof.commit_id[:SHORT_ID]}"
        output.line(f"          {proof.actor_id}: op {proof.op_id} {fate}")


def _history(ending: Ending) -> list[tuple[str, int, str]]:
    dag = ending.repository.dag
    commits = [(commit.commit_id or "", commit.op_count) for commit in reversed(ending.performance.commits)]
    return [
        (commit_id[:SHORT_ID], count, subject(dag.read_commit(commit_id))) for commit_id, count in commits
    ]
