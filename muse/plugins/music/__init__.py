"""The music domain: ops on a tree of files, and on the notes inside its MIDI files."""

from typing import TYPE_CHECKING

from muse.compat.lazy import lazy_names

__all__ = ["MusicPlugin", "check_op", "check_path"]

if TYPE_CHECKING:
    from muse.plugins.music.plugin import MusicPlugin, check_op, check_path

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "muse.plugins.music.plugin"))
