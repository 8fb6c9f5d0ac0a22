"""A session of the code domain without a repository: actors edit, in view of what they saw, and undo."""

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from muse.core.entry import OpEntry, total_order
from muse.core.new_entries import make_op_entry
from muse.domain import DomainWork, Undoing
from muse.plugins.code import CodePlugin
from muse.plugins.code.live_tree import LiveTree
from muse.plugins.code.merge import Merger
from muse.plugins.code.ops import encoded, text_edit
from muse.plugins.code.update import write_vector
from tests.samples.code_samples import Head


@dataclass
class TextSession:
    """Commits, the entries that are pending, and all of them. Who undoes is "eve", unless said otherwise."""

    head: Head
    works: list[DomainWork] = field(default_factory=list)
    pending: list[OpEntry] = field(default_factory=list)
    entries: list[OpEntry] = field(default_factory=list)

    def tree(self, unseen: int = 0) -> LiveTree:
        """Return the files as an actor knows them that has not seen the last `unseen` pending entries."""
        known = self.pending[: max(0, len(self.pending) - unseen)]
        seen: list[Any] = sorted(known, key=total_order)
        merger = Merger(self.head.files, self.head.state, self.head.fetch, uuid.uuid4().hex)
        assert merger.take(seen) == []
        return merger.tree

    def files(self) -> dict[str, bytes]:
        tree = self.tree()
        return {path: tree.content(path) or b"" for path in tree.paths()}

    def text(self, path: str = "a.txt") -> str | None:
        content = self.tree().content(path)
        return None if content is None else content.decode()

    def add(self, actor: str, op: dict[str, Any]) -> OpEntry:
        assert json.loads(json.dumps(op)) == op  # as a log has it
        entry = make_op_entry(actor, "code", op, len(self.entries) + 1)
        self.pending.append(entry)
        self.entries.append(entry)
        return entry

    def edit(self, actor: str, patch: tuple[int, int, str], unseen: int = 0, path: str = "a.txt") -> str:
        """Edit a text; return what was removed."""
        file, _ = self.tree(unseen).open(path)
        document = file.require_document(path)
        position, length, text = patch
        removed = document.text[position : position + length]
        update = document.edit([patch])
        if update:
            named = {"file_id": file.file_id, "update": encoded(update)}
            op = text_edit(path, position, removed, text) | named
            self.add(actor, op | ({"base": file.base} if file.base else {}))
        return removed

    def replace(self, actor: str, old: str, new: str) -> None:
        """Put a text in the place of the first one that is `old`."""
        self.edit(actor, ((self.text() or "").index(old), len(old), new))

    def create(self, actor: str, path: str, content: bytes, encoding: str = "") -> OpEntry:
        named = {"file_id": uuid.uuid4().hex, "base64": encoded(content), "encoding": encoding}
        return self.add(actor, {"op": "insert", "address": path, "position": None, **named})

    def on_file(self, actor: str, kind: str, path: str, **fields: Any) -> OpEntry:
        """Remove, move or replace a file as a whole."""
        file, base = self.tree().open(path)
        named: dict[str, Any] = {"file_id": file.file_id, "position": None, "content_id": ""}
        if kind == "delete" and file.document is not None:
            named["seen"] = encoded(write_vector(file.document.vector))
        elif kind == "delete":
            named["content_id"], named["lifts"] = file.seen().partition("+")[0], file.lifts
        base = base or file.base
        op = {"op": kind, "address": path, **named, **fields}
        return self.add(actor, op | ({"base": base} if base else {}))

    def commit(self) -> None:
        self.works.append(self._work())
        self.head = self.head.commit(self.pending)
        assert self.head.ignored == []
        self.head.store(self.head.files)
        self.pending = []

    def _work(self) -> DomainWork:
        pending: list[Any] = sorted(self.pending, key=total_order)
        return DomainWork(self.head.files, self.head.state, pending)

    def ops_of(self, *actors: str) -> list[str]:
        return [entry["op_id"] for entry in self.entries if entry["actor_id"] in actors]

    def undo(self, op_ids: Collection[str], actor: str = "eve") -> Undoing:
        """Undo ops, and append what that takes."""
        plan = self.plan(op_ids)
        for compensation in plan.compensations:
            self.add(actor, dict(compensation.op))
        return plan

    def plan(self, op_ids: Collection[str]) -> Undoing:
        return CodePlugin().undo_works([*self.works, self._work()], self.head.fetch, op_ids)

    def last(self, count: int) -> list[str]:
        """Return the ids of the last entries."""
        return [entry["op_id"] for entry in self.entries[len(self.entries) - count :]]
