"""A boto3 client by the standard AWS variables."""

import os
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from app.errors import StartRefused


def boto_client(service: str, config: Config, *, needed_by: str) -> Any:
    """A client of *service*.

    Raises:
        StartRefused: the variables are incomplete; *needed_by* begins the sentence.
    """
    try:
        # boto3 itself reads AWS_DEFAULT_REGION only; all other SDKs read AWS_REGION.
        region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
        # A session of its own: the default one keeps the credentials of whoever came first.
        return Session().client(service, region_name=region, config=config)  # type: ignore[call-overload]
    except (BotoCoreError, ValueError) as exc:
        raise StartRefused(
            f"{needed_by} cannot be used: set AWS_REGION, and credentials in one of the ways that "
            "boto3 knows."
        ) from exc
