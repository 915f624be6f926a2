"""Where the secret keys come from: the variable itself, a file, Secrets Manager or SSM."""

import os
import secrets
from pathlib import Path

from app.errors import StartRefused

SECRET_FILE = "secret-keys"  # noqa: S105  # a file's name
API_KEY_FILE = "api-key"


def read_secret_keys(setting: str | None, variable: str = "SIGNOFF_SECRET_KEYS") -> tuple[str, ...]:
    """The keys that *setting*, the value of *variable*, names, newest first.

    Raises:
        StartRefused: they cannot be read. (No keys at all are refused by the key ring.)
    """
    if not setting:
        return ()
    kind, _, rest = setting.partition(":")
    if kind == "file":
        return _split(_read_file(Path(rest)))
    if kind == "secretsmanager":
        return _split(_ask_aws("secretsmanager", rest, variable))
    if kind == "ssm":
        return _split(_ask_aws("ssm", rest, variable))
    return _split(setting)


def keep_secret(path: Path, make: str | None = None) -> str:
    """The text of the file *path*, made with *make* or random text the first time, mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_file(path).strip()
    with os.fdopen(descriptor, "w") as file:
        file.write((make or new_secret_key()) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return _read_file(path).strip()


def new_secret_key() -> str:
    """A fresh secret key for SIGNOFF_SECRET_KEYS."""
    return secrets.token_urlsafe(48)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", ",").split(",") if part.strip())


def _read_file(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise StartRefused(
            f"The file {path} with the secret keys cannot be read. Make it readable for this user."
        ) from exc


def _ask_aws(service: str, name: str, variable: str) -> str:
    # Most processes have their keys in a variable or a file, and start sooner without boto3.
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        if service == "ssm":
            answer = boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)
            return str(answer["Parameter"]["Value"])
        return str(boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    except (BotoCoreError, ClientError, KeyError) as exc:
        raise StartRefused(
            f"{variable} names a {service} secret that cannot be read "
            f"({type(exc).__name__}). Check its name, the region and this process's permissions."
        ) from exc
