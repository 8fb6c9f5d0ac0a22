"""The document of pycrdt (Yjs in Rust), without the wrapper around it. Pure.

The wrapper costs more than an edit, and to import it takes ten times as long as what is below it. To import
this module raises `MuseError`, saying what to do, where the library is missing.
"""

from typing import TYPE_CHECKING

from muse.compat.lazy import import_inner
from muse.errors import MuseError

if TYPE_CHECKING:
    from pycrdt._pycrdt import Doc, Transaction
else:
    try:
        inner = import_inner("pycrdt", "_pycrdt")
        Doc, Transaction = inner.Doc, inner.Transaction
    except ImportError as error:
        raise MuseError(
            "text is merged by pycrdt, which is not here: pip install 'muse-oplog[code]'"
        ) from error

__all__ = ["Doc", "Transaction"]
