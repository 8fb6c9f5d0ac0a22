"""`muse prove`: makes the proof that an op is in a commit, and checks one without any repository."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from muse.cli.shared.options import JsonOption, RepoOption, current_directory, remember
from muse.cli.shared.output import Output
from muse.disk.json_file import read_json_object
from muse.disk.storage import LOCAL
from muse.errors import UsageError
from muse.history.commit_record import parse_commit
from muse.history.proof import Proven, check_proof, decode_proof, encode_proof
from muse.views.prove import prove as make_proof_of


def prove(
    ctx: typer.Context,
    *,
    op_id: Annotated[
        str | None, typer.Argument(metavar="[OP_ID]", help="The op to prove.", show_default=False)
    ] = None,
    session: Annotated[str | None, typer.Option(help="The op's session. Default: look in all.")] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where to write it. Default: stdout.")
    ] = None,
    check: Annotated[
        str | None, typer.Option(metavar="FILE", help="Check this proof instead; no repository is needed.")
    ] = None,
    commit: Annotated[
        str | None, typer.Option(metavar="FILE", help="With --check: the commit's record, to check against.")
    ] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that an op, by its actor, is in a commit; or check such a proof, offline.

    A proof that does not hold is named on stderr, with exit status 1. What a proof says is true of
    the commit id in it: compare that with the history you trust.

    Example: muse prove 8f14e45f-ceea-467f-a9d2-1b2c3d4e5f60 --out proof.json
    """
    invocation = remember(ctx, repo, as_json=as_json)
    if (op_id is None) == (check is None):
        raise UsageError("give either the id of an op to prove, or --check FILE")
    if check is not None:
        if out is not None or session is not None:
            raise UsageError(
                "--check takes a proof and, with --commit, its commit: leave out --out and --session"
            )
        _print_proven(invocation.output, _checked(check, commit))
        return
    if commit is not None:
        raise UsageError("--commit goes with --check FILE")
    place = None if out is None else _place(out)
    with invocation.output.progress("proving"):
        proof = make_proof_of(invocation.repository(), op_id or "", session)
    if place is None:
        invocation.output.document(encode_proof(proof), proof)
        return
    LOCAL.write_atomically(place, encode_proof(proof))
    _print_proven(invocation.output, check_proof(proof), out or "")


def _place(out: str) -> str:
    """Return where the proof goes, before any work is done for it; no directory is made."""
    place = os.path.join(current_directory(), out)
    if not out or LOCAL.is_directory(os.path.realpath(place)):
        raise UsageError(f"--out is {out!r}: name a file, not a directory")
    if not LOCAL.is_directory(os.path.realpath(os.path.dirname(place))):
        raise UsageError(f"there is no directory {os.path.dirname(place)}: make it, or give another --out")
    return place


def _checked(path: str, commit_path: str | None) -> Proven:
    here = current_directory()
    record: Mapping[str, Any] | None = None
    proof = decode_proof(LOCAL.read_bytes(os.path.join(here, path)), path)
    if commit_path is not None:
        record = parse_commit(read_json_object(os.path.join(here, commit_path), LOCAL), commit_path)
    return check_proof(proof, record)


def _print_proven(output: Output, proven: Proven, path: str = "") -> None:
    if output.as_json:
        facts = {
            "holds": True,
            "op_id": proven.op_id,
            "actor_id": proven.actor_id,
            "session_id": proven.session_id,
            "commit_id": proven.commit_id,
            "leaf_index": proven.leaf_index,
            "tree_size": proven.tree_size,
        }
        output.record({**facts, "path": path} if path else facts)
        return
    output.line(f"Op {proven.op_id} by {proven.actor_id} is in commit {proven.commit_id}")
    output.line(
        f"as number {proven.leaf_index + 1} of its {proven.tree_size}, from session {proven.session_id}."
    )
    if path:
        output.line(f"The proof is in {path}.")
