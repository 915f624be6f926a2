"""Activities: tasks that wait until a worker asks for one.

A waiting task is its frame, found by an index; it costs nothing else. A worker that waits is one
future. A task is handed out once: the transaction that writes ActivityStarted is the hand-over.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import orjson

from app.clock import Clock, to_ms
from app.engine.arns import Arns
from app.engine.conductor import Conductor
from app.engine.payload import EMPTY
from app.engine.requests import check_encryption, check_name, page_size
from app.engine.steps.execution import Transition
from app.engine.store import within
from app.engine.tags import checked_tags
from app.engine.tokens import PageTokens, TokenMint
from app.errors import (
    ActivityAlreadyExists,
    ActivityDoesNotExist,
    ActivityLimitExceeded,
    ActivityWorkerLimitExceeded,
    InvalidEncryptionConfiguration,
    InvalidToken,
)
from app.sqlite import Database, Row
from app.strict_json import Json

POLL_S = 60.0  #: how long GetActivityTask waits for a task
MAX_POLLERS = 1_000  #: of one activity
MAX_ACTIVITIES = 100_000  #: AWS's quota for an account and region

_FIND = "SELECT id, name, created_ms FROM activities WHERE name = ?"
_LIST = "SELECT id, name, created_ms FROM activities WHERE id > ? ORDER BY id LIMIT ?"
_INSERT = "INSERT INTO activities (name, created_ms, tags) VALUES (?, ?, ?)"
_COUNT = "SELECT count(*) FROM activities"
_DELETE = "DELETE FROM activities WHERE name = ?"
# A task whose moment has come times out next; nobody gets it any more.
_OLDEST = """SELECT key FROM frames WHERE activity = ? AND (due_ms IS NULL OR due_ms > ?)
    ORDER BY entered_ms, key LIMIT 1"""


class Activities:
    """The activities of an engine, and the workers that wait for their tasks."""

    def __init__(
        self,
        database: Database,
        arns: Arns,
        pages: PageTokens,
        conductor: Conductor,
        tokens: TokenMint,
        clock: Clock,
    ) -> None:
        self._database = database
        self._arns = arns
        self._pages = pages
        self._conductor = conductor
        self._tokens = tokens
        self._clock = clock
        self._pollers: dict[int, deque[asyncio.Future[None]]] = {}
        conductor.on_queued = self._wake

    async def create_activity(
        self, *, name: str, tags: Json = None, encryption_configuration: Json = None
    ) -> Json:
        """Create an activity; again gives the same answer, and leaves its tags as they are."""
        check_name(name)
        arn = self._arns.activity(name)
        tagged = orjson.dumps(checked_tags(tags or [], arn)).decode()
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> int:
            rows = within(connection)(_FIND, (name,))
            if rows:
                _check_same(arn, encryption_configuration)
                return int(rows[0][2])
            check_encryption(encryption_configuration)
            if connection.execute(_COUNT).fetchone()[0] >= MAX_ACTIVITIES:
                raise ActivityLimitExceeded()
            connection.execute(_INSERT, (name, now_ms, tagged))
            return now_ms

        created_ms = await self._database.write(work)
        return {"activityArn": arn, "creationDate": created_ms / 1000}

    async def describe_activity(self, *, activity_arn: str) -> Json:
        """What an activity is."""
        encryption = {"encryptionConfiguration": {"type": "AWS_OWNED_KEY"}}
        return self._shown(self._find(activity_arn)) | encryption

    async def delete_activity(self, *, activity_arn: str) -> Json:
        """Delete an activity; an unknown one is no error."""
        name = self._arns.activity_name(activity_arn)
        if name is not None:
            await self._database.write(lambda connection: connection.execute(_DELETE, (name,)))
        return {}

    async def list_activities(
        self, *, max_results: int | None = None, next_token: str | None = None
    ) -> Json:
        """All activities, oldest first, page by page."""
        after = self._pages.open("activities", next_token) if next_token else 0
        if not isinstance(after, int):
            raise InvalidToken()
        size = page_size(max_results)
        rows = self._database.read(_LIST, (after, size + 1))
        shown: dict[str, Json] = {"activities": [self._shown(row) for row in rows[:size]]}
        if len(rows) > size:
            shown["nextToken"] = self._pages.make("activities", rows[size - 1][0])
        return shown

    async def get_activity_task(self, *, activity_arn: str, worker_name: str | None = None) -> Json:
        """The oldest waiting task; after a minute without one, an answer without a token."""
        if worker_name is not None:
            check_name(worker_name)
        activity = self._find(activity_arn)[0]
        if len(self._pollers.get(activity, ())) >= MAX_POLLERS:
            raise ActivityWorkerLimitExceeded()
        try:
            return await self._first_task(activity, worker_name)
        except TimeoutError:
            return {"taskToken": None}

    async def _first_task(self, activity: int, worker: str | None) -> Json:
        deadline = asyncio.get_running_loop().time() + POLL_S
        while True:
            # Waiting begins before the look, so that no task can come in between unseen.
            woken = asyncio.get_running_loop().create_future()
            self._pollers.setdefault(activity, deque()).append(woken)
            leaves_one = True  # one that goes away now may leave a task that it was told of
            try:
                taken = await self._take(activity, worker)
                if taken is not None:
                    leaves_one = woken.done()
                    return taken
                # Only the waiting ends with time: a task that is being taken is not dropped.
                async with asyncio.timeout_at(deadline):
                    await woken
                leaves_one = False
            finally:
                self._leave(activity, woken, leaves_one=leaves_one)

    def _leave(self, activity: int, woken: asyncio.Future[None], *, leaves_one: bool) -> None:
        """End a wait; another worker looks for the task that is left, if there is one."""
        pollers = self._pollers.get(activity, deque())
        with suppress(ValueError):
            pollers.remove(woken)
        if not pollers:
            self._pollers.pop(activity, None)
        elif leaves_one:
            self._wake(activity)

    def _wake(self, activity: int) -> None:
        """Let the worker that waits longest look for a task of this activity."""
        pollers = self._pollers.get(activity)
        while pollers:
            woken = pollers.popleft()
            if not woken.done():
                woken.set_result(None)
                return

    async def _take(self, activity: int, worker: str | None) -> Json:
        now_ms = to_ms(self._clock())
        if not self._database.read(_OLDEST, (activity, now_ms)):
            return None  # most looks end here, without a write

        def work(connection: sqlite3.Connection) -> tuple[Transition, Json] | None:
            rows = within(connection)(_OLDEST, (activity, now_ms))
            return self._hand_over(connection, rows[0][0], worker, now_ms) if rows else None

        def after(taken: tuple[Transition, Json] | None) -> None:
            if taken is not None:
                self._conductor.after(taken[0])

        taken = await self._database.write(work, after)
        return None if taken is None else taken[1]

    def _hand_over(
        self, connection: sqlite3.Connection, key: int, worker: str | None, now_ms: int
    ) -> tuple[Transition, Json]:
        made, frame = self._conductor.hand_over(connection, key, worker, now_ms)
        token = self._tokens.mint(made.execution.id, frame.id, frame.attempt)
        return made, {"taskToken": token, "input": (frame.arguments or EMPTY).text}

    def _find(self, arn: str) -> Row:
        name = self._arns.activity_name(arn)
        row = self._database.read_one(_FIND, (name,)) if name is not None else None
        if row is None:
            raise ActivityDoesNotExist(f"Activity Does Not Exist: '{arn}'")
        return row

    def _shown(self, row: Sequence[Json]) -> dict[str, Json]:
        _, name, created_ms = row
        return {
            "activityArn": self._arns.activity(name),
            "name": name,
            "creationDate": created_ms / 1000,
        }


def _check_same(arn: str, encryption: Json) -> None:
    try:
        check_encryption(encryption)
    except InvalidEncryptionConfiguration as exc:
        raise ActivityAlreadyExists(f"Activity Already Exists: '{arn}'") from exc
