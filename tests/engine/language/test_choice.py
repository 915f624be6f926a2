"""Choice rules: types never mix, missing values fail, patterns are no regular expressions."""

import pytest

from app.engine.failures import RuntimeFailure
from app.engine.language.choice import OPERATORS
from app.engine.language.timestamps import parse_timestamp
from app.strict_json import Json

LATER, EARLIER = "2012-10-09T19:00:57Z", "2012-10-09T19:00:55Z"

HOLDS: list[tuple[str, Json, Json]] = [
    ("StringEquals", "a", "a"),
    ("StringLessThan", "A", "AB"),
    ("StringGreaterThan", "a", "Z"),
    ("StringLessThanEquals", "", ""),
    ("StringGreaterThanEquals", "AB", "A"),
    ("StringLessThan", "\U0001f600", "\uffff"),  # by UTF-16 units, as in Java
    ("NumericEquals", 0, 0.0),
    ("NumericLessThan", -1, 0),
    ("NumericGreaterThan", 1.5, 1),
    ("NumericLessThanEquals", 1, 1.0),
    ("NumericGreaterThanEquals", 2, 1),
    ("BooleanEquals", True, True),
    ("TimestampEquals", "2012-10-09T19:00:55Z", "2012-10-09T21:00:55+02:00"),
    ("TimestampLessThan", EARLIER, LATER),
    ("TimestampGreaterThan", LATER, EARLIER),
    ("TimestampLessThanEquals", EARLIER, EARLIER),
    ("TimestampGreaterThanEquals", LATER, EARLIER),
    ("IsNull", None, True),
    ("IsNull", 0, False),
    ("IsNumeric", 1.1, True),
    ("IsNumeric", True, False),
    ("IsString", "", True),
    ("IsBoolean", False, True),
    ("IsTimestamp", EARLIER, True),
    ("IsTimestamp", "2012-10-09 19:00:55", False),
    ("StringMatches", "log-2024.txt", "log-*.txt"),
    ("StringMatches", "a*b", r"a\*b"),
    ("StringMatches", "a\\b", r"a\\b"),
    ("StringMatches", "", "*"),
    ("StringMatches", "abcabc", "*abc"),
    ("StringMatches", "line\nbreak", "line*break"),
]

DOES_NOT: list[tuple[str, Json, Json]] = [
    ("StringEquals", "a", "A"),
    ("StringEquals", 1, "1"),
    ("NumericEquals", "1", 1),
    ("NumericEquals", True, 1),
    ("NumericEquals", None, 0),
    ("BooleanEquals", 1, True),
    ("BooleanEquals", "true", True),
    ("TimestampEquals", "2023-02-24 12:15:56.832957", EARLIER),
    ("TimestampEquals", 5, EARLIER),
    ("IsNull", None, False),
    ("StringMatches", "xlog.txt", "log*"),
    ("StringMatches", "aba", "ab*ba"),
    ("StringMatches", "a.c", "abc"),
    ("StringMatches", 5, "*"),
]


@pytest.mark.parametrize(("name", "value", "operand"), HOLDS)
def test_comparison_holds(name: str, value: Json, operand: Json) -> None:
    """The comparison is true."""
    assert OPERATORS[name].compare(value, operand) is True


@pytest.mark.parametrize(("name", "value", "operand"), DOES_NOT)
def test_comparison_does_not_hold(name: str, value: Json, operand: Json) -> None:
    """The comparison is false, and never an error, whatever the types."""
    assert OPERATORS[name].compare(value, operand) is False


def test_pattern_with_open_backslash_fails() -> None:
    """A pattern that ends in the middle of an escape cannot be used."""
    with pytest.raises(RuntimeFailure):
        OPERATORS["StringMatches"].compare("x", "x\\")


def test_hostile_pattern_is_matched_quickly() -> None:
    """A pattern of many stars is no way to stop the engine (a backtracking matcher never ends)."""
    assert OPERATORS["StringMatches"].compare("a" * 50_000, "*a" * 500 + "b") is False


@pytest.mark.parametrize(
    "text",
    [
        "2016-03-14T01:59:00Z",
        "2016-03-05T21:29:29.243167252Z",
        "2016-03-14T01:59:00+05:30",
        "2016-03-14T01:59:00.5-00:30",
    ],
)
def test_timestamp_is_read(text: str) -> None:
    """RFC 3339 with a T and an offset."""
    assert parse_timestamp(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "2016-13-05T21:29:29Z",
        "05-12-2016T21:29:29Z",
        "2016-12-05T25:29:29Z",
        "2016-12-05 21:29:29Z",
        "2016-12-05T21:29:29",
        "2016-12-05t21:29:29Z",
        "2016-12-05T21:29:29z",
        "2016-02-30T21:29:29Z",
        "2016-12-05T21:29:29+25:00",
        "9999-12-31T23:59:59-01:00",
        "\uff12\uff1016-12-05T21:29:29Z",
        "",
    ],
)
def test_what_is_no_timestamp_is_none(text: str) -> None:
    """Anything else is no timestamp, and no exception."""
    assert parse_timestamp(text) is None
