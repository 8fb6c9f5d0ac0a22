"""The delta that a commit stores: the net of its ops, instead of every one of them.

The log keeps every op and the commit's seal covers every op; the net is for people who read history. It
is stored only where it gives the same files, byte for byte.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from muse.core.delta import summarize
from muse.domain import Application, DomainOp, NettingPlugin, SquashingPlugin, StructuredDelta
from muse.errors import CorruptionError, StorageError
from muse.plugins.registry import find_plugin


def net_delta(
    delta: StructuredDelta,
    files: Mapping[str, bytes],
    application: Application,
    fetch: Callable[[str], bytes],
) -> StructuredDelta:
    """Return the net of `delta`; `delta` itself where its domain cannot squash, or not faithfully.

    `application` is the outcome of applying `delta` to `files`. Raises only what a broken store raises: a
    plugin that fails to squash does not keep ops out of history.
    """
    plugin = find_plugin(delta["domain"])
    if plugin is None or not isinstance(plugin, NettingPlugin | SquashingPlugin):
        return delta
    try:
        if isinstance(plugin, NettingPlugin):
            ops = plugin.net(files, application.files)
        else:
            ops = plugin.squash(files, delta["ops"], fetch)
        if plugin.apply(files, ops, fetch).files != application.files:
            return delta
        return {**delta, "ops": ops, "summary": summarize_changes(ops)}
    except (CorruptionError, StorageError):
        raise
    except Exception:  # noqa: BLE001 - a plugin is other people's code: it may fail in any way
        return delta


def summarize_changes(ops: Sequence[DomainOp]) -> str:
    """Count the changes inside containers instead of the patches that hold them: "3 insert, 1 mutate"."""
    changes: list[Any] = []
    for op in ops:
        children = op.get("child_ops") if op.get("op") == "patch" else None
        inner = children if isinstance(children, list | tuple) else ()
        if not inner or op.get("from_address"):
            changes.append(op)
        changes += inner
    return summarize(changes)
