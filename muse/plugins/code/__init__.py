"""The code domain: text files that many edit at once, character by character. See `docs/code_domain.md`."""

from muse.plugins.code.plugin import CodePlugin

__all__ = ["CodePlugin"]
