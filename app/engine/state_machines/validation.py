"""Whether a definition can be a state machine's: what Create, Update and Validate ask."""

from collections.abc import Sequence

from app.engine.language.advice import warnings
from app.engine.language.definition import parse
from app.engine.language.diagnostics import MAX_DIAGNOSTICS, Diagnostic
from app.engine.language.fields import Rules
from app.engine.resources import accepted, needed, supports
from app.errors import InvalidDefinition
from app.strict_json import Json, loads

STANDARD, EXPRESS = "STANDARD", "EXPRESS"
SHOWN_FAULTS = 20  #: how many an InvalidDefinition names; ValidateStateMachineDefinition has all


class Validation:
    """ValidateStateMachineDefinition, which stores nothing."""

    async def validate_state_machine_definition(
        self,
        *,
        definition: str,
        type: str = STANDARD,
        severity: str = "ERROR",
        max_results: int | None = None,
    ) -> Json:
        """All that is wrong with a definition; with severity WARNING, what may be, too."""
        faults = faults_of(definition, type)
        found = list(faults)
        if severity == "WARNING" and not faults:
            found.extend(warnings(loads(definition)))
        most = max_results or MAX_DIAGNOSTICS
        return {
            "result": "FAIL" if faults else "OK",
            "diagnostics": [diagnostic.wire() for diagnostic in found[:most]],
            "truncated": len(found) > most,
        }


def rules_of(kind: str) -> Rules:
    """What a new definition of a state machine of a type is checked against."""
    return Rules(supports, kind == EXPRESS, accepted, needed)


def stored_rules(kind: str) -> Rules:
    """What a definition is read by that was accepted once.

    An older version may have refused less. Executions may wait in it for a year, so what can be
    run all the same is not refused now: a call without a member that it needs fails once made.
    """
    return Rules(supports, kind == EXPRESS, accepted)


def faults_of(definition: str, kind: str) -> Sequence[Diagnostic]:
    """All that is wrong with a definition of a state machine of a type."""
    return parse(definition, rules_of(kind)).diagnostics


def refuse_faults(found: Sequence[Diagnostic]) -> None:
    """Refuse a definition that has faults, naming the first of them.

    Raises:
        InvalidDefinition
    """
    if found:
        shown = ", ".join(map(str, found[:SHOWN_FAULTS]))
        raise InvalidDefinition(f"Invalid State Machine Definition: '{shown}'")
