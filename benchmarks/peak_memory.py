"""How much memory this process has and had.

On Linux from /proc/self/status: `ru_maxrss` of a fresh process starts at what its parent had when
it forked, `VmHWM` at nothing.
"""

import resource
import sys


def _status(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(field))


def resident_bytes() -> int:
    return _status("VmRSS:") if sys.platform == "linux" else peak_bytes()


def peak_bytes() -> int:
    if sys.platform == "linux":
        return _status("VmHWM:")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
