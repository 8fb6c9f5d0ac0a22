"""`muse key`: keys to sign commits with, and keys whose signatures count."""

import os
from contextlib import suppress
from typing import Annotated

import typer

from muse.cli.shared.options import JsonOption, RepoOption, command_group, current_directory, remember
from muse.errors import NotFoundError
from muse.history.signing import TrustedKeys, create_key

_DEFAULT_FILE = "muse-signing-key.pem"

app = command_group("Signing keys: make one, trust others', list the trusted.")


@app.command("create")
def create(
    ctx: typer.Context,
    *,
    out: Annotated[str, typer.Option(metavar="FILE", help="Where the private key goes.")] = _DEFAULT_FILE,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an Ed25519 key that only its owner can read. No file is ever overwritten.

    In a repository, its public part is trusted at once.

    Example: muse key create --out ada.pem
    """
    invocation = remember(ctx, repo, as_json=as_json)
    root = ""
    with suppress(NotFoundError):
        root = invocation.repository().root
    signer = create_key(os.path.join(current_directory(), out))
    if root:
        TrustedKeys(root).add(signer.key_id, signer.public_pem())
    if invocation.output.as_json:
        invocation.output.record({"key_id": signer.key_id, "path": out, "trusted": bool(root)})
    else:
        invocation.output.line(f"Key {signer.key_id}")
        invocation.output.line(f"The private key is in {out}: keep it to yourself.")
        if root:
            invocation.output.line(f"Its signatures count in {root} from now on.")


@app.command("trust")
def trust(
    ctx: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A public key, PEM.", show_default=False)],
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the signatures of a public key count in this repository.

    Example: muse key trust ada.pub
    """
    invocation = remember(ctx, repo, as_json=as_json)
    keys = TrustedKeys(invocation.repository().root)
    key_id, is_new = keys.trust(os.path.join(current_directory(), file))
    if invocation.output.as_json:
        invocation.output.record({"key_id": key_id, "new": is_new})
    else:
        invocation.output.line(f"Key {key_id} {'is trusted now' if is_new else 'was trusted already'}.")


@app.command("list")
def list_command(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    """List the keys whose signatures count in this repository.

    Example: muse key list
    """
    invocation = remember(ctx, repo, as_json=as_json)
    key_ids = list(TrustedKeys(invocation.repository().root).ids())
    for key_id in key_ids:
        if invocation.output.as_json:
            invocation.output.record({"key_id": key_id})
        else:
            invocation.output.line(key_id)
    if not key_ids and not invocation.output.as_json:
        invocation.output.line("No keys are trusted: 'muse key create' makes one.")
