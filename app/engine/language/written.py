"""A definition as it is written: for checks that look through it whatever else is wrong with it."""

from collections.abc import Iterator, Mapping

from app.strict_json import Json


def object_in(value: Json) -> Mapping[str, Json]:
    """The object; an empty one where there is another value."""
    return value if isinstance(value, dict) else {}


def array_in(value: Json) -> list[Json]:
    """The array; an empty one where there is another value."""
    return value if isinstance(value, list) else []


def inner_scopes(state: Mapping[str, Json], location: str) -> Iterator[tuple[Json, str]]:
    """The branches and the item processor of a state, and where they are."""
    for number, branch in enumerate(array_in(state.get("Branches"))):
        yield branch, f"{location}/Branches[{number}]"
    for field in ("ItemProcessor", "Iterator"):
        if field in state:
            yield state[field], f"{location}/{field}"
