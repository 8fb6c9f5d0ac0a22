"""`muse token`: who may use the server, and for what."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from muse.cli.shared.options import JsonOption, RepoOption, command_group, remember
from muse.errors import UsageError
from muse.server.edge.access import SCOPES, Token, Tokens

app = command_group("Tokens for 'muse serve': made, listed, revoked.")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])\Z")


@app.command("create")
def create(
    ctx: typer.Context,
    *,
    actor: Annotated[str, typer.Option(metavar="NAME", help="The actor it speaks for.", show_default=False)],
    scope: Annotated[
        str, typer.Option(help=f"One of {', '.join(SCOPES)}: each includes those before.")
    ] = "append",
    session: Annotated[str, typer.Option(metavar="GLOB", help="The sessions it is for.")] = "*",
    expires: Annotated[str, typer.Option(metavar="TIME", help="As 90m, 12h, 30d, or never.")] = "30d",
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, only once: Muse keeps nothing but its hash.

    Example: muse token create --actor ada --scope commit --session 'jam-*' --expires 12h
    """
    invocation = remember(ctx, repo, as_json=as_json)
    lasts = _seconds(expires)
    tokens = Tokens(invocation.repository().root)
    text, token = tokens.create(actor, scope, session=session, lasts_seconds=lasts)
    if invocation.output.as_json:
        invocation.output.record({"token": text, **_record(token)})
    else:
        invocation.output.line(text)


@app.command("list")
def list_tokens(ctx: typer.Context, *, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    """List the tokens by their ids; the tokens themselves are not kept.

    Example: muse token list
    """
    invocation = remember(ctx, repo, as_json=as_json)
    found = Tokens(invocation.repository().root).all()
    if invocation.output.as_json:
        for token in found:
            invocation.output.record(_record(token))
    elif not found:
        invocation.output.line("There are no tokens.")
    else:
        rows = [
            (token.token_id, token.actor, token.scope, token.session, _time(token.expires_at)[:19] or "never")
            for token in found
        ]
        invocation.output.table(("ID", "ACTOR", "SCOPE", "SESSIONS", "EXPIRES (UTC)"), rows)


@app.command("revoke")
def revoke(
    ctx: typer.Context,
    *,
    token_id: Annotated[
        str, typer.Argument(metavar="ID", help="As 'muse token list' shows.", show_default=False)
    ],
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a token. A server that runs refuses it from now on, and ends its connections.

    Example: muse token revoke 0f3a9c51d2e4
    """
    invocation = remember(ctx, repo, as_json=as_json)
    token = Tokens(invocation.repository().root).revoke(token_id)
    if invocation.output.as_json:
        invocation.output.record(_record(token))
    else:
        invocation.output.line(f"Token {token.token_id} of {token.actor} is revoked.")


def _seconds(text: str) -> float | None:
    if text == "never":
        return None
    found = _DURATION.match(text)
    if found is None or not int(found[1]):
        raise UsageError(f"--expires is {text!r}: use a number and s, m, h or d, as 12h; or never")
    return int(found[1]) * _UNITS[found[2]]


def _time(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _record(token: Token) -> dict[str, Any]:
    return {
        "token_id": token.token_id,
        "actor": token.actor,
        "scope": token.scope,
        "session": token.session,
        "created_at": _time(token.created_at),
        "expires_at": _time(token.expires_at) or None,
    }
