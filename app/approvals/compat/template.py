"""Query parameters in the templates of callback actions: Python's ``$name`` and ``${name}``.

Names are ASCII identifiers in any case; ``$$`` is a dollar sign. Values are filled in once, as
text: a ``$`` in a value stays what it is.
"""

from collections.abc import Callable, Mapping
from re import Match
from string import Template

from app.errors import CallbackRefused
from app.strict_json import Json

#: of values, filled into the templates of one action; a short query must not make gigabytes
MAX_FILLED_CHARS = 1_000_000

Escape = Callable[[str], str]


def check_template(value: Json) -> None:
    """Accept *value* if all its strings and keys are templates.

    Raises:
        CallbackRefused: a dollar sign in one has no meaning.
    """
    _map(value, lambda text: Template.pattern.sub(_empty, text))


class Filler:
    """Fills the templates of one action with the parameters of one request."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
        self._room = MAX_FILLED_CHARS

    def fill(self, value: Json, escape: Escape = str) -> Json:
        """*value* with the parameters in all its strings and keys; each value is escaped first.

        Raises:
            CallbackRefused: a parameter is missing, or they are too long together.
        """

        def parameter(match: Match[str]) -> str:
            name = _name(match)
            return "$" if name is None else self._take(name, escape)

        return _map(value, lambda text: Template.pattern.sub(parameter, text))

    def _take(self, name: str, escape: Escape) -> str:
        if name not in self._parameters:
            raise CallbackRefused("OutputFormatting", f"The parameter {name} is missing.")
        value = escape(self._parameters[name])
        self._room -= len(value)
        if self._room < 0:
            raise CallbackRefused("OutputFormatting", "The parameters are too long together.")
        return value


def _map(value: Json, change: Callable[[str], str]) -> Json:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): _map(item, change) for key, item in value.items()}
    return value


def _name(match: Match[str]) -> str | None:
    """The parameter that is meant; None for ``$$``."""
    if match["escaped"] is not None:
        return None
    name = match["named"] or match["braced"]
    if name is None:
        sentence = "A $ must be followed by the name of a parameter, or by another $."
        raise CallbackRefused("OutputFormatting", sentence)
    return name


def _empty(match: Match[str]) -> str:
    _name(match)
    return ""
