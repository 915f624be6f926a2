"""Which error is which HTTP answer: the one table, and the shape of the JSON API's errors."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.errors import (
    BadRequest,
    Conflict,
    RequestError,
    SignoffError,
    StaleForm,
    StoreUnavailable,
    StoreUnconfirmed,
    TooLarge,
    TooManyMails,
    Unauthorized,
    UnknownApproval,
    UnknownLink,
)
from app.strict_json import dumps

log = logging.getLogger(__name__)

STATUS: dict[type[SignoffError], int] = {
    BadRequest: 400,
    StaleForm: 422,
    Unauthorized: 401,
    UnknownApproval: 404,
    UnknownLink: 404,
    Conflict: 409,
    TooLarge: 413,
    TooManyMails: 429,
    StoreUnavailable: 503,
    StoreUnconfirmed: 503,
}

#: stable codes of errors that are not the request's fault
_CODES: dict[type[SignoffError], str] = {
    StoreUnavailable: "not_recorded",
    StoreUnconfirmed: "not_confirmed",
}
_PLAIN = {404: "not_found", 405: "method_not_allowed"}
_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def status_of(error: SignoffError) -> int:
    """The HTTP status of *error*: that of its nearest class in the table, else 500."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def error_response(error: SignoffError) -> Response:
    """*error* in the JSON API's shape."""
    code = _CODES.get(type(error)) or getattr(error, "code", "internal")
    body: dict[str, object] = {"error": code, "message": error.message}
    if isinstance(error, RequestError) and error.fields:
        body["fields"] = dict(error.fields)
    status = status_of(error)
    headers = dict(_HEADERS)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyMails):
        headers["Retry-After"] = str(error.retry_after_s)
    if status == 503:
        headers["Retry-After"] = "1"
    return _json(status, body, headers)


async def on_signoff_error(_request: Request, exc: Exception) -> Response:
    """Our own errors."""
    if not isinstance(exc, SignoffError):
        raise exc
    return error_response(exc)


async def on_http_exception(_request: Request, exc: Exception) -> Response:
    """The router's errors: no such path, no such method."""
    if not isinstance(exc, HTTPException):
        raise exc
    code = _PLAIN.get(exc.status_code, "http_error")
    sentence = _SENTENCES.get(exc.status_code, "The request cannot be answered.")
    return _json(
        exc.status_code,
        {"error": code, "message": sentence},
        {**_HEADERS, **(exc.headers or {})},
    )


async def on_client_gone(_request: Request, _exc: Exception) -> Response:
    """The client went away before its body was complete: nobody is there to be answered."""
    return Response(status_code=400)


async def on_unexpected(_request: Request, exc: Exception) -> Response:
    """A fault of ours: logged once with its places, answered without them."""
    log.error("unexpected error", exc_info=exc)
    return _json(
        500,
        {"error": "internal", "message": "Something broke on our side. It has been logged."},
        _HEADERS,
    )


def _json(status: int, body: object, headers: dict[str, str]) -> Response:
    return Response(dumps(body), status, headers, media_type="application/json")
