"""The Map state: the same states once for each item, some of them at a time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from app.engine.expressions.paths import Path
from app.engine.expressions.queries import Query
from app.engine.expressions.templates import Template
from app.engine.failures import RuntimeFailure
from app.engine.language.flow import Scope, select
from app.engine.language.states import Iterate, State, Want, queried_number
from app.engine.payload import Payload
from app.strict_json import Json

Countable = tuple[type, ...]
DEFAULT_AT_ONCE = 40  #: iterations at a time where MaxConcurrency sets no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Map(State):
    """Runs its states for each item; its result is the array of their outputs."""

    type: ClassVar[str] = "Map"
    start_at: str  #: the name of the first state of an iteration
    forks: ClassVar[bool] = True
    countable: ClassVar[Countable] = (list,)  #: what has items
    items: Template | None = None  #: in JSONata
    items_path: Path | None = None
    item_selector: Template | None = None
    max_concurrency: int | Path | Query = 0

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Iterate."""
        data = self.flow.effective(raw, scope)
        return Iterate(self._items(raw, data, scope), self.limit(data, scope) or DEFAULT_AT_ONCE)

    def _items(self, raw: Payload, data: Payload, scope: Scope) -> Payload:
        if self.items is not None:
            return Payload(self._queried(self.items, raw, scope))
        items = data if self.items_path is None else select(self.items_path, data, scope)
        if not isinstance(items.value, self.countable):
            raise RuntimeFailure(self._no_array(items))
        return items

    def _queried(self, items: Template, raw: Payload, scope: Scope) -> Json:
        found = items.evaluate(self.flow.view(raw, scope), scope)
        return items.expect(found, self.countable, "array") if isinstance(items, Query) else found

    def _no_array(self, items: Payload) -> str:
        if self.items_path is None:
            return f"Map state input must be an array but was: {items.text}"
        shown = self.items_path.text.replace("$$", "$", 1)  # AWS shows no second dollar
        return f'Reference path "{shown}" must point to array.'

    def limit(self, data: Payload, scope: Scope) -> int:
        """How many iterations may run at the same time; 0: no limit is set.

        Raises:
            StateFailure: MaxConcurrency cannot be evaluated.
        """
        limit = self.max_concurrency
        if isinstance(limit, Query):
            limit = queried_number(limit, data, 0, scope)
        elif isinstance(limit, Path):
            limit = whole_number("MaxConcurrencyPath", limit, data, scope)
        return limit

    def given(self, raw: Payload, item: Mapping[str, Json], scope: Scope) -> Payload:
        """What an iteration starts with; *scope* knows the item too.

        Raises:
            StateFailure: the ItemSelector cannot be evaluated.
        """
        if self.item_selector is None:
            key = item.get("Key")
            return Payload(item["Value"] if key is None else {"Key": key, "Value": item["Value"]})
        return Payload(self.item_selector.evaluate(self.flow.view(raw, scope), scope)).written()


_INTEGER = re.compile(r"[+-]?\d{1,10}", re.ASCII)
MAX_INTEGER = 2**31 - 1  #: what AWS, in Java, takes for an integer


def whole_number(field: str, path: Path, data: Payload, scope: Scope) -> int:
    """The number, 0 or more, to which *path* leads; AWS takes one that is written as text too.

    Raises:
        RuntimeFailure: it is none, or more than `MAX_INTEGER`.
    """
    value = select(path, data, scope)
    number = value.value
    if isinstance(number, str) and _INTEGER.fullmatch(number):
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number > MAX_INTEGER:
        shown = value.value if isinstance(value.value, str) else value.text
        raise RuntimeFailure(
            f'The {field} field refers to value "{shown}" which is not a valid integer: {path.text}'
        )
    if number < 0:
        raise RuntimeFailure(f"{field.removesuffix('Path')} cannot be negative.")
    return number


def each(items: Json) -> list[Payload]:
    """``$$.Map.Item`` of each iteration: over an object's members it has a Key."""
    if isinstance(items, dict):
        members = enumerate(items.items())
        return [Payload({"Index": n, "Key": key, "Value": value}) for n, (key, value) in members]
    return [Payload({"Index": n, "Value": value}) for n, value in enumerate(items)]
