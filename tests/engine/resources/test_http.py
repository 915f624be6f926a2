"""HTTP tasks and API Gateway, against a server on this machine."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from app.engine.resources.clients import NotCalled
from app.engine.resources.outbound import Outbound
from app.strict_json import Json
from tests.engine.driving import ROLE, Driver, only
from tests.loopback import LoopbackHandler, LoopbackServer

Aws = Callable[[str], Any]


class Echo(LoopbackHandler):
    """Answers with what was asked, or as the path says."""

    protocol_version = "HTTP/1.0"  # no connection outlives the event loop of its test

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        shown = {
            "method": self.command,
            "path": self.path,
            "headers": self.lower_headers(),
            "body": self.body().decode(),
        }
        status = int(path.rsplit("/", 1)[1]) if path.startswith("/status/") else 200
        body = json.dumps(shown).encode()
        kind = "application/json"
        if path == "/token":
            body = json.dumps({"access_token": "t0k3n", "token_type": "Bearer"}).encode()
        elif path == "/text":
            body, kind = b"plain", "text/plain"
        elif path == "/odd":
            body, kind = b"plain", "text/plain; charset=hex"
        elif path == "/large":
            body, kind = b"x" * 300_000, "text/plain"
        elif status == 404:
            body = b'{"message":"nobody"}'
        elsewhere = [("Location", "/text")] if status == 302 else []
        cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        self.answer(status, body, *elsewhere, ("Content-Type", kind), *cookies)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _answer


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the server is."""
    with LoopbackServer(Echo) as server:
        yield server.url


def request(endpoint: str, method: str = "POST", **more: Json) -> dict[str, Json]:
    """An HTTP task."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Parameters": {"ApiEndpoint": endpoint, "Method": method, **more},
        "End": True,
    }


async def asked(driver: Driver, state: Json) -> Any:
    """What the server was asked."""
    output = await driver.output(await driver.run(only(state)))
    assert (output["StatusCode"], output["StatusText"]) == (200, "OK")
    return output["ResponseBody"]


async def test_a_request_is_sent_as_json(driver: Driver, url: str) -> None:
    """With Step Functions' own headers, and the definition's; arrays repeat parameters."""
    body = {"n": 1}
    headers, query = {"X-Mine": "yes"}, {"a": ["1", 2], "b": "c d"}

    got = await asked(
        driver, request(url, RequestBody=body, Headers=headers, QueryParameters=query)
    )

    assert (got["method"], got["path"], got["body"]) == ("POST", "/?a=1&a=2&b=c+d", '{"n":1}')
    sent = got["headers"]
    assert sent["content-type"] == "application/json"
    assert sent["user-agent"] == "Amazon|StepFunctions|HttpInvoke|us-east-1"
    assert (sent["range"], sent["x-mine"]) == ("bytes=0-262144", "yes")


async def test_an_answer_shows_headers_status_and_body(driver: Driver, url: str) -> None:
    """Text stays text; a header that comes twice has two values."""
    arn = await driver.run(only(request(f"{url}/text", "GET")))

    output = await driver.output(arn)
    assert output["ResponseBody"] == "plain"
    assert output["Headers"]["set-cookie"] == ["a=1", "b=2"]
    assert [event["type"] for event in (await driver.events(arn))[2:5]] == [
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
    ]


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({}, "name=a+b&of%5B0%5D=1&of%5B1%5D=2&in%5Bx%5D=true"),
        ({"ArrayFormat": "REPEAT"}, "name=a+b&of=1&of=2&in%5Bx%5D=true"),
        ({"ArrayFormat": "COMMAS"}, "name=a+b&of=1%2C2&in%5Bx%5D=true"),
        ({"ArrayFormat": "BRACKETS"}, "name=a+b&of%5B%5D=1&of%5B%5D=2&in%5Bx%5D=true"),
    ],
)
async def test_a_body_can_be_a_form(driver: Driver, url: str, options: Json, body: str) -> None:
    """Arrays are written as the definition says."""
    transform = {"RequestBodyEncoding": "URL_ENCODED", "RequestEncodingOptions": options}
    given = {"name": "a b", "of": [1, 2], "in": {"x": True}}

    got = await asked(driver, request(url, RequestBody=given, Transform=transform))

    assert got["body"] == body
    assert got["headers"]["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("path", "error", "cause"),
    [
        ("/status/404", "States.Http.StatusCode.404", '{"message":"nobody"}'),
        ("/status/302", "States.Http.StatusCode.302", '{"method": "POST"'),
        ("/status/503", "States.Http.StatusCode.503", '{"method": "POST"'),
        ("/large", "States.DataLimitExceeded", "The state/task 'http' returned a result"),
    ],
)
async def test_other_answers_fail_the_task(
    driver: Driver, url: str, path: str, error: str, cause: str
) -> None:
    """With the status; redirects are not followed."""
    described = await driver.describe(await driver.run(only(request(url + path))))

    assert described["error"] == error
    assert described["cause"].startswith(cause)


async def test_an_answer_that_cannot_be_read_as_text_is_a_socket_error(
    driver: Driver, url: str
) -> None:
    """Python knows codecs that make no text; a server may name one."""
    described = await driver.describe(await driver.run(only(request(f"{url}/odd"))))

    assert described["error"] == "States.Http.Socket"


async def test_an_answer_that_drips_is_cut_off() -> None:
    """However often a little more of it comes: the whole exchange has a limit."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        # A client that leaves some of it unread resets the connection: that is no end of the file.
        with suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        hung_up.set()

    hung_up = asyncio.Event()
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(NotCalled) as caught:
        await Outbound(timeout_s=1).send("GET", f"http://127.0.0.1:{port}/", (), (), None)

    await hung_up.wait()
    server.close()
    await server.wait_closed()
    assert caught.value.message == "ReadTimeout: the answer is not there after 1 seconds"


