"""Wait for what comes without an event that could be awaited."""

import time
from typing import Any


def wait_until(condition: Any, seconds: float = 30) -> None:
    """Look again and again until `condition()` holds; fail if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)
