"""`muse session show --at`, `--lamport` and `--time`: the files of a session as they were."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from muse.cli.shared.options import Invocation
from muse.cli.shared.output import count_of
from muse.core.entry import OpEntry
from muse.disk import layout
from muse.disk.storage import Storage
from muse.errors import UsageError
from muse.history.repository import Repository
from muse.views.as_of import SessionState, read_session, state_at, up_to_lamport, up_to_op, up_to_time


def chosen_point(
    session_id: str, op_id: str | None, lamport_ts: int | None, time: str | None
) -> Callable[[Sequence[OpEntry]], list[OpEntry]] | None:
    """Return a function that chooses the entries up to the given point; None if no point is given."""
    if sum(given is not None for given in (op_id, lamport_ts, time)) > 1:
        raise UsageError("--at, --lamport and --time each name a point: give one of them")
    if op_id is not None:
        return up_to_op(op_id, session_id)
    if lamport_ts is not None:
        return up_to_lamport(lamport_ts)
    return None if time is None else up_to_time(time)


def show_state(
    invocation: Invocation,
    session_id: str,
    choose: Callable[[Sequence[OpEntry]], list[OpEntry]],
    out: str | None,
) -> None:
    """Print the files of a session at a point, and write them to the directory `out` if one is given."""
    repository, output = invocation.repository(), invocation.output
    if out is not None:
        _check_out(repository, out)
    with output.progress("looking back"):
        state = state_at(repository, read_session(repository, session_id), choose)
    if out is not None:
        _write_files(repository.storage, out, state.files)
    if output.as_json:
        output.record(_record(session_id, state, out))
        return
    last = state.last
    reached = f", the last by {last['actor_id']}, Lamport {last['lamport_ts']}" if last else ""
    vain = f"; {state.ignored} without effect" if state.ignored else ""
    output.line(f"Session {session_id} after {count_of(state.op_count, 'op')}{reached}{vain}")
    shown = (item for item in _sizes(state).items() if not item[0].startswith("."))  # not our own pages
    rows = [(path, size["notes"], size["bytes"]) for path, size in shown]
    output.table(("FILE", "NOTES OR LINES", "BYTES"), rows)
    if out is not None:
        output.line(f"Written to {out}")


def _sizes(state: SessionState) -> dict[str, dict[str, int]]:
    return {
        path: {"notes": state.parts.get(path, 0), "bytes": len(state.files[path])}
        for path in sorted(state.files)
    }


def _record(session_id: str, state: SessionState, out: str | None) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "base": state.base,
        "op_count": state.op_count,
        "without_effect": state.ignored,
        "last_op_id": state.last["op_id"] if state.last else None,
        "files": [{"path": path, **size} for path, size in _sizes(state).items()],
        "out": out,
    }


def _check_out(repository: Repository, out: str) -> None:
    storage, own = repository.storage, layout.muse_directory(os.path.realpath(repository.root))
    if not out or f"{os.path.realpath(out)}/".startswith(f"{own}/"):
        raise UsageError(f"--out is {out!r}: name a directory outside of {own}, which Muse keeps for itself")
    if storage.exists(out) and (not storage.is_directory(out) or any(storage.list_directory(out))):
        raise UsageError(f"{out} is there and not an empty directory: nothing is overwritten, name another")


def _write_files(storage: Storage, out: str, files: Mapping[str, bytes]) -> None:
    for path in files:
        layout.check_tree_path(path)
    storage.make_directories(out)
    for path, content in files.items():
        place = os.path.join(out, path)
        storage.make_directories(os.path.dirname(place))
        storage.write_atomically(place, content, sync=False)
