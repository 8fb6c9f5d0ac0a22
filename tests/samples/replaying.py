"""Performs a script at once, for tests."""

import os

from muse.cli.replay.replicas import Replicas
from muse.cli.replay.script import Script
from muse.core.timestamp import now_text
from muse.history.repository import Repository
from muse.session.text_replica import CodeReplica


def replayed(script: Script, directory: str) -> dict[str, CodeReplica]:
    """Perform all steps on replicas below `directory`; return them, each with everything in view."""
    repository = Repository.init(os.path.join(directory, "repository"), now=now_text(), domain="code")[0]
    with Replicas(repository, script.steps, os.path.join(directory, "replicas")) as replicas:
        for place in range(len(script.steps)):
            replicas.perform(place)
        return replicas.finish()
