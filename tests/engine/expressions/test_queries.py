"""JSONata expressions: what they see, what they give, how they fail, what they may cost."""

import signal
import subprocess
import sys
import time

import orjson
import pytest

from app.engine.expressions.queries import Query, compile_query, compile_query_template, is_query
from app.engine.expressions.templates import Constant, InvalidTemplate
from app.engine.failures import QueryFailure
from app.engine.language.flow import Scope
from app.strict_json import Json
from tests.processes import PATIENCE_S

VARIABLES: dict[str, Json] = {"v": 7, "none": None, "rows": [{"n": n} for n in range(3_000)]}
CONTEXT: Json = {"State": {"Name": "First"}}
STATES: Json = {"input": {"a": [1, 2, 3], "n": None}, "result": {"ok": True}}


def scope() -> Scope:
    """What the expressions here see."""
    return Scope(0, "seed", lambda: CONTEXT, lambda: VARIABLES)


def query(text: str) -> Query:
    """A compiled expression."""
    return compile_query("{% " + text + " %}", "Output", "/States/First/Output")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$states.input.a", [1, 2, 3]),
        ("$states.input.n", None),
        ("$states.result.ok", True),
        ("$states.context.State.Name", "First"),
        ("$states", {"input": {"a": [1, 2, 3], "n": None}, "result": {"ok": True}}),
        ("$v + 1", 8),
        ("$none", None),
        ("$sum($states.input.a) / 4", 1.5),
        ("$sum($states.input.a) / 3", 2),
        ("[$states.input.a[$ > 2]]", [3]),
        ("$states.input.a[$ > 2]", 3),
        ("{'x': $v, 'y': [$v]}", {"x": 7, "y": [7]}),
        ("$map($states.input.a, function($x) { $x * $v })", [7, 14, 21]),
        ("($x := 2; $x * $v)", 14),
        ("$range(1, 9, 9)", 1),
        ("[$range(3, 1, -1)]", [3, 2, 1]),
        ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
        ("$hash('input data', 'MD5')", "812f45842bc6d66ee14572ce20db8e86"),
        ("$parse('{\"a\": [null]}')", {"a": [None]}),
        ("$random(5) = $random(5)", True),
        ("$length($uuid())", 36),
        ("2 * 9007199254740993 > 0 and 1e3 = 1000", True),
    ],
)
def test_an_expression_gives(text: str, value: Json) -> None:
    """Its value as JSON, numbers as JavaScript prints them."""
    found = query(text).evaluate(STATES, scope())

    if text == "$states":
        assert isinstance(value, dict)
        value = value | {"context": CONTEXT}
    assert found == value
    assert type(found) is type(value)


FAILURES = [
    ("$nothing", "returned nothing (undefined)."),
    ("$states.input.b", "returned nothing (undefined)."),
    ("$nope(1)", "threw an error during evaluation. T1006: Attempted to invoke a non-function"),
    (
        "sum(1)",
        "threw an error during evaluation. T1005: Attempted to invoke a non-function. "
        "Did you mean $sum?",
    ),
    ("$eval('1')", "threw an error during evaluation. T1006: Attempted to invoke a non-function"),
    ("1 / 0", "threw an error during evaluation. D1001: Number out of range: null"),
    (
        "$match('ab', 'a.')",
        'threw an error during evaluation. T0410: Argument 2 of function "match" does not match '
        "function signature",
    ),
    ("1e308 * 10", "threw an error during evaluation. D1001: Number out of range: null"),
]


@pytest.mark.parametrize(("text", "why"), FAILURES)
def test_an_expression_fails_in_aws_words(text: str, why: str) -> None:
    """The cause names the expression, its field and what went wrong."""
    with pytest.raises(QueryFailure) as caught:
        query(text).evaluate(STATES, scope())

    assert caught.value.cause == (
        f"The JSONata expression '{text}' specified for the field 'Output' {why}"
    )
    assert (caught.value.error, caught.value.location) == ("States.QueryEvaluationError", "Output")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$hash('a')", 'T0410: Argument 2 of function "hash" does not match function signature'),
        (
            "$hash('a', 'x')",
            'T0410: Argument 2 of function "hash" does not match function signature',
        ),
        (
            "$range(1, 5, 0)",
            'T0410: Argument 3 of function "range" does not match function signature',
        ),
        (
            "$partition([1], 0.5)",
            'T0410: Argument 2 of function "partition" does not match function signature',
        ),
        ("$uuid(1)", 'T0410: Argument 1 of function "uuid" does not match function signature'),
        ("$parse(1)", 'T0410: Argument 1 of function "parse" does not match function signature'),
        (
            "$length(null)",
            'T0410: Argument 1 of function "length" does not match function signature',
        ),
        (
            "$substring('a', 'b')",
            'T0410: Argument 2 of function "substring" does not match function signature',
        ),
        ("$sum('a')", 'T0412: Argument 1 of function "sum" must be an array of "numbers"'),
        ("$number('nan')", 'D3030: Unable to cast value to a number: "nan"'),
        ("$number('1_000')", 'D3030: Unable to cast value to a number: "1_000"'),
        (
            "$toMillis('soon')",
            "D3110: The argument of the toMillis function must be an ISO 8601 formatted timestamp. "
            'Given "soon"',
        ),
        ("-'a'", 'D1002: Cannot negate a non-numeric value: "a"'),
        (
            "$replace('a', '', 'b')",
            "D3010: Second argument of replace function cannot be an empty string",
        ),
    ],
)
def test_a_function_refuses_arguments_in_jsonata_words(text: str, why: str) -> None:
    """Code and text are those of JSONata, with the function and the argument that does not fit."""
    with pytest.raises(QueryFailure) as caught:
        query(text).evaluate(STATES, scope())

    assert str(caught.value.cause).endswith(f" threw an error during evaluation. {why}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$number('0x1F') + $number('0b11') + $number('0o17')", 49),
        ("$number('-1.50e1')", -15),
        ("$number(true)", 1),
        ("$count(null)", 1),
        ("$partition('a', 1)", [["a"]]),
        ("$map(['1', '2'], $number)", [1, 2]),
        ("$exists($range(1, $nothing, 1))", False),
        ("$exists($hash($nothing, 'MD5')) or $exists($parse($nothing))", False),
        ("$toMillis('2020-01-01T00:00:00.000+0100')", 1_577_833_200_000),
    ],
)
def test_a_function_takes_what_jsonata_takes(text: str, value: Json) -> None:
    """Nothing makes nothing, one value stands for an array, and null is a value."""
    assert query(text).evaluate(STATES, scope()) == value


