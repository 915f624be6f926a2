"""Every option, read in one place and checked at the start.

Options come from the environment (prefix ``SIGNOFF_``). A wrong one stops the start with a sentence
that names the variable and says what to set; it never repeats the value, which may be a secret.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.engine.events import RETRY_FOR_S, SOURCE
from app.errors import StartRefused
from app.local_settings import LocalSettings

PREFIX = "SIGNOFF_"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

#: the name of a DynamoDB table, or its ARN
_TABLE = re.compile(
    r"(arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/)?[A-Za-z0-9_.-]{3,255}", re.ASCII
)

Port = Annotated[int, Field(ge=0, le=65535)]


class TargetKind(StrEnum):
    """Where decisions go."""

    EMBEDDED = "embedded"  #: the bundled engine
    AWS = "aws"  #: AWS Step Functions, or what AWS_ENDPOINT_URL_SFN names


class CallbackGet(StrEnum):
    """What a GET of a callback URL does."""

    CONFIRM = "confirm"  #: a browser is asked, a program is told to send a POST
    APPLY = "apply"  #: it decides, as with the original


class ChannelKind(StrEnum):
    """How mails go out."""

    SMTP = "smtp"
    SES = "ses"  #: Amazon SES's API, or what AWS_ENDPOINT_URL_SESV2 names


class Settings(BaseSettings):
    """All options with their defaults. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: Port = 8080
    #: the engine takes any credentials; a host that others reach needs engine_open too
    engine_host: str = "127.0.0.1"
    engine_port: Port = 8083
    engine_open: bool = False
    #: how long closed executions are kept; as on AWS, 90 days
    engine_retention: Annotated[int, Field(ge=60, le=3_153_600_000)] = 7_776_000
    #: comma-separated: hosts that HTTP tasks may reach although they are not on the internet
    http_task_hosts: str = ""
    inbox_port: Port = 1025
    data_dir: Path = Path(".signoff")
    #: the address people reach this service at; None: http://HOST:PORT, on loopback only
    base_url: str | None = None

    #: newest first; or secretsmanager:ARN, ssm:NAME, file:PATH
    secret_keys: SecretStr | None = None
    #: comma-separated sha256:<hex> entries of `signoff keys new`
    api_keys: str = ""

    store: str = "sqlite"
    target: TargetKind = TargetKind.EMBEDDED
    channel: ChannelKind = ChannelKind.SMTP
    smtp_url: SecretStr | None = None
    mail_from: str | None = None
    #: of SES; None: that of the sender's identity, if it has one
    ses_configuration_set: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    #: to one address; 0 is no limit
    mails_per_hour: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    templates_dir: Path | None = None

    default_expires_in: Annotated[int, Field(ge=60, le=31_536_000)] = 604_800
    #: for recipients whose mint names none
    time_zone: str = "UTC"
    language: str = "en"

    #: comma-separated addresses and networks whose X-Forwarded-For is believed
    trusted_proxies: str = ""
    #: for each API key, and for each address that answers; 0 is no limit
    mints_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    answers_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = 0

    #: the sfn-callback-urls API; its defaults are the original's, but for the GET
    enable_output_parameters: bool = False
    enable_post_actions: bool = False
    callback_get: CallbackGet = CallbackGet.CONFIRM
    #: comma-separated: addresses of this service that calls may choose with base_url
    callback_base_urls: str = ""

    #: execution status changes go to this EventBridge bus, a name or an ARN
    event_bus: Annotated[str, Field(pattern=r"^[/.\-_A-Za-z0-9:]{1,1600}$")] | None = None
    event_source: Annotated[str, Field(pattern=r"^[/.\-_A-Za-z0-9]{1,256}$")] = SOURCE
    #: and to this address, signed
    event_webhook_url: str | None = None
    #: whsec_..., newest first; or secretsmanager:ARN, ssm:NAME, file:PATH
    event_webhook_secrets: SecretStr | None = None
    event_retry_for: Annotated[int, Field(ge=1, le=1_209_600)] = RETRY_FOR_S

    log_level: str = "INFO"
    demo_autostart: bool = True
    account: Annotated[str, Field(pattern=r"^\d{12}$")] = "123456789012"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] = "us-east-1"
    #: what Step Functions Local calls its own; not SIGNOFF_LOCAL, but variables by their names
    local: LocalSettings = Field(default_factory=LocalSettings)

    @field_validator("base_url")
    @classmethod
    def _absolute_base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        _check_base(value)
        return value.rstrip("/")

    @field_validator("callback_base_urls")
    @classmethod
    def _absolute_callback_base_urls(cls, value: str) -> str:
        for url in _entries(value):
            _check_base(url)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _known_proxies(cls, value: str) -> str:
        try:
            for entry in _entries(value):
                ip_network(entry)
        except ValueError as exc:
            raise ValueError("addresses and networks such as 10.0.0.0/8 are needed") from exc
        return value

    @field_validator("event_webhook_url")
    @classmethod
    def _safe_webhook(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = _address(value, "https://hooks.example.com/signoff")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("events must go to https:// (http is for 127.0.0.1 only)")
        return value

    @field_validator("store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        kind, _, table = value.partition(":")
        if value != "sqlite" and (kind != "dynamodb" or not _TABLE.fullmatch(table)):
            raise ValueError("sqlite or dynamodb:TABLE is needed, a table's name or ARN")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, ZoneInfoNotFoundError) as exc:
            raise ValueError("an IANA name such as Europe/Berlin is needed") from exc
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("DEBUG, INFO, WARNING or ERROR is needed")
        return value.upper()

    @model_validator(mode="after")
    def _closed(self) -> Self:
        if self.engine_host not in LOOPBACK and not self.engine_open:
            raise ValueError(
                "SIGNOFF_ENGINE_HOST is an address that others reach, and the engine takes any "
                "credentials. Set SIGNOFF_ENGINE_OPEN=1 if only those reach it who may do "
                "everything with it"
            )
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.base_url is None and self.host not in LOOPBACK:
            raise ValueError(
                "SIGNOFF_BASE_URL is needed: the https:// address at which people reach this host"
            )
        return self

    @property
    def table(self) -> str | None:
        """The DynamoDB table of the approvals; None if they are in a file."""
        return self.store.partition(":")[2] or None

    @property
    def endpoints(self) -> dict[str, str]:
        """Where services answer that the engine calls, by boto3's names.

        Step Functions Local is told its own address for nested executions; here they need none.
        """
        given = self.local.endpoints
        nested = urlsplit(given.get("stepfunctions", ""))
        if nested.hostname in LOOPBACK and nested.port == self.engine_port:
            del given["stepfunctions"]
        return given

    @property
    def private_hosts(self) -> frozenset[str]:
        """Hosts that HTTP tasks may reach although they are not on the internet."""
        return frozenset(host.lower() for host in _entries(self.http_task_hosts))

    @property
    def more_base_urls(self) -> tuple[str, ...]:
        """Where callback URLs may begin beside `public_url`."""
        return tuple(url.rstrip("/") for url in _entries(self.callback_base_urls))

    @property
    def public_url(self) -> str:
        """The address that links begin with; never taken from a request."""
        if self.base_url is not None:
            return self.base_url
        return f"http://{authority(self.host, self.port)}"


def authority(host: str, port: int) -> str:
    """Host and port as they stand in an address: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _entries(value: str) -> list[str]:
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def _check_base(url: str) -> None:
    """Accept an address that people's links may begin with (ValueError says what is needed)."""
    parts = _address(url, "https://signoff.example.com")
    if parts.query:
        raise ValueError("an address such as https://signoff.example.com is needed")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("people's links must be https:// (http is for 127.0.0.1 only)")


def _address(value: str, example: str) -> SplitResult:
    """The parts of an http or https address without user and fragment."""
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_fine = urlsplit(""), False
    clean = not (parts.fragment or parts.username or parts.password)
    plain = not any(character <= " " or character in "\\\"'<>" for character in value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not clean:
        raise ValueError(f"an address such as {example} is needed")
    if not port_is_fine or not plain:
        raise ValueError(f"an address such as {example} is needed")
    return parts


def load_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The options of this process; *given* ones, such as of a command line, before the variables.

    Raises:
        StartRefused: names the first wrong variable and what it needs.
    """
    given = given or {}
    try:
        local = LocalSettings(**{k: v for k, v in given.items() if k in LocalSettings.model_fields})
        mine = {k: v for k, v in given.items() if k in Settings.model_fields}
        return Settings(**mine, local=local)
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        reason = fault["msg"].removeprefix("Value error, ").rstrip(".")
        if not fault["loc"]:
            raise StartRefused(reason + ".") from exc
        name = str(fault["loc"][0]).upper()
        if exc.title == Settings.__name__:
            name = PREFIX + name
        raise StartRefused(f"{name} cannot be used: {reason}.") from exc


def revealed(secret: SecretStr | None) -> str | None:
    """The text of a secret setting; None if it is not set."""
    return secret.get_secret_value() if secret else None
