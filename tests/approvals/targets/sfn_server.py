"""The test workflow behind a socket, speaking AWS JSON 1.0; lost answers cut the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import StepFunctionsError, StoreError
from app.strict_json import Json, dumps, loads
from tests.approvals.workflow import Workflow


@asynccontextmanager
async def serving(workflow: Workflow) -> AsyncIterator[str]:
    """The address of a server in front of *workflow*."""

    writers: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while request := await _request(reader):
                writer.write(_response(*await _answer(workflow, *request)))
        except StoreError:
            writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        # Clients keep connections; some versions of Python would wait for them to hang up.
        for writer in writers:
            writer.transport.abort()


async def _request(reader: asyncio.StreamReader) -> tuple[str, Json] | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    headers = {name.lower(): value.strip() for name, _, value in lines}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return headers["x-amz-target"].rpartition(".")[2], loads(body)


async def _answer(workflow: Workflow, verb: str, body: Json) -> tuple[int, Json]:
    try:
        return 200, await _apply(workflow, verb, body)
    except StepFunctionsError as error:
        status = 503 if error.code.startswith("Service") else 400
        return status, {"__type": error.code, "message": error.message}


async def _apply(workflow: Workflow, verb: str, body: Json) -> Json:
    if verb == "SendTaskSuccess":
        await workflow.send_task_success(body["taskToken"], body["output"])
        return {}
    if verb == "SendTaskFailure":
        await workflow.send_task_failure(body["taskToken"], body.get("error"), body.get("cause"))
        return {}
    if verb == "SendTaskHeartbeat":
        await workflow.send_task_heartbeat(body["taskToken"])
        return {}
    assert body["includeExecutionData"]
    page = await workflow.get_execution_history(
        body["executionArn"], body["maxResults"], body.get("nextToken")
    )
    stamped = [{**event, "timestamp": 1762940460.0} for event in page["events"]]
    return {**page, "events": stamped}


def _response(status: int, body: Json) -> bytes:
    content = dumps(body)
    head = (
        f"HTTP/1.1 {status} -\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
