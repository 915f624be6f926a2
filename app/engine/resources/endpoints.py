"""``http:invoke``: a request to any HTTPS endpoint, authenticated by an EventBridge connection.

Endpoints on this machine are the developer's own: they may be plain HTTP and need no connection.
Everywhere else AWS's rules hold.
"""

import logging
from collections.abc import Mapping
from urllib.parse import quote_plus, urlencode, urlsplit

import orjson

from app.engine.failures import StateFailure
from app.engine.payload import Payload
from app.engine.resources.clients import NotCalled
from app.engine.resources.connections import Authorization, Connections
from app.engine.resources.connector import Accepted, Surroundings, unusable
from app.engine.resources.outbound import METHODS, Outbound, is_loopback, pairs
from app.engine.resources.tracing import TRACE, Trace
from app.engine.steps.execution import Dispatch
from app.strict_json import Json

log = logging.getLogger(__name__)

SOCKET = "States.Http.Socket"
MAX_RANGE = 262_144
#: headers that a definition may not set; AWS's documentation lists them for HTTP tasks
_FORBIDDEN = frozenset(
    [
        "a-im",
        "accept-charset",
        "accept-datetime",
        "accept-encoding",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-md5",
        "date",
        "expect",
        "forwarded",
        "from",
        "host",
        "http2-settings",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "max-forwards",
        "origin",
        "pragma",
        "proxy-authorization",
        "range",
        "referer",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "warning",
    ]
)
_FORBIDDEN_PREFIXES = ("x-forwarded-", "x-amz-", "x-amzn-")
_FORM = "application/x-www-form-urlencoded"
_ARRAYS = ("INDICES", "REPEAT", "COMMAS", "BRACKETS")


class _Unusable(Exception):
    """The parameters cannot be used; the message says which of AWS's rules they break."""


