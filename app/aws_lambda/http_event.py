"""API Gateway's HTTP events (payload format 2.0) as requests, and answers as what it expects.

Source: "Working with AWS Lambda proxy integrations for HTTP APIs". Header names are in lower case;
headers that came twice are joined with commas, cookies are apart. Behind a domain of one's own the
path has the base path of the domain's mapping in front, as in BaseUrl; it is taken away here.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from app.errors import BadRequest


class HttpRequest(NamedTuple):
    """One request."""

    method: str
    raw_path: str  #: as it was sent, below the base path
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes
    from_ip: str | None
    caller: str | None  #: the ARN of who signed the request, where IAM authorizes

    @property
    def path(self) -> str:
        """The path without percent signs."""
        return unquote(self.raw_path)


def read_http_event(event: Any) -> HttpRequest:
    """The request in *event*.

    Raises:
        BadRequest: it is no HTTP event.
    """
    try:
        if event["version"] == "2.0":
            return _request(event, event["requestContext"])
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        # What has not the members of one is none. (ValueError: neither UTF-8 nor base64.)
        raise BadRequest(_NO_EVENT) from exc
    raise BadRequest(_NO_EVENT)


_NO_EVENT = "This function answers HTTP events of API Gateway (payload format 2.0), and no others."


def _request(event: Any, context: Any) -> HttpRequest:
    headers = {
        name.lower().encode("latin-1", "replace"): value.encode()
        for name, value in (event.get("headers") or {}).items()
    }
    if event.get("cookies"):
        headers[b"cookie"] = "; ".join(event["cookies"]).encode()
    text = _text(event.get("body") or "")
    return HttpRequest(
        method=_text(context["http"]["method"]),
        raw_path=_below_base_path(_text(event["rawPath"])),
        query=_text(event.get("rawQueryString") or ""),
        headers=headers,
        body=b64decode(text) if event.get("isBase64Encoded") else text.encode(),
        from_ip=context["http"].get("sourceIp"),
        caller=_caller(context),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _below_base_path(path: str) -> str:
    base = urlsplit(os.environ.get("SIGNOFF_BASE_URL", "")).path.rstrip("/")
    return path.removeprefix(base) if path.startswith(f"{base}/") else path


def http_result(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> dict[str, Any]:
    """An answer for API Gateway, which counts the body itself."""
    told: dict[str, str] = {}
    cookies = []
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key == "set-cookie":
            cookies.append(text)
        elif key != "content-length":
            told[key] = f"{told[key]}, {text}" if key in told else text
    result: dict[str, Any] = {"statusCode": status, "headers": told}
    try:
        result["body"] = body.decode()
    except UnicodeDecodeError:
        result |= {"body": b64encode(body).decode("ascii"), "isBase64Encoded": True}
    return result | ({"cookies": cookies} if cookies else {})


def _caller(context: Any) -> str | None:
    authorizer = context.get("authorizer")
    iam = authorizer.get("iam") if isinstance(authorizer, dict) else None
    return iam.get("userArn") if isinstance(iam, dict) else None
