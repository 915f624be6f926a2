"""Evaluations whose cost nobody knows beforehand, kept away from the event loop.

Each is a question to a process of its own. Nearly all answers come within a millisecond, and are
waited for. What is not answered quickly is `Deferred`: whoever steps executions has it worked out
beside the loop, which takes a second at most, and steps again; the answer is known by then. Where
nobody steps again (the core by itself), all answers are waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import orjson

from app.bounded_process import BoundedProcess, GaveUp
from app.strict_json import Json

T = TypeVar("T")

QUICK_S = 0.05  #: how long the loop waits
KEPT_ANSWERS = 256
MOST_WAITED = 128  #: answers that one attempt waits for; all of them have to be kept until its end
KEPT_SLOW = 4_096  #: expressions that are known not to be quick

_may_defer = False
_beside = ThreadPoolExecutor(1, thread_name_prefix="costly")


class Deferred(Exception):
    """The answer takes longer than the loop waits."""

    def __init__(self, costly: "Costly", question: bytes) -> None:
        super().__init__()
        self._costly = costly
        self._question = question

    async def worked_out(self) -> None:
        """Return once the answer is known."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(_beside, self._costly.work_out, self._question)

    def give_up(self) -> None:
        """Have the answer be that there is none in time."""
        self._costly.keep(self._question, GaveUp())


@contextmanager
def deferring() -> Iterator[None]:
    """Within, what is not quick is `Deferred`. It holds no await."""
    global _may_defer
    _may_defer = True
    try:
        yield
    finally:
        _may_defer = False


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """What *attempt* gives; it is made again when an answer that it lacked is there.

    After `MOST_WAITED` answers whatever else it asks is given up: it would ask for the first of
    them again, which are forgotten by then, and so for ever.
    """
    waited = 0
    while True:
        try:
            return await attempt()
        except Deferred as deferred:
            waited += 1
            if waited <= MOST_WAITED:
                await deferred.worked_out()
            else:
                deferred.give_up()


async def evaluated(work: Callable[[], T]) -> T:
    """What *work* gives; it asks the same questions each time it is done."""

    async def attempt() -> T:
        with deferring():
            return work()

    return await patiently(attempt)


class Costly:
    """Questions to one module of ours, run in processes."""

    def __init__(self, module: str, hello: Json, seconds: float) -> None:
        """See `BoundedProcess`."""
        self._quick = BoundedProcess(module, hello, QUICK_S)
        self._patient = BoundedProcess(module, hello, seconds)
        self._answers: dict[bytes, Json] = {}
        self._slow: dict[str, None] = {}

    def ask(self, name: str, question: Json) -> Json:
        """The answer; *name* tells questions of one kind, quick or slow, from others.

        Raises:
            GaveUp: there is none in time.
            Deferred: there is none yet, and one may be waited for.
        """
        if not _may_defer:
            return self._patient.ask(question)
        asked = orjson.dumps(question)
        if asked in self._answers:
            return _given(self._answers[asked])
        if name not in self._slow and self._quick.ready:
            try:
                return self._quick.ask(question)
            except GaveUp:
                self.note_slow(name)
        raise Deferred(self, asked)

    def is_slow(self, name: str) -> bool:
        """Whether such a question was not answered quickly before."""
        return name in self._slow

    def note_slow(self, name: str) -> None:
        """Remember that such questions are not answered quickly."""
        self._slow[name] = None
        _forget_oldest(self._slow, KEPT_SLOW)

    def work_out(self, asked: bytes) -> None:
        """Get the answer, however long it takes, and keep it. Runs beside the loop."""
        if asked not in self._answers:
            try:
                self.keep(asked, self._patient.ask(orjson.loads(asked)))
            except GaveUp as exc:
                self.keep(asked, exc)
        self._quick.start()

    def keep(self, asked: bytes, answer: Json) -> None:
        """Remember an answer, or that there is none (`GaveUp`), for the next time it is asked."""
        self._answers[asked] = answer
        _forget_oldest(self._answers, KEPT_ANSWERS)


def _given(answer: Json) -> Json:
    if isinstance(answer, GaveUp):
        raise GaveUp()
    return answer


def _forget_oldest(kept: dict[T, Json], count: int) -> None:
    while len(kept) > count:
        del kept[next(iter(kept))]
