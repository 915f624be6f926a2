"""Connectors: how a Task's resource is called.

A connector is one class with `call` and one line in `CONNECTORS`. It runs after the commit that
scheduled the task, perhaps more than once if the process dies in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.engine.execution import Dispatch
from app.engine.payload import Payload
from app.engine.resource import Family, Pattern, Resource
from app.engine.resources.connector import Connector, Surroundings
from app.engine.resources.functions import LambdaConnector
from app.engine.resources.queues import SqsConnector


@dataclass(frozen=True, slots=True)
class _Entry:
    make: Callable[[Surroundings], Connector]
    patterns: frozenset[Pattern]


_CALLBACK = frozenset({Pattern.REQUEST_RESPONSE, Pattern.WAIT_FOR_TASK_TOKEN})

CONNECTORS: Mapping[tuple[str, str], _Entry] = {
    ("lambda", "invoke"): _Entry(LambdaConnector, _CALLBACK),
    ("sqs", "sendMessage"): _Entry(SqsConnector, _CALLBACK),
}


def supports(resource: Resource) -> bool:
    """Whether a task can have this resource."""
    if resource.family is Family.ACTIVITY:
        return True  # nobody is called: workers come for its tasks
    entry = CONNECTORS.get((resource.service, resource.action))
    return entry is not None and resource.pattern in entry.patterns


class Resources:
    """All connectors of an engine, each made when it is first called."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._made: dict[tuple[str, str], Connector] = {}

    async def call(self, dispatch: Dispatch) -> Payload:
        """The resource's answer.

        Raises:
            StateFailure: it refused, or failed.
        """
        key = (dispatch.resource.service, dispatch.resource.action)
        connector = self._made.get(key)
        if connector is None:
            connector = self._made[key] = CONNECTORS[key].make(self._surroundings)
        return await connector.call(dispatch)
