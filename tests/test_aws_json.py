"""One signed call of an AWS API: what arrives at the service, and what comes back."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from app.aws_json import (
    DYNAMODB,
    PARAMETER_STORE,
    SECRETS_MANAGER,
    STEP_FUNCTIONS,
    AwsApi,
    AwsJsonClient,
    AwsRefused,
    AwsSilent,
    Credentials,
    endpoint_of,
    find_credentials,
    find_region,
)
from app.errors import StartRefused
from tests.loopback import LoopbackHandler, LoopbackServer

VARIABLES = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
)


@dataclass
class Service:
    """Answers as it is told, and remembers what it was asked."""

    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


class _Handler(LoopbackHandler):
    service: Service

    def do_POST(self) -> None:
        self.service.asked.append((self.lower_headers(), self.body()))
        answers = self.service.answers
        status, content, headers = answers.pop(0) if answers else (200, b"{}", {})
        self.answer(status, content, *headers.items())


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """The address of *service*."""
    with LoopbackServer(type("Handler", (_Handler,), {"service": service})) as server:
        yield server.url


@pytest.fixture
def service() -> Service:
    """A service that answers with an empty object."""
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    """Its address."""
    with serving(service) as url:
        yield url


def client(url: str, token: str | None = None, api: AwsApi = DYNAMODB) -> AwsJsonClient:
    """A client of *url*."""
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    return AwsJsonClient(api, region="eu-west-1", credentials=lambda: credentials, endpoint=url)


@pytest.mark.parametrize("token", [None, "session/token+=="])
@pytest.mark.parametrize("api", [DYNAMODB, STEP_FUNCTIONS, SECRETS_MANAGER, PARAMETER_STORE])
def test_the_signature_is_the_one_that_botocore_computes(
    service: Service, url: str, api: AwsApi, token: str | None
) -> None:
    """Over what arrived, byte for byte."""
    calls = client(url, token, api)

    calls.call("GetItem", {"Key": {"pk": {"S": "ä"}}})
    calls.close()

    [(headers, body)] = service.asked
    request = AWSRequest("POST", url + "/", data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    signed = ["host", "x-amz-date", "x-amz-target"] + (["x-amz-security-token"] if token else [])
    for name in signed:
        request.headers[name] = headers[name]
    secret = BotocoreCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    signer = SigV4Auth(secret, api.signing_name, "eu-west-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert headers["authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={';'.join(sorted(signed))}, Signature={signer.signature(text, request)}"
    )
    assert headers.get("x-amz-security-token") == token
    assert headers["x-amz-target"] == f"{api.target_prefix}.GetItem"
    assert json.loads(body) == {"Key": {"pk": {"S": "ä"}}}


def test_an_error_answer_has_its_code(service: Service, url: str) -> None:
    """Without the name of the model before it; a proxy's page has its status."""
    named = b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"x"}'
    service.answers += [(400, named, {}), (503, b"<html>", {}), (400, b"{}", {})]
    calls = client(url)
    codes = []
    for _ in range(3):
        with pytest.raises(AwsRefused) as refused:
            calls.call("GetItem", {})
        codes.append((refused.value.code, refused.value.status))
    calls.close()

    assert codes == [("ThrottlingException", 400), ("Http503", 503), ("Http400", 400)]


@pytest.mark.parametrize(
    ("content", "extra", "reason"),
    [
        (b"<html>", {}, "not JSON"),
        (b"{}", {"x-amz-crc32": "1"}, "checksum"),
    ],
)
def test_an_answer_that_is_none_is_silence(
    service: Service, url: str, content: bytes, extra: dict[str, str], reason: str
) -> None:
    """A page with status 200 is no proof of anything."""
    service.answers.append((200, content, extra))
    calls = client(url)

    with pytest.raises(AwsSilent) as silent:
        calls.call("GetItem", {})
    calls.close()

    assert reason in silent.value.reason
    assert silent.value.sent


def test_an_answer_whose_checksum_fits_is_taken(service: Service, url: str) -> None:
    """DynamoDB sends one with each."""
    content = b'{"Item":{}}'
    service.answers.append((200, content, {"x-amz-crc32": str(zlib.crc32(content))}))
    calls = client(url)

    assert calls.call("GetItem", {}) == {"Item": {}}
    calls.close()


def test_nobody_there_is_known_not_to_have_been_asked() -> None:
    """What was never sent is not applied."""
    with pytest.raises(AwsSilent) as silent:
        client("http://127.0.0.1:9").call("GetItem", {})

    assert (silent.value.reason, silent.value.sent) == ("ConnectionRefusedError", False)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without AWS."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def test_the_standard_variables_name_endpoint_and_region(bare: pytest.MonkeyPatch) -> None:
    """The service's own before the one for all."""
    assert endpoint_of(DYNAMODB, "eu-west-1") == "https://dynamodb.eu-west-1.amazonaws.com"
    assert endpoint_of(STEP_FUNCTIONS, "cn-north-1") == "https://states.cn-north-1.amazonaws.com.cn"
    bare.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1/")
    assert endpoint_of(DYNAMODB, "eu-west-1") == "http://127.0.0.1:1"
    bare.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2")
    assert endpoint_of(DYNAMODB, "eu-west-1") == "http://127.0.0.1:2"
    bare.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert endpoint_of(DYNAMODB, "eu-west-1") == "https://dynamodb.eu-west-1.amazonaws.com"

    bare.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert find_region() == "eu-west-2"
    bare.setenv("AWS_REGION", "eu-west-3")
    assert find_region() == "eu-west-3"


def test_credentials_come_from_the_environment_or_from_botocores_places(
    bare: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Temporary ones are read anew for each call."""
    profile = tmp_path / "credentials"
    profile.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    bare.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    assert find_credentials()() == Credentials("a", "b", None)

    bare.setenv("AWS_ACCESS_KEY_ID", "c")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    found = find_credentials()
    bare.setenv("AWS_SESSION_TOKEN", "secret too")
    assert found() == Credentials("c", "very secret", "secret too")
    assert repr(found()) == "Credentials(access_key='c')"


def test_without_region_or_credentials_the_start_is_refused(bare: pytest.MonkeyPatch) -> None:
    """The sentence says what to set."""
    with pytest.raises(StartRefused, match="AWS_REGION is needed"):
        find_region()
    with pytest.raises(StartRefused, match="No AWS credentials were found"):
        find_credentials()
