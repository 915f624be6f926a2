"""What holds for every line of the table of integrations."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import pytest
from botocore.session import get_session

from app.engine.arns import Arns
from app.engine.failures import StateFailure
from app.engine.language.resource import Pattern, Resource, parse_resource
from app.engine.payload import Payload
from app.engine.resources import INTEGRATIONS, Resources, supports
from app.engine.resources.clients import AwsClients
from app.engine.resources.connector import Surroundings
from app.engine.resources.naming import described
from app.engine.resources.services import ServiceConnector
from app.engine.runtime import Engine
from app.engine.steps.execution import Dispatch
from app.strict_json import Json
from tests.engine.driving import Driver
from tests.processes import free_port

LINES = sorted(INTEGRATIONS)
#: those that only a service can answer
SERVICES = [line for line in LINES if line[0] not in ("lambda", "http", "states")]
#: what makes a call get as far as the service
PARAMETERS = {
    "ApiEndpoint": "127.0.0.1:9",
    "Method": "GET",
    "StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:none",
}


def surroundings(engine: Engine, endpoints: dict[str, str] | None = None) -> Surroundings:
    arns = Arns("us-east-1", "123456789012")
    return Surroundings(arns, {}, AwsClients(arns.region, endpoints), engine)


def dispatched(arn: str, parameters: object = None) -> Dispatch:
    resource = parse_resource(arn)
    assert resource is not None
    execution = "arn:aws:states:us-east-1:123456789012:execution:machine:run"
    return Dispatch(1, execution, 1, 3, resource, Payload(parameters), None)


def connectors(engine: Engine) -> Iterator[tuple[tuple[str, str], ServiceConnector]]:
    for line in LINES:
        made = INTEGRATIONS[line].make(surroundings(engine))
        if isinstance(made, ServiceConnector):
            yield line, made


@pytest.mark.parametrize(("service", "action"), LINES)
def test_a_line_supports_what_it_says(service: str, action: str) -> None:
    """Each pattern of a line, and no other, may be in a definition."""
    integration = INTEGRATIONS[service, action]

    found = {
        pattern
        for pattern in Pattern
        if (resource := parse_resource(f"arn:aws:states:::{service}:{action}{pattern.value}"))
        and supports(resource)
    }

    assert found == integration.patterns
    assert Pattern.REQUEST_RESPONSE in found


async def test_operations_and_members_are_the_services(driver: Driver) -> None:
    """The model of boto3 has what a line calls, and takes what it lets through."""
    for line, connector in connectors(driver.engine):
        operations = described(connector.names.client)[1]
        assert connector.operation in operations.values(), line
        if connector.job is not None:
            asks = [connector.job.describe, connector.job.cancel]
            assert {ask(defaultdict(str))[0] for ask in asks if ask} <= set(operations.values()), (
                line
            )
            assert Pattern.SYNC in INTEGRATIONS[line].patterns, line


async def test_what_a_definition_must_give_the_service_requires(driver: Driver) -> None:
    """No definition is refused for want of a member that boto3's model can do without."""
    session = get_session()
    needing = [made for made in connectors(driver.engine) if INTEGRATIONS[made[0]].needs]
    for line, connector in needing:
        integration = INTEGRATIONS[line]
        model = session.get_service_model(connector.names.client)
        shape = model.operation_model(connector.operation).input_shape

        assert shape is not None
        required = {name.lower() for name in shape.required_members}
        assert {name.lower() for name in integration.needs} <= required, line
        assert not integration.members or integration.members.issuperset(integration.needs), line


@pytest.mark.parametrize(("service", "action"), SERVICES)
async def test_a_service_without_an_endpoint_is_not_called(
    driver: Driver, nowhere: None, service: str, action: str
) -> None:
    """Nothing reaches an AWS account that nobody named; the failure says what to set."""
    resources = Resources(surroundings(driver.engine))
    parameters = PARAMETERS | {"ApiEndpoint": "api.execute-api.us-east-1.amazonaws.com"}

    with pytest.raises(StateFailure) as failure:
        await resources.call(dispatched(f"arn:aws:states:::{service}:{action}", parameters))

    assert str(failure.value.error).endswith(".SdkClientException")
    assert str(failure.value.cause).startswith("No endpoint is configured for ")


async def test_any_parameters_bring_an_answer_or_a_failure(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a definition hands on, the task fails as tasks fail."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("app.engine.resources.clients.DEFAULT_ATTEMPTS", 1)
    resources = Resources(surroundings(driver.engine))

    parameters: list[Json] = [None, [], {"Nonsense": {"a": [1]}}]
    for (service, action), given in product(LINES, parameters):
        with pytest.raises(StateFailure):
            await resources.call(dispatched(f"arn:aws:states:::{service}:{action}", given))


@pytest.mark.parametrize(
    ("arn", "known"),
    [
        ("arn:aws:states:::aws-sdk:s3:listBuckets", True),
        ("arn:aws:states:::aws-sdk:sqs:receiveMessage.waitForTaskToken", True),
        ("arn:aws:states:::aws-sdk:s3:listBuckets.sync", False),
        ("arn:aws:states:::aws-sdk:s3:ListBuckets", False),
        ("arn:aws:states:::aws-sdk:s3:nonsense", False),
        ("arn:aws:states:::aws-sdk:nonsense:listBuckets", False),
        ("arn:aws:states:::aws-sdk:stepfunctions:startExecution", False),
        ("arn:aws:states:::aws-sdk:sfn:startSyncExecution", True),
        ("arn:aws:states:::aws-sdk:cloudwatchlogs:putLogEvents", True),
        ("arn:aws:states:::sqs:receiveMessage", False),
        ("arn:aws:states:::dynamodb:getItem.waitForTaskToken", False),
        ("arn:aws:states:::http:invoke.sync", False),
    ],
)
def test_only_what_can_be_called_is_supported(arn: str, known: bool) -> None:
    """Services and actions are looked up in boto3's models, by Step Functions' names."""
    resource = parse_resource(arn)

    assert isinstance(resource, Resource)
    assert supports(resource) is known
