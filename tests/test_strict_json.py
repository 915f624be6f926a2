"""Strict JSON: what is let in can be stored, sent and read back."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.strict_json import MAX_DEPTH, NotJson, canonical, dumps, loads

REFUSED = {
    "a repeated key": '{"a": 1, "a": 2}',
    "a repeated key further in": '[{"b": {"a": 1, "a": 1}}]',
    "NaN": '{"a": NaN}',
    "Infinity": "[Infinity]",
    "minus Infinity": "[-Infinity]",
    "a float beyond the largest": "1e999",
    "an integer beyond 64 bits": str(2**64),
    "an integer of 5,000 digits": "1" * 5000,
    "a lone surrogate": '"\\ud800"',
    "a lone surrogate as a key": '{"\\udfff": 1}',
    "100,000 brackets": "[" * 100_000,
    "balanced brackets beyond the depth": "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    "objects beyond the depth": '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
    "nothing": "",
    "two values": "1 2",
    "a trailing comma": "[1,]",
    "single quotes": "{'a': 1}",
    "a control character in a text": '"a\nb"',
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_stored_is_refused_without_an_echo(text: str) -> None:
    """Each refusal is a sentence that holds nothing of the text."""
    with pytest.raises(NotJson) as refused:
        loads(text)

    assert refused.value.message.endswith(".")
    assert text[:12] not in refused.value.message or len(text) < 3


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    """Overlong and broken sequences are not JSON."""
    with pytest.raises(NotJson, match="UTF-8"):
        loads(b'"\xc0\xaf"')


def test_the_deepest_allowed_value_is_read() -> None:
    """The limit itself is allowed."""
    value = loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)

    assert dumps(value) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


def test_many_brackets_side_by_side_are_not_deep() -> None:
    """Width is not depth."""
    assert loads("[" + "[]," * 1000 + "[]]") == [[]] * 1001


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    """Writing and reading is the identity on every storable value."""
    assert loads(dumps(value)) == value
    assert loads(canonical(value)) == value


@given(st.text())
def test_any_text_is_read_or_refused_never_a_crash(text: str) -> None:
    """Garbage gives NotJson and nothing else."""
    try:
        value = loads(text)
    except NotJson:
        return
    assert not (isinstance(value, float) and math.isinf(value))


def test_equal_values_have_equal_canonical_bytes() -> None:
    """The order of keys does not matter to a fingerprint."""
    assert canonical({"b": 1, "a": {"d": 2, "c": 3}}) == canonical({"a": {"c": 3, "d": 2}, "b": 1})
