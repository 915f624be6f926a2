"""The JSONPath library behind a small door, with the differences of AWS's (Jayway's JsonPath).

A filter over an object tests the object itself; ``=~`` compares whole texts, and numbers by their
text. Whoever calls has to bound what a path may cost, except for a cheap one (see `is_cheap`).
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice

import jsonpath
from jsonpath.match import JSONPathMatch
from jsonpath.selectors import Filter, FilterContext, JSONPathSelector

from app.errors import SignoffError
from app.strict_json import Json

MAX_MATCHES = 100_000  #: what one path may select, so that ``$..*..*`` cannot eat the memory
_CHEAP_DESCENTS = 2  #: how often a cheap path may say ``..``

JSONPath = jsonpath.JSONPath | jsonpath.CompoundJSONPath


class SearchError(SignoffError):
    """The path cannot be compiled, or selects more than it may."""


def is_cheap(text: str) -> bool:
    """Whether the path costs no more than its data times a little.

    A path within a path over the whole data, searches within searches, and regular expressions
    that backtrack can take time without end.
    """
    return "$" not in text[1:] and text.count("..") <= _CHEAP_DESCENTS and "=~" not in text


@lru_cache(maxsize=2_048)
def compiled(text: str) -> JSONPath:
    """The compiled path.

    Raises:
        SearchError: it is none.
    """
    if _FOREIGN.search(text):
        raise SearchError("Jayway's JsonPath has no such function")
    try:
        path = _ENVIRONMENT.compile(text)
    except (jsonpath.JSONPathError, RecursionError, ValueError) as exc:
        raise SearchError("The JSONPath cannot be understood") from exc
    if isinstance(path, jsonpath.JSONPath):
        for segment in path.segments:
            segment.selectors = tuple(_as_jayway(selector) for selector in segment.selectors)
    return path


def search(text: str, data: Json) -> list[Json]:
    """All that the path selects, in the order of the data.

    Raises:
        SearchError: it selects more than `MAX_MATCHES`.
    """
    try:
        matches = islice(compiled(text).finditer(data), MAX_MATCHES + 1)
        found = [match.obj for match in matches]
    except (jsonpath.JSONPathError, RecursionError) as exc:
        raise SearchError("The JSONPath cannot be applied") from exc
    if len(found) > MAX_MATCHES:
        raise SearchError("it selects too many values")
    return found


_FOREIGN = re.compile(r"\b(?:match|search|isinstance|typeof|is)\s*\(")


class _Environment(jsonpath.JSONPathEnvironment):
    def compare(self, left: object, operator: str, right: object) -> bool:
        if operator == "=~" and isinstance(left, int | float):
            left = str(left).lower() if isinstance(left, bool) else str(left)
        return super().compare(left, operator, right)


_ENVIRONMENT = _Environment()


class _Filter(Filter):
    """A filter that tests an object itself, not its members."""

    def resolve(self, node: JSONPathMatch) -> Iterable[JSONPathMatch]:
        if not isinstance(node.obj, Mapping):
            yield from super().resolve(node)
            return
        context = FilterContext(env=self.env, current=node.obj, root=node.root)
        if self.expression.evaluate(context):
            yield node


def _as_jayway(selector: JSONPathSelector) -> JSONPathSelector:
    if isinstance(selector, Filter):
        return _Filter(env=selector.env, token=selector.token, expression=selector.expression)
    return selector
