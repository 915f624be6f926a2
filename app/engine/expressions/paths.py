"""JSONPath as states use it: paths that select, reference paths that also place a value.

A path begins with ``$`` (the data at hand), ``$$`` (the context object) or ``$name`` (a variable).
Nearly all paths are plain (``$.a.b[0]``): they are parsed here and read by indexing. The rest
(wildcards, slices, filters, ``..``) goes to the JSONPath library, and yields a list. What a search
may cost is bounded: a cheap one is made here, any other in a process of its own, which is killed
when its time is up.

The texts of `PathError` are AWS's (its library is Jayway's).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from statistics import pstdev
from typing import Protocol

from app.bounded_process import GaveUp
from app.engine.expressions import jsonpath_library, jsonpath_worker
from app.engine.expressions.costly import Costly
from app.engine.expressions.java import shown, type_name
from app.engine.expressions.jsonpath_library import SearchError
from app.errors import SignoffError
from app.strict_json import Json

MAX_PATH_CHARS = 4_096


class PathError(SignoffError):
    """The path selects nothing."""


class InvalidPath(SignoffError):
    """The text is no path."""


class Scope(Protocol):
    """What an expression can see beside the data at hand."""

    @property
    def random(self) -> Random:
        """Chance that repeats when the same step is made again."""

    @property
    def context(self) -> Json:
        """The context object, ``$$``."""

    @property
    def variables(self) -> Mapping[str, Json]:
        """The variables, ``$name``."""


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path."""

    text: str
    root: str  #: "$", "$$" or the name of a variable
    #: the plain path's keys and indexes; None when the library has to read it
    steps: tuple[str | int, ...] | None
    search: str | None = None  #: what the library is to search in the root; None for a plain path
    cheap: bool = True  #: whether that search may be made here
    function: str | None = None  #: ``length`` in ``$.items.length()``
    members: tuple[str, ...] = ()  #: what an object is cut down to: ``$.a['x','y']``

    @property
    def is_reference(self) -> bool:
        """Whether a value can be placed at this path."""
        steps = self.steps
        return (
            self.root == "$"
            and steps is not None
            and self.function is None
            and not self.members
            and not any(isinstance(step, int) and step < 0 for step in steps)
        )

    def read(self, data: Json, scope: Scope) -> Json:
        """The value selected in *data* (or the context, or a variable); it is not copied.

        Raises:
            PathError: nothing is there.
        """
        root = self.root
        if root != "$":
            data = scope.context if root == "$$" else _variable(root, scope)
        steps = self.steps
        if steps is None:
            found = self._search(data)
        else:
            found = data
            for step in steps:
                # A text can be indexed in Python, not in JSON.
                if type(step) is int and type(found) is not list:
                    raise PathError(_why(self, data))
                try:
                    found = found[step]
                except (KeyError, IndexError, TypeError):
                    raise PathError(_why(self, data)) from None
        if self.members:
            return _cut_down(found, self)
        return found if self.function is None else _apply(self.function, found, self.text)

    def place(self, data: Json, value: Json) -> Json:
        """*data* with *value* at this reference path; *data* itself is left as it is.

        Missing parents are made.

        Raises:
            PathError: something on the way is neither an object nor an array that long.
        """
        if self.steps is None:
            raise PathError(f"{self.text} is not a reference path")
        return _place(data, self.steps, value)

    def _search(self, data: Json) -> list[Json]:
        assert self.search is not None  # noqa: S101  # a path is plain or has a search
        try:
            if self.cheap:
                return jsonpath_library.search(self.search, data)
            kind, answer = _SEARCHES.ask(self.search, [self.search, data])
        except SearchError as exc:
            raise PathError(f"Invalid path '{self.text}' : {exc.message}") from exc
        except GaveUp as exc:
            raise PathError(f"Invalid path '{self.text}' : it takes too long") from exc
        if kind == "error":
            raise PathError(f"Invalid path '{self.text}' : {answer}")
        found: list[Json] = answer
        return found


_SEARCHES = Costly("app.engine.expressions.jsonpath_worker", ["$", None], jsonpath_worker.SECONDS)


def compile_path(text: str) -> Path:
    """The path that *text* writes.

    Raises:
        InvalidPath: it is no path.
    """
    if len(text) > MAX_PATH_CHARS:
        raise InvalidPath("The path is too long.")
    match = _ROOT.match(text)
    if match is None:
        raise InvalidPath("A path begins with $.")
    root = match[0] if match[0] in ("$", "$$") else match[0][1:]
    rest, function = _split_function(text[match.end() :].rstrip())
    steps = _plain_steps(rest)
    if steps is not None:
        return Path(text, root, steps, function=function)
    several = _MEMBERS.search(rest) if function is None else None
    members = _quoted(several[0]) if several else ()
    before = rest[: several.start()] if several else rest
    steps = _plain_steps(before) if members else None
    if steps is not None:
        return Path(text, root, steps, members=members)
    searched = _checked_search(before)
    cheap = jsonpath_library.is_cheap(searched)
    return Path(text, root, None, searched, cheap, function, members)


def compile_reference_path(text: str) -> Path:
    """The reference path that *text* writes: ``$.a.b[0]``, nothing that selects several values.

    Raises:
        InvalidPath: it is no reference path.
    """
    path = compile_path(text)
    if not path.is_reference:
        raise InvalidPath("Not a reference path.")
    return path


