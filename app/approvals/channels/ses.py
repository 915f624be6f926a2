"""Mail by Amazon SES (API version 2), as the very bytes that SMTP would take.

SES has no token that makes a call count once, so nothing is repeated here but what it certainly
did not take: calls that went too fast for the account's rate. Click tracking is switched off for
each mail, because it would send every signed link through a redirect that others can follow.
"""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from app.approvals.channels import ChannelDown, MailDeferred, MailRefused, OutgoingMail
from app.approvals.plain_text import clip, one_line
from app.boto_client import boto_client

T = TypeVar("T")

WIDTH = 8
CONNECT_S = 3
READ_S = 10
#: so often a call that went too fast is made again, after up to 0.5, 1, 2 seconds
TOO_FAST_RETRIES = 3
TOO_FAST_PAUSE_S = 0.5

_TOO_FAST = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling"})
#: reasons for which no mail would get out, in words that say what to mend
_DOWN = {
    "AccountSuspendedException": "SES has suspended this account's sending.",
    "SendingPausedException": "SES has paused sending for this account or configuration set.",
    "MailFromDomainNotVerifiedException": "The sender's custom MAIL FROM domain is not verified.",
    "NotFoundException": "SES does not know the configuration set: check "
    "SIGNOFF_SES_CONFIGURATION_SET.",
    "AccessDeniedException": "This role may not send mail: allow it ses:SendEmail on the identity "
    "and the configuration set.",
    "UnrecognizedClientException": "SES does not know these credentials.",
    "InvalidClientTokenId": "SES does not know these credentials.",
    "ExpiredTokenException": "The AWS credentials have expired.",
    "ExpiredToken": "The AWS credentials have expired.",
    "SignatureDoesNotMatch": "SES does not accept these credentials.",
}
_NEVER_SENT = (EndpointConnectionError, ConnectTimeoutError)


class SesChannel:
    """The `Channel` over SES."""

    def __init__(
        self,
        client: Any,
        *,
        configuration_set: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """A channel over the boto3 client *client*."""
        self._client = client
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(WIDTH, thread_name_prefix="ses")
        self._options: dict[str, Any] = {}
        if configuration_set:
            self._options["ConfigurationSetName"] = configuration_set
        shape = client.meta.service_model.operation_model("SendEmail").input_shape
        if "ConfigurationOverrides" in shape.members:  # boto3 since 2026
            off = {"ClickTrackingEnabled": "DISABLED", "OpenTrackingEnabled": "DISABLED"}
            self._options["ConfigurationOverrides"] = {"Tracking": off}

    @property
    def width(self) -> int:
        """How many mails may be sent at the same time."""
        return WIDTH

    async def send(self, mail: OutgoingMail) -> None:
        """Return once SES has taken *mail*. Raises as `Channel.send` says."""
        await self._in_thread(partial(self._send, mail))

    async def check(self) -> None:
        """Return if SES would take mail now; ChannelDown says in a sentence what is wrong."""
        await self._in_thread(self._check)

    async def close(self) -> None:
        """Let go of threads and connections; a later `send` has new ones."""
        self._threads.shutdown(wait=False)
        self._threads = ThreadPoolExecutor(WIDTH, thread_name_prefix="ses")
        self._client.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _send(self, mail: OutgoingMail) -> None:
        call = partial(
            self._client.send_email,
            FromEmailAddress=mail.sender,
            Destination={"ToAddresses": [mail.recipient]},
            Content={"Raw": {"Data": mail.data}},
            **self._options,
        )
        for retry in range(TOO_FAST_RETRIES + 1):
            try:
                _call(call)
            except ClientError as exc:
                if retry == TOO_FAST_RETRIES or not _is_too_fast(exc):
                    raise _translated(exc, mail) from exc
                pause_s = TOO_FAST_PAUSE_S * 2**retry
                self._sleep(random.uniform(0, pause_s))  # noqa: S311  # spreads, keeps no secret
            else:
                return

    def _check(self) -> None:
        try:
            account = _call(self._client.get_account)
        except ClientError as exc:
            code = _code(exc)
            if code == "AccessDeniedException":
                return  # it need not be allowed to ask; sending will tell
            raise ChannelDown(
                _DOWN.get(code, f"SES does not answer as it should ({code}).")
            ) from exc
        if not account.get("SendingEnabled", True):
            raise ChannelDown(_DOWN["SendingPausedException"])


def connect_ses() -> Any:
    """A client by the standard AWS variables (AWS_ENDPOINT_URL_SESV2 included).

    Raises:
        StartRefused: they are incomplete.
    """
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        # Nothing is repeated behind our back: a lost answer may be a mail that was sent.
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=WIDTH,
    )
    return boto_client("sesv2", config, needed_by="The channel ses")


def _call(call: Callable[[], Any]) -> Any:
    """What SES answers; errors of the line become the channel's."""
    try:
        return call()
    except _NEVER_SENT as exc:
        raise ChannelDown("SES cannot be reached.") from exc
    except (HTTPClientError, BotoConnectionError) as exc:
        raise MailDeferred("SES did not answer; it may have taken the mail.") from exc
    except NoCredentialsError as exc:
        raise ChannelDown(
            "No AWS credentials were found for SES: give the process a role, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from exc
    except BotoCoreError as exc:
        raise ChannelDown(f"SES cannot be called ({type(exc).__name__}).") from exc


def _is_too_fast(exc: ClientError) -> bool:
    # A daily quota is no matter of seconds.
    return _code(exc) in _TOO_FAST and "daily" not in str(exc).lower()


def _translated(exc: ClientError, mail: OutgoingMail) -> MailRefused | MailDeferred:
    """What a refusal means for us; its words are SES's, cut short."""
    code = _code(exc)
    words = clip(one_line(str(exc.response.get("Error", {}).get("Message", ""))), 200)
    note = f"{code}: {words}" if words else code
    if code in _DOWN:
        return ChannelDown(f"{_DOWN[code]} ({note})")
    if code == "MessageRejected" and "not verified" in words.lower():
        return _unverified(words, mail)
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in ("MessageRejected", "BadRequestException"):
        return MailRefused(note)
    if status == 403:
        return ChannelDown(f"SES refuses the call ({note})")
    return MailDeferred(note)


def _unverified(words: str, mail: OutgoingMail) -> MailRefused | MailDeferred:
    """An address that SES wants verified: the sender's always, a recipient's in the sandbox."""
    if mail.recipient.lower() in words.lower():
        return MailRefused(
            f"This account is in the SES sandbox, and {mail.recipient} is not verified: "
            "ask AWS for production access, or verify the address."
        )
    return ChannelDown(f"The sender {mail.sender} is not verified in SES: verify it or its domain.")


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", "Unknown"))
