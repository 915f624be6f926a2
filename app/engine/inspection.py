"""TestState's inspectionData: a state's data after each of the fields that shape it."""

import json
from dataclasses import replace

from app.engine.failures import StateFailure
from app.engine.flow import PathFlow, Scope, select
from app.engine.iteration import Map
from app.engine.payload import Payload
from app.engine.states import Fail, Parallel, Pass, State, Task
from app.strict_json import Json


class Inspection:
    """Collects what a test of one state sees."""

    def __init__(self, state: State, raw: Payload, scope: Scope) -> None:
        self.seen: dict[str, Json] = {"input": raw.text}
        self._state = state
        self._raw = raw
        self._scope = scope
        # Only JSONPath has stages between input and output.
        self._flow = state.flow if isinstance(state.flow, PathFlow) else None

    def before(self) -> None:
        """The stages that lead to the state's work, as far as they can be evaluated."""
        if self._flow is None or isinstance(self._state, Fail | Parallel):
            return
        try:
            self._before(self._flow)
        except StateFailure:
            return  # the stage that failed has no value; the test itself reports why

    def _before(self, flow: PathFlow) -> None:
        state, raw, scope = self._state, self._raw, self._scope
        data = flow.effective(raw, scope)
        self.seen["afterInputPath"] = data.text
        if isinstance(state, Pass | Task):
            self.seen["afterParameters"] = flow.arguments(raw, scope).text
        if isinstance(state, Pass) and state.result is not None:
            self.seen["result"] = state.result.text
        if isinstance(state, Map):
            if state.items_path is not None:
                items = select(state.items_path, data, scope).value
                # The one text in which AWS leaves blanks after commas.
                self.seen["afterItemsPath"] = json.dumps(items, ensure_ascii=False)
            if isinstance(state.max_concurrency, int):
                self.seen["maxConcurrency"] = state.max_concurrency

    def after(self, result: Payload) -> None:
        """The stages that lead from the work's result to the output."""
        if isinstance(self._state, Task):
            self.seen["result"] = result.text
        if self._flow is None or not isinstance(self._state, Pass | Task | Map | Parallel):
            return
        whole = replace(self._flow, output_path=None, drop_output=False, assign=None)
        selected = replace(whole, result_path=None, drop_result=False)
        for name, flow in (("afterResultSelector", selected), ("afterResultPath", whole)):
            self.seen[name] = flow.outcome(self._raw, result, self._scope).output.text
