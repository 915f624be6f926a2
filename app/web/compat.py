"""The sfn-callback-urls API on a server: a thin adapter around `Callbacks`."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.approvals.compat.http import CallbackRequest, Callbacks, read_query
from app.approvals.pages.frame import Answer

Authorize = Callable[[Request], object]


def callback_routes(callbacks: Callbacks, authorize: Authorize) -> list[Route]:
    """``/urls`` for those whom *authorize* lets in, and ``/respond`` for whoever has a link."""

    async def create(request: Request) -> Answer:
        if request.method == "POST":
            authorize(request)
        return await callbacks.create(await _read(request))

    async def respond(request: Request) -> Answer:
        return await callbacks.respond(await _read(request))

    # Instances, not functions: these are asked for with every method.
    return [Route("/urls", _Endpoint(create)), Route("/respond", _Endpoint(respond))]


class _Endpoint:
    """An ASGI application that sends what *answer* makes of a request."""

    def __init__(self, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = await self._answer(Request(scope, receive))
        response = Response(answer.body, answer.status)
        response.raw_headers = list(answer.headers)
        await response(scope, receive, send)


async def _read(request: Request) -> CallbackRequest:
    scope = request.scope
    return CallbackRequest(
        method=request.method,
        query=read_query(scope["query_string"].decode("latin-1")),
        headers={name: value for name, value in request.headers.items()},
        body=await request.body(),
        from_ip=request.client.host if request.client else None,
    )
