"""Which variables belong to which scope: the machine, or a branch or iteration within it.

A name that an outer scope assigns cannot be assigned within; names of scopes side by side have
nothing to do with each other, and the children of a distributed Map see none of their parent's.
Source: Developer Guide, "Variable scope".
"""

from collections.abc import Iterator, Mapping

from app.engine.language.diagnostics import Report
from app.engine.language.written import array_in, inner_scopes, object_in
from app.strict_json import Json

NO_NAMES: frozenset[str] = frozenset()


def check_scopes(
    scope: Json, report: Report, location: str = "", outer: frozenset[str] = NO_NAMES
) -> None:
    """Report each assignment, in *scope* or deeper, of a name that is assigned further out.

    *scope* is a machine, a branch or an item processor as it is written, and may be full of other
    faults.
    """
    states = object_in(scope).get("States")
    found = {name: object_in(state) for name, state in object_in(states).items()}
    names: set[str] = set()
    for name, state in found.items():
        for assigned, where in _assigned(state, f"{location}/States/{name}"):
            names |= assigned
            for variable in sorted(assigned & outer):
                report.fault(where, f"The variable '{variable}' is assigned in an outer scope")
    for name, state in found.items():
        for inner, where in inner_scopes(state, f"{location}/States/{name}"):
            seen = NO_NAMES if _is_distributed(inner) else outer | names
            check_scopes(inner, report, where, seen)


def _assigned(state: Mapping[str, Json], location: str) -> Iterator[tuple[set[str], str]]:
    """The names that a state assigns, also in its rules and catchers, and where."""
    groups = [(state, location)]
    for field in ("Choices", "Catch"):
        groups += [
            (object_in(entry), f"{location}/{field}[{number}]")
            for number, entry in enumerate(array_in(state.get(field)))
        ]
    for entry, where in groups:
        if "Assign" in entry:
            yield {key.removesuffix(".$") for key in object_in(entry["Assign"])}, f"{where}/Assign"


def _is_distributed(scope: Json) -> bool:
    return object_in(object_in(scope).get("ProcessorConfig")).get("Mode") == "DISTRIBUTED"
