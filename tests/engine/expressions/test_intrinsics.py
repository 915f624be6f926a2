"""Intrinsic functions: results, roundings and refusals, most of them seen on AWS."""

import re

import pytest

from app.engine.expressions.intrinsics import InvalidCall, compile_call
from app.engine.failures import EvaluationFailure
from app.engine.language.flow import Scope
from app.strict_json import Json


def scope(seed: str = "1") -> Scope:
    return Scope(0, seed, lambda: {"Execution": {"Name": "run"}}, lambda: {"v": 7})


def evaluated(text: str, data: Json = None) -> Json:
    return compile_call(text).evaluate(data, scope())


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("States.Format('Hello {}', 'you')", "Hello you"),
        ("States.Format('{} {} {} {}', 1, 1.5, true, null)", "1 1.5 true null"),
        (r"States.Format('\{literal\} {}', 'x')", "{literal} x"),
        ("States.Format('no arguments')", "no arguments"),
        ("States.Format('{}', $$.Execution.Name)", "run"),
        ("States.Format('{}', $v)", "7"),
        (r"States.Format('it\'s {}', 'fine')", "it's fine"),
        ("States.StringToJson('')", None),
        ("States.StringToJson(' ')", None),
        ("States.StringToJson('-0')", 0),
        ("States.StringToJson('{\"a\": [1, 2]}')", {"a": [1, 2]}),
        ("States.JsonToString('x')", '"x"'),
        ("States.JsonToString(null)", "null"),
        ("States.Array()", []),
        ("States.Array(1, 'two', States.Array(3))", [1, "two", [3]]),
        ("States.ArrayPartition(States.Array(1, 2, 3), 2)", [[1, 2], [3]]),
        ("States.ArrayPartition(States.Array(), 2)", []),
        ("States.ArrayContains(States.Array(1, 2), 2)", True),
        ("States.ArrayContains(States.Array(1, true), true)", True),
        ("States.ArrayContains(States.Array(1), true)", False),
        ("States.ArrayRange(1, 9, 2)", [1, 3, 5, 7, 9]),
        ("States.ArrayRange(0, 10, 3)", [0, 3, 6, 9]),
        ("States.ArrayRange(3, 1, -1)", [3, 2, 1]),
        ("States.ArrayGetItem(States.Array('a', 'b'), 1)", "b"),
        ("States.ArrayLength(States.Array('a', 'b'))", 2),
        ("States.ArrayUnique(States.Array(1, 2, 1, 'a', 'a'))", [1, 2, "a"]),
        ("States.Base64Encode('Data to encode')", "RGF0YSB0byBlbmNvZGU="),
        ("States.Base64Decode('RGF0YSB0byBlbmNvZGU=')", "Data to encode"),
        ("States.Base64Decode('RGF0YSB0byBlbmNvZGU')", "Data to encode"),
        ("States.Base64Decode('/w==')", "\ufffd"),
        ("States.Hash('input data', 'MD5')", "812f45842bc6d66ee14572ce20db8e86"),
        ("States.Hash('input data', 'SHA-1')", "aaff4a450a104cd177d28d18d74485e8cae074b7"),
        ("States.MathAdd(1.49, 1.5)", 3),
        ("States.MathAdd(-1.49, -1.5)", -2),
        ("States.MathAdd(-1.51, 0)", -2),
        ("States.MathAdd(0.5, 0)", 1),
        ("States.MathAdd(-0.5, 0)", 0),
        ("States.MathAdd(-1.5, -1.51)", -3),
        (
            "States.StringSplit('This.is+a,test=string', '.+,=')",
            ["This", "is", "a", "test", "string"],
        ),
        ("States.StringSplit(',,,,', ',')", []),
        ("States.StringSplit(' , ', ',')", [" ", " "]),
    ],
)
def test_function_gives(call: str, result: Json) -> None:
    """A function gives what AWS gives."""
    assert evaluated(call) == result


def test_objects_are_formatted_as_java_prints_them() -> None:
    """AWS puts objects into a text in Java's own notation."""
    data = {"o": {"Arg1": 1, "Arg2": []}, "s": '{"Arg1": 1}'}

    assert evaluated("States.Format('{} {}', $.o, $.s)", data) == '{Arg1=1, Arg2=[]} {"Arg1": 1}'


def test_merging_is_shallow_and_the_right_side_wins() -> None:
    """JsonMerge takes whole members from the right."""
    data = {"l": {"a": {"x": 1}, "b": 2}, "r": {"a": {"y": 3}}}

    assert evaluated("States.JsonMerge($.l, $.r, false)", data) == {"a": {"y": 3}, "b": 2}


def test_chance_repeats_with_the_same_seed_only() -> None:
    """The same step made again draws the same; another step draws anew."""
    call = compile_call("States.UUID()")

    assert call.evaluate(None, scope("1")) == call.evaluate(None, scope("1"))
    assert call.evaluate(None, scope("1")) != call.evaluate(None, scope("2"))
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        call.evaluate(None, scope("1")),
    )


def test_random_numbers_stay_in_range_and_follow_their_seed() -> None:
    """The lower bound is included, the upper is not; a given seed decides."""
    drawn = {
        compile_call("States.MathRandom(1, 4)").evaluate(None, scope(str(n))) for n in range(99)
    }

    assert drawn == {1, 2, 3}
    assert evaluated("States.MathRandom(0, 999, 3)") == evaluated("States.MathRandom(0, 999, 3)")


@pytest.mark.parametrize(
    "call",
    [
        "States.Format('{} {}', 'one')",
        "States.Format('{}')",
        "States.StringToJson('{')",
        "States.StringToJson(1)",
        "States.JsonMerge(1, 2, false)",
        "States.JsonMerge($, $, true)",
        "States.ArrayPartition(1, 2)",
        "States.ArrayPartition(States.Array(1), 0)",
        "States.ArrayRange(1, 2, 0)",
        "States.ArrayRange(0, 1000000000, 1)",
        "States.ArrayRange(0, 1e300, 1)",
        "States.ArrayRange(-9e18, 9e18, 1)",
        "States.MathRandom(-1e300, 1e300)",
        "States.ArrayGetItem(States.Array(1), 1)",
        "States.ArrayGetItem(States.Array(1), -1)",
        "States.Base64Decode('*')",
        "States.Hash('x', 'CRC')",
        "States.MathAdd('a', 1)",
        "States.MathAdd(true, 1)",
        "States.MathAdd(2147483647, 1)",
        "States.MathRandom(2, 2)",
        "States.Format('{}', $.missing)",
    ],
)
def test_misuse_is_an_intrinsic_failure(call: str) -> None:
    """Whatever a function cannot do has one error name, and a cause that quotes the call."""
    with pytest.raises(EvaluationFailure) as caught:
        evaluated(call, {})

    assert caught.value.error == "States.IntrinsicFailure"
    assert caught.value.message.startswith(f"The function '{call}' had the following error: ")


@pytest.mark.parametrize(
    "text",
    [
        "States.Nope()",
        "States.Format",
        "States.Format('x'",
        "States.Format('x'))",
        "States.Format('x' 'y')",
        "States.Array(",
        "States.Array(1,)",
        "States.MathAdd(1)",
        "States.UUID(1)",
        "States.Array(word)",
        "States.Array($.a[)",
        "States.Array(" * 11 + ")" * 11,
        "Other.Function()",
    ],
)
def test_what_is_no_call_is_refused(text: str) -> None:
    """A text that is no call of a known function does not compile."""
    with pytest.raises(InvalidCall):
        compile_call(text)
