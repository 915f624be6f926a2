"""Definitions that want more than anyone has: they end, in AWS's words, and others go on."""

import asyncio
import threading
from collections.abc import Iterator, Mapping

import pytest

from app.engine.expressions import costly
from app.engine.expressions.costly import Costly
from app.engine.expressions.paths import _SEARCHES
from app.engine.expressions.queries import _QUERIES
from app.strict_json import Json
from tests.engine.driving import NOON, Driver, only
from tests.processes import PATIENCE_S

ECHO = "arn:aws:lambda:us-east-1:123456789012:function:echo"
PASS: dict[str, Json] = {"Type": "Pass", "End": True}
DATA: Json = {"word": "a" * 60, "list": list(range(400)), "tree": [[[[{}] * 12] * 12] * 12] * 12}
ALL = "$states.input.list"

COSTLY: Mapping[str, dict[str, Json]] = {
    "recursion without end": {
        "QueryLanguage": "JSONata",
        "Output": "{% ($f := function($n) { $f($n + 1) }; $f(0)) %}",
    },
    "a pattern that backtracks": {
        "QueryLanguage": "JSONata",
        "Output": "{% $contains($states.input.word, /(a|aa)+b/) %}",
    },
    "filters within filters": {
        "QueryLanguage": "JSONata",
        "Output": "{% " + f"{ALL}[$count({ALL}[$count({ALL}[$ > -1]) > 0]) > 0]" + " %}",
    },
    "a path with a pattern": {"Parameters": {"x.$": "$[?(@.word =~ /(a|aa)+b/)]"}},
    "searches within searches": {"Parameters": {"x.$": "$..*..*..*..*"}},
}


async def start(driver: Driver, definition: Json, given: Json, name: str) -> str:
    """Start an execution and wait for nothing; its ARN."""
    arn = await driver.machine(definition, name)
    started = await driver.call("StartExecution", stateMachineArn=arn, input=_text(given))
    return str(started["executionArn"])


def _text(value: Json) -> str:
    return str(value).replace("'", '"')


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What is worked out beside the loop takes at least until this is set; nothing is known yet."""
    go_on, work_out = threading.Event(), Costly.work_out
    for questions in (_QUERIES, _SEARCHES):
        monkeypatch.setattr(questions, "_answers", {})

    def later(questions: Costly, asked: bytes) -> None:
        go_on.wait(PATIENCE_S)
        work_out(questions, asked)

    monkeypatch.setattr(Costly, "work_out", later)
    yield go_on
    go_on.set()


@pytest.mark.parametrize("kind", list(COSTLY))
async def test_a_costly_expression_holds_up_nobody(
    driver: Driver, go_on: threading.Event, kind: str
) -> None:
    """Others are served while it is evaluated; then it fails, and only its own execution."""
    hostile = await start(driver, only(PASS | COSTLY[kind]), DATA, "hostile")
    await asyncio.sleep(0)

    innocent = await start(driver, only(PASS), {}, "innocent")

    assert await driver.status(innocent) == "SUCCEEDED"
    assert await driver.status(hostile) == "RUNNING"
    go_on.set()
    await driver.engine.idle()
    described = await driver.describe(hostile)
    assert described["error"] in ("States.Runtime", "States.QueryEvaluationError")


async def test_a_costly_condition_in_a_loop_is_asked_each_time(driver: Driver) -> None:
    """Between costly states others are entered; the history is one, and dense."""
    asked = "$sum([1..9]) > $states.input"
    _QUERIES.note_slow(asked)
    states = {
        "First": {"Type": "Pass", "Result": 1, "Next": "Again"},
        "Again": {"Type": "Pass", "Next": "Ask"},
        "Ask": {
            "Type": "Choice",
            "QueryLanguage": "JSONata",
            "Choices": [{"Condition": "{% " + asked + " %}", "Next": "Last"}],
        },
        "Last": PASS,
    }

    arn = await driver.run({"StartAt": "First", "States": states})

    assert await driver.status(arn) == "SUCCEEDED"
    assert [event["id"] for event in await driver.events(arn)] == list(range(1, 11))


async def test_more_costly_expressions_than_answers_are_kept_end_the_state(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked last is given up, instead of asking all of them again for ever."""
    monkeypatch.setattr(costly, "KEPT_ANSWERS", 4)
    monkeypatch.setattr(costly, "MOST_WAITED", 2)
    asked = [f"$sum([1..{n}])" for n in range(8)]
    for text in asked:
        _QUERIES.note_slow(text)
    output = {text: "{% " + text + " %}" for text in asked}

    arn = await driver.run(only(PASS | {"QueryLanguage": "JSONata", "Output": output}))

    described = await driver.describe(arn)
    assert described["error"] == "States.QueryEvaluationError"
    assert described["cause"].endswith("D1012: Expression evaluation timeout: 1.0 s")


