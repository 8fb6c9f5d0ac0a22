"""A script that is typed again, by actors on replicas of their own that are merged meanwhile."""

from collections.abc import Collection
from dataclasses import dataclass

from muse.cli.replay.replicas import Retype
from muse.cli.replay.script import Create, Move, Script, edits_of
from muse.cli.stage.players import Job
from muse.cli.stage.report import FileComparison
from muse.core.content_id import object_id
from muse.disk import layout
from muse.errors import UsageError
from muse.history.repository import Repository
from muse.session.live import LiveSession


@dataclass(frozen=True, slots=True)
class ScriptPiece:
    """A script, performed by one process that has all the replicas. `UsageError` for an impossible path."""

    script: Script
    domain: str = "code"

    def __post_init__(self) -> None:
        try:
            for path in self.paths:
                layout.check_tree_path(path)
        except UsageError as error:
            raise UsageError(f"{error}; give a name for the repository with --name") from error

    @property
    def name(self) -> str:
        return self.script.title

    @property
    def remarks(self) -> tuple[str, ...]:
        return self.script.remarks

    @property
    def paths(self) -> Collection[str]:
        """Every path that a step makes."""
        changes = [change for step in self.script.steps for change in step.changes]
        created = {change.path for change in changes if isinstance(change, Create)}
        return created | {change.to_path for change in changes if isinstance(change, Move)}

    def prepare(self, _live: LiveSession) -> None:
        """Do nothing: the conductor's step is the first of the script."""

    def jobs(self, root: str, session_id: str, rate: float | None, scratch: str) -> list[Job]:
        steps = self.script.steps
        return [Job(root, session_id, edits_of(steps), Retype(root, steps, rate, scratch))]

    def compare(self, repository: Repository) -> FileComparison:
        """Compare the files of the branch's head with those that were wanted."""
        head = repository.dag.head(repository.dag.current_branch())
        found = repository.read_tree(head)
        wanted = {path: object_id(content) for path, content in self.script.wanted.items()}
        ours = (set(wanted) | set(self.paths)) & set(found)
        different = {path for path in wanted.keys() | ours if wanted.get(path) != found.get(path)}
        return FileComparison(
            min(wanted) if len(wanted) == 1 else "",
            len(wanted),
            sum(map(len, self.script.wanted.values())),
            tuple(sorted(different)),
        )
