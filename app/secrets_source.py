"""Where the secret keys come from: the variable itself, a file, Secrets Manager or SSM."""

import time
from typing import TYPE_CHECKING

from app.aws_json import (
    PARAMETER_STORE,
    SECRETS_MANAGER,
    AwsApi,
    AwsJsonClient,
    AwsRefused,
    AwsSilent,
    find_credentials,
    find_region,
)
from app.errors import StartRefused
from app.json_value import Json

if TYPE_CHECKING:
    from pathlib import Path

#: with all pauses and attempts less than a click on Lambda may take
_CONNECT_S, _READ_S = 1.0, 2.0
_PAUSES_S = (0.1, 0.4)
_TOO_MUCH = "ThrottlingException"


def read_secret_keys(setting: str | None, variable: str = "SIGNOFF_SECRET_KEYS") -> tuple[str, ...]:
    """The keys that *setting*, the value of *variable*, names, newest first.

    Raises:
        StartRefused: they cannot be read. (No keys at all are refused by the key ring.)
    """
    if not setting:
        return ()
    kind, _, rest = setting.partition(":")
    if kind == "file":
        return _split(read_secret_file(rest))
    if kind == "secretsmanager":
        answer = _ask_aws(SECRETS_MANAGER, "GetSecretValue", {"SecretId": rest}, variable)
        return _split(str(answer.get("SecretString", "")))
    if kind == "ssm":
        asked = {"Name": rest, "WithDecryption": True}
        answer = _ask_aws(PARAMETER_STORE, "GetParameter", asked, variable)
        return _split(str(answer["Parameter"]["Value"]))
    return _split(setting)


def read_secret_file(path: "str | Path") -> str:
    """The text of the file *path*.

    Raises:
        StartRefused: it cannot be read.
    """
    try:
        with open(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise StartRefused(
            f"The file {path} with the secret keys cannot be read. Make it readable for this user."
        ) from exc


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", ",").split(",") if part.strip())


def _ask_aws(api: AwsApi, operation: str, asked: Json, variable: str) -> Json:
    client = AwsJsonClient(
        api,
        region=find_region(),
        credentials=find_credentials(),
        connect_s=_CONNECT_S,
        read_s=_READ_S,
    )
    try:
        return _patiently(client, operation, asked)
    except (AwsRefused, AwsSilent) as exc:
        why = exc.code if isinstance(exc, AwsRefused) else exc.reason
        raise StartRefused(
            f"{variable} names a {api.signing_name} secret that cannot be read ({why}). "
            "Check its name, the region and this process's permissions."
        ) from exc
    finally:
        client.close()


def _patiently(client: AwsJsonClient, operation: str, asked: Json) -> Json:
    """The answer, asked for up to three times if there is none, a 5xx, or too much is asked."""
    for pause_s in _PAUSES_S:
        try:
            return client.call(operation, asked)
        except AwsRefused as refusal:
            if refusal.status < 500 and refusal.code != _TOO_MUCH:
                raise
        except AwsSilent:
            pass
        time.sleep(pause_s)
    return client.call(operation, asked)