async def test_an_endless_loop_ends_with_its_history(driver: Driver) -> None:
    """25,000 events are the end; the others' turn comes between the slices."""
    loop = await start(driver, only({"Type": "Pass", "Next": "First"}), {}, "loop")
    innocent = await start(driver, only(PASS), {}, "innocent")

    assert await driver.status(innocent) == "SUCCEEDED"
    await driver.engine.idle()
    described = await driver.describe(loop)
    assert (described["error"], described["cause"]) == (
        "States.Runtime",
        "The execution reached the maximum number of history events (25000).",
    )


@pytest.mark.parametrize(
    "doubling",
    [
        {"Parameters": {"a.$": "$", "b.$": "$"}},
        {"Parameters": {"a.$": "States.Format('{}{}', $.a, $.a)"}},
        {"Parameters": {"a.$": "States.Array($.a, $.a)"}},
        {"QueryLanguage": "JSONata", "Output": "{% {'a': [$states.input, $states.input]} %}"},
        {"Assign": {"x.$": "States.Array($, $)"}, "Parameters": {"a.$": "States.Array($.a, $.a)"}},
    ],
)
async def test_data_that_double_reach_the_limit(
    driver: Driver, doubling: Mapping[str, Json]
) -> None:
    """What outgrows 256 KiB fails, long before it is large."""
    arn = await driver.run(only({"Type": "Pass", "Next": "First", **doubling}), {"a": "x"})

    assert (await driver.describe(arn))["error"] == "States.DataLimitExceeded"


@pytest.mark.parametrize(
    "state",
    [
        PASS,
        {"Type": "Task", "Resource": ECHO, "End": True},
        {"Type": "Parallel", "Branches": [{"StartAt": "P", "States": {"P": PASS}}], "End": True},
    ],
)
async def test_data_that_get_too_deep_fail(driver: Driver, state: dict[str, Json]) -> None:
    """A deep value in a deep template: the cause says so, and where."""
    deep: Json = [1]
    template: Json = {"x.$": "$"}
    for _ in range(150):
        deep, template = [deep], {"a": template}

    arn = await driver.run(only(state | {"Parameters": template}), deep)

    described = await driver.describe(arn)
    assert (described["error"], described["cause"]) == (
        "States.Runtime",
        "An error occurred while executing the state 'First' (entered at the event id #2). "
        "The data is nested too deeply or holds a number that is too large.",
    )


async def test_a_fan_out_of_fan_outs_ends_with_its_history(driver: Driver) -> None:
    """A Map of Maps: all their iterations are no more than the events they may have."""
    inner: dict[str, Json] = {
        "Type": "Map",
        "ItemsPath": "$$.Execution.Input",
        "ItemProcessor": {"StartAt": "P", "States": {"P": PASS}},
        "End": True,
    }
    outer = inner | {"ItemProcessor": {"StartAt": "M", "States": {"M": inner}}}

    arn = await driver.run(only(outer), list(range(200)))

    assert (await driver.describe(arn))["error"] == "States.Runtime"
    assert len(await driver.events(arn)) == 25_000


@pytest.mark.parametrize(
    "wait", [{"Seconds": 99_999_999}, {"Timestamp": f"{NOON.year + 60}-01-01T00:00:00Z"}]
)
async def test_an_absurd_wait_costs_nothing(driver: Driver, wait: Mapping[str, Json]) -> None:
    """It waits as a row, and not beyond the year that an execution may take."""
    arn = await driver.run(only({"Type": "Wait", "End": True, **wait}))

    assert await driver.status(arn) == "RUNNING"
    await driver.pass_time(366 * 86_400)
    assert await driver.status(arn) == "TIMED_OUT"
