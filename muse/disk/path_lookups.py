"""Look-ups say what is at a path. Nothing there is an answer; an `OSError` becomes a `StorageError`."""

import os
import stat

from muse.disk.system_calls import Paths, storage_error


class Lookups(Paths):
    """Answers what is at a path. Symbolic links are not followed."""

    def look(self, path: str) -> os.stat_result | None:
        """Return the status of what is at `path`; None if nothing is."""
        try:
            return self.path_status(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(error, path, "look at") from error

    def exists(self, path: str) -> bool:
        """Tell whether something is at a path; a link that leads nowhere is something."""
        return self.look(path) is not None

    def is_file(self, path: str) -> bool:
        """Tell whether a regular file is at a path, not a link to one."""
        return self.file_size(path) is not None

    def is_directory(self, path: str) -> bool:
        """Tell whether a directory is at a path, not a link to one."""
        found = self.look(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def file_size(self, path: str) -> int | None:
        """Return the size of a regular file in bytes; None if nothing, or something else, is at `path`."""
        found = self.look(path)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def list_directory(self, path: str) -> list[tuple[str, bool]]:
        """Return (name, is a directory) of each entry, sorted by name; empty without such a directory."""
        try:
            return sorted(self.names(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise storage_error(error, path, "list") from error

    def has_fewer_directories(self, path: str, count: int) -> bool:
        """Return whether the links of a directory prove that fewer than `count` directories are in it.

        Each directory inside one adds a link to the two that it begins with; where a file system does not
        count them, it shows fewer than two, and nothing is proven.
        """
        found = self.look(path)
        return found is None or 2 <= found.st_nlink < count + 2

    def folds_case(self, path: str) -> bool:
        """Return whether the names beside `path`, which is there, mean the same in upper case."""
        directory, name = os.path.split(path)
        found, twin = self.look(path), self.look(os.path.join(directory, name.upper()))
        return found is not None and twin is not None and os.path.samestat(found, twin)
