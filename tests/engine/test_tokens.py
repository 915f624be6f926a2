"""Task tokens: only the newest attempt's, only once, and only ours."""

import pytest

from app.engine.tokens import TokenMint
from app.errors import InvalidOutput, InvalidToken, TaskTimedOut, ValidationException
from tests.engine.driving import Driver, only, parked


async def test_first_answer_wins(driver: Driver) -> None:
    """A second answer to a task is too late, whatever it says."""
    arn = await driver.run(only(parked()))
    await driver.succeed("first")

    with pytest.raises(TaskTimedOut) as caught:
        await driver.succeed("second")
    with pytest.raises(TaskTimedOut):
        await driver.engine.send_task_failure(driver.tokens[0], "E", "c")
    with pytest.raises(TaskTimedOut):
        await driver.engine.send_task_heartbeat(driver.tokens[0])

    assert caught.value.message == "Task Timed Out: 'Provided task does not exist anymore'"
    assert await driver.output(arn) == "first"


async def test_first_answer_wins_while_the_execution_goes_on(driver: Driver) -> None:
    """A token is dead once its task is done, even if the execution still runs."""
    await driver.run(only(parked(End=False, Next="Then"), Then=parked()))
    await driver.succeed(1)

    with pytest.raises(TaskTimedOut):
        await driver.succeed(2, driver.tokens[0])


async def test_second_token_of_a_retry_replaces_the_first(driver: Driver) -> None:
    """After a retry, only the newest attempt's token is accepted."""
    arn = await driver.run(only(parked(Retry=[{"ErrorEquals": ["Flaky"]}])))
    await driver.fail("Flaky")
    await driver.pass_time(1)

    with pytest.raises(TaskTimedOut):
        await driver.succeed("old", driver.tokens[0])
    await driver.succeed("new")

    assert len(set(driver.tokens)) == 2
    assert await driver.output(arn) == "new"


async def test_a_token_is_dead_between_attempts(driver: Driver) -> None:
    """While a retry waits for its time, nobody can answer."""
    await driver.run(only(parked(Retry=[{"ErrorEquals": ["Flaky"]}])))
    await driver.fail("Flaky")

    with pytest.raises(TaskTimedOut):
        await driver.succeed(1)


async def test_an_answer_after_the_deadline_is_too_late(driver: Driver) -> None:
    """The deadline counts, not the moment at which the engine gets round to it."""
    arn = await driver.run(only(parked(TimeoutSeconds=10)))
    driver.clock.now = driver.clock.now.replace(second=10)

    with pytest.raises(TaskTimedOut):
        await driver.engine.send_task_success(driver.tokens[0], "1")
    await driver.engine.idle()

    assert await driver.status(arn) == "FAILED"


async def test_a_token_is_dead_after_a_stop(driver: Driver) -> None:
    """An aborted execution takes no answers."""
    arn = await driver.run(only(parked()))
    await driver.engine.stop_execution(execution_arn=arn)

    with pytest.raises(TaskTimedOut):
        await driver.succeed(1)


@pytest.mark.parametrize(
    ("output", "reason"),
    [("not json", "Unrecognized token 'not'"), ("", "Unexpected end"), (" ", "Unexpected end")],
)
async def test_output_that_is_not_json_leaves_the_task_open(
    driver: Driver, output: str, reason: str
) -> None:
    """A refused output costs nothing: the task can still be completed."""
    arn = await driver.run(only(parked()))

    with pytest.raises(InvalidOutput) as caught:
        await driver.engine.send_task_success(driver.tokens[0], output)
    await driver.succeed({"fine": True})

    assert caught.value.message.startswith(f"Invalid Output: '{reason}")
    assert await driver.output(arn) == {"fine": True}


async def test_output_beyond_the_limit_is_refused(driver: Driver) -> None:
    """The limit is in bytes of UTF-8."""
    arn = await driver.run(only(parked()))

    with pytest.raises(ValidationException):
        await driver.engine.send_task_success(driver.tokens[0], '"' + "é" * 131_072 + '"')
    await driver.engine.send_task_success(driver.tokens[0], '"' + "é" * 131_071 + '"')
    await driver.engine.idle()

    assert await driver.status(arn) == "SUCCEEDED"


@pytest.mark.parametrize("text", ["null", '"text"', "1", "[]", "false"])
async def test_any_json_is_an_output(driver: Driver, text: str) -> None:
    """A result need not be an object; it is kept as it was sent."""
    arn = await driver.run(only(parked()))

    await driver.engine.send_task_success(driver.tokens[0], text)
    await driver.engine.idle()

    assert (await driver.describe(arn))["output"] == text


MINT = TokenMint(b"k" * 32)
TOKEN = MINT.mint(7, 1, 3)


def test_a_token_opens_to_what_it_names() -> None:
    """The same attempt always has the same token."""
    opened = MINT.open(TOKEN)

    assert (opened.execution_id, opened.frame, opened.attempt) == (7, 1, 3)
    assert MINT.mint(7, 1, 3) == TOKEN


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "garbage" * 10,
        TOKEN[:-1],
        TOKEN + "=",
        TOKEN + "A",
        " " + TOKEN,
        TOKEN + "\n",
        TOKEN.replace("A", "B", 1),
        TOKEN[:-2] + chr(ord(TOKEN[-2]) + 1) + TOKEN[-1],
        "é" * 56,
        "\ud800" * 56,
        "A" * 5_000,
        TokenMint(b"other" * 7).mint(7, 1, 3),
    ],
)
def test_what_is_not_exactly_our_token_is_invalid(token: str) -> None:
    """No changed, cut, padded or foreign token is taken."""
    with pytest.raises(InvalidToken) as caught:
        MINT.open(token)

    assert caught.value.message == "Invalid Token: 'Invalid token'"
