"""One call of an AWS JSON API (DynamoDB, Step Functions, Secrets Manager): signed, sent, read.

Written on the standard library because of Lambda's cold starts: importing boto3 costs more than
all the rest that a click does, and most of that is spent before the first byte leaves. What is
here is what those services need: Signature Version 4, one POST, kept connections. No retries; who
calls knows what a lost answer means.

Settings are the standard ones: AWS_REGION, AWS_ENDPOINT_URL_<SERVICE>, AWS_CA_BUNDLE, and
credentials from the environment or from wherever botocore finds them.
"""

import json
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from app.errors import SignoffError, StartRefused
from app.https import CONNECT_S, READ_S, CallFailed, Connection, HttpAnswer, Unreachable
from app.json_value import Json

if TYPE_CHECKING:
    from botocore.session import Session


class AwsRefused(SignoffError):
    """The service answered with an error."""

    def __init__(self, code: str, status: int, answer: Json) -> None:
        super().__init__()
        self.code = code  #: AWS's, such as ``ThrottlingException``
        self.status = status
        self.answer = answer  #: the whole body; may hold what was stored, so it is never logged


class AwsSilent(SignoffError):
    """The service gave no answer, or none that can be read; the call may have been applied."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__()
        self.reason = reason  #: an exception's name or a few words of ours
        self.sent = sent  #: False: nobody was reached, so nothing was applied


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are signed with."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)


FindCredentials = Callable[[], Credentials]


class AwsApi(NamedTuple):
    """How a service names itself."""

    signing_name: str  #: in signatures and host names, such as "dynamodb"
    endpoint_id: str  #: in AWS_ENDPOINT_URL_..., such as "DYNAMODB"
    target_prefix: str  #: of X-Amz-Target, such as "DynamoDB_20120810"
    version: str = "1.0"  #: of the JSON protocol


DYNAMODB = AwsApi("dynamodb", "DYNAMODB", "DynamoDB_20120810")
STEP_FUNCTIONS = AwsApi("states", "SFN", "AWSStepFunctions")
SECRETS_MANAGER = AwsApi("secretsmanager", "SECRETS_MANAGER", "secretsmanager", "1.1")
PARAMETER_STORE = AwsApi("ssm", "SSM", "AmazonSSM", "1.1")


class AwsJsonClient:
    """Calls one service. Any number of threads may use it; each call has a connection to itself."""

    def __init__(
        self,
        api: AwsApi,
        *,
        region: str,
        credentials: FindCredentials,
        endpoint: str | None = None,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
    ) -> None:
        """A client of *api* at *endpoint*, or where the environment or AWS has it."""
        self._api = api
        self._region = region
        self._credentials = credentials
        address = endpoint or endpoint_of(api, region)
        self._path = urlsplit(address).path or "/"
        self._connection = Connection(address, connect_s=connect_s, read_s=read_s)
        self._key: tuple[tuple[str, str], bytes] | None = None

    def call(self, operation: str, members: Json) -> Json:
        """The service's answer to *operation*.

        Raises:
            AwsRefused: it answered with an error.
            AwsSilent: nobody knows what became of the call.
        """
        body = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
        headers = self._headers(operation, body)
        try:
            answer = self._connection.post(self._path, headers, body)
        except CallFailed as exc:
            raise AwsSilent(exc.reason, sent=not isinstance(exc, Unreachable)) from exc
        return _read(answer)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _headers(self, operation: str, body: bytes) -> dict[str, str]:
        """The headers of a signed request (Signature Version 4)."""
        credentials = self._credentials()
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {
            "host": self._connection.host,
            "x-amz-date": at,
            "x-amz-target": f"{self._api.target_prefix}.{operation}",
        }
        if credentials.session_token:
            headers["x-amz-security-token"] = credentials.session_token
        signed = ";".join(sorted(headers))
        canonical = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"POST\n{self._path}\n\n{canonical}\n{signed}\n{sha256(body).hexdigest()}"
        scope = f"{at[:8]}/{self._region}/{self._api.signing_name}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        key = self._signing_key(credentials.secret_key, at[:8])
        signature = hmac_digest(key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        headers["content-type"] = f"application/x-amz-json-{self._api.version}"
        return headers

    def _signing_key(self, secret_key: str, day: str) -> bytes:
        """The key of one day; derived once, as it is the same for all calls of that day."""
        known = self._key
        if known is not None and known[0] == (secret_key, day):
            return known[1]
        key = f"AWS4{secret_key}".encode()
        for part in (day, self._region, self._api.signing_name, "aws4_request"):
            key = hmac_digest(key, part.encode(), "sha256")
        self._key = ((secret_key, day), key)
        return key


def endpoint_of(api: AwsApi, region: str) -> str:
    """The address of *api* in *region*, or the one that the standard variables name."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        for name in (f"AWS_ENDPOINT_URL_{api.endpoint_id}", "AWS_ENDPOINT_URL"):
            if os.environ.get(name):
                return os.environ[name].rstrip("/")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{api.signing_name}.{region}.{suffix}"


def find_region() -> str:
    """The region of the standard variables, or of the AWS configuration.

    Raises:
        StartRefused: there is none.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None:
        region = _botocore_session().get_config_variable("region")
    if not region:
        raise StartRefused("AWS_REGION is needed, such as eu-west-1.")
    return str(region)


def find_credentials() -> FindCredentials:
    """Where credentials come from: the environment (as on Lambda), else botocore's places.

    Raises:
        StartRefused: there are none.
    """
    if os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"):
        return _from_environment
    found = _botocore_session().get_credentials()
    if found is None:
        raise StartRefused(
            "No AWS credentials were found: give the process a role, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY."
        )

    def from_chain() -> Credentials:
        frozen = found.get_frozen_credentials()  # refreshed when they are about to expire
        return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token)

    return from_chain


def _from_environment() -> Credentials:
    return Credentials(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ.get("AWS_SESSION_TOKEN"),
    )


def _botocore_session() -> "Session":
    # Not at the top: on Lambda everything is in the environment, and this import is what the
    # module exists to avoid.
    from botocore.session import Session  # noqa: PLC0415

    return Session()


def _read(told: HttpAnswer) -> Json:
    checksum = told.headers.get("x-amz-crc32")
    if checksum is not None and checksum != str(zlib.crc32(told.body)):
        raise AwsSilent("an answer whose checksum does not fit", sent=True)
    try:
        answer = json.loads(told.body)
    except ValueError as exc:
        if told.status >= 400:
            raise AwsRefused(f"Http{told.status}", told.status, {}) from exc
        raise AwsSilent("an answer that is not JSON", sent=True) from exc
    if told.status >= 400:
        raise AwsRefused(_code(answer, told.status), told.status, answer)
    return answer


def _code(answer: Json, status: int) -> str:
    name = answer.get("__type") if isinstance(answer, dict) else None
    return str(name).rpartition("#")[2] if name else f"Http{status}"
