"""Amazon EventBridge as a destination, or whatever answers ``PutEvents`` (AWS_ENDPOINT_URL_EVENTS).

EventBridge gives each event an id of its own. So a consumer that must not act twice tells events
apart by ``executionArn``, ``status`` and ``redriveCount``, as it has to for AWS's own events.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import orjson

from app.engine.events import OwedEvent, Refusals
from app.engine.own_calls import CallFailed, OwnCalls
from app.engine.resources.clients import AwsClients
from app.strict_json import Json

MAX_ENTRIES = 10  #: of one request
MAX_REQUEST_BYTES = 256 * 1024  #: AWS takes a megabyte now; what imitates it may not


class EventBridge:
    """Puts events on a bus."""

    name = "eventbridge"
    number = 1
    batch = MAX_ENTRIES

    def __init__(self, bus: str, region: str) -> None:
        self._bus = bus
        self._service = OwnCalls(_clients(region), "events")

    async def deliver(self, events: Sequence[OwedEvent]) -> Refusals:
        """Put events; of a request that was taken in part, only the rest was refused."""
        refusals: Refusals = {}
        for some in _requests(events):
            refusals |= await self._put(some)
        return refusals

    async def close(self) -> None:
        """Nothing is held that does not end with the process."""

    async def _put(self, events: Sequence[OwedEvent]) -> Refusals:
        entries = [_entry(orjson.loads(owed.text), self._bus) for owed in events]
        try:
            answer = await self._service.call("PutEvents", {"Entries": entries})
        except CallFailed as exc:
            return {owed.number: exc.code for owed in events}
        # What no result tells of was not taken, for all we know.
        results = [*answer.get("Entries", ()), *[{}] * len(events)]
        return {
            owed.number: str(result.get("ErrorCode", "refused"))
            for owed, result in zip(events, results, strict=False)
            if "EventId" not in result
        }


def _clients(region: str) -> AwsClients:
    """Clients that call AWS where no variable names an endpoint: whoever names a bus wants that."""
    clients = AwsClients(region)
    if clients.has_endpoint("events"):
        return clients
    return AwsClients(region, {"events": f"https://events.{region}.{_domain(region)}"})


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def _requests(events: Sequence[OwedEvent]) -> Iterator[list[OwedEvent]]:
    some: list[OwedEvent] = []
    size = 0
    for owed in events:
        own = len(owed.text.encode())
        if some and (size + own > MAX_REQUEST_BYTES or len(some) == MAX_ENTRIES):
            yield some
            some, size = [], 0
        some.append(owed)
        size += own
    if some:
        yield some


def _entry(event: Json, bus: str) -> dict[str, Json]:
    return {
        "EventBusName": bus,
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": orjson.dumps(event["detail"]).decode(),
        "Resources": event["resources"],
        "Time": datetime.fromisoformat(event["time"]),
    }