DOUBLED = "".join(f"$v{n} := $v{n - 1} & $v{n - 1};" for n in range(1, 40))
SHARED = "".join(f"$v{n} := [[$v{n - 1}], [$v{n - 1}]];" for n in range(1, 40))


@pytest.mark.parametrize(
    "text",
    [
        "($f := function($n) { $f($n + 1) }; $f(1))",
        "($f := function($n) { 1 + $f($n + 1) }; $f(1))",
        "$match('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!', /(a+)+$/)",
        "$power(99999999, 99999999)",
        "$pad('x', 2000000000)",
        f"($v0 := 'xxxxxxxx'; {DOUBLED} $v39)",
        f"($v0 := [1]; {SHARED} $v39)",
        "[1..10000000]",
        "$count($rows[n in $rows.n])",
        "$partition([1], 0)",
        "$range(1, 100000, 1)",
        "$sum",
    ],
)
def test_a_hostile_expression_ends(text: str) -> None:
    """Endless loops, deep recursion, exploding texts and patterns: an error, and soon.

    Of the time, what passes in this process counts; the other one is killed after a second.
    """
    expression = query(text)
    query("$map([1], function($x) { $x })").evaluate(STATES, scope())  # the process is up
    began = time.process_time()

    with pytest.raises(QueryFailure):
        expression.evaluate(STATES, scope())

    assert time.process_time() - began < 1


def test_after_a_hostile_expression_the_next_is_served() -> None:
    """The process that was killed is replaced."""
    with pytest.raises(QueryFailure):
        query("$match('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!', /(a+)+$/)").evaluate(STATES, scope())

    assert query("$map([1, 2], function($x) { $x + 1 })").evaluate(STATES, scope()) == [2, 3]


@pytest.mark.parametrize(
    ("text", "cheap"),
    [
        ("$states.input.a[0] = 'x' ? $v : {'n': -1}", True),
        ("$sum($states.input.a) & ''", True),
        ("[1..3]", False),
        ("$a.**", False),
        ("($x := 1)", False),
        ("$replace('a', /a/, 'b')", False),
        ("$map($v, $string)", False),
    ],
)
def test_only_what_cannot_explode_is_cheap(text: str, cheap: bool) -> None:
    """Paths, operators and linear functions are evaluated in place; the rest elsewhere."""
    assert query(text).cheap is cheap


def test_variables_are_those_that_are_read() -> None:
    """Functions, bound names and parameters are no variables."""
    found = query("($x := $a; $map($b, function($i) { $i + $x + $sum($states.input) }))")

    assert found.variables == ("a", "b")


@pytest.mark.parametrize("text", ["{% %}", "{% 1 + %}", "{% (((( %}", "{%" + "1+" * 9_000 + "1%}"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    """Broken, empty and enormous expressions are found with the definition."""
    with pytest.raises(InvalidTemplate):
        compile_query(text, "Output", "/States/First/Output")


def test_only_whole_texts_are_expressions() -> None:
    """Blanks before the delimiter, paths and intrinsic functions are literals."""
    literals: Json = [" {% 1 %} ", "$.a", "States.UUID()", {"a.$": "$.a"}, None]

    assert compile_query_template(literals, "Output", "") == Constant(literals)
    assert is_query("{%1%}")


@pytest.mark.parametrize(
    ("value", "types", "wanted", "shown"),
    [
        (1, (list,), "array", "'array', but was 'number' for value: 1"),
        ({"a": 1}, (list,), "array", "'array', but was 'object' for value: {\"a\":1}"),
        (True, (int,), "integer", "'integer', but was 'boolean' for value: true"),
        ("x", (bool,), "boolean", "'boolean', but was 'string' for value: \"x\""),
    ],
)
def test_a_wrong_type_is_named(
    value: Json, types: tuple[type, ...], wanted: str, shown: str
) -> None:
    """The cause says what was expected and what came."""
    with pytest.raises(QueryFailure) as caught:
        query("$v").expect(value, types, wanted)

    assert str(caught.value.cause).endswith(f"unexpected result type. Expected {shown}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no alarm")
def test_an_orphan_ends_by_itself() -> None:
    """A process whose parent is gone does not go on with an endless pattern."""
    request = orjson.dumps(
        ["$match('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!', /(a+)+$/)", {}, 0, 0.1]
    )
    command = [sys.executable, "-m", "app.engine.expressions.jsonata_worker"]

    done = subprocess.run(
        command, input=request + b"\n", capture_output=True, timeout=PATIENCE_S, check=False
    )

    assert done.returncode == -signal.SIGALRM
