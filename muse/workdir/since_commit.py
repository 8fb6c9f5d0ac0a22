"""Which files of a directory are not as a commit has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from muse.core.content_id import object_id
from muse.errors import MuseError
from muse.plugins.op_fields import NAMES_DIRECTORY
from muse.workdir.base import Base
from muse.workdir.scan import Directory, FileFault


@dataclass(slots=True)
class SinceCommit:
    """Path -> content of the files that are not as the commit has them; and the paths that are gone.

    `faults` are files that are left out, and why. `known` are all paths, here and in the commit.
    """

    contents: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)
    known: set[str] = field(default_factory=set)


def since_commit(directory: Directory, base: Base, manifest: Mapping[str, str]) -> SinceCommit:
    """Compare the files of a directory with a commit's, path -> object id, reading as little as needed."""
    committed = {path: one for path, one in manifest.items() if not path.startswith(f"{NAMES_DIRECTORY}/")}
    scan = directory.scan({**base.files, **committed})
    found = SinceCommit(faults=list(scan.faults), known={*committed, *scan.files})
    for path, status in scan.files.items():
        row = base.files.get(path)
        if row is not None and row.is_version(status, base.taken_ns) and row.digest == committed.get(path):
            continue
        try:
            content, _ = directory.read(path)
        except MuseError as error:
            found.faults.append(FileFault(path, str(error)))
            continue
        if object_id(content) != committed.get(path):
            found.contents[path] = content
    found.gone = [path for path in committed if path not in scan.files and not scan.is_unknown(path)]
    return found
