"""Definitions: JSON text in, a `StateMachine` or every diagnostic out."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.expressions.json_faults import JsonFault, shown_at
from app.engine.expressions.json_faults import parse as parse_json
from app.engine.language.diagnostics import (
    DUPLICATE_STATE_NAME,
    INVALID_JSON_DESCRIPTION,
    MISSING_TRANSITION_TARGET,
    Diagnostic,
    Report,
)
from app.engine.language.fields import Fields, Rules
from app.engine.language.parsing import Read, read_state
from app.engine.language.states import MAX_SECONDS, State, StateMachine
from app.engine.language.variable_scopes import check_scopes
from app.strict_json import Json, NotJson, loads

MAX_CHARS = 1_048_576
MAX_NAME_CHARS = 80

JSONPATH, JSONATA = "JSONPath", "JSONata"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a definition's text holds."""

    machine: StateMachine | None  #: None if there is any error
    diagnostics: Sequence[Diagnostic]


def parse(text: str, rules: Rules) -> Parsed:
    """The machine that *text* defines, or all that is wrong with it."""
    report = Report()
    value = _json(text, report)
    if report.found:
        return Parsed(None, report.found)
    if not isinstance(value, dict):
        report.fault(None, "Definition must be a valid JSON object")
        return Parsed(None, report.found)
    machine = _Machine(report).read(Fields(value, "", report, rules))
    check_scopes(value, report)
    return Parsed(None if report.found else machine, report.found)


def parse_state(name: str, text: str, rules: Rules) -> tuple[State | None, Sequence[Diagnostic]]:
    """The one state that *text* defines, or all that is wrong with it; where it goes is open."""
    report = Report()
    value = _json(text, report)
    if report.found:
        return None, report.found
    read = _Machine(report).state(name, Fields({name: value}, "/States", report, rules))
    return (read.state if read and not report.found else None), report.found


def _json(text: str, report: Report) -> Json:
    if len(text) > MAX_CHARS:
        report.fault(None, "Definition is too large")
        return None
    if not text.strip():
        report.fault(None, "Definition must be a valid JSON object")
        return None
    try:
        parse_json(text)
        return loads(text)  # refuses what AWS's parser refuses too: repeated keys
    except JsonFault as exc:
        where = shown_at(text, exc.fault.line, exc.fault.column)
        report.fault(where, f"{exc.message}\n at {where}", INVALID_JSON_DESCRIPTION)
    except NotJson as exc:
        report.fault(None, exc.message, INVALID_JSON_DESCRIPTION)
    return None


class _Machine:
    """Reads a machine and its branches into one table of states."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._states: dict[str, State] = {}
        self._whole_language = JSONPATH

    def read(self, fields: Fields) -> StateMachine:
        fields.only({"Comment", "StartAt", "States", "Version", "TimeoutSeconds", "QueryLanguage"})
        fields.one_of("Version", ("1.0",))
        comment = fields.text("Comment")
        timeout_s = fields.integer("TimeoutSeconds", 1, MAX_SECONDS)
        self._whole_language = fields.one_of("QueryLanguage", (JSONPATH, JSONATA)) or JSONPATH
        start_at = self._scope(fields)
        return StateMachine(start_at or "", self._states, timeout_s, comment)

    def branch(self, fields: Fields) -> str | None:
        fields.only({"Comment", "StartAt", "States", "QueryLanguage", "ProcessorConfig"})
        around = self._whole_language
        if self._is_jsonata(fields):
            self._whole_language = JSONATA
        start_at = self._scope(fields)
        self._whole_language = around
        return start_at

    def _scope(self, fields: Fields) -> str | None:
        fields.require("States", "StartAt")
        start_at = fields.text("StartAt")
        states = fields.nested("States")
        if states is None:
            return start_at
        if not states.values:
            fields.fault("Value cannot be empty", "States")
        found = {name: self.state(name, states) for name in states.values}
        self._check_targets(fields, start_at, found)
        return start_at

    def state(self, name: str, states: Fields) -> Read | None:
        fields = states.nested(name)
        if fields is None:
            return None
        if not name or len(name) > MAX_NAME_CHARS:
            fields.fault(f"State names have 1 to {MAX_NAME_CHARS} characters")
        if name in fields.seen:
            message = f"Duplicate state name: {name}"
            self._report.fault(fields.location, message, DUPLICATE_STATE_NAME)
        fields.seen[name] = fields.location
        fields.jsonata, fields.state = self._is_jsonata(fields), fields.location
        read = read_state(name, fields, self.branch)
        if read is not None:
            self._states[name] = read.state
        return read

    def _is_jsonata(self, fields: Fields) -> bool:
        language = fields.one_of("QueryLanguage", (JSONPATH, JSONATA))
        if language == JSONPATH and self._whole_language == JSONATA:
            fields.fault(
                "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine"
            )
        return JSONATA in (language, self._whole_language)

    def _check_targets(
        self, fields: Fields, start_at: str | None, found: dict[str, Read | None]
    ) -> None:
        fault = self._report.fault
        if start_at is not None and start_at not in found:
            message = f"Missing 'StartAt' target: {start_at}"
            fault(fields.at("StartAt"), message, MISSING_TRANSITION_TARGET)
            return
        for read in found.values():
            for target, location in read.targets if read else ():
                if target not in found:
                    field = location.rsplit("/", 1)[-1]
                    message = f"Missing '{field}' target: {target}"
                    fault(location, message, MISSING_TRANSITION_TARGET)
        for name in sorted(found.keys() - _reachable(start_at, found)):
            message = f'State "{name}" is not reachable.'
            fault(f"{fields.at('States')}/{name}", message, MISSING_TRANSITION_TARGET)


def _reachable(start_at: str | None, found: dict[str, Read | None]) -> set[str]:
    if start_at is None or any(read is None for read in found.values()):
        return set(found)  # what is missing is reported already
    reached: set[str] = set()
    waiting = [start_at]
    while waiting:
        name = waiting.pop()
        read = found.get(name)
        if name not in reached and read is not None:
            reached.add(name)
            waiting.extend(target for target, _ in read.targets)
    return reached
