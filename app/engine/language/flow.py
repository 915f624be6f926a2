"""How data goes through a state: one place for the fields that states share.

```
raw input ─ InputPath ─ Parameters ─> work ─> ResultSelector ─ ResultPath ─┬ OutputPath ─> output
                                                               (into raw input) └ Assign
```

`PathFlow` is the JSONPath query language, `QueryFlow` JSONata:

```
raw input ─ Arguments ─> work ─┬ Output ─> output
                               └ Assign
```
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from random import Random
from typing import Protocol

from app.engine.expressions.paths import Path, PathError
from app.engine.expressions.templates import Template
from app.engine.failures import (
    RESULT_PATH_MATCH_FAILURE,
    EvaluationFailure,
    RuntimeFailure,
    StateFailure,
)
from app.engine.payload import EMPTY, Payload
from app.strict_json import Json


class Scope:
    """What the expressions of one state see, beside the data at hand."""

    def __init__(
        self,
        now_ms: int,
        seed: str,
        make_context: Callable[[], Json],
        make_variables: Callable[[], Mapping[str, Json]],
    ) -> None:
        self.now_ms = now_ms
        self._seed = seed
        self._make_context = make_context
        self._make_variables = make_variables

    @cached_property
    def context(self) -> Json:
        """The context object, ``$$``; made when the first expression asks for it."""
        return self._make_context()

    @cached_property
    def variables(self) -> Mapping[str, Json]:
        """The variables that the state sees: its branch's own, and those around it."""
        return self._make_variables()

    @cached_property
    def random(self) -> Random:
        """Chance that repeats when the same step is made again."""
        return Random(self._seed)  # noqa: S311  # spreads retries and makes ids, no secret


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a state leaves behind."""

    output: Payload  #: what the next state gets
    assigned: Mapping[str, Json] | None = None  #: variables to set


class Flow(Protocol):
    """The data flow of a state in its query language."""

    def effective(self, raw: Payload, scope: Scope) -> Payload:
        """The part of the input that the state works on."""

    def view(self, raw: Payload, scope: Scope) -> Json:
        """What the expressions in a state's own fields are evaluated on."""

    def arguments(self, raw: Payload, scope: Scope) -> Payload:
        """What the work gets."""

    def outcome(self, raw: Payload, result: Payload, scope: Scope) -> Outcome:
        """What is left behind when the work gave *result*."""


@dataclass(frozen=True, slots=True)
class PathFlow:
    """The data flow of JSONPath states. A field that does nothing is None."""

    input_path: Path | None = None
    drop_input: bool = False  #: ``InputPath: null``
    parameters: Template | None = None
    result_selector: Template | None = None
    result_path: Path | None = None
    drop_result: bool = False  #: ``ResultPath: null``
    output_path: Path | None = None
    drop_output: bool = False  #: ``OutputPath: null``
    assign: Template | None = None

    def effective(self, raw: Payload, scope: Scope) -> Payload:
        """*raw* after InputPath."""
        if self.drop_input:
            return EMPTY
        return raw if self.input_path is None else select(self.input_path, raw, scope)

    def view(self, raw: Payload, scope: Scope) -> Json:
        """*raw* after InputPath."""
        return self.effective(raw, scope).value

    def arguments(self, raw: Payload, scope: Scope) -> Payload:
        """*raw* after InputPath and Parameters."""
        effective = self.effective(raw, scope)
        if self.parameters is None:
            return effective
        return Payload(self.parameters.evaluate(effective.value, scope))

    def outcome(self, raw: Payload, result: Payload, scope: Scope) -> Outcome:
        """*result* after ResultSelector, placed in *raw*: Assign and OutputPath start from it."""
        if self.result_selector is not None:
            result = Payload(self.result_selector.evaluate(result.value, scope))
        if self.drop_result:
            result = raw
        elif self.result_path is not None:
            result = place(self.result_path, raw, result)
        assigned = None if self.assign is None else self.assign.evaluate(result.value, scope)
        return Outcome(self._output(result, scope), assigned)

    def _output(self, placed: Payload, scope: Scope) -> Payload:
        if self.drop_output:
            return EMPTY
        return placed if self.output_path is None else select(self.output_path, placed, scope)


class Use(Enum):
    """What the work's result is to a JSONata state."""

    NONE = "input"  #: there is none but its input
    RESULT = "result"
    ERROR = "errorOutput"  #: in a catcher


@dataclass(frozen=True, slots=True)
class QueryFlow:
    """The data flow of JSONata states: Output and Assign both see the values at entry, and the
    result."""

    given: Template | None = None  #: Arguments
    output: Template | None = None
    assign: Template | None = None
    use: Use = Use.NONE

    def effective(self, raw: Payload, scope: Scope) -> Payload:
        """All of it."""
        return raw

    def view(self, raw: Payload, scope: Scope) -> Json:
        """``$states`` at entry."""
        return {"input": raw.value}

    def arguments(self, raw: Payload, scope: Scope) -> Payload:
        """Arguments."""
        if self.given is None:
            return raw
        return Payload(self.given.evaluate(self.view(raw, scope), scope))

    def outcome(self, raw: Payload, result: Payload, scope: Scope) -> Outcome:
        """Output, or else the result; and Assign."""
        states = {"input": raw.value, self.use.value: result.value}
        output = result
        if self.output is not None:
            output = Payload(self.output.evaluate(states, scope))
        assigned = None if self.assign is None else self.assign.evaluate(states, scope)
        return Outcome(output, assigned)


def select(path: Path, data: Payload, scope: Scope) -> Payload:
    """What *path* selects in *data*.

    Raises:
        RuntimeFailure: nothing is there.
    """
    try:
        return Payload(path.read(data.value, scope))
    except PathError as exc:
        raise RuntimeFailure(exc.message) from exc


def place(path: Path, data: Payload, value: Payload) -> Payload:
    """*data* with *value* at the reference path.

    Raises:
        StateFailure: ``States.ResultPathMatchFailure``.
    """
    try:
        return Payload(path.place(data.value, value.value))
    except PathError as exc:
        raise _no_place(path, data) from exc


def _no_place(path: Path, data: Payload) -> StateFailure:
    return EvaluationFailure(
        RESULT_PATH_MATCH_FAILURE,
        f"Unable to apply ReferencePath {path.text} to input {data.text}",
    )