async def test_a_server_that_is_away_is_a_socket_error(driver: Driver) -> None:
    """Which a workflow may retry."""
    described = await driver.describe(await driver.run(only(request("http://127.0.0.1:9/"))))

    assert described["error"] == "States.Http.Socket"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"ApiEndpoint": "http://example.com/"}, "'ApiEndpoint' must be an HTTPS URL"),
        ({"ApiEndpoint": "ftp://127.0.0.1/"}, "'ApiEndpoint' must be an HTTPS URL"),
        ({"ApiEndpoint": "http://[::1"}, "'ApiEndpoint' is not a valid URL"),
        ({"ApiEndpoint": None}, "'ApiEndpoint' is required but was missing"),
        ({"Method": "TRACE"}, "'Method' must be one of GET, POST"),
        ({"Headers": {"authorization": "x"}}, "The header 'authorization' is not supported"),
        ({"Headers": {"X-Amz-Date": "x"}}, "The header 'X-Amz-Date' is not supported"),
        ({"Headers": ["a"]}, "'Headers' must be an object"),
        ({"Transform": {"RequestBodyEncoding": "X"}}, "must be NONE or URL_ENCODED"),
        ({"ApiEndpoint": "https://example.com/"}, "'Authentication' is required but was missing"),
    ],
)
async def test_what_aws_refuses_is_refused(
    driver: Driver, url: str, parameters: Json, reason: str
) -> None:
    """Nothing is sent; nothing catches it."""
    state = request(url)
    state["Parameters"].update(parameters)

    described = await driver.describe(await driver.run(only(state)))

    assert described["error"] == "States.Runtime"
    assert "could not be used to start the Task: [" in described["cause"]
    assert reason in described["cause"]


@pytest.mark.parametrize(
    ("kind", "parameters", "name", "value"),
    [
        (
            "API_KEY",
            {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "s3cret"}},
            "x-key",
            "s3cret",
        ),
        (
            "BASIC",
            {"BasicAuthParameters": {"Username": "ann", "Password": "s3cret"}},
            "authorization",
            "Basic " + base64.b64encode(b"ann:s3cret").decode(),
        ),
        (
            "OAUTH_CLIENT_CREDENTIALS",
            {
                "OAuthParameters": {
                    "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret"},
                    "AuthorizationEndpoint": "{url}/token",
                    "HttpMethod": "POST",
                }
            },
            "authorization",
            "Bearer t0k3n",
        ),
    ],
)
async def test_a_connection_authenticates(
    driver: Driver, aws: Aws, url: str, kind: str, parameters: Json, name: str, value: str
) -> None:
    """Its secret is read from Secrets Manager; what it adds wins over the definition."""
    written = json.loads(json.dumps(parameters).replace("{url}", url))
    more = {
        "InvocationHttpParameters": {
            "HeaderParameters": [{"Key": "X-Mine", "Value": "theirs", "IsValueSecret": False}],
            "QueryStringParameters": [{"Key": "q", "Value": "1", "IsValueSecret": False}],
            "BodyParameters": [{"Key": "b", "Value": "2", "IsValueSecret": False}],
        }
    }
    made = aws("events").create_connection(
        Name=f"c-{kind}", AuthorizationType=kind, AuthParameters=written | more
    )
    state = request(
        url,
        Authentication={"ConnectionArn": made["ConnectionArn"]},
        Headers={"x-mine": "mine"},
        RequestBody={"n": 1},
    )

    arn = await driver.run(only(state))

    got = (await driver.output(arn))["ResponseBody"]
    assert got["headers"][name] == value
    assert (got["headers"]["x-mine"], got["path"]) == ("theirs", "/?q=1")
    assert json.loads(got["body"]) == {"n": 1, "b": "2"}
    scheduled = (await driver.events(arn))[2]["taskScheduledEventDetails"]
    assert "s3cret" not in scheduled["parameters"]


