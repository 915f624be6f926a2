"""Payload templates: constants stay as they are, expressions are replaced wherever they stand."""

import pytest

from app.engine.expressions.templates import Constant, InvalidTemplate, compile_template
from app.engine.failures import RuntimeFailure
from app.engine.language.flow import Scope
from app.strict_json import Json

SCOPE = Scope(0, "seed", lambda: {"State": {"Name": "First"}}, lambda: {"v": 7})


def filled(template: Json, data: Json = None) -> Json:
    return compile_template(template).evaluate(data, SCOPE)


def test_expressions_are_replaced_wherever_they_stand() -> None:
    """In objects within arrays within objects; the suffix goes."""
    template = {
        "name.$": "$.n",
        "list": [1, {"state.$": "$$.State.Name", "v.$": "$v"}, []],
        "sum.$": "States.MathAdd($.n, 1)",
        "text": "$.n stays",
        "none": None,
    }

    assert filled(template, {"n": 1}) == {
        "name": 1,
        "list": [1, {"state": "First", "v": 7}, []],
        "sum": 2,
        "text": "$.n stays",
        "none": None,
    }


def test_a_template_without_expressions_is_a_constant() -> None:
    """It is not even copied."""
    value = {"a": [1, {"b": {}}], "c": "$"}

    compiled = compile_template(value)

    assert compiled == Constant(value)
    assert compiled.evaluate({"other": 1}, SCOPE) is value


def test_a_missing_value_names_the_field_and_the_input() -> None:
    """In AWS's words."""
    with pytest.raises(RuntimeFailure) as caught:
        filled({"a": {"b.$": "$.no"}}, {"x": "é"})

    assert caught.value.message == (
        "The JSONPath '$.no' specified for the field 'b.$' "
        'could not be found in the input \'{"x":"é"}\''
    )


@pytest.mark.parametrize(
    ("template", "location"),
    [
        ({"a.$": 1}, ""),
        ({"a.$": None}, ""),
        ({"a.$": "text"}, ""),
        ({"a.$": "$.b["}, ""),
        ({"a": [{"b.$": "States.Nope()"}]}, "/a[0]"),
        ({"a": 1, "a.$": "$"}, "/a.$"),
        ({"a.$": "$", "a": 1}, "/a.$"),
    ],
)
def test_a_template_that_cannot_be_compiled_says_where(template: Json, location: str) -> None:
    """The place is that of the object whose field is no expression."""
    with pytest.raises(InvalidTemplate) as caught:
        compile_template(template)

    assert caught.value.location == location
