"""Requests that a browser makes for somebody else's page.

What listens on loopback is reached by every page that a developer opens. Programs send neither
Origin nor Sec-Fetch-Site; browsers do, and are believed about them. A name that the public DNS has
may lead to loopback although the page behind it is an attacker's (DNS rebinding), so such a name is
no name of this host's pages.
"""

import re

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

# Addresses, names without a dot, and names that the public DNS does not have.
_LOCAL_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[\d.]+|[\w-]+|[\w.-]+\.(localhost|internal|local))")

_SENTENCE = "Pages of other origins may not call this service."


def is_local_host(scope: Scope) -> bool:
    """Whether the request was sent to an address, or to a name that only this network has."""
    return _LOCAL_HOST.fullmatch(re.sub(r":\d+$", "", _header(scope, b"host") or "")) is not None


def is_foreign_page(scope: Scope) -> bool:
    """Whether a page made the request that is not of this host; False for programs."""
    origin, site = _header(scope, b"origin"), _header(scope, b"sec-fetch-site")
    if site not in (None, "none", "same-origin"):
        return True
    if origin is None:
        return False
    return origin.partition("://")[2] != _header(scope, b"host") or not is_local_host(scope)


class OwnPagesOnly:
    """An ASGI application: *app* for programs and for pages of this host, 403 for other pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "http" and is_foreign_page(scope):
            await _refuse(send)
        else:
            await self._app(scope, receive, send)


async def _refuse(send: Send) -> None:
    body = orjson.dumps({"__type": "AccessDeniedException", "message": _SENTENCE})
    headers = [
        (b"content-type", b"application/x-amz-json-1.0"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The last header of this name, in lower case."""
    found = [value for name, value in scope["headers"] if name == wanted]
    return found[-1].decode("latin-1").lower() if found else None
