"""Stopping jobs that nobody waits for any more, because what waited was aborted.

What is to be stopped is in the database, so a crash forgets none. AWS promises its best effort, and
so does this: each is stopped once, and one that cannot be is logged.
"""

import asyncio
import logging
import sqlite3

from app.engine.failures import StateFailure
from app.engine.language.resource import parse_resource
from app.engine.payload import EMPTY, Payload
from app.engine.resources import Resources
from app.engine.steps.execution import Dispatch
from app.engine.store import owe_cancellation
from app.errors import StoreError
from app.sqlite import Database

log = logging.getLogger(__name__)

AT_ONCE = 16

_OWED = "SELECT id, execution, resource, role, job FROM cancellations ORDER BY id LIMIT ?"
_DONE = "DELETE FROM cancellations WHERE id = ?"


class Cancelling:
    """Stops jobs."""

    def __init__(self, database: Database, resources: Resources) -> None:
        self._database = database
        self._resources = resources
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._stopped = False

    def go(self) -> None:
        """Stop what is owed, soon."""
        if self._stopped:
            return
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def add(self, job: Dispatch) -> None:
        """Have a job stopped."""
        await self._database.write(lambda connection: owe_cancellation(connection, job))
        self.go()

    async def idle(self) -> None:
        """Return when nothing is owed."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        """Stop no more jobs. What is owed stays owed."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        while self._again:
            self._again = False
            while rows := self._database.read(_OWED, (AT_ONCE,)):
                await asyncio.gather(*(self._stop(*row[1:]) for row in rows))
                done = [(row[0],) for row in rows]
                try:
                    await self._database.write(lambda c, ids=done: _remove(c, ids))  # type: ignore[misc]
                except StoreError:
                    log.warning("the store refused; jobs are stopped again at the next start")
                    return

    async def _stop(self, execution: str, arn: str, role_arn: str | None, job: str) -> None:
        try:
            await self._resources.cancel(_started(execution, arn, role_arn, job))
        except StateFailure as failure:
            log.warning(
                "a job could not be stopped: %s", failure.error, extra={"execution": execution}
            )
        except Exception:
            log.exception("a job could not be stopped", extra={"execution": execution})


def _started(execution: str, arn: str, role_arn: str | None, job: str) -> Dispatch:
    """The call that started a job, as far as stopping it needs that."""
    resource = parse_resource(arn)
    assert resource is not None  # noqa: S101  # it was one when the job began
    return Dispatch(
        execution_id=0,
        execution_arn=execution,
        frame=0,
        attempt=0,
        resource=resource,
        arguments=EMPTY,
        deadline_ms=None,
        role_arn=role_arn,
        job=Payload.of_text(job),
    )


def _remove(connection: sqlite3.Connection, ids: list[tuple[int]]) -> None:
    connection.executemany(_DONE, ids)
