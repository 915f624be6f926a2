"""One engine per data directory."""

import fcntl
from pathlib import Path
from typing import IO

from app.errors import StartRefused

LOCK_FILE = "engine.lock"


class DirectoryLock:
    """Held while an engine runs; the kernel lets go of it however the process ends."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    def take(cls, directory: Path) -> "DirectoryLock":
        """The lock of *directory*.

        Raises:
            StartRefused: another engine has it.
        """
        file = (directory / LOCK_FILE).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            file.close()
            raise StartRefused(
                f"Another engine is using the data directory {directory}. "
                "Stop it, or give this one a directory of its own."
            ) from exc
        return cls(file)

    def release(self) -> None:
        """Let another engine start here."""
        self._file.close()
