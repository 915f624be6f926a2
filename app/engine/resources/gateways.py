"""``apigateway:invoke``: a request to an API of API Gateway.

Where it goes follows the rule of all services: an API on this machine is called as it is named; one
of AWS goes where AWS_ENDPOINT_URL_EXECUTE_API or AWS_ENDPOINT_URL points, under its own host name.
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

import orjson

from app.engine.failures import StateFailure
from app.engine.payload import Payload
from app.engine.resources.clients import NotCalled
from app.engine.resources.connector import Accepted, Surroundings, unusable
from app.engine.resources.outbound import METHODS, Outbound, is_loopback, pairs
from app.engine.steps.execution import Dispatch
from app.engine.threads import Threads
from app.strict_json import Json

#: headers that a definition may not set; AWS's documentation lists them for API Gateway
_FORBIDDEN = frozenset(
    [
        "authorization",
        "connection",
        "content-md5",
        "expect",
        "host",
        "max-forwards",
        "proxy-authenticate",
        "server",
        "te",
        "transfer-encoding",
        "trailer",
        "upgrade",
        "via",
        "www-authenticate",
    ]
)
_FORBIDDEN_PREFIXES = ("x-forwarded", "x-amz", "x-amzn")
_SIGNED = ("IAM_ROLE", "RESOURCE_POLICY")
#: a host, and maybe a port; nothing that would lead to another host or path
_ENDPOINT = re.compile(r"(https?://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/?")


class ApiGatewayConnector:
    """Calls APIs."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._outbound = Outbound(surroundings.http_hosts)
        self._region = surroundings.arns.region
        self._threads = Threads(1, "signing")

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """What the API answered.

        Raises:
            StateFailure: it refused, or cannot be reached.
        """
        given = dispatch.arguments.value if isinstance(dispatch.arguments.value, dict) else {}
        fault = _fault(given)
        if fault is not None:
            raise unusable(dispatch.arguments, fault)
        base, host = _base(given["ApiEndpoint"])
        url = base + _path(given) + _query(given)
        headers = dict(pairs(given.get("Headers")))
        content = _content(given.get("RequestBody"), headers)
        if given.get("AuthType", "NO_AUTH") in _SIGNED:
            headers |= await self._threads.run(
                _signature, given["Method"], url, host, content, self._region
            )
        headers["Host"] = host
        try:
            answer = await self._outbound.send(
                given["Method"],
                url,
                list(headers.items()),
                (),
                content,
                configured=not base.endswith(f"://{host}"),
            )
        except NotCalled as exc:
            raise StateFailure("ApiGateway.SdkClientException", exc.message) from exc
        if not answer.well:
            raise StateFailure(f"ApiGateway.{answer.status}", answer.text or answer.reason)
        return answer.shown()


def _fault(given: Mapping[str, Json]) -> str | None:
    for name in ("ApiEndpoint", "Method"):
        if not isinstance(given.get(name), str):
            return f"The field '{name}' is required but was missing"
    if not _ENDPOINT.fullmatch(given["ApiEndpoint"]):
        return "The value of the field 'ApiEndpoint' is not a valid host name"
    if given["Method"] not in METHODS:
        return f"The value of the field 'Method' must be one of {', '.join(METHODS)}"
    if given.get("AuthType", "NO_AUTH") not in ("NO_AUTH", *_SIGNED):
        return "The value of the field 'AuthType' must be NO_AUTH, IAM_ROLE or RESOURCE_POLICY"
    for name in ("Headers", "QueryParameters"):
        if given.get(name) is not None and not isinstance(given[name], dict):
            return f"The value of the field '{name}' must be an object"
    for name in given.get("Headers") or {}:
        if name.lower() in _FORBIDDEN or name.lower().startswith(_FORBIDDEN_PREFIXES):
            return f"The header '{name}' is not supported by Step Functions"
    return None


def _base(endpoint: str) -> tuple[str, str]:
    """Where the API is, and its host name."""
    host = endpoint.removeprefix("https://").removeprefix("http://").rstrip("/")
    if is_loopback(f"//{host}"):
        return f"http://{host}", host
    configured = os.environ.get("AWS_ENDPOINT_URL_EXECUTE_API") or os.environ.get(
        "AWS_ENDPOINT_URL"
    )
    if not configured:
        raise StateFailure(
            "ApiGateway.SdkClientException",
            f"No endpoint is configured for {host}: set AWS_ENDPOINT_URL_EXECUTE_API or "
            "AWS_ENDPOINT_URL. AWS itself is called when one of them names its endpoint.",
        )
    if "amazonaws.com" in (urlsplit(configured).hostname or ""):
        return f"https://{host}", host
    return configured.rstrip("/"), host


def _path(given: Mapping[str, Json]) -> str:
    parts = [str(given.get(name) or "").strip("/") for name in ("Stage", "Path")]
    return "/" + quote("/".join(part for part in parts if part), safe="/:@!$&'()*+,;=~")


def _query(given: Mapping[str, Json]) -> str:
    found = pairs(given.get("QueryParameters"))
    return f"?{urlencode(found)}" if found else ""


def _content(body: Json, headers: dict[str, str]) -> bytes | None:
    if body is None:
        return None
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def _signature(
    method: str, url: str, host: str, content: bytes | None, region: str
) -> dict[str, str]:
    """The headers of AWS's signature, version 4."""
    # Imported with the first signed call, as boto3 is.
    from boto3.session import Session  # noqa: PLC0415
    from botocore.auth import SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    keys = Session().get_credentials() or Credentials("local", "local")
    request = AWSRequest(method, url, headers={"Host": host}, data=content or b"")
    SigV4Auth(keys, "execute-api", region).add_auth(request)
    return {name: value for name, value in request.headers.items() if name != "Host"}
