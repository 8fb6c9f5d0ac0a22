"""Another Muse tool, written by hand from the format alone: it shares no code with the package."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

NUL = b"\x00"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tree_id(manifest: dict[str, str]) -> str:
    pairs = sorted(path + "\x00" + blob for path, blob in manifest.items())
    return sha256("\x00".join(pairs).encode("utf-8"))


def record_id(record: dict[str, Any]) -> str:
    parent_ids = [record["parent_commit_id"], record["parent2_commit_id"]]
    lines = sorted(parent_id.encode() for parent_id in parent_ids if parent_id)
    committed_at = datetime.fromisoformat(record["committed_at"]).isoformat()
    rest = [record["snapshot_id"], record["message"], committed_at]
    return sha256(NUL.join([NUL.join(lines), *(text.encode() for text in rest)]))


class ForeignMuse:
    """Writes and reads `.muse` with `json` and `hashlib`."""

    def __init__(self, root: Path) -> None:
        self.directory = root / ".muse"

    def make(self) -> None:
        for name in ("objects", "snapshots", "commits", "refs/heads"):
            (self.directory / name).mkdir(parents=True)
        identity = {
            "repo_id": "0b1f7a52-6f5e-4f0a-9c3d-3f1f8f3f2b11",
            "schema_version": "0.1.5",
            "created_at": "2026-01-02T03:04:05+00:00",
            "domain": "code",
        }
        (self.directory / "repo.json").write_text(json.dumps(identity))
        (self.directory / "HEAD").write_text("ref: refs/heads/main\n")
        (self.directory / "refs" / "heads" / "main").write_text("")

    def add_object(self, content: bytes) -> str:
        name = sha256(content)
        path = self.directory / "objects" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return name

    def add_snapshot(self, files: dict[str, bytes]) -> str:
        manifest = {path: self.add_object(content) for path, content in files.items()}
        name = tree_id(manifest)
        snapshot = {"snapshot_id": name, "manifest": manifest, "created_at": "2026-01-02T03:04:05+00:00"}
        (self.directory / "snapshots" / f"{name}.json").write_text(json.dumps(snapshot, indent=4))
        return name

    def add_commit(self, files: dict[str, bytes], message: str, *parent_ids: str, **extra: Any) -> str:
        first, second = [*parent_ids, None, None][:2]
        record: dict[str, Any] = {
            "snapshot_id": self.add_snapshot(files),
            "message": message,
            "committed_at": "2026-01-02T03:04:05.000678+00:00",
            "parent_commit_id": first,
            "parent2_commit_id": second,
            **extra,
        }
        record["commit_id"] = record_id(record)
        (self.directory / "commits" / f"{record['commit_id']}.json").write_text(json.dumps(record))
        return str(record["commit_id"])

    def set_branch(self, branch: str, commit_id: str) -> None:
        path = self.directory / "refs" / "heads" / branch
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit_id + "\n")

    def read_branch(self, branch: str) -> str:
        return (self.directory / "refs" / "heads" / branch).read_text().strip()

    def read_commit(self, commit_id: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.directory / "commits" / f"{commit_id}.json").read_text())
        assert record["commit_id"] == commit_id == record_id(record)
        return record

    def read_files(self, snapshot_id: str) -> dict[str, bytes]:
        snapshot = json.loads((self.directory / "snapshots" / f"{snapshot_id}.json").read_text())
        assert snapshot["snapshot_id"] == snapshot_id == tree_id(snapshot["manifest"])
        files = {}
        for path, name in snapshot["manifest"].items():
            files[path] = (self.directory / "objects" / name[:2] / name[2:]).read_bytes()
            assert sha256(files[path]) == name
        return files
