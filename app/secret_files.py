"""Secrets that are made here: kept in files that only their owner may read."""

import os
import secrets
from pathlib import Path

from app.secrets_source import read_secret_file

SECRET_FILE = "secret-keys"  # noqa: S105  # a file's name
API_KEY_FILE = "api-key"


def keep_secret(path: Path, make: str | None = None) -> str:
    """The text of the file *path*, made with *make* or random text the first time, mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_secret_file(path).strip()
    with os.fdopen(descriptor, "w") as file:
        file.write((make or new_secret_key()) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return read_secret_file(path).strip()


def new_secret_key() -> str:
    """A fresh secret key for SIGNOFF_SECRET_KEYS."""
    return secrets.token_urlsafe(48)
