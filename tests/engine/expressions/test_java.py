"""Values as Java shows them."""

import pytest

from app.engine.expressions.java import json_text, shown
from app.strict_json import Json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.001, "-0.001"),
        (1.5, "1.5"),
        (9999999.0, "9999999.0"),
        (10000000.0, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (-1e20, "-1.0E20"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (0.00099, "9.9E-4"),
        (2.5e-10, "2.5E-10"),
        (10000000, "10000000"),
        ([1, 1e9, "1e9", {'a"': 1e-5}, None, True], '[1,1.0E9,"1e9",{"a\\"":1.0E-5},null,true]'),
    ],
)
def test_numbers_are_written_as_java_does(value: Json, text: str) -> None:
    """Decimal numbers have an exponent from ten million on and below a thousandth."""
    assert json_text(value) == text


def test_what_format_shows_is_no_json() -> None:
    """Texts are bare, objects have equals signs, numbers are Java's."""
    assert shown({"a": ["x", 1e20], "b": {"c": None}}) == "{a=[x, 1.0E20], b={c=null}}"
