"""Performs a script at once, for tests."""

import os

from muse.cli.replicas import Replicas
from muse.cli.script import Script
from muse.code_replica import CodeReplica
from muse.core.timestamp import now_text
from muse.repository import Repository


def replayed(script: Script, directory: str) -> dict[str, CodeReplica]:
    """Perform all steps on replicas below `directory`; return them, each with everything in view."""
    repository = Repository.init(os.path.join(directory, "repository"), now=now_text(), domain="code")[0]
    with Replicas(repository, script.steps, os.path.join(directory, "replicas")) as replicas:
        for place in range(len(script.steps)):
            replicas.perform(place)
        return replicas.finish()
