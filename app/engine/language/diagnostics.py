"""What is wrong with a definition: every fault, where it is, in the words AWS uses."""

from dataclasses import dataclass

from app.strict_json import Json

MAX_DIAGNOSTICS = 100  #: what ValidateStateMachineDefinition shows at most

SCHEMA_VALIDATION_FAILED = "SCHEMA_VALIDATION_FAILED"
INVALID_JSON_DESCRIPTION = "INVALID_JSON_DESCRIPTION"
MISSING_TRANSITION_TARGET = "MISSING_TRANSITION_TARGET"
DUPLICATE_STATE_NAME = "DUPLICATE_STATE_NAME"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault."""

    code: str
    message: str
    location: str | None  #: ``/States/First/Next``; None where the whole text is meant
    severity: str = "ERROR"

    def __str__(self) -> str:
        place = "" if self.location is None else f" at {self.location}"
        return f"{self.code}: {self.message}{place}"

    def wire(self) -> dict[str, Json]:
        """As ValidateStateMachineDefinition answers it."""
        shown = {"severity": self.severity, "code": self.code, "message": self.message}
        return shown if self.location is None else shown | {"location": self.location}


class Report:
    """Collects diagnostics, as many as are ever shown and one more."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    def fault(
        self, location: str | None, message: str, code: str = SCHEMA_VALIDATION_FAILED
    ) -> None:
        """Note a fault."""
        if len(self.found) <= MAX_DIAGNOSTICS:
            self.found.append(Diagnostic(code, message, location))
