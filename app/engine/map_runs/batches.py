"""From items to what each child of a Map Run starts with: one item, or a batch of them."""

from collections.abc import Iterator

import orjson

from app.engine.failures import DATA_LIMIT_EXCEEDED, StateFailure
from app.engine.language.distribution import Batching
from app.engine.payload import MAX_BYTES, Payload
from app.strict_json import Json

#: (how many items, the input, ``$$.Map.Item`` where it cannot be made of the input)
Given = tuple[int, str, str | None]


class Batches:
    """Takes items one after the other, and gives inputs as they are full."""

    def __init__(self, batching: Batching | None, *, keep_items: bool) -> None:
        self._batching = batching
        self._keep_items = keep_items
        self._batch: list[str] = []
        self._size = 0

    def take(self, item: Json, given: Payload) -> Iterator[Given]:
        """What one more item (a ``$$.Map.Item``), shaped, makes full.

        Raises:
            StateFailure: it is too large.
        """
        batching = self._batching
        if batching is None:
            _check(given.size_bytes, MAX_BYTES)
            yield 1, given.text, orjson.dumps(item).decode() if self._keep_items else None
            return
        size, room = given.size_bytes + 1, batching.limit_bytes - self._overhead(batching)
        _check(size, room)
        if self._size + size > room or len(self._batch) == batching.max_items:
            yield from self.rest()
        self._batch.append(given.text)
        self._size += size

    def rest(self) -> Iterator[Given]:
        """The batch that is not full, if there is one."""
        if not self._batch or self._batching is None:
            return
        count, items = len(self._batch), ",".join(self._batch)
        text = f'"Items":[{items}]'
        if self._batching.has_input:
            text = f'"BatchInput":{_text(self._batching.batch_input)},{text}'
        self._batch, self._size = [], 0
        yield count, "{" + text + "}", None

    @staticmethod
    def _overhead(batching: Batching) -> int:
        given = len(_text(batching.batch_input).encode()) if batching.has_input else 0
        return len('{"BatchInput":,"Items":[]}') + given


def _text(value: Json) -> str:
    return orjson.dumps(value).decode()


def _check(size: int, room: int) -> None:
    if size > room:
        raise StateFailure(
            DATA_LIMIT_EXCEEDED,
            f"An item of {size} bytes exceeds the maximum size of a child's input ({room} bytes).",
        )
