"""`muse demo`: agents write Bach's prelude together, live, and all of it is there in the end."""

import os
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Annotated

import typer

from muse.cli.demo.prelude import TITLE
from muse.cli.demo.score import (
    AGENTS,
    PATH,
    REVISER,
    Reviser,
    agent_edits,
    base_file,
    reviser_edits,
    score_notes,
)
from muse.cli.shared.options import JsonOption, RepoOption, a_number, remember
from muse.cli.stage.audience import audience_for
from muse.cli.stage.performance import perform
from muse.cli.stage.places import free_directory, free_session_id, open_or_make, require_free_paths
from muse.cli.stage.players import DOMAIN, Answer, Job, Part, Play
from muse.cli.stage.report import NoteComparison, conclude, present
from muse.cli.stage.served import serving
from muse.disk.storage import LOCAL
from muse.plugins.music.midi_file import Note, notes_of
from muse.plugins.music.notes import insert_file
from muse.session.live import LiveSession

_COMMIT_SECONDS = 1.0
_DIRECTORY = "muse-demo"
_SESSION = "prelude"


def demo(
    ctx: typer.Context,
    *,
    rate: Annotated[
        float, typer.Option(min=1, max=10_000, callback=a_number, help="Edits a second of each agent.")
    ] = 120,
    serve: Annotated[
        bool, typer.Option("--serve", help="Let the agents work through a server, 'muse serve'.")
    ] = False,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write Bach's prelude live: four agents, a reviser.

    Each of them is a process of its own and makes its edits one at a time; a commit carries them into history
    every second. It ends with a report of each actor's work, the history, and a check of every note against
    the score. Without --repo, the repository is a new directory here: muse-demo, or muse-demo-2 and so on.

    Example: muse demo

    Example: muse demo --serve
    """
    invocation = remember(ctx, repo, as_json=as_json)
    output = invocation.output
    repository = open_or_make(invocation.repo or free_directory(_DIRECTORY), DOMAIN)
    require_free_paths(repository, [PATH], "name another directory with --repo, or leave it out")
    session_id = free_session_id(repository, _SESSION)
    if not output.as_json:
        output.line(f"{TITLE}, in {repository.root}, session {session_id}")
    with LiveSession(repository.root, session_id, author="muse demo") as live:
        live.edit("conductor", DOMAIN, insert_file(PATH, base_file()))
        with audience_for(output) as audience, _server(repository.root, wanted=serve) as url:
            jobs = [replace(job, url=url) for job in _jobs(repository.root, session_id, rate)]
            performance = perform(live, jobs, title=TITLE, commit_seconds=_COMMIT_SECONDS, audience=audience)
        present(conclude(live, performance, _compared(repository.root)), output)


def _server(root: str, *, wanted: bool) -> AbstractContextManager[str]:
    return serving(root) if wanted else nullcontext("")


def _jobs(root: str, session_id: str, rate: float) -> list[Job]:
    jobs = []
    for agent in range(AGENTS):
        part = Part(f"agent-{agent + 1}", agent_edits(agent))
        jobs.append(Job(root, session_id, {part.actor_id: len(part.ops)}, Play((part,), rate)))
    jobs.append(Job(root, session_id, {REVISER: reviser_edits()}, Answer(REVISER, Reviser)))
    return jobs


def _compared(root: str) -> NoteComparison:
    found = Counter(notes_of(LOCAL.read_bytes(os.path.join(root, PATH))))
    return compare_notes(PATH, Counter(score_notes()), found)


def compare_notes(
    path: str, wanted: Counter[tuple[int, Note]], found: Counter[tuple[int, Note]]
) -> NoteComparison:
    """Count the notes, each with its track, that are in both a wanted and a found score."""
    return NoteComparison(path, (wanted & found).total(), wanted.total(), found.total())
