"""Functions that are not local: AWS Lambda at an endpoint, through boto3.

The endpoint is a small HTTP server that speaks Lambda's Invoke.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.strict_json import Json
from tests.engine.driving import INVOKE, Driver, invoked, only
from tests.loopback import LoopbackHandler, LoopbackServer

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


class Lambda(LoopbackHandler):
    """Answers by the function's name."""

    def do_POST(self) -> None:
        """Invoke."""
        event = json.loads(self.body())
        name = self.path.split("/")[3].split("%3A")[-1]
        answers: dict[str, tuple[int, dict[str, str], Json]] = {
            "double": (200, {}, event * 2 if event else 0),
            "broken": (
                200,
                {"X-Amz-Function-Error": "Unhandled"},
                {"errorType": "Broken", "errorMessage": "no"},
            ),
        }
        missing = {"Type": "User", "Message": f"Function not found: {ARN}{name}"}
        status, headers, answer = answers.get(
            name, (404, {"x-amzn-errortype": "ResourceNotFoundException"}, missing)
        )
        content = json.dumps(answer).encode()
        self.answer(status, content, *headers.items(), ("x-amzn-RequestId", "r-1"))


@pytest.fixture(autouse=True)
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Lambda, where AWS_ENDPOINT_URL_LAMBDA points."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with LoopbackServer(Lambda) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        yield server.url


async def test_a_function_elsewhere_is_invoked(driver: Driver) -> None:
    """Without credentials too: an endpoint of one's own takes any."""
    by_name = await driver.output(await driver.run(only(invoked("double")), 21, "a"))
    state = {"Type": "Task", "Resource": ARN + "double", "End": True}
    by_arn = await driver.output(await driver.run(only(state), 21, "b"))

    assert (by_name["Payload"], by_name["StatusCode"]) == (42, 200)
    assert by_name["SdkResponseMetadata"] == {"RequestId": "r-1"}
    assert by_arn == 42


async def test_the_engines_own_endpoint_goes_before_the_variable(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Step Functions Local's option names is more special than boto3's variable."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    driver = Driver(tmp_path, endpoints={"lambda": endpoint})
    await driver.start()

    output = await driver.output(await driver.run(only(invoked("double")), 21))

    assert output["Payload"] == 42
    await driver.stop()


async def test_a_local_function_comes_first(driver: Driver) -> None:
    """What is registered here is not asked for elsewhere."""
    output = await driver.output(await driver.run(only(invoked("echo")), 21))

    assert output["Payload"] == 21


async def test_its_errors_are_the_functions(driver: Driver) -> None:
    """A function's own error, and Lambda's."""
    broken = await driver.describe(await driver.run(only(invoked("broken")), name="a"))
    missing = await driver.describe(await driver.run(only(invoked("nobody")), name="b"))

    assert (broken["error"], broken["cause"]) == (
        "Broken",
        '{"errorType":"Broken","errorMessage":"no"}',
    )
    assert missing["error"] == "Lambda.ResourceNotFoundException"
    assert missing["cause"] == (
        f"Function not found: {ARN}nobody (Service: AWSLambda; Status Code: 404; "
        "Error Code: ResourceNotFoundException; Request ID: r-1; Proxy: null)"
    )


async def test_parameters_that_cannot_be_sent_fail_the_task(driver: Driver) -> None:
    """Here a member of the wrong type; the cause says which."""
    parameters = {"FunctionName": "double", "ClientContext": 5}
    state = {"Type": "Task", "Resource": INVOKE, "Parameters": parameters, "End": True}

    described = await driver.describe(await driver.run(only(state)))

    assert described["error"] == "States.Runtime"
    assert "Invalid type for parameter ClientContext" in described["cause"]


async def test_the_waiting_form_waits_for_the_token(driver: Driver) -> None:
    """Lambda's answer is the submitted event's output, not the result."""
    parameters = {"FunctionName": "double", "Payload": 1}
    state = {
        "Type": "Task",
        "Resource": INVOKE + ".waitForTaskToken",
        "Parameters": parameters,
        "End": True,
    }

    arn = await driver.run(only(state))

    assert await driver.status(arn) == "RUNNING"
    assert (await driver.story(arn))[-1] == "5<4 TaskSubmitted"
