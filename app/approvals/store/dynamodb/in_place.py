"""The store's work done in place: for functions that have one event at a time."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class InPlace:
    """Each work at once, in the thread that asks for it."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """What *work* returns or raises."""
        return work()

    def close(self) -> None:
        """There is nothing to let go of."""
