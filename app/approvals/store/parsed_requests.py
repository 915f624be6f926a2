"""Requests that were read from the store not long ago, parsed.

A request never changes, and one that is looked at is looked at again: the page, the decision, its
answer. What is kept is bounded by the size of the documents it was parsed from.
"""

from collections import deque
from threading import Lock
from typing import Generic, TypeVar

KEPT_BYTES = 2 * 2**20  #: of documents, all together
MAX_BYTES = 16_384  #: of one document; larger requests are parsed each time


K = TypeVar("K")
V = TypeVar("V")


class ParsedRequests(Generic[K, V]):
    """Requests by their key in the store. The one that was kept first goes first."""

    def __init__(self) -> None:
        self._requests: dict[K, V] = {}
        self._kept: deque[tuple[K, int]] = deque()
        self._bytes = 0
        self._changing = Lock()  # a store may work in several threads

    def get(self, key: K) -> V | None:
        """The request, if it is kept."""
        return self._requests.get(key)

    def keep(self, key: K, request: V, size: int) -> None:
        """Keep *request*, which was parsed from *size* bytes."""
        if size > MAX_BYTES:
            return
        with self._changing:
            self._requests[key] = request
            self._kept.append((key, size))
            self._bytes += size
            while self._bytes > KEPT_BYTES:
                oldest, gone = self._kept.popleft()
                self._bytes -= gone
                self._requests.pop(oldest, None)
