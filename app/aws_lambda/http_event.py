"""API Gateway's HTTP events (payload format 2.0) as requests, and answers as what it expects.

Source: "Working with AWS Lambda proxy integrations for HTTP APIs". Header names are in lower case;
headers that came twice are joined with commas, cookies are apart.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request."""

    method: str
    raw_path: str  #: as it was sent
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes
    from_ip: str | None
    caller: str | None  #: the ARN of who signed the request, where IAM authorizes

    @property
    def path(self) -> str:
        """The path without percent signs."""
        return unquote(self.raw_path)


def read_http_event(event: Any) -> HttpRequest | None:
    """The request in *event*; None if it is no HTTP event."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    http = context.get("http") if isinstance(context, dict) else None
    if not isinstance(http, dict) or event.get("version") != "2.0":
        return None
    headers = {
        name.lower().encode("latin-1", "replace"): value.encode("utf-8")
        for name, value in (event.get("headers") or {}).items()
    }
    if event.get("cookies"):
        headers[b"cookie"] = "; ".join(event["cookies"]).encode()
    text = event.get("body") or ""
    return HttpRequest(
        method=http["method"],
        raw_path=event["rawPath"],
        query=event.get("rawQueryString") or "",
        headers=headers,
        body=b64decode(text) if event.get("isBase64Encoded") else text.encode(),
        from_ip=http.get("sourceIp"),
        caller=_caller(context),
    )


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
