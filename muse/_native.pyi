# The compiled part: see `native/`. Only `muse.core.compiled` imports it, and says what each name does.

from typing import Any

VERSION: int

def __getattr__(name: str) -> Any: ...
