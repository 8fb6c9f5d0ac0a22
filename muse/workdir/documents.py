"""Keeps the documents of texts that were recorded last, so that their next save does not read them again."""

from muse.plugins.code.document import TextDocument

_KEPT = 8
_CHARACTERS = 1 << 24
"""So much text is kept at most, as a document takes several times the memory of its text."""


class Documents:
    """The documents of a few texts, each under the name of its state, which it still has."""

    def __init__(self) -> None:
        self._kept: dict[str, TextDocument] = {}

    def take(self, part: str) -> TextDocument | None:
        """Return a document, for the caller alone: it may be edited, and is not kept any more."""
        return self._kept.pop(part, None)

    def keep(self, part: str, document: TextDocument) -> None:
        """Keep a document that nobody edits from now on; of all, the oldest go where they are too many."""
        self._kept.pop(part, None)
        self._kept[part] = document
        while len(self._kept) > _KEPT or self._characters() > _CHARACTERS:
            self._kept.pop(next(iter(self._kept)))

    def _characters(self) -> int:
        return sum(len(one.text) for one in self._kept.values())
