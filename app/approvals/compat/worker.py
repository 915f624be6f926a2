"""A process that applies the schemas and paths of post actions, which could take all of ours.

The parent (`rules.py`) asks ["check", outcomes] and is told null or [code, sentence]; or
["choose", outcomes, body] and is told null (no outcome fits), {"refused": sentence}, or which
outcome fits and what the workflow is told: {"index", "output"} or {"index", "error", "cause"}.

JSON Schema is draft 7 unless ``$schema`` says otherwise; formats are not checked. References are
looked up in the schema itself and among the published dialects, never anywhere else.
"""

import json
import warnings
from collections.abc import Mapping
from itertools import islice
from typing import Any

import jsonpath
from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT7, specification_with

from app.approvals.compat.request import CHECK_S, failure_fault, output_fault, output_text
from app.bounded_process import answer_lines
from app.strict_json import Json

MAX_PATH_CHARS = 4_096
MAX_MATCHES = 100_000
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class _Refused(Exception):
    """The outcome fits, but what it would tell the workflow cannot be told."""


def main() -> None:
    """Answer until the parent is gone."""
    # A dialect that nobody knows is read as draft 7, as ever; the library would warn of it.
    warnings.simplefilter("ignore")
    answer_lines(_answer, CHECK_S)


def _answer(question: Json) -> Json:
    kind, outcomes, *body = question
    try:
        return check(outcomes) if kind == "check" else choose(outcomes, body[0])
    except (RecursionError, MemoryError):
        why = "it is nested too deeply, or refers to itself"
    if kind == "check":
        return ["InvalidPostActionOutcome", f"A schema cannot be used: {why}."]
    return {"refused": why}


def check(outcomes: list[Json]) -> Json:
    """The first fault in the schemas, then in the paths: its code and a sentence; else None."""
    for index, outcome in enumerate(outcomes):
        fault = _schema_fault(outcome["schema"])
        if fault is not None:
            return ["InvalidPostActionOutcome", f"The schema of outcome {index}: {fault}."]
    for index, outcome in enumerate(outcomes):
        for name in ("output_path", "error_path", "cause_path"):
            if name in outcome and not _is_path(outcome[name]):
                return ["InvalidJsonPath", f"The {name} of outcome {index} is no JSONPath."]
    return None


def choose(outcomes: list[Json], body: Json) -> Json:
    """The first outcome that *body* fits, and what the workflow is told then."""
    for index, outcome in enumerate(outcomes):
        schema = outcome["schema"]
        if _dialect(schema)(schema, registry=REGISTRY).is_valid(body):
            try:
                return {"index": index, **_told(outcome, body)}
            except _Refused as exc:
                return {"refused": str(exc)}
    return None


def _told(outcome: Mapping[str, Json], body: Json) -> dict[str, Json]:
    if outcome["type"] == "heartbeat":
        return {}
    if outcome["type"] == "success":
        text = output_text(_output(outcome, body))
        _refuse(output_fault(text))
        return {"output": text}
    error, cause = (_words(outcome, name, body) for name in ("error", "cause"))
    _refuse(failure_fault(error, cause))
    return {"error": error, "cause": cause}


def _output(outcome: Mapping[str, Json], body: Json) -> Json:
    if "output_body" in outcome:
        return body
    if "output_path" in outcome:
        return None if body is None else _select(outcome["output_path"], body)
    return outcome["output"]


def _words(outcome: Mapping[str, Json], name: str, body: Json) -> str | None:
    """The error or cause: as given, or the one text that is found, or all that is found as JSON."""
    if f"{name}_path" not in outcome:
        given: str | None = outcome.get(name)
        return given
    found = _select(outcome[f"{name}_path"], body)
    if not found:
        return None
    if len(found) == 1 and isinstance(found[0], str):
        return found[0]
    return json.dumps(found)


def _select(path: str, body: Json) -> list[Json]:
    try:
        matches = islice(jsonpath.compile(path).finditer(body), MAX_MATCHES + 1)
        found = [match.obj for match in matches]
    except jsonpath.JSONPathError as exc:
        raise _Refused("a path cannot be applied to the body") from exc
    _refuse("a path selects too many values" if len(found) > MAX_MATCHES else None)
    return found


def _refuse(fault: str | None) -> None:
    if fault is not None:
        raise _Refused(fault)


def _is_path(path: str) -> bool:
    if not path.strip() or len(path) > MAX_PATH_CHARS:
        return False
    try:
        jsonpath.compile(path)
    except jsonpath.JSONPathError:
        return False
    return True


def _schema_fault(schema: Json) -> str | None:
    try:
        _References(_dialect(schema)).check(schema)
    except SchemaError as exc:
        return f"{'/'.join(map(str, exc.absolute_path)) or 'it'} breaks the rules of JSON Schema"
    except Unresolvable:
        return "a reference leads out of it, or nowhere"
    except (ValueError, TypeError, AttributeError, KeyError):
        return "it cannot be understood"
    return None


class _References:
    """Checks a schema and all it refers to.

    A reference may lead to where no keyword of the dialect is, such as ``$defs`` in draft 7; what
    stands there is a schema for that reference alone, and has to be checked for its sake.
    """

    def __init__(self, dialect: Any) -> None:
        self._dialect = dialect
        self._specification: Any = _specification(dialect)
        self._seen: set[int] = set()  # ids of what was checked

    def check(self, schema: Json) -> None:
        """Accept *schema*.

        Raises:
            SchemaError: it, or what it refers to, breaks the rules.
            Unresolvable: a reference leads out of it, or nowhere.
        """
        self._dialect.check_schema(schema)
        resource = Resource.from_contents(schema, default_specification=self._specification)
        registry: Registry[Any] = REGISTRY.with_resource(resource.id() or "", resource)
        self._follow(registry.resolver_with_root(resource), resource)

    def _follow(self, resolver: Any, resource: Resource[Any]) -> None:
        contents = resource.contents
        if id(contents) in self._seen:
            return
        self._seen.add(id(contents))
        for name in _REFERENCES:
            if isinstance(contents, dict) and isinstance(contents.get(name), str):
                self._refer(resolver.lookup(contents[name]))
        for part in resource.subresources():
            self._follow(resolver.in_subresource(part), part)

    def _refer(self, found: Any) -> None:
        if id(found.contents) not in self._seen:
            self._dialect.check_schema(found.contents)
            self._follow(found.resolver, self._specification.create_resource(found.contents))


def _dialect(schema: Json) -> Any:
    return validator_for(schema, default=Draft7Validator)


def _specification(dialect: Any) -> Any:
    return specification_with(dialect.META_SCHEMA.get("$schema", ""), default=DRAFT7)


if __name__ == "__main__":
    main()
