"""What a Map Run gives: the Map's result, or files of results in S3 and where they are."""

import asyncio
import sqlite3
from functools import partial

from app.engine.executions import Executions
from app.engine.failures import RESULT_WRITER_FAILED
from app.engine.map_runs.results import Names, ResultFiles, pages, state_output
from app.engine.map_runs.rows import MapRun
from app.engine.map_runs.s3 import Objects
from app.engine.payload import Payload
from app.engine.state_machines.machines import Machines
from app.engine.steps.execution import Status
from app.engine.store import within
from app.engine.threads import Threads
from app.sqlite import Database


class Exporting:
    """Gives results of runs."""

    def __init__(
        self,
        database: Database,
        machines: Machines,
        executions: Executions,
        objects: Objects,
        threads: Threads,
    ) -> None:
        self._database = database
        self._machines = machines
        self._executions = executions
        self._objects = objects
        self._threads = threads

    def output(self, connection: sqlite3.Connection, run: MapRun) -> Payload:
        """The result of the Map that waits for the run.

        Raises:
            SizeFailure: it is too large.
        """
        names = self._names(connection, run)
        if not exports(run):
            return state_output(within(connection), run, names)
        bucket, prefix = _destination(run)
        details = {"Bucket": bucket, "Key": f"{prefix}manifest.json"}
        return Payload({"MapRunArn": self._arn(run), "ResultWriterDetails": details})

    def _names(self, connection: sqlite3.Connection | None, run: MapRun) -> Names:
        query = self._database.read if connection is None else within(connection)
        revision = self._machines.to_run(query, run.revision)
        machine, arns = f"{revision.machine_name}/{run.label}", self._machines.arns
        child = partial(arns.child, machine, express=run.plan.express)
        return Names(arns.state_machine(machine), child)

    def _arn(self, run: MapRun) -> str:
        return self._executions.arn_of_map_run(self._database.read, run)

    async def export(self, run: MapRun) -> int:
        """Write a run's results; how many objects that were.

        Raises:
            StateFailure: ``States.ResultWriterFailed``.
        """
        writing, (bucket, prefix) = run.plan.writing, _destination(run)
        assert writing is not None  # noqa: S101  # that is why it is at this stage
        files, count = ResultFiles(writing, self._names(None, run), prefix), 0
        for rows in pages(self._database.read, run):
            for key, body in files.take(rows):
                await self._put(bucket, key, body)
                count += 1
            await asyncio.sleep(0)
        for key, body in files.rest():
            await self._put(bucket, key, body)
            count += 1
        manifest = files.manifest(bucket, self._arn(run))
        await self._put(bucket, f"{prefix}manifest.json", manifest)
        return count

    async def _put(self, bucket: str, key: str, body: bytes) -> None:
        await self._threads.run(self._objects.put, bucket, key, body, RESULT_WRITER_FAILED)


def exports(run: MapRun) -> bool:
    """Whether a run has results to write."""
    writing = run.plan.writing
    kept = run.status is not Status.ABORTED and (run.children > 0 or run.error is None)
    return writing is not None and writing.arguments is not None and kept


def _destination(run: MapRun) -> tuple[str, str]:
    """The bucket, and what the keys of a run's results begin with."""
    writing = run.plan.writing
    arguments = writing.arguments if writing is not None and writing.arguments else {}
    prefix = str(arguments.get("Prefix") or "").rstrip("/")
    where = run.name.split(":", 1)[1]
    return str(arguments.get("Bucket", "")), f"{prefix}/{where}/" if prefix else f"{where}/"
