"""The history of a git repository as a script: each commit a step, its author the actor.

The line of first parents is followed, from the oldest commit to HEAD: what a merge brought into that line is
one step of the author of the merge. So the script gives exactly the files of HEAD. Symbolic links and
submodules are left out; which files may be run is told beside the script.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from muse.cli.replay.script import CONDUCTOR, Change, Create, Move, Remove, Script, ScriptStep, Write
from muse.core.entry import as_new_name
from muse.errors import MuseError, UsageError
from muse.plugins.code.ops import is_path

COMMITS = 200
_CONTENT_BYTES = 256 << 20
_TIMEOUT_SECONDS = 120
_NAME_LENGTH = 100
_PLAIN_FILE = re.compile("100[0-7]{3}")
# Nothing that the settings of the repository or its user say may run a program, fetch, or change the output.
_GIT = (
    *("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never"),
    *("-c", "log.showRoot=true", "-c", "log.showSignature=false"),
)
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_LOG = (
    *("log", "-z", "--first-parent", "-m", "--raw", "-r", "-M", "--no-abbrev", "--no-color"),
    *("--no-ext-diff", "--no-textconv", "--encoding=UTF-8", "--format=%x01%H %P%x00%aN%x00%aE%x00%aI%x00%B"),
)


class GitError(MuseError):
    """Git could not be run, or could not answer."""


@dataclass(frozen=True, slots=True)
class _Difference:
    """What a commit did to a file: the blob it has now, "" if none; where it was before, "" if here."""

    path: str
    blob: str
    from_path: str
    may_run: bool


@dataclass(frozen=True, slots=True)
class _Commit:
    commit_id: str
    parents: list[str]
    author: str
    email: str
    at: str
    message: str
    differences: list[_Difference]


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """What git says of the commit that a step of the script comes from.

    `executable` are the files that may be run after it, `is_merge` says that it joined other commits.
    """

    step: int
    commit_id: str
    author: str
    at: str
    message: str
    executable: frozenset[str]
    is_merge: bool


@dataclass(frozen=True, slots=True)
class GitHistory:
    """A history as a script, and its commits; `left_out` are paths that are not replayed.

    `joined` counts by author the commits that merges brought in: they are in the step of the merge.
    """

    script: Script
    commits: tuple[CommitFacts, ...]
    left_out: tuple[str, ...]
    joined: Counter[str]


def read_git_history(directory: str, prefix: str = "", limit: int | None = None) -> Script:
    """Make a script of the newest `limit` commits of HEAD; see `read_git_commits`."""
    return read_git_commits(directory, prefix, limit).script


def read_git_commits(directory: str, prefix: str = "", limit: int | None = None) -> GitHistory:
    """Read the newest `limit` commits of HEAD; the files are put below `prefix`.

    Raises `UsageError` if this is not a git repository or has no commit, `GitError` if git is not installed,
    fails, or has more data than is replayed.
    """
    git = _Git(directory, prefix)
    commits = git.commits(limit or COMMITS)
    files = git.tree(commits[0].parents[0]) if commits[0].parents else {}
    may_run = set(git.may_run)
    brought = {each.blob for commit in commits for each in commit.differences}
    contents = git.contents(brought.union(files.values()) - {""})
    first = [Create(prefix + path, contents[blob]) for path, blob in files.items()]
    steps = [ScriptStep(CONDUCTOR, (), tuple(first))] if first else []
    facts: list[CommitFacts] = []
    for commit in commits:
        changes = tuple(_changes(files, commit.differences, prefix, contents))
        may_run -= {path for each in commit.differences for path in (each.path, each.from_path)}
        may_run |= {each.path for each in commit.differences if each.may_run and each.blob}
        executable = frozenset(prefix + path for path in may_run & files.keys())
        facts.append(_facts(commit, len(steps), executable))
        steps.append(ScriptStep(commit.author, (len(steps) - 1,) if steps else (), changes))
    remarks = [f"{len(commits)} commits of {directory}, from first parent to first parent"]
    if git.left_out:
        names = sorted(map(ascii, git.left_out))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        remarks.append(f"links, submodules and unusable names are left out: {', '.join(names[:3])}{more}")
    wanted = {prefix + path: contents[blob] for path, blob in files.items()}
    script = Script(os.path.basename(directory) or "git", tuple(steps), wanted, tuple(remarks))
    return GitHistory(script, tuple(facts), tuple(sorted(map(ascii, git.left_out))), git.joined(commits))


def _facts(commit: _Commit, step: int, executable: frozenset[str]) -> CommitFacts:
    author = f"{commit.author} <{commit.email}>" if commit.email else commit.author
    is_merge = len(commit.parents) > 1
    return CommitFacts(step, commit.commit_id, author, commit.at, commit.message, executable, is_merge)


def _changes(
    files: dict[str, str], differences: list[_Difference], prefix: str, contents: Mapping[str, bytes]
) -> Iterator[Change]:
    """Yield the changes that a commit made to `files` (path -> blob), and bring `files` up to date."""
    moves = {each.path: each.from_path for each in differences if each.blob and each.from_path in files}
    gone = [each.path for each in differences if not each.blob]
    gone += [each.from_path for each in differences if each.from_path not in moves.values()]
    for path in gone:
        if files.pop(path, ""):
            yield Remove(prefix + path)
    while free := [path for path in moves if path not in files]:
        for path in free:
            source = moves.pop(path)
            files[path] = files.pop(source)
            yield Move(prefix + source, prefix + path)
    for source in moves.values():  # files that change places with one another
        del files[source]
        yield Remove(prefix + source)
    for each in differences:
        if each.blob and files.get(each.path) != each.blob:
            kind = Write if each.path in files else Create
            files[each.path] = each.blob
            yield kind(prefix + each.path, contents[each.blob])


def _name_of(author: str) -> str:
    return as_new_name(author[:_NAME_LENGTH]) or "unknown"


def _may_run(mode: str) -> bool:
    return bool(int(mode, 8) & 0o100)


class _Git:
    """Asks git about one repository. `left_out` gathers paths that are not plain files with usable names.

    `may_run` has the files that may be run in the tree that was read.
    """

    def __init__(self, directory: str, prefix: str) -> None:
        self._directory = directory
        self._prefix = prefix
        self.left_out: set[str] = set()
        self.may_run: set[str] = set()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            **_ENVIRONMENT,
            # A directory inside a repository is not that repository.
            "GIT_CEILING_DIRECTORIES": os.path.dirname(directory),
        }
        if self._run(("rev-parse", "--git-dir")) is None:
            raise UsageError(
                f"{directory} is not a git repository, or git refuses it: name the top directory of one"
            )
        if self._run(("rev-parse", "--verify", "--quiet", "HEAD^{commit}")) is None:
            raise UsageError(
                f"the git repository {directory} has no commit at HEAD: there is nothing to replay"
            )

    def commits(self, limit: int) -> list[_Commit]:
        """Return the newest `limit` commits on the line of first parents, the oldest first."""
        tokens = iter(self._ask((*_LOG, f"--max-count={limit}", "HEAD")).split(b"\0"))
        found: list[_Commit] = []
        for token in tokens:
            if token.startswith(b"\1"):
                commit_id, *parents = token[1:].decode().split(" ")
                author, email, at, message = (
                    next(tokens).decode("utf-8", "replace").strip() for _ in range(4)
                )
                author = _name_of(author)
                known = [parent for parent in parents if parent]
                found.append(_Commit(commit_id, known, author, email, at, message, []))
            elif token.strip().startswith(b":"):
                found[-1].differences.append(self._difference(token, tokens))
        return found[::-1]

    def joined(self, commits: Sequence[_Commit]) -> Counter[str]:
        """Return how many commits of each author the merges among `commits` brought into their line."""
        on_the_line = {commit.commit_id for commit in commits}
        before = [f"^{parent}" for parent in commits[0].parents]
        told = self._ask(("log", "-z", "--encoding=UTF-8", "--format=%H %aN", commits[-1].commit_id, *before))
        pairs = (one.decode("utf-8", "replace").partition(" ") for one in told.split(b"\0") if one)
        return Counter(_name_of(name) for commit_id, _, name in pairs if commit_id not in on_the_line)

    def _difference(self, token: bytes, paths: Iterator[bytes]) -> _Difference:
        """Read one line of raw difference: `:old-mode new-mode old-blob new-blob status`, then its paths."""
        _, mode, _, blob, status = token.strip().decode().split(" ")
        from_path = self._path(next(paths)) if status.startswith("R") else ""
        path = self._path(next(paths))
        return _Difference(path, self._plain(path, mode, blob), from_path, _may_run(mode))

    def tree(self, commit: str) -> dict[str, str]:
        """Return path -> blob of the files of a commit."""
        files = {}
        for line in self._ask(("ls-tree", "-r", "-z", "--full-tree", commit)).split(b"\0")[:-1]:
            facts, _, name = line.partition(b"\t")
            mode, _, blob = facts.decode().split(" ")
            path = self._path(name)
            if self._plain(path, mode, blob):
                files[path] = blob
                if _may_run(mode):
                    self.may_run.add(path)
        return files

    @staticmethod
    def _path(name: bytes) -> str:
        return name.decode("utf-8", "surrogateescape")

    def _plain(self, path: str, mode: str, blob: str) -> str:
        """Give back `blob` if it is a plain file with a name that can be used, else ""."""
        if mode == "000000":
            return ""
        if _PLAIN_FILE.fullmatch(mode) and is_path(self._prefix + path):
            return blob
        self.left_out.add(path)
        return ""

    def contents(self, blobs: Collection[str]) -> dict[str, bytes]:
        """Return blob -> bytes; `GitError` if they are too many."""
        sizes = self._ask(("cat-file", "--batch-check=%(objecttype) %(objectsize)"), blobs)
        lines = [line.split() for line in sizes.splitlines()]
        if any(line[0] != b"blob" for line in lines):
            raise GitError(
                f"the git repository {self._directory} lacks files of its commits: run 'git fetch'"
            )
        if (total := sum(int(line[1]) for line in lines)) > _CONTENT_BYTES:
            raise GitError(
                f"the files of these commits have {total} bytes, of which at most {_CONTENT_BYTES} are "
                "replayed: take fewer with --limit"
            )
        data = self._ask(("cat-file", "--batch=%(objectname) %(objectsize)"), blobs)
        found, place = {}, 0
        while place < len(data):
            end = data.index(b"\n", place)
            name, size = data[place:end].split()
            found[name.decode()] = data[end + 1 : end + 1 + int(size)]
            place = end + 2 + int(size)  # and a newline
        return found

    def _ask(self, arguments: Iterable[str], lines: Iterable[str] = ()) -> bytes:
        answer = self._run(arguments, lines)
        if answer is None:
            raise GitError(f"git could not read {self._directory}: run 'git fsck' there")
        return answer

    def _run(self, arguments: Iterable[str], lines: Iterable[str] = ()) -> bytes | None:
        """Run git, `lines` as its input; None if it failed."""
        try:
            done = subprocess.run(  # noqa: S603 - no shell; what varies is a number or git's own ids
                (*_GIT, "-C", self._directory, *arguments),
                input="".join(f"{line}\n" for line in lines).encode(),
                capture_output=True,
                env=self._environment,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise GitError(
                "git is not installed, or not on the PATH: install it to replay a repository"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise GitError(
                f"git took more than {_TIMEOUT_SECONDS} seconds: take fewer commits with --limit"
            ) from error
        return done.stdout if done.returncode == 0 else None