class HttpConnector:
    """Makes requests."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._clients = surroundings.clients
        self._outbound = Outbound(surroundings.http_hosts)
        self._connections = Connections(surroundings.clients, self._outbound)
        self._region = surroundings.arns.region

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """What the endpoint answered.

        Raises:
            StateFailure: it refused, or cannot be reached.
        """
        given = dispatch.arguments.value if isinstance(dispatch.arguments.value, dict) else {}
        try:
            _check(given)
            authorization = await self._authorization(given, dispatch)
            headers = _headers(given, authorization, self._region)
            content = _content(given, authorization, headers)
        except _Unusable as exc:
            raise unusable(dispatch.arguments, str(exc)) from exc
        query = [*pairs(given.get("QueryParameters")), *authorization.query]
        url, method = given["ApiEndpoint"], given["Method"]
        trace = TRACE.get()
        if trace is not None:
            self._note(trace, given, authorization if trace.reveals else Authorization())
        try:
            answer = await self._outbound.send(method, url, list(headers.items()), query, content)
        except NotCalled as exc:
            raise StateFailure(SOCKET, exc.message) from exc
        if trace is not None:
            trace.answered(urlsplit(url).scheme, answer)
        if not answer.well:
            raise StateFailure(
                f"States.Http.StatusCode.{answer.status}", answer.text or answer.reason
            )
        return answer.shown()

    def _note(self, trace: Trace, given: Mapping[str, Json], shown: Authorization) -> None:
        headers = _headers(given, shown, self._region)
        content = _content(given, shown, headers)
        query = [*pairs(given.get("QueryParameters")), *shown.query]
        url, method = given["ApiEndpoint"], given["Method"]
        trace.sent(method, url, list(headers.items()), query, content)

    async def _authorization(self, given: Mapping[str, Json], dispatch: Dispatch) -> Authorization:
        arn = _connection(given)
        if arn is None:
            if is_loopback(given["ApiEndpoint"]):
                return Authorization()
            raise _Unusable("The field 'Authentication' is required but was missing")
        if not self._clients.has_endpoint("events") and is_loopback(given["ApiEndpoint"]):
            log.warning(
                "no endpoint of EventBridge is configured; a request goes out unauthenticated",
                extra={"execution": dispatch.execution_arn},
            )
            return Authorization()
        return await self._connections.authorize(arn, dispatch)


def _connection(given: Mapping[str, Json]) -> str | None:
    for name in ("Authentication", "InvocationConfig"):
        found = given.get(name)
        if isinstance(found, dict) and isinstance(found.get("ConnectionArn"), str):
            return str(found["ConnectionArn"])
    return None


def _check(given: Mapping[str, Json]) -> None:
    for name in ("ApiEndpoint", "Method"):
        if not isinstance(given.get(name), str):
            raise _Unusable(f"The field '{name}' is required but was missing")
    endpoint = given["ApiEndpoint"]
    try:
        parts = urlsplit(endpoint)
        local = parts.scheme == "http" and is_loopback(endpoint)
    except ValueError as exc:
        raise _Unusable("The value of the field 'ApiEndpoint' is not a valid URL") from exc
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise _Unusable("The value of the field 'ApiEndpoint' must be an HTTPS URL")
    if given["Method"] not in METHODS:
        raise _Unusable(f"The value of the field 'Method' must be one of {', '.join(METHODS)}")
    for name in ("Headers", "QueryParameters"):
        if given.get(name) is not None and not isinstance(given[name], dict):
            raise _Unusable(f"The value of the field '{name}' must be an object")
    for name in given.get("Headers") or {}:
        if name.lower() in _FORBIDDEN or name.lower().startswith(_FORBIDDEN_PREFIXES):
            raise _Unusable(f"The header '{name}' is not supported by Step Functions")


def _headers(
    given: Mapping[str, Json], authorization: Authorization, region: str
) -> dict[str, str]:
    named = dict(pairs(given.get("Headers")))
    # The connection's win over the definition's, and Step Functions' own over both.
    for name, value in (*authorization.headers, *_own(region)):
        for other in [known for known in named if known.lower() == name.lower()]:
            del named[other]
        named[name] = value
    return named


def _own(region: str) -> tuple[tuple[str, str], ...]:
    return (
        ("User-Agent", f"Amazon|StepFunctions|HttpInvoke|{region}"),
        ("Range", f"bytes=0-{MAX_RANGE}"),
    )


def _content(
    given: Mapping[str, Json], authorization: Authorization, headers: dict[str, str]
) -> bytes | None:
    body = given.get("RequestBody")
    if authorization.body:
        if body is not None and not isinstance(body, dict):
            raise _Unusable("The RequestBody must be an object: the connection adds fields to it")
        body = {**(body or {}), **authorization.body}
    transform = given.get("Transform") or {}
    encoding = transform.get("RequestBodyEncoding", transform.get("RequestEncoding", "NONE"))
    kind = next((headers[name] for name in headers if name.lower() == "content-type"), None)
    if encoding == "URL_ENCODED":
        if not isinstance(body, dict):
            raise _Unusable("The RequestBody must be an object to be URL encoded")
        headers.setdefault("Content-Type", kind or _FORM)
        return _form(body, _array_format(transform)).encode()
    if encoding != "NONE":
        raise _Unusable("The value of the field 'RequestBodyEncoding' must be NONE or URL_ENCODED")
    if body is None:
        return None
    if isinstance(body, str) and kind is not None and "json" not in kind:
        return body.encode()
    if kind is None:
        headers["Content-Type"] = "application/json"
    return orjson.dumps(body)


def _array_format(transform: Mapping[str, Json]) -> str:
    options = transform.get("RequestEncodingOptions") or {}
    chosen = options.get("ArrayFormat", "INDICES")
    if chosen not in _ARRAYS:
        raise _Unusable(f"The value of the field 'ArrayFormat' must be one of {', '.join(_ARRAYS)}")
    return str(chosen)


def _form(body: Mapping[str, Json], arrays: str) -> str:
    found: list[tuple[str, str]] = []
    for name, value in body.items():
        found += _fields(name, value, arrays)
    return urlencode(found, quote_via=quote_plus)


def _fields(name: str, value: Json, arrays: str) -> list[tuple[str, str]]:
    """A value as form fields: ``a[b]=1``; arrays as the definition wants them."""
    if isinstance(value, dict):
        return [f for key, item in value.items() for f in _fields(f"{name}[{key}]", item, arrays)]
    if isinstance(value, list):
        if arrays == "COMMAS":
            return [(name, ",".join(_scalar(item) for item in value))]
        names = {"REPEAT": "{name}", "BRACKETS": "{name}[]", "INDICES": "{name}[{index}]"}[arrays]
        return [
            field
            for index, item in enumerate(value)
            for field in _fields(names.format(name=name, index=index), item, arrays)
        ]
    return [(name, _scalar(value))]


def _scalar(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
