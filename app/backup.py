"""A copy of the data directory's databases, taken while the service runs.

Each file is copied as it was at one instant. Approvals come before the engine: a copy in which the
engine is ahead is put right by its history when it is started, for the engine is the judge; one in
which it lags behind could have approvals that were told to an execution that forgot it.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from app.errors import StartRefused

#: in this order (see above); the last is the demo's mailbox
DATABASES = ("approvals.sqlite3", "engine.sqlite3", "inbox.sqlite3")


def back_up(data_dir: Path, to: Path) -> Sequence[Path]:
    """The copies made in the directory *to*, durable; nobody else can read them.

    Raises:
        StartRefused: there is nothing to copy, or no place for it; nothing of ours is overwritten.
    """
    found = [data_dir / name for name in DATABASES if (data_dir / name).exists()]
    if not found:
        raise StartRefused(f"There is no database in {data_dir}. Set SIGNOFF_DATA_DIR.")
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(to.iterdir()):
            raise StartRefused(f"The directory {to} is not empty. Name another one.")
        copies = [_copy(path, to / path.name) for path in found]
        _sync(to)
    except OSError as exc:
        raise StartRefused(f"The backup cannot be written to {to} ({exc.strerror}).") from exc
    return copies


def _copy(path: Path, to: Path) -> Path:
    """*path*, whole, under the name *to*; until it is whole it has another one."""
    part = to.with_suffix(".part")
    part.touch(mode=0o600, exist_ok=False)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(part),))
    except sqlite3.Error as exc:
        part.unlink()
        raise StartRefused(f"The database {path} cannot be copied ({exc}).") from exc
    _sync(part)
    return part.rename(to)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
