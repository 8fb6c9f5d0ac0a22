"""`muse record`: records what was done to files, and brings in what others did."""

from typing import Annotated, Any

import typer

from muse.cli.shared.options import JsonOption, RepoOption, remember
from muse.cli.shared.output import Output, count_of
from muse.cli.shared.workdirs import (
    DirOption,
    PathsArgument,
    SessionOption,
    brought_record,
    files_directory,
    print_brought,
    print_changes,
    print_session,
    tree_paths,
)
from muse.workdir.workdir import RecordOutcome, Workdir

_SUMMARIES = 5


def record(
    ctx: typer.Context,
    *,
    paths: PathsArgument = None,
    actor: Annotated[
        str, typer.Option("--actor", metavar="NAME", help="Whose work it is.", show_default=False)
    ],
    directory: DirOption = None,
    session: SessionOption = None,
    intent: Annotated[str, typer.Option(help="The intent that it carries out.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be recorded.")] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record what was changed in files here, and bring what others did meanwhile into them.

    Texts are merged character by character, MIDI files note by note; any other file is recorded as a whole.
    A MIDI file of which notes were changed may be written once more as Muse writes it: it plays the same.
    A file that cannot be recorded is named and left as it is, the others are recorded, and the exit status
    is 1. What `.museignore` names, in the syntax of `.gitignore`, is left alone. With `--dir`,
    each actor works in a directory of its own.

    Example: muse record --actor anna

    Example: muse record song.mid notes/ --actor anna --intent "a second voice"

    Example: muse record --actor bot --dir ../bot-files
    """
    invocation = remember(ctx, repo, as_json=as_json)
    repository, output = invocation.repository(), invocation.output
    place = files_directory(repository, directory)
    wanted = tree_paths(invocation, repository, paths, place)
    workdir = Workdir(repository, place, actor, session_id=session)
    with output.progress("recording"):
        outcome = workdir.record(wanted, intent_id=intent, is_trial=dry_run)
    if output.as_json:
        output.record(_record(outcome, dry_run=dry_run))
    else:
        _print(output, outcome, repository.dag.current_branch(), dry_run=dry_run)
    if outcome.faults:
        raise typer.Exit(1)


def _record(outcome: RecordOutcome, *, dry_run: bool) -> dict[str, Any]:
    return {
        "session_id": outcome.session.session_id,
        "session_because": outcome.session.because,
        "dry_run": dry_run,
        "recorded": [
            {**one.change.as_record(), "ops": list(one.summaries), "op_ids": list(one.op_ids)}
            for one in outcome.recorded
        ],
        **brought_record(outcome),
    }


def _print(output: Output, outcome: RecordOutcome, branch: str, *, dry_run: bool) -> None:
    print_session(output, outcome.session, branch)
    ops = sum(len(one.summaries) for one in outcome.recorded)
    verb = "Would be recorded" if dry_run else "Recorded"
    print_changes(output, f"{verb}, {count_of(ops, 'op')}:", [one.change for one in outcome.recorded])
    if dry_run:
        for one in outcome.recorded:
            for summary in one.summaries[:_SUMMARIES]:
                output.line(f"    {one.change.path}: {summary}")
            if len(one.summaries) > _SUMMARIES:
                output.line(
                    f"    {one.change.path}: and {count_of(len(one.summaries) - _SUMMARIES, 'more op')}"
                )
    brought = outcome.brought
    print_brought(output, outcome)
    if not (outcome.recorded or outcome.faults or (brought and (brought.written or brought.removed))):
        output.line("Nothing to record.")
