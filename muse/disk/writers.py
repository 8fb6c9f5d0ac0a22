"""Whether somebody has a file open to write: Linux tells, as it gives a read lease on no such file.

See fcntl(2), "Leases". One that is given is released at once. A process that opens the file to write
meanwhile waits for that, and this one is told by a signal: by SIGURG, which is ignored unless asked for.
"""

import fcntl
import os
import signal


def is_open_to_write(path: str) -> bool | None:
    """Return whether some process has a file open to write; None where the system does not tell."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None  # another user's file, or a file system without leases
    finally:
        os.close(descriptor)  # which gives the lease back
    return False
