"""The embedded engine as a target: called directly, treated like any other.

Same answers, same classification, same reconciliation from the history; no shortcut through the
engine's tables.
"""

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

from app.approvals.targets import Event, TargetBusy, translate, unreadable
from app.errors import StepFunctionsError, StoreError

_PAGE = 1000  #: events


class Engine(Protocol):
    """What is needed of an engine: four verbs of the Step Functions API."""

    async def send_task_success(self, task_token: str, output: str) -> Any:
        """Complete the task."""

    async def send_task_failure(self, task_token: str, error: str | None, cause: str | None) -> Any:
        """Fail the task."""

    async def send_task_heartbeat(self, task_token: str) -> Any:
        """Keep the task alive."""

    async def get_execution_history(
        self, execution_arn: str, max_results: int, next_token: str | None
    ) -> Any:
        """A page of events, oldest first: ``events`` and perhaps ``nextToken``."""


class EmbeddedTarget:
    """Delivers to an engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def succeed(self, token: str, output: str) -> None:
        """Complete the task with *output* (JSON text)."""
        await _send(self._engine.send_task_success(token, output))

    async def fail(self, token: str, error: str | None, cause: str | None) -> None:
        """Fail the task."""
        await _send(self._engine.send_task_failure(token, error, cause))

    async def heartbeat(self, token: str) -> None:
        """Tell that the task is still worked on."""
        await _send(self._engine.send_task_heartbeat(token))

    async def history(self, execution_arn: str) -> AsyncIterator[Event]:
        """The execution's events with their data, oldest first."""
        next_token: str | None = None
        while True:
            page = await self._page(execution_arn, next_token)
            for event in page["events"]:
                yield event
            next_token = page.get("nextToken")
            if next_token is None:
                return

    async def _page(self, execution_arn: str, next_token: str | None) -> Any:
        try:
            return await self._engine.get_execution_history(execution_arn, _PAGE, next_token)
        except StepFunctionsError as exc:
            raise unreadable(exc.code, 400) from exc
        except StoreError as exc:
            raise TargetBusy(type(exc).__name__) from exc


async def _send(call: Awaitable[Any]) -> None:
    try:
        await call
    except StepFunctionsError as exc:
        raise translate(exc.code, 400) from exc
    except StoreError as exc:
        raise TargetBusy(type(exc).__name__) from exc
