"""The Map state in distributed mode: its items are worked on by child executions.

What the state's fields say is evaluated when the state is entered, and becomes the Map Run's plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

from app.engine.expressions.paths import Path
from app.engine.expressions.queries import Query
from app.engine.expressions.templates import Template
from app.engine.failures import RuntimeFailure, StateFailure
from app.engine.language.distribution import Batching, Distribute, Plan, Reading, Tolerance, Writing
from app.engine.language.flow import Flow, Scope, select
from app.engine.language.iteration import Countable, Map, whole_number
from app.engine.language.states import MAX_SECONDS, Want
from app.engine.payload import Payload
from app.strict_json import Json

Number = int | float | Path | Query | None


@dataclass(frozen=True, slots=True)
class Field:
    """A field's value, or where it comes from: what of the two is not a constant is evaluated."""

    name: str
    source: Number | str


@dataclass(frozen=True, slots=True)
class ItemReader:
    """Where the items are."""

    action: str
    arguments: Template | None
    constants: Mapping[str, Any]  #: what of `Reading` the definition itself says
    max_items: Field
    pointer: Field

    def reading(self, flow: Flow, raw: Payload, scope: Scope) -> Reading:
        """What is to be read.

        Raises:
            StateFailure: the arguments cannot be evaluated.
        """
        arguments = _object("ItemReader", self.arguments, flow, raw, scope)
        data = flow.effective(raw, scope)
        refusal, max_items = None, 0
        try:
            max_items = int(number(self.max_items, data, scope) or 0)
        except RuntimeFailure as failure:
            refusal = _item_count_refusal(failure)
        pointer = _text(self.pointer, data, scope)
        return Reading(
            self.action,
            arguments,
            **self.constants,
            max_items=max_items,
            pointer=pointer,
            refusal=refusal,
        )


def _item_count_refusal(failure: RuntimeFailure) -> str:
    """What AWS finds only when it reads; the state itself fails for what is no number."""
    if failure.cause != "MaxItems cannot be negative.":
        raise failure
    return "field MaxItems must be positive"


@dataclass(frozen=True, slots=True)
class ItemBatcher:
    """How items are put together."""

    max_items: Field
    max_bytes: Field
    batch_input: Template | None

    def batching(self, flow: Flow, raw: Payload, scope: Scope) -> Batching:
        """How items are put together in this run.

        Raises:
            StateFailure: a field cannot be evaluated.
        """
        data = flow.effective(raw, scope)
        given = None
        if self.batch_input is not None:
            given = self.batch_input.evaluate(flow.view(raw, scope), scope)
        return Batching(
            _count(self.max_items, data, scope),
            _count(self.max_bytes, data, scope),
            given,
            self.batch_input is not None,
        )


@dataclass(frozen=True, slots=True)
class ResultWriter:
    """Where the results go."""

    arguments: Template | None
    exports: bool
    transformation: str
    output_type: str

    def writing(self, flow: Flow, raw: Payload, scope: Scope) -> Writing:
        """Where the results of this run go.

        Raises:
            StateFailure: the arguments cannot be evaluated.
        """
        arguments = None
        if self.exports:
            arguments = _object("ResultWriter", self.arguments, flow, raw, scope)
        return Writing(arguments, self.transformation, self.output_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedMap(Map):
    """Has its states run by a child execution for each item, or batch of items."""

    countable: ClassVar[Countable] = (list, dict)
    express: bool = False  #: the children's type
    label: str | None = None
    reader: ItemReader | None = None
    batcher: ItemBatcher | None = None
    writer: ResultWriter | None = None
    tolerated_count: Field
    tolerated_percentage: Field

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Distribute."""
        data, flow = self.flow.effective(raw, scope), self.flow
        limit = self.limit(data, scope)
        items = None if self.reader else self._items(raw, data, scope).value
        plan = Plan(
            self.name,
            self.label,
            self.express,
            limit,
            items=items,
            reading=self.reader.reading(flow, raw, scope) if self.reader else None,
            batching=self.batcher.batching(flow, raw, scope) if self.batcher else None,
            writing=self.writer.writing(flow, raw, scope) if self.writer else None,
        )
        length = 0 if items is None else len(items)
        try:
            return Distribute(length, plan.tolerating(self._tolerance(data, scope)))
        except StateFailure as failure:
            # AWS evaluates these two fields only once the state has started.
            return Distribute(length, plan, failure)

    def _tolerance(self, data: Payload, scope: Scope) -> Tolerance:
        count = number(self.tolerated_count, data, scope)
        percentage = number(self.tolerated_percentage, data, scope, whole=False)
        if percentage is not None and not 0 <= percentage <= 100:
            raise RuntimeFailure("ToleratedFailurePercentage must be between 0 and 100.")
        return Tolerance(None if count is None else int(count), percentage)


def number(field: Field, data: Payload, scope: Scope, *, whole: bool = True) -> float | None:
    """The number that a field gives; None if the field is not there.

    Raises:
        StateFailure: it gives none, or one below zero.
    """
    source = field.source
    if isinstance(source, Query):
        return _queried(source, data, scope, whole=whole)
    if isinstance(source, Path):
        name = field.name + "Path"
        if whole:
            return whole_number(name, source, data, scope)
        return _fraction(name, source, data, scope)
    assert not isinstance(source, str)  # noqa: S101  # a number's field holds none
    return source


def _queried(query: Query, data: Payload, scope: Scope, *, whole: bool) -> float:
    value = query.evaluate({"input": data.value}, scope)
    types, wanted = ((int,), "integer") if whole else ((int, float), "number")
    found: float = query.expect(value, types, wanted)
    if not 0 <= found <= MAX_SECONDS:
        raise query.failure(f"returned a value out of range: {found}")
    return found


def _fraction(name: str, path: Path, data: Payload, scope: Scope) -> float:
    """AWS takes a number that is written as text, too."""
    found = select(path, data, scope)
    value: Json = found.value
    try:
        fraction = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        fraction = None
    if fraction is None or isinstance(value, bool) or not isfinite(fraction):
        shown = value if isinstance(value, str) else found.text
        raise RuntimeFailure(
            f'The {name} field refers to value "{shown}" which is not a valid float: {path.text}'
        )
    return fraction


def _count(field: Field, data: Payload, scope: Scope) -> int | None:
    count = number(field, data, scope)
    if count is not None and count < 1:
        raise RuntimeFailure(f"{field.name} must be greater than zero.")
    return None if count is None else int(count)


def _text(field: Field, data: Payload, scope: Scope) -> str:
    source = field.source
    if isinstance(source, Query):
        return str(source.expect(source.evaluate({"input": data.value}, scope), (str,), "string"))
    if isinstance(source, Path):
        value = select(source, data, scope).value
        if not isinstance(value, str):
            raise RuntimeFailure(f"The {field.name}Path field must refer to a string.")
        return value
    return str(source or "")


def _object(
    name: str, template: Template | None, flow: Flow, raw: Payload, scope: Scope
) -> dict[str, Json]:
    found = {} if template is None else template.evaluate(flow.view(raw, scope), scope)
    if not isinstance(found, dict):
        raise RuntimeFailure(f"The arguments of the {name} must be an object.")
    return found
