"""One writer at a time: a lock that lasts as long as its holder.

Guarantees: the system drops the lock with the process, however it ends, so that a lock
file that is lying about never blocks anybody. Does not give: anything on a network file
system, where such locks may be granted twice.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from fedpref.errors import OutputError, SetupError


def take_lock(path: Path) -> int:
    """Lock ``path`` for this process; returns the descriptor that holds the lock.

    Raises:
        SetupError: Another process, or another handle of this one, holds it.
        OutputError: The folder is missing or cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; choose a folder that exists and "
            "can be written"
        ) from error
    try:
        # flock and not lockf: it also keeps out a second handle of the same process.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 32).decode("ascii", "replace").strip()
        os.close(handle)
        raise SetupError(
            f"{path.with_suffix('')} is in use by process {holder or 'unknown'}; wait "
            "until it has finished: a ledger has one writer"
        ) from error
    with suppress(OSError):  # the number only helps to read the message above
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle
