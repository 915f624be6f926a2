"""Events on an EventBridge bus: moto's, over HTTP, and one that takes some entries only."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from app.engine.events import OwedEvent
from app.engine.events.eventbridge import EventBridge, _requests
from app.strict_json import Json
from tests.engine.events.receiver import Receiver
from tests.engine.events.recording import WHERE, Recorder
from tests.moto_server import moto_server

PATTERN = {
    "source": ["signoff.states"],
    "detail-type": ["Step Functions Execution Status Change"],
    "detail": {"status": ["RUNNING"]},
}


@pytest.fixture
def moto(credentials: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of events and queues."""
    with moto_server() as url:
        credentials.setenv("AWS_ENDPOINT_URL", url)
        yield url


@pytest.fixture
def queue(moto: str) -> Iterator[Any]:
    """A queue that gets the executions' starts from the bus ``runs``."""
    sqs: Any = boto3.resource("sqs", region_name="us-east-1")
    events = boto3.client("events", region_name="us-east-1")
    queue = sqs.create_queue(QueueName="starts")
    events.create_event_bus(Name="runs")
    events.put_rule(Name="starts", EventBusName="runs", EventPattern=json.dumps(PATTERN))
    targets = [{"Id": "queue", "Arn": queue.attributes["QueueArn"]}]
    events.put_targets(Rule="starts", EventBusName="runs", Targets=targets)
    yield queue
    events.close()
    sqs.meta.client.close()


async def test_a_rule_gets_the_event_in_the_documented_shape(queue: Any, tmp_path: Path) -> None:
    """What a rule's target receives is what it receives of AWS's own executions."""
    bridge = EventBridge("runs", "us-east-1")
    recorder = await Recorder.over(tmp_path, bridge)
    await recorder.begin(2)

    await recorder.delivery.deliver_due()

    owed = recorder.owed
    await recorder.stop()
    found = [json.loads(m.body) for m in queue.receive_messages(MaxNumberOfMessages=10)]
    assert sorted(event["detail"]["name"] for event in found) == ["run0", "run1"]
    assert {name: found[0][name] for name in ("source", "detail-type", "time", "region")} == {
        "source": "signoff.states",
        "detail-type": "Step Functions Execution Status Change",
        "time": "2025-11-12T12:00:00Z",
        "region": "us-east-1",
    }
    assert found[0]["resources"] == [f"{WHERE}:execution:machine:{found[0]['detail']['name']}"]
    assert len(found[0]["detail"]) == 18
    assert owed == 0


@pytest.mark.parametrize(
    ("entries", "again"),
    [
        ([{"EventId": "1"}, {"ErrorCode": "InternalFailure"}, {"EventId": "3"}], ["run1"]),
        ([{"EventId": "1"}, {"EventId": "2"}], ["run2"]),  # of the last nobody knows
    ],
)
async def test_only_failed_entries_are_put_again(
    credentials: pytest.MonkeyPatch, tmp_path: Path, entries: list[Json], again: list[str]
) -> None:
    """A request that was taken in part: FailedEntryCount 1."""
    bus = Receiver(judge=lambda _number, _event: 200)
    bus.answer_body = json.dumps({"FailedEntryCount": 1, "Entries": entries}).encode()
    bus.answer_headers = {"content-type": "application/x-amz-json-1.1"}
    credentials.setenv("AWS_ENDPOINT_URL_EVENTS", bus.url)
    recorder = await Recorder.over(tmp_path, EventBridge("default", "us-east-1"))
    await recorder.begin(3)

    await recorder.delivery.deliver_due()
    bus.answer_body = b'{"FailedEntryCount": 0, "Entries": [{"EventId": "2"}]}'
    recorder.clock.now += 2 * recorder.second
    await recorder.delivery.deliver_due()

    owed = recorder.owed
    await recorder.stop()
    bus.close()
    sent = [[json.loads(e["Detail"])["name"] for e in r.event["Entries"]] for r in bus.received]
    assert sent == [["run0", "run1", "run2"], again]
    assert owed == 0


async def test_a_bus_that_is_not_there_is_a_refusal(
    credentials: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is lost while nobody answers."""
    credentials.setenv("AWS_ENDPOINT_URL_EVENTS", "http://127.0.0.1:1")
    recorder = await Recorder.over(tmp_path, EventBridge("default", "us-east-1"))
    await recorder.begin(2)

    await recorder.delivery.deliver_due()

    owed = recorder.owed
    await recorder.stop()
    assert (owed, recorder.meter.counts) == (2, {"events_refused": 2})


def test_requests_stay_within_aws_limits() -> None:
    """Ten entries and 256 KiB at most, but an entry is never split."""
    large = OwedEvent(0, 0, 0, "x" * 150_000)
    small = OwedEvent(0, 0, 0, "x")

    assert [len(some) for some in _requests([large, large, small, large])] == [1, 2, 1]
    assert [len(some) for some in _requests([small] * 12)] == [10, 2]
