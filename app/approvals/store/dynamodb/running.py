"""Where the store's blocking work is done: in threads of its own, or in place.

A server's event loop must not wait for the network. A Lambda function has one event at a time and
nothing else to do, and there threads would only cost their start.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from app.errors import StoreUnavailable

T = TypeVar("T")

THREADS = 32
WAITING = 256  #: works that may wait for a thread; more are refused


class Run(Protocol):
    """Does blocking work."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """What *work* returns or raises."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class InThreads:
    """Each work in a thread; when all are taken for long, more is refused instead of piling up."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dynamodb")
        self._limit = threads + WAITING
        self._works = 0

    async def __call__(self, work: Callable[[], T]) -> T:
        """What *work* returns or raises."""
        if self._works >= self._limit:
            raise StoreUnavailable()
        self._works += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._works -= 1

    def close(self) -> None:
        """Let go of the threads; works under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
