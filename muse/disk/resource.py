"""A resource is opened, and has to be closed."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Resource(ABC):
    """A context manager that closes itself at the end of the block, however that is left."""

    @abstractmethod
    def close(self) -> None:
        """Release what was opened. Closing twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
