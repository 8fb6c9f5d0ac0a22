"""Commits of the code domain without a repository: what a session does with a plugin's files and state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse.core.content_id import object_id
from muse.core.entry import OpEntry, total_order
from muse.core.timestamp import now_text
from muse.domain import IgnoredOp
from muse.errors import NotFoundError
from muse.history.commit_record import make_commit_record
from muse.history.repository import Repository
from muse.plugins.code import CodePlugin


@dataclass
class Head:
    """A branch: its files, what the plugin keeps beside them, and the objects in its store."""

    files: dict[str, bytes] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    ignored: list[IgnoredOp] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store(self.files)

    def store(self, contents: Mapping[str, bytes]) -> None:
        self.objects.update({object_id(content): content for content in contents.values()})

    def fetch(self, content_id: str) -> bytes:
        if content_id not in self.objects:
            raise NotFoundError(content_id)
        return self.objects[content_id]

    def commit(self, entries: Sequence[OpEntry]) -> "Head":
        """Take in entries as a commit does; return the branch after it."""
        ordered = sorted(entries, key=total_order)
        application = CodePlugin().merge(self.files, ordered, self.fetch, self.state)
        return Head(
            taken_in(self.files, application.files),
            taken_in(self.state, application.state),
            application.ignored,
            dict(self.objects),
        )


def taken_in(before: Mapping[str, bytes], changed: Mapping[str, bytes | None]) -> dict[str, bytes]:
    after: dict[str, Any] = {**before, **changed}
    return {name: content for name, content in after.items() if content is not None}


def commit_files(repository: Repository, files: Mapping[str, bytes], author: str = "a person") -> str:
    """Make a commit of `files` by no op at all, as another tool does; return its id."""
    manifest = {path: repository.objects.put(content) for path, content in files.items()}
    head = repository.dag.head("main")
    record = make_commit_record(
        repo_id=repository.repo_id,
        branch="main",
        snapshot_id=repository.dag.write_snapshot(manifest, now_text()),
        message="from outside",
        committed_at=now_text(),
        parent_commit_id=head,
        author=author,
        structured_delta=None,
    )
    commit_id = repository.dag.write_commit(record)
    repository.dag.swap_head("main", head, commit_id)
    return commit_id