_ROOT = re.compile(r"\$\$|\$[^\W\d]\w*|\$")
_STEP = re.compile(
    r"""\.(?P<name>[^\s.\[\]()*'"]+)            # .name
      |\[\s*'(?P<single>(?:[^'\\]|\\.)*)'\s*\]  # ['name']
      |\[\s*"(?P<double>(?:[^"\\]|\\.)*)"\s*\]  # ["name"]
      |\[\s*(?P<index>-?\d{1,9})\s*\]           # [0]
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")
_MEMBERS = re.compile(rf"\[\s*{_QUOTED.pattern}(?:\s*,\s*{_QUOTED.pattern})+\s*\]$")
_FUNCTION = re.compile(r"\.(length|min|max|avg|stddev|sum|first|last|keys)\(\)$")


def _plain_steps(rest: str) -> tuple[str | int, ...] | None:
    steps: list[str | int] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            return None
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> str | int:
    if match["index"] is not None:
        return int(match["index"])
    if match["name"] is not None:
        return match["name"]
    # Only the quote itself is unescaped: AWS finds the key Test\" by ['Test\"'].
    if match["single"] is not None:
        return match["single"].replace("\\'", "'")
    return match["double"].replace('\\"', '"')


def _quoted(text: str) -> tuple[str, ...]:
    return tuple(match[1].replace("\\'", "'") for match in _QUOTED.finditer(text))


def _split_function(rest: str) -> tuple[str, str | None]:
    match = _FUNCTION.search(rest)
    return (rest[: match.start()], match[1]) if match else (rest, None)


def _checked_search(rest: str) -> str:
    try:
        jsonpath_library.compiled("$" + rest)
    except SearchError as exc:
        raise InvalidPath(exc.message) from exc
    return "$" + rest


def _variable(name: str, scope: Scope) -> Json:
    try:
        return scope.variables[name]
    except KeyError:
        raise PathError(f"The variable '${name}' is not defined") from None


def _place(data: Json, steps: tuple[str | int, ...], value: Json) -> Json:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if not isinstance(data, list) or not 0 <= step < len(data):
            raise PathError(f"Unable to apply step [{step}]")
        items = list(data)
        items[step] = _place(data[step], rest, value)
        return items
    if data is not None and not isinstance(data, dict):
        raise PathError(f'Unable to apply step "{step}"')
    members = dict(data or {})
    members[step] = _place(members.get(step), rest, value)
    return members


# Why nothing was found, in the words of Jayway's JsonPath.


def _why(path: Path, data: Json) -> str:
    steps = path.steps or ()
    for number, step in enumerate(steps):
        if _can_step(data, step):
            data = data[step]
            continue
        reason = _missing(data, steps, number)
        return f"Invalid path '{path.text}' : {reason}"
    return f"Invalid path '{path.text}'"


def _can_step(data: Json, step: str | int) -> bool:
    if isinstance(step, str):
        return isinstance(data, dict) and step in data
    return isinstance(data, list) and -len(data) <= step < len(data)


def _missing(data: Json, steps: tuple[str | int, ...], number: int) -> str:
    step, before = steps[number], bracketed(steps[:number])
    last = number == len(steps) - 1
    if isinstance(step, int):
        if isinstance(data, list):
            return f"No results for path: {bracketed(steps)}"
        if data is None:
            return f"The path {before} is null"
        rest = bracketed(steps[number:]).removeprefix("$")
        return f"Filter: {rest} can only be applied to arrays. Current context is: {shown(data)}"
    if isinstance(data, dict):
        if last:
            return f"No results for path: {bracketed(steps)}"
        return f"Missing property in path {bracketed(steps[: number + 1])}"
    return _no_object(f"['{step}']", before, data)


def _no_object(property: str, before: str, data: Json) -> str:
    return (
        f"Expected to find an object with property {property} in path {before} "
        f"but found '{type_name(data)}'. This is not a json object according to the JsonProvider: "
        "'com.jayway.jsonpath.spi.json.JsonSmartJsonProvider'."
    )


def bracketed(steps: tuple[str | int, ...]) -> str:
    """``$['a'][0]``, as Jayway prints paths."""
    return "$" + "".join(f"[{s}]" if isinstance(s, int) else f"['{s}']" for s in steps)


def _cut_down(found: Json, path: Path) -> Json:
    """An object with the members that the path names, as far as they are there.

    Of what a search found, each object is cut down.
    """
    if path.steps is None:
        return [_members_of(item, path) for item in found if isinstance(item, dict)]
    if not isinstance(found, dict):
        names = ",".join(f"'{name}'" for name in path.members)
        reason = _no_object(f"[{names}]", bracketed(path.steps), found)
        raise PathError(f"Invalid path '{path.text}' : {reason}")
    return _members_of(found, path)


def _members_of(found: Mapping[str, Json], path: Path) -> Json:
    return {name: found[name] for name in path.members if name in found}


def _apply(function: str, found: Json, text: str) -> Json:
    try:
        return _FUNCTIONS[function](found)
    except (TypeError, ValueError, LookupError, AttributeError, ZeroDivisionError) as exc:
        raise PathError(f"Invalid path '{text}' : {function}() cannot be applied") from exc


def _numbers(found: Json) -> list[float]:
    """The numbers of an array; what is computed of them is a decimal number in AWS's library."""
    if not isinstance(found, list):
        raise TypeError
    return [
        float(item)
        for item in found
        if isinstance(item, int | float) and not isinstance(item, bool)
    ]


_FUNCTIONS: Mapping[str, Callable[[Json], Json]] = {
    "length": len,
    "min": lambda found: min(_numbers(found)),
    "max": lambda found: max(_numbers(found)),
    "sum": lambda found: sum(_numbers(found)),
    "avg": lambda found: sum(_numbers(found)) / len(_numbers(found)),
    "stddev": lambda found: pstdev(_numbers(found)),
    "first": lambda found: found[0],
    "last": lambda found: found[-1],
    "keys": lambda found: list(found.keys()),
}
