"""TestState's inspectionData: a state's data after each of the fields that shape it."""

import json
from collections.abc import Mapping
from dataclasses import replace

from app.engine.failures import StateFailure
from app.engine.language.distribution import Batching, Distribute, Plan, Tolerance
from app.engine.language.flow import PathFlow, Scope
from app.engine.language.iteration import Map, each
from app.engine.language.states import Call, Fail, Iterate, Parallel, Pass, State, Task, Want
from app.engine.map_runs.batches import Batches
from app.engine.map_runs.item_sources import given_items
from app.engine.payload import Payload
from app.strict_json import Json


class Inspection:
    """Collects what a test of one state sees."""

    def __init__(
        self,
        state: State,
        raw: Payload,
        variables: Mapping[str, Json],
        reader_data: str | None = None,
    ) -> None:
        """*reader_data* is what an ItemReader would read."""
        self._reader_data = reader_data
        self.seen: dict[str, Json] = {"input": raw.text}
        self._variables = variables
        self.assigned({})
        self._state = state
        self._raw = raw
        # Only JSONPath has stages between input and output.
        self._flow = state.flow if isinstance(state.flow, PathFlow) else None

    def before(self, scope: Scope) -> None:
        """The stages that lead to the state's work, as far as they can be evaluated."""
        if self._flow is None or isinstance(self._state, Fail | Parallel):
            return
        try:
            self._before(self._flow, scope)
        except StateFailure:
            return  # the stage that failed has no value; the test itself reports why

    def _before(self, flow: PathFlow, scope: Scope) -> None:
        state, raw = self._state, self._raw
        data = flow.effective(raw, scope)
        self.seen["afterInputPath"] = data.text
        if isinstance(state, Pass | Task):
            self.seen["afterParameters"] = flow.arguments(raw, scope).text
        if isinstance(state, Pass) and state.result is not None:
            self.seen["result"] = state.result.text

    def entered(self, want: Want, scope: Scope) -> None:
        """What the state was found to want.

        Raises:
            StateFailure: an ItemSelector cannot be evaluated.
        """
        if isinstance(want, Call) and self._flow is None:
            self.seen["afterArguments"] = want.arguments.text
        state = self._state
        if not isinstance(state, Map):
            return
        if isinstance(want, Iterate):
            self._items(state, want.items.value, scope)
            data = state.flow.effective(self._raw, scope)
            self.seen["maxConcurrency"] = state.limit(data, scope)
        if isinstance(want, Distribute):
            given = self._items(state, self._distributed(want.plan), scope)
            self._batched(want.plan.batching, given)
            self.seen["maxConcurrency"] = want.plan.max_concurrency
            self._tolerates(want.plan.tolerance)

    def _distributed(self, plan: Plan) -> Json:
        """The items; None if nobody told what would be read."""
        if plan.reading is None or self._reader_data is None:
            return plan.items
        items = given_items(self._reader_data.encode(), plan.reading)
        if plan.reading.pointer:
            self.seen["afterItemsPointer"] = _spaced(items)
        return items

    def _items(self, state: Map, items: Json, scope: Scope) -> list[Payload]:
        """What each iteration would start with."""
        if items is None:
            return []
        if state.items_path is not None:
            self.seen["afterItemsPath"] = _spaced(items)
        given = [state.given(self._raw, i.value, _within(scope, i.value)) for i in each(items)]
        if state.item_selector is not None:
            self.seen["afterItemSelector"] = _spaced([payload.value for payload in given])
        return given

    def _batched(self, batching: Batching | None, given: list[Payload]) -> None:
        if batching is None or not given:
            return
        batches = Batches(batching, keep_items=False)
        full = [one for payload in given for one in batches.take(None, payload)]
        texts = [text for _, text, _ in [*full, *batches.rest()]]
        self.seen["afterItemBatcher"] = _spaced([Payload.of_text(text).value for text in texts])

    def _tolerates(self, tolerance: Tolerance) -> None:
        shown = {
            "toleratedFailureCount": tolerance.count,
            "toleratedFailurePercentage": tolerance.percentage,
        }
        self.seen |= {name: number for name, number in shown.items() if number is not None}

    def assigned(self, assigned: Mapping[str, Json] | None) -> None:
        """The variables once the state was left: those it was given, and those it assigns."""
        variables = {**self._variables, **(assigned or {})}
        if variables:
            self.seen["variables"] = Payload(variables).text

    def after(self, result: Payload, scope: Scope) -> None:
        """The stages that lead from the work's result to the output."""
        if isinstance(self._state, Task):
            self.seen["result"] = result.text
        if self._flow is None or not isinstance(self._state, Pass | Task | Map | Parallel):
            return
        whole = replace(self._flow, output_path=None, drop_output=False, assign=None)
        selected = replace(whole, result_path=None, drop_result=False)
        for name, flow in (("afterResultSelector", selected), ("afterResultPath", whole)):
            self.seen[name] = flow.outcome(self._raw, result, scope).output.text


def _spaced(value: Json) -> str:
    # The one kind of text in which AWS leaves blanks after commas.
    return json.dumps(value, ensure_ascii=False)


def _within(scope: Scope, item: Json) -> Scope:
    """What an iteration's ItemSelector sees."""
    context = {**scope.context, "Map": {"Item": item}}
    return Scope(scope.now_ms, "items", lambda: context, lambda: scope.variables)
