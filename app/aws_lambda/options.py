"""The options of the functions, from the variables that `template.yaml` sets.

They are a few of the server's settings, by the same names; the template's parameters check them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import StartRefused

_TABLE = "dynamodb:"


@dataclass(frozen=True, slots=True)
class Options:
    """What `template.yaml` says."""

    base_url: str
    table: str
    secret_keys: str
    channel: str
    smtp_url: str
    mail_from: str
    ses_configuration_set: str | None
    default_expires_in: int
    mails_per_hour: int
    time_zone: str
    language: str
    log_level: str
    enable_output_parameters: bool
    enable_post_actions: bool
    callback_get: str


def read_options(environ: Mapping[str, str] = os.environ) -> Options:
    """The options of this function.

    Raises:
        StartRefused: names the variable that is missing.
    """
    try:
        return Options(
            base_url=environ["SIGNOFF_BASE_URL"].rstrip("/"),
            table=environ["SIGNOFF_STORE"].removeprefix(_TABLE),
            secret_keys=environ["SIGNOFF_SECRET_KEYS"],
            channel=environ.get("SIGNOFF_CHANNEL", "ses"),
            smtp_url=environ.get("SIGNOFF_SMTP_URL", ""),
            ses_configuration_set=environ.get("SIGNOFF_SES_CONFIGURATION_SET") or None,
            mail_from=environ.get("SIGNOFF_MAIL_FROM", ""),
            default_expires_in=int(environ.get("SIGNOFF_DEFAULT_EXPIRES_IN", "604800")),
            mails_per_hour=int(environ.get("SIGNOFF_MAILS_PER_HOUR", "0")),
            time_zone=environ.get("SIGNOFF_TIME_ZONE", "UTC"),
            language=environ.get("SIGNOFF_LANGUAGE", "en"),
            log_level=environ.get("SIGNOFF_LOG_LEVEL", "INFO"),
            enable_output_parameters=environ.get("SIGNOFF_ENABLE_OUTPUT_PARAMETERS") == "true",
            enable_post_actions=environ.get("SIGNOFF_ENABLE_POST_ACTIONS") == "true",
            callback_get=environ.get("SIGNOFF_CALLBACK_GET", "confirm"),
        )
    except KeyError as exc:
        raise StartRefused(f"{exc.args[0]} is not set: template.yaml sets it.") from exc
