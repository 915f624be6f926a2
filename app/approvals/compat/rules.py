"""Schemas and paths of post actions, checked and applied where they can be killed.

A schema, a pattern or a path can cost more than anyone has, and so can what is checked with it. So
the libraries run in a process of their own (`worker.py`), started for the first post action;
nobody else loads them.
"""

import asyncio
from dataclasses import dataclass

from app.approvals.compat.request import CHECK_S
from app.approvals.model import Payload
from app.bounded_process import BoundedProcess, GaveUp
from app.errors import CallbackRefused
from app.strict_json import Json

MAX_WAITING = 32  #: questions; more are refused, rather than answered after half a minute


@dataclass(frozen=True, slots=True)
class Chosen:
    """The outcome that a body fits."""

    outcome: Json  #: as it was given
    payload: Payload | None  #: what the workflow is told; None for a heartbeat


class PostRules:
    """Asks the process, one question at a time."""

    def __init__(self) -> None:
        self._process = BoundedProcess("app.approvals.compat.worker", ["check", []], CHECK_S)
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def check(self, outcomes: list[Json]) -> None:
        """Accept the outcomes of a post action.

        Raises:
            CallbackRefused: InvalidPostActionOutcome or InvalidJsonPath.
        """
        try:
            fault = await self._ask(["check", outcomes])
        except GaveUp as exc:
            sentence = "The schemas cannot be checked in time."
            raise CallbackRefused("InvalidPostActionOutcome", sentence) from exc
        if fault is not None:
            raise CallbackRefused(*fault)

    async def choose(self, outcomes: list[Json], body: Json) -> Chosen:
        """The first of *outcomes* that *body* fits.

        Raises:
            CallbackRefused: InvalidPostActionBody; there is none, or it cannot be used.
        """
        try:
            answer = await self._ask(["choose", outcomes, body])
        except GaveUp as exc:
            raise _refused("it cannot be checked in time") from exc
        if answer is None:
            raise _refused("it fits no outcome of this action")
        if "refused" in answer:
            raise _refused(answer["refused"])
        outcome = outcomes[answer["index"]]
        if outcome["type"] == "heartbeat":
            return Chosen(outcome, None)
        return Chosen(
            outcome, Payload(answer.get("output"), answer.get("error"), answer.get("cause"))
        )

    def close(self) -> None:
        """End the process."""
        self._process.stop()

    async def _ask(self, question: Json) -> Json:
        if self._waiting >= MAX_WAITING:
            raise CallbackRefused("ServiceError", "Too many answers are being checked.", 503)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self._process.ask, question)
        finally:
            self._waiting -= 1


def _refused(why: str) -> CallbackRefused:
    return CallbackRefused("InvalidPostActionBody", f"The body cannot be used: {why}.")
