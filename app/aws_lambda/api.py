"""The JSON API on Lambda: the server's routes, for callers that IAM let in.

API Gateway checks who calls. That it did is checked once more here: a request without a caller is
refused, so that a route that was opened by mistake opens nothing.
"""

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request

from app.aws_lambda.asgi import serve
from app.aws_lambda.http_event import read_http_event
from app.aws_lambda.parts import Invocations, Parts
from app.errors import Unauthorized
from app.web.application import application
from app.web.approvals import ApprovalsApi
from app.web.limits import Limits

_invocations = Invocations()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """What API Gateway sends back for *event*.

    Raises:
        BadRequest: it is no HTTP event.
        StartRefused: the surroundings are not what they should be.
    """
    request = read_http_event(event)

    async def answer(parts: Parts) -> dict[str, Any]:
        return await serve(Limits(_app(parts, request.path)), request)

    return _invocations.run(answer, context)


def _app(parts: Parts, path: str) -> FastAPI:
    routers = [ApprovalsApi(parts.service, signed_by_iam).router()]
    if path != "/urls":
        return application(routers)
    # Not at the top: callback URLs bring templates, languages and more, for few who ask for one.
    from app.web.compat import callback_routes  # noqa: PLC0415

    return application(routers, callback_routes(parts.callbacks, signed_by_iam))


def signed_by_iam(request: Request) -> str:
    """The ARN of who signed the request.

    Raises:
        Unauthorized: nobody did.
    """
    caller: str | None = request.scope.get("caller")
    if caller is None:
        raise Unauthorized("Sign the request for execute-api (AWS Signature Version 4).")
    return caller
