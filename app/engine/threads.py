"""Threads for calls that block: bounded, made when needed, and never in the way of the end.

Unlike those of `concurrent.futures`, they are daemons: a handler that hangs, or a service that does
not answer, does not keep the process from ending. What it owed is still owed at the next start.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

IDLE_S = 30.0  #: a thread that had nothing to do for so long ends

T = TypeVar("T")
_Work = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Threads:
    """At most *count* threads; what comes while all are busy waits its turn."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._queue: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = 0
        self._free = 0  # threads that will look at the queue again, less what is queued for them

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """What *work* returns, or raises; it runs in a thread.

        Raises:
            RuntimeError: the system gives no thread, and there is none; *work* is not done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._free <= 0 and self._running < self._count:
                self._start_one()
            self._free -= 1
            self._queue.put((loop, future, partial(work, *args)))
        return await future

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._running:
                raise
            return  # one of those that run will come to it
        self._running += 1
        self._free += 1

    def _serve(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._queue.empty():
                        self._running -= 1
                        self._free -= 1
                        return
                continue
            settled = _performed(*item[1:])
            with self._lock:
                self._free += 1  # before its caller goes on, and perhaps comes again
            if settled is not None:
                with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                    item[0].call_soon_threadsafe(settled)
            del item, settled  # a result is not kept alive while this thread waits


def _performed(future: "asyncio.Future[Any]", work: Callable[[], Any]) -> Callable[[], None] | None:
    """Do the work; how to tell its caller, who may be gone."""
    if future.cancelled():
        return None
    try:
        return partial(_answer, future, work())
    except BaseException as exc:
        # Whatever it is, its caller has to hear of it, not this thread.
        return partial(_fail, future, exc)


def _answer(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        # A future cannot hold StopIteration; and SystemExit is a handler's own, not ours.
        fits = isinstance(error, Exception) and not isinstance(error, StopIteration)
        future.set_exception(error if fits else RuntimeError(repr(error)))
