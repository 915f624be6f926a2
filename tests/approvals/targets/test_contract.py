"""What every target must do; runs over each target in `TARGETS`. Add one line for a new one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from app.approvals.model import State
from app.approvals.store.dynamodb.running import InThreads
from app.approvals.targets import Target, TargetBusy, TargetRefused, TaskGone
from app.approvals.targets.embedded import EmbeddedTarget
from app.approvals.targets.signed_stepfunctions import SignedStepFunctionsTarget
from app.approvals.targets.stepfunctions import StepFunctionsTarget
from app.aws_json import STEP_FUNCTIONS, AwsJsonClient, Credentials
from tests.approvals.targets.sfn_server import serving
from tests.approvals.workflow import Fault, Workflow
from tests.approvals.world import mint_body, open_world

TOKEN = "token-1"


@asynccontextmanager
async def embedded(workflow: Workflow) -> AsyncIterator[Target]:
    """The workflow in this process."""
    yield EmbeddedTarget(workflow)


@asynccontextmanager
async def aws(workflow: Workflow) -> AsyncIterator[Target]:
    """The workflow over HTTP, through boto3."""
    async with serving(workflow) as endpoint:
        client = boto3.client(
            "stepfunctions",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=False),
        )
        target = StepFunctionsTarget(client)
        yield target
        target.close()


@asynccontextmanager
async def signed(workflow: Workflow) -> AsyncIterator[Target]:
    """The workflow over HTTP, without boto3."""
    async with serving(workflow) as endpoint:
        run = InThreads(4)
        client = AwsJsonClient(
            STEP_FUNCTIONS,
            region="us-east-1",
            credentials=lambda: Credentials("test", "test", None),
            endpoint=endpoint,
        )
        target = SignedStepFunctionsTarget(client, run)
        yield target
        target.close()
        run.close()


TARGETS: dict[str, Callable[[Workflow], AbstractAsyncContextManager[Target]]] = {
    "embedded": embedded,
    "aws": aws,
    "aws, signed": signed,
}


@pytest.fixture
def workflow() -> Workflow:
    """A workflow service."""
    return Workflow()


@pytest.fixture(params=list(TARGETS.values()), ids=list(TARGETS))
async def target(request: pytest.FixtureRequest, workflow: Workflow) -> AsyncIterator[Target]:
    """Each target in turn, in front of the workflow."""
    async with request.param(workflow) as opened:
        yield opened


async def types(target: Target, arn: str) -> list[str]:
    """The types of all events of an execution."""
    return [event["type"] async for event in target.history(arn)]


async def test_a_success_is_taken(target: Target, workflow: Workflow) -> None:
    """Returning means that the workflow has the output."""
    workflow.wait_for(TOKEN)

    await target.succeed(TOKEN, '{"ok":true,"text":"é"}')

    assert workflow.outcome(TOKEN) == '{"ok":true,"text":"é"}'


async def test_a_failure_is_taken(target: Target, workflow: Workflow) -> None:
    """Returning means that the workflow has error and cause."""
    workflow.wait_for(TOKEN)

    await target.fail(TOKEN, "Rejected", "Not on a Friday.")

    assert workflow.outcome(TOKEN) == ("Rejected", "Not on a Friday.")


async def test_what_a_failure_does_not_say_is_not_sent(target: Target, workflow: Workflow) -> None:
    """Error and cause are optional, as they are in SendTaskFailure."""
    workflow.wait_for(TOKEN)

    await target.fail(TOKEN, None, None)

    assert workflow.outcome(TOKEN) == (None, None)


async def test_a_heartbeat_keeps_the_task_open(target: Target, workflow: Workflow) -> None:
    """It may be sent again and again, until nobody waits any more."""
    workflow.wait_for(TOKEN)

    await target.heartbeat(TOKEN)
    await target.heartbeat(TOKEN)

    assert workflow.calls == ["SendTaskHeartbeat", "SendTaskHeartbeat"]
    assert workflow.is_open(TOKEN)
    workflow.time_out(TOKEN)
    with pytest.raises(TaskGone):
        await target.heartbeat(TOKEN)


@pytest.mark.parametrize("token", [TOKEN, "never-seen"])
async def test_a_token_that_nobody_waits_for_is_gone(
    target: Target, workflow: Workflow, token: str
) -> None:
    """Used, timed out or never seen: gone."""
    workflow.wait_for(TOKEN)
    await target.succeed(TOKEN, "1")

    with pytest.raises(TaskGone):
        await target.succeed(token, "2")
    with pytest.raises(TaskGone):
        await target.fail(token, "E", "c")

    assert workflow.outcome(TOKEN) == "1"


@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.LOST_AFTER, Fault.THROTTLED])
async def test_without_a_clear_answer_nothing_is_concluded(
    target: Target, workflow: Workflow, fault: Fault
) -> None:
    """The target does not try again by itself: whether it was applied is found out elsewhere."""
    workflow.wait_for(TOKEN)
    workflow.faults.append(fault)

    with pytest.raises(TargetBusy):
        await target.succeed(TOKEN, "1")

    assert workflow.calls == ["SendTaskSuccess"]
    assert workflow.outcome(TOKEN) == ("1" if fault is Fault.LOST_AFTER else None)


async def test_a_refusal_is_for_an_operator(target: Target, workflow: Workflow) -> None:
    """Missing permissions are not mended by trying."""
    workflow.faults.append(Fault.DENIED)

    with pytest.raises(TargetRefused) as refusal:
        await target.fail(TOKEN, "E", "c")

    assert refusal.value.code == "AccessDeniedException"


async def test_a_history_comes_whole_and_in_order(target: Target, workflow: Workflow) -> None:
    """However many pages it has."""
    workflow.page_size = 3
    arn = workflow.wait_for(TOKEN)
    await target.succeed(TOKEN, '{"ok":true}')

    events = [event async for event in target.history(arn)]

    assert [event["id"] for event in events] == list(range(1, 9))
    assert events[5]["taskSucceededEventDetails"]["output"] == '{"ok":true}'
    assert events[5]["previousEventId"] == 5
    assert '"task_token":"token-1"' in events[2]["taskScheduledEventDetails"]["parameters"]


async def test_a_history_that_cannot_be_read_says_whether_it_ever_can(
    target: Target, workflow: Workflow
) -> None:
    """Throttled and cut off is later; denied and unknown is never."""
    arn = workflow.wait_for(TOKEN)
    workflow.history_faults.extend([Fault.THROTTLED, Fault.LOST_BEFORE, Fault.DENIED])

    with pytest.raises(TargetBusy):
        await types(target, arn)
    with pytest.raises(TargetBusy):
        await types(target, arn)
    with pytest.raises(TargetRefused):
        await types(target, arn)
    with pytest.raises(TargetRefused):
        await types(target, arn + "-unknown")
    assert len(await types(target, arn)) == 5


@pytest.mark.parametrize("action", [0, 1])
async def test_a_lost_answer_is_reconciled_through_the_target(
    target: Target, workflow: Workflow, tmp_path: Path, action: int
) -> None:
    """The whole way: applied, answer lost, found in the history, delivered."""
    world = await open_world(tmp_path / "a.sqlite3", workflow=workflow, target=target)
    workflow.faults.append(Fault.LOST_AFTER)
    arn = workflow.wait_for(TOKEN)
    body = mint_body(TOKEN, execution_arn=arn)
    approval = (await world.service.mint(body)).approval

    await world.decide(approval, ("approve", "reject")[action])
    await world.settle()

    record = await world.record(approval)
    assert record.state is State.DELIVERED
    assert record.evidence in ("TaskSucceeded 6", "TaskFailed 6")
    await world.close()
