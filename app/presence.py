"""Knowing whether other service processes use the same data directory, dead ones not counted.

Each holds a shared lock on one file for as long as it lives; the kernel lets go of it when the
process dies, however it dies. Whoever gets the lock exclusively for a moment was alone.
"""

import fcntl
import os
from pathlib import Path

FILE = "service.lock"


class Presence:
    """This process is here. `alone` says whether it was the only one when it came."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(directory / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
        except BlockingIOError:
            self.alone = False
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def leave(self) -> None:
        """This process goes."""
        os.close(self._descriptor)
