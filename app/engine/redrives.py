"""RedriveExecution: an execution that did not succeed goes on where it failed."""

import sqlite3
from collections.abc import Mapping
from functools import partial

import orjson

from app.clock import Clock, to_ms
from app.engine.conductor import Conductor
from app.engine.executions import Executions
from app.engine.expressions.costly import patiently
from app.engine.starting import duration_ms
from app.engine.state_machines.machines import Machines
from app.engine.steps.execution import Redrive, Transition
from app.engine.store import ExecutionRow, load_execution, restart_execution, within
from app.errors import ExecutionNotRedrivable
from app.sqlite import Database
from app.strict_json import Json

TOKEN_LIFE_MS = 900_000  #: how long a client token gives the same answer
MAX_TOKENS = 10  #: the last ones do


class Redrives:
    """Takes up executions that did not succeed."""

    def __init__(
        self,
        database: Database,
        machines: Machines,
        executions: Executions,
        conductor: Conductor,
        clock: Clock,
    ) -> None:
        self._database = database
        self._machines = machines
        self._executions = executions
        self._conductor = conductor
        self._clock = clock

    async def redrive_execution(
        self, *, execution_arn: str, client_token: str | None = None
    ) -> Json:
        """Let an execution go on from its unsuccessful steps; the others keep their results."""
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> tuple[int, list[Transition]]:
            query = within(connection)
            row = self._executions.find(execution_arn, query)
            tokens = _tokens(row, now_ms)
            if client_token in tokens:
                return tokens[client_token], []
            reason = self._executions.why_not_redrivable(row, now_ms, query)
            if reason is not None:
                raise ExecutionNotRedrivable(reason)
            if row.map_run is not None:
                raise ExecutionNotRedrivable("Execution can be redriven by its Map Run only")
            revision = self._machines.to_run(query, row.revision)
            timeout_ms = now_ms + duration_ms(revision)
            if client_token is not None:
                tokens[client_token] = now_ms
            restart_execution(connection, row.id, timeout_ms, now_ms, _stored(tokens))
            restarted = load_execution(query, row.id)
            assert restarted is not None  # noqa: S101  # it was found
            return now_ms, [self._conductor.advance(connection, restarted, Redrive(), now_ms)]

        def after(redriven: tuple[int, list[Transition]]) -> None:
            self._conductor.after_all(redriven[1])

        redriven_ms, _ = await patiently(partial(self._database.write, work, after))
        return {"redriveDate": redriven_ms / 1000}


def _tokens(row: ExecutionRow, now_ms: int) -> dict[str | None, int]:
    """The client tokens that still give the answer they gave, and when that was."""
    known = orjson.loads(row.redrive_tokens or "{}")
    return {token: at for token, at in known.items() if now_ms - at < TOKEN_LIFE_MS}


def _stored(tokens: Mapping[str | None, int]) -> str:
    return orjson.dumps(dict(list(tokens.items())[-MAX_TOKENS:])).decode()
