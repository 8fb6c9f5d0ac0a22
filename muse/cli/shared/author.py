"""Who the author of a commit is, where nobody says so: the person that types."""

import getpass
import subprocess

from muse.core.entry import check_new_name

_GIT_SECONDS = 10


def author_or_person(given: str, directory: str) -> str:
    """Return the author that is given; else the user of git in `directory`, else the name of the login.

    Raises `UsageError` for one that is not one line.
    """
    check_new_name("author", given.strip())
    return given.strip() or _git_user(directory) or _login() or "unknown"


def _git_user(directory: str) -> str:
    command = ["git", "config", "user.name"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, cwd=directory, capture_output=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # there may be no git
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in some containers
        return ""