async def test_a_connection_that_is_not_there_fails_the_task(
    driver: Driver, aws: Aws, url: str
) -> None:
    """Nothing is sent without it."""
    arn = "arn:aws:events:us-east-1:123456789012:connection/none/1"
    state = request(url, Authentication={"ConnectionArn": arn})

    described = await driver.describe(await driver.run(only(state)))

    assert described["error"] == "EventBridge.ResourceNotFoundException"


async def test_a_connection_nobody_can_read_is_left_out_on_this_machine(
    driver: Driver, nowhere: None, url: str
) -> None:
    """Without an endpoint of EventBridge, a developer's own server is asked as it is."""
    arn = "arn:aws:events:us-east-1:123456789012:connection/none/1"

    got = await asked(driver, request(url, InvocationConfig={"ConnectionArn": arn}))

    assert "authorization" not in got["headers"]


def api(endpoint: str, pattern: str = "", **more: Json) -> dict[str, Json]:
    """A Task that calls an API."""
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::apigateway:invoke{pattern}",
        "Parameters": {"ApiEndpoint": endpoint, "Method": "POST", **more},
        "End": True,
    }


async def test_an_api_is_called_by_stage_and_path(driver: Driver, url: str) -> None:
    """One on this machine, as it is named."""
    state = api(
        url.removeprefix("http://"),
        Stage="prod",
        Path="orders/a b",
        QueryParameters={"q": ["1", "2"]},
        Headers={"X-One": ["1"]},
        RequestBody={"n": 1},
    )

    got = await asked(driver, state)

    assert (got["path"], got["body"]) == ("/prod/orders/a%20b?q=1&q=2", '{"n":1}')
    assert got["headers"]["x-one"] == "1"


async def test_an_api_of_aws_is_asked_where_the_variables_say(
    driver: Driver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its own host name, and signed when it wants that."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EXECUTE_API", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    host = "abc.execute-api.us-east-1.amazonaws.com"

    got = await asked(driver, api(host, Path="/p", AuthType="IAM_ROLE", RequestBody="x"))

    assert got["headers"]["host"] == host
    assert got["headers"]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")


async def test_an_api_hands_out_a_token(driver: Driver, url: str) -> None:
    """In a header, as AWS's example has it."""
    headers = {"TaskToken.$": "States.Array($$.Task.Token)"}
    state = api(url.removeprefix("http://"), ".waitForTaskToken", Headers=headers)

    arn = await driver.run(only(state))
    submitted = (await driver.events(arn))[4]["taskSubmittedEventDetails"]
    token = json.loads(submitted["output"])["ResponseBody"]["headers"]["tasktoken"]
    await driver.succeed("done", token)

    assert await driver.output(arn) == "done"


@pytest.mark.parametrize(
    ("more", "error", "cause"),
    [
        ({"Path": "/status/404"}, "ApiGateway.404", '{"message":"nobody"}'),
        ({"AuthType": "X"}, "States.Runtime", "The Parameters '"),
        ({"ApiEndpoint": "["}, "States.Runtime", "The Parameters '"),
        ({"ApiEndpoint": "localhost@evil.example"}, "States.Runtime", "The Parameters '"),
        ({"ApiEndpoint": "127.0.0.1:9/p?q#"}, "States.Runtime", "The Parameters '"),
        ({"Headers": {"Host": "x"}}, "States.Runtime", "The Parameters '"),
    ],
)
async def test_an_api_that_refuses_fails_the_task(
    driver: Driver, url: str, more: Json, error: str, cause: str
) -> None:
    """With its status."""
    state = api(url.removeprefix("http://"))
    state["Parameters"].update(more)

    described = await driver.describe(await driver.run(only(state)))

    assert described["error"] == error
    assert described["cause"].startswith(cause)


async def test_a_test_of_the_state_shows_the_exchange(driver: Driver, url: str) -> None:
    """With TRACE: what was sent, and what came back."""
    state = request(f"{url}/text", "POST", RequestBody={"n": 1}, QueryParameters={"a": "b c"})
    members = {"definition": json.dumps(state), "roleArn": ROLE, "inspectionLevel": "TRACE"}

    seen = (await driver.call("TestState", **members))["inspectionData"]

    assert seen["request"] == {
        "protocol": "http",
        "method": "POST",
        "url": f"{url}/text?a=b+c",
        "headers": "[User-Agent: Amazon|StepFunctions|HttpInvoke|us-east-1, "
        "Range: bytes=0-262144, Content-Type: application/json]",
        "body": '{"n":1}',
    }
    assert (seen["response"]["protocol"], seen["response"]["statusCode"]) == ("http", "200")
    assert seen["response"]["body"]
