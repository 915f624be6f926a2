"""AWS's services as moto's server has them, and the engine told where they are."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

REGION = "us-east-1"


@pytest.fixture
def aws(moto: str, credentials: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Clients of the services, which the engine's tasks reach too."""
    credentials.setenv("AWS_ENDPOINT_URL", moto)
    made = []

    def client(service: str) -> Any:
        made.append(boto3.client(service, region_name=REGION))  # type: ignore[call-overload]
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No service has an endpoint."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_SFN"):
        monkeypatch.delenv(name, raising=False)
