"""The JSONPath library behind a small door, with the differences of AWS's (Jayway's JsonPath).

A filter over an object tests the object itself; ``=~`` compares whole texts, and numbers by their
text; there are operators for lists and sizes. Whoever calls has to bound what a path may cost,
except for a cheap one (see `is_cheap`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice

import jsonpath
from jsonpath.lex import Lexer
from jsonpath.match import JSONPathMatch
from jsonpath.parse import Parser
from jsonpath.selectors import (
    Filter,
    FilterContext,
    IndexSelector,
    JSONPathSelector,
    NameSelector,
    SliceSelector,
    WildcardSelector,
)

from app.errors import SignoffError
from app.strict_json import Json

MAX_MATCHES = 100_000  #: what one path may select, so that ``$..*..*`` cannot eat the memory
_CHEAP_DESCENTS = 2  #: how often a cheap path may say ``..``


class SearchError(SignoffError):
    """The path cannot be compiled, or selects more than it may."""


def is_cheap(text: str) -> bool:
    """Whether the path costs no more than its data times a little.

    A path within a path over the whole data, searches within searches, regular expressions that
    backtrack and lists held against lists can take time without end.
    """
    if "=~" in text or _LISTS.search(text):
        return False
    return "$" not in text[1:] and text.count("..") <= _CHEAP_DESCENTS


@lru_cache(maxsize=2_048)
def compiled(text: str) -> jsonpath.JSONPath:
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
    if not isinstance(path, jsonpath.JSONPath):
        raise SearchError("Jayway's JsonPath cannot put paths together")
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


# Jayway's operators that the library does not have. A missing value is in no list.


def _is_subset(left: object, right: object) -> bool:
    return _are_lists(left, right) and all(item in right for item in left)  # type: ignore[operator,attr-defined]


def _overlaps(left: object, right: object) -> bool:
    return _are_lists(left, right) and any(item in right for item in left)  # type: ignore[operator,attr-defined]


def _is_disjoint(left: object, right: object) -> bool:
    return _are_lists(left, right) and not _overlaps(left, right)


def _are_lists(left: object, right: object) -> bool:
    return isinstance(left, list) and isinstance(right, list)


def _has_size(left: object, right: object) -> bool:
    return isinstance(left, list | str) and not isinstance(right, bool) and len(left) == right


def _is_empty(left: object, right: object) -> bool:
    return isinstance(left, list | dict | str) and (not left) is right


_OPERATORS: Mapping[str, Callable[[object, object], bool]] = {
    "nin": lambda left, right: isinstance(right, list) and left not in right,
    "subsetof": _is_subset,
    "anyof": _overlaps,
    "noneof": _is_disjoint,
    "all": lambda left, right: _is_subset(right, left),
    "size": _has_size,
    "empty": _is_empty,
}
_LISTS = re.compile(r"\s(?:subsetof|anyof|noneof|all)\b")
_TOKENS = {f"TOKEN_{name.upper()}": name for name in _OPERATORS}


class _Lexer(Lexer):
    def compile_rules(self) -> re.Pattern[str]:
        # After a blank only: elsewhere these are names.
        rules = [rf"(?P<{token}>(?<=\s){name}\b)" for token, name in _TOKENS.items()]
        return re.compile("|".join([*rules, super().compile_rules().pattern]), re.DOTALL)


class _Parser(Parser):
    PRECEDENCES = Parser.PRECEDENCES | dict.fromkeys(_TOKENS, Parser.PRECEDENCE_MEMBERSHIP)
    BINARY_OPERATORS = Parser.BINARY_OPERATORS | _TOKENS
    INFIX_LITERAL_OPERATORS = Parser.INFIX_LITERAL_OPERATORS | frozenset(_OPERATORS)


class _Environment(jsonpath.JSONPathEnvironment):
    lexer_class = _Lexer
    parser_class = _Parser

    def compare(self, left: object, operator: str, right: object) -> bool:
        if operator == "=~" and isinstance(left, int | float):
            left = str(left).lower() if isinstance(left, bool) else str(left)
        if operator in _OPERATORS:
            # A path that selects one value stands for it; one that selects none is a list here.
            missing = isinstance(left, jsonpath.NodeList)
            return _OPERATORS[operator](None if missing else left, right)
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
    if not isinstance(selector, _SELECTORS):
        raise SearchError("Jayway's JsonPath has no such selector")
    if isinstance(selector, Filter):
        return _Filter(env=selector.env, token=selector.token, expression=selector.expression)
    return selector


_SELECTORS = (Filter, IndexSelector, NameSelector, SliceSelector, WildcardSelector)
