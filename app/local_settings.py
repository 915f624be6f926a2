"""The variables of AWS Step Functions Local, under their own names.

They mean what they mean there, so that its users' scripts and env files can be kept: endpoints of
the services that workflows call, the scale of waiting, the mock file. An empty one is not set, as
the documented env file has them. Account and region are `Settings`': the engine alone takes them
from AWS_ACCOUNT_ID and AWS_DEFAULT_REGION too.

Source: AWS Step Functions Developer Guide, "Step Functions Local configuration options".
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import StartRefused


def _address(value: str) -> str:
    sentence = "an address such as http://localhost:3001 is needed"
    try:
        parts = urlsplit(value)
        fine = parts.port is None or parts.port > 0
    except ValueError as exc:
        raise ValueError(sentence) from exc
    if not fine or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(sentence)
    return value


Address = Annotated[str, AfterValidator(_address)]

#: variable -> the service of boto3 whose endpoint it names
_SERVICES: Mapping[str, str] = {
    "lambda_endpoint": "lambda",
    "batch_endpoint": "batch",
    "dynamodb_endpoint": "dynamodb",
    "ecs_endpoint": "ecs",
    "glue_endpoint": "glue",
    "sage_maker_endpoint": "sagemaker",
    "sqs_endpoint": "sqs",
    "sns_endpoint": "sns",
    "step_functions_endpoint": "stepfunctions",
}


class LocalSettings(BaseSettings):
    """Options that Step Functions Local has; each is the variable of that name in capitals."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    lambda_endpoint: Address | None = None
    batch_endpoint: Address | None = None
    dynamodb_endpoint: Address | None = None
    ecs_endpoint: Address | None = None
    glue_endpoint: Address | None = None
    sage_maker_endpoint: Address | None = None
    sqs_endpoint: Address | None = None
    sns_endpoint: Address | None = None
    step_functions_endpoint: Address | None = None
    #: what Wait states and pauses before retries are multiplied with
    wait_time_scale: Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)] = 1.0
    #: mocked answers of tasks
    sfn_mock_config: Path | None = None

    @property
    def endpoints(self) -> dict[str, str]:
        """Where services answer, by boto3's names; those that AWS_ENDPOINT_URL_* may name are not
        here."""
        given = {service: getattr(self, name) for name, service in _SERVICES.items()}
        return {service: url for service, url in given.items() if url is not None}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in a file such as ``aws-stepfunctions-local-credentials.txt``, read as Docker
    reads it: ``NAME=value`` lines, nothing is unquoted; a name alone stands for the process' own.

    Raises:
        StartRefused: the file cannot be read, or a line is neither.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise StartRefused(f"The env file {path} cannot be read ({reason}).") from exc
    variables: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.lstrip("\ufeff \t")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not name or any(c.isspace() for c in name) or "\0" in text:
            raise StartRefused(f"Line {number} of the env file {path} is not NAME=value.")
        if equals:
            variables[name] = value
        elif name in os.environ:
            variables[name] = os.environ[name]
    return variables
