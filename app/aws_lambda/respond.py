"""Links of the sfn-callback-urls API on Lambda: ``/respond``, open to whoever has a link."""

from typing import Any

from app.approvals.compat.http import CallbackRequest, read_query
from app.aws_lambda.http_event import http_result, read_http_event
from app.aws_lambda.parts import Invocations, Parts

_invocations = Invocations()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """What API Gateway sends back for *event*.

    Raises:
        BadRequest: it is no HTTP event.
        StartRefused: the surroundings are not what they should be.
    """
    request = read_http_event(event)

    use = CallbackRequest(
        method=request.method,
        query=read_query(request.query),
        headers={
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.headers.items()
        },
        body=request.body,
        from_ip=request.from_ip,
    )

    async def answer(parts: Parts) -> dict[str, Any]:
        whole = await parts.callbacks.respond(use)
        return http_result(whole.status, whole.headers, whole.body)

    return _invocations.run(answer, context, link=use.query.get("data", ""), form=use.body)
