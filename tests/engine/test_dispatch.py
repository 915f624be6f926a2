"""Dispatching calls: bounded, and each service for itself."""

import asyncio

from app.engine.dispatch import AT_HAND, IN_FLIGHT, Dispatcher
from app.engine.language.resource import parse_resource
from app.engine.payload import EMPTY
from app.engine.steps.execution import Dispatch


def call(number: int, service: str, job: bool = False) -> Dispatch:
    resource = parse_resource(f"arn:aws:states:::{service}:act")
    assert resource is not None
    return Dispatch(number, "arn", 1, 3, resource, EMPTY, None, job=EMPTY if job else None)


async def test_a_service_that_hangs_holds_up_no_other() -> None:
    """However many of its calls are owed."""
    began: list[str] = []

    async def perform(dispatch: Dispatch) -> None:
        began.append(dispatch.resource.service)
        if dispatch.resource.service == "hangs":
            await asyncio.Event().wait()

    dispatcher = Dispatcher(perform, lambda _count: [])
    dispatcher.offer([call(n, "hangs") for n in range(IN_FLIGHT + AT_HAND + 5)])
    dispatcher.offer([call(-1, "answers")])
    await asyncio.sleep(0)

    await dispatcher.stop()

    assert began.count("answers") == 1
    assert began.count("hangs") == IN_FLIGHT


async def test_a_look_at_a_job_is_not_owed() -> None:
    """Where there is no room for it, it is left out: its frame becomes due again."""
    asked: list[int] = []

    async def perform(dispatch: Dispatch) -> None:
        await asyncio.Event().wait()

    def read_owed(count: int) -> list[Dispatch]:
        asked.append(count)
        return []

    dispatcher = Dispatcher(perform, read_owed)
    for number in range(AT_HAND + IN_FLIGHT + 5):
        dispatcher.offer([call(number, "jobs", job=True)])
    await dispatcher.stop()

    assert asked == []
