"""State machines: created once, changed for those to come, gone when nothing runs."""

import asyncio
import json

import pytest

from app.engine.state_machines import machines
from app.errors import (
    InvalidArn,
    InvalidDefinition,
    InvalidLoggingConfiguration,
    InvalidName,
    MissingRequiredParameter,
    SerializationException,
    StateMachineAlreadyExists,
    StateMachineDeleting,
    StateMachineDoesNotExist,
    StateMachineLimitExceeded,
    TaskTimedOut,
    ValidationException,
)
from app.strict_json import Json
from tests.engine.driving import ROLE, Driver, only, parked

ONE: Json = only({"Type": "Pass", "Result": 1, "End": True})
TWO: Json = only({"Type": "Pass", "Result": 2, "End": True})
ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:machine"


async def test_creating_the_same_machine_again_answers_as_before(driver: Driver) -> None:
    """Repeating a creation is harmless; role and tags are not compared."""
    text = json.dumps(ONE)
    first = await driver.engine.create_state_machine(name="m", definition=text, role_arn=ROLE)
    await driver.pass_time(60)

    again = await driver.engine.create_state_machine(
        name="m", definition=text, role_arn=ROLE + "2", tags=[{"key": "a", "value": "b"}]
    )

    assert again == first


async def test_creating_another_machine_of_the_same_name_is_refused(driver: Driver) -> None:
    """Definitions are compared as texts: other white space is another definition."""
    await driver.machine(ONE)

    with pytest.raises(StateMachineAlreadyExists) as caught:
        await driver.engine.create_state_machine(
            name="machine", definition=json.dumps(ONE, indent=2), role_arn=ROLE
        )

    assert caught.value.message == f"State Machine Already Exists: '{ARN}'"


async def test_a_machine_is_described_as_aws_does(driver: Driver) -> None:
    """Defaults are shown; the first revision has no id."""
    arn = await driver.machine(ONE)

    described = await driver.engine.describe_state_machine(state_machine_arn=arn)

    assert described == {
        "stateMachineArn": ARN,
        "name": "machine",
        "status": "ACTIVE",
        "type": "STANDARD",
        "definition": json.dumps(ONE, separators=(",", ":")),
        "roleArn": ROLE,
        "creationDate": driver.clock.now.timestamp(),
        "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
        "tracingConfiguration": {"enabled": False},
        "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    }
    brief = await driver.engine.describe_state_machine(
        state_machine_arn=arn, included_data="METADATA_ONLY"
    )
    assert brief == described | {"definition": "{}"}


async def test_an_update_is_for_executions_to_come(driver: Driver) -> None:
    """A running execution ends with the definition it started with."""
    waiting = only(
        {"Type": "Wait", "Seconds": 5, "Next": "End"},
        End={"Type": "Pass", "Result": "old", "End": True},
    )
    old = await driver.run(waiting)

    updated = await driver.engine.update_state_machine(
        state_machine_arn=ARN, definition=json.dumps(TWO)
    )
    new = await driver.engine.start_execution(state_machine_arn=ARN)
    await driver.pass_time(5)

    assert set(updated) == {"updateDate", "revisionId"}
    assert await driver.output(old) == "old"
    assert await driver.output(new["executionArn"]) == 2
    of_old = await driver.engine.describe_state_machine_for_execution(execution_arn=old)
    of_new = await driver.engine.describe_state_machine_for_execution(
        execution_arn=new["executionArn"]
    )
    assert json.loads(of_old["definition"]) == waiting
    assert json.loads(of_new["definition"]) == TWO
    assert of_new["revisionId"] == updated["revisionId"]
    assert "status" not in of_new


async def test_an_update_without_change_keeps_the_revision(driver: Driver) -> None:
    """Unchanged parameters make no revision."""
    await driver.machine(ONE)
    changed = await driver.engine.update_state_machine(state_machine_arn=ARN, role_arn=ROLE + "2")

    same = await driver.engine.update_state_machine(
        state_machine_arn=ARN,
        role_arn=ROLE + "2",
        definition=json.dumps(ONE, separators=(",", ":")),
    )

    assert same["revisionId"] == changed["revisionId"]


async def test_an_update_of_nothing_is_refused(driver: Driver) -> None:
    """Something must change."""
    await driver.machine(ONE)

    with pytest.raises(MissingRequiredParameter) as caught:
        await driver.engine.update_state_machine(state_machine_arn=ARN)

    assert caught.value.message == (
        "Either the definition, the role ARN, the LoggingConfiguration, "
        "or the TracingConfiguration must be specified"
    )


async def test_the_owned_key_is_a_change_by_itself(driver: Driver) -> None:
    """It is what encrypts anyway, so the revision stays; that it is named is enough for AWS."""
    await driver.machine(ONE)

    changed = await driver.call(
        "UpdateStateMachine",
        stateMachineArn=ARN,
        encryptionConfiguration={"type": "AWS_OWNED_KEY"},
    )

    assert set(changed) == {"updateDate"}


@pytest.mark.parametrize(
    "operation", ["DeleteStateMachine", "DescribeStateMachine", "UpdateStateMachine"]
)
async def test_a_labelled_machine_is_neither_shown_nor_changed(
    driver: Driver, operation: str
) -> None:
    """It is a Map of another machine; AWS names the reason."""
    given = {"definition": json.dumps(ONE)} if operation == "UpdateStateMachine" else {}

    with pytest.raises(ValidationException) as caught:
        await driver.call(operation, stateMachineArn=f"{ARN}/label", **given)

    assert caught.value.reason == "API_DOES_NOT_SUPPORT_LABELED_ARNS"


async def test_a_machine_at_rest_is_deleted_at_once(driver: Driver) -> None:
    """Nothing runs, so nothing waits; deleting again is no error, and the name is free."""
    done = await driver.run(ONE)

    assert await driver.engine.delete_state_machine(state_machine_arn=ARN) == {}
    assert await driver.engine.delete_state_machine(state_machine_arn=ARN) == {}

    with pytest.raises(StateMachineDoesNotExist) as caught:
        await driver.engine.describe_state_machine(state_machine_arn=ARN)
    assert caught.value.message == f"State Machine Does Not Exist: '{ARN}'"
    with pytest.raises(StateMachineDoesNotExist):
        await driver.engine.start_execution(state_machine_arn=ARN)
    assert await driver.output(done) == 1
    assert await driver.machine(TWO) == ARN


async def test_a_machine_that_runs_is_deleting(driver: Driver) -> None:
    """Its executions end at their next transition; then it is gone, even after a restart."""
    arn = await driver.run(only(parked(End=False, Next="Then"), Then=parked()))
    await driver.engine.delete_state_machine(state_machine_arn=ARN)

    described = await driver.engine.describe_state_machine(state_machine_arn=ARN)
    assert described["status"] == "DELETING"
    with pytest.raises(StateMachineDeleting):
        await driver.engine.start_execution(state_machine_arn=ARN)
    with pytest.raises(StateMachineDeleting):
        await driver.engine.update_state_machine(state_machine_arn=ARN, role_arn=ROLE)
    await driver.restart()
    await driver.succeed(1)

    assert await driver.status(arn) == "ABORTED"
    with pytest.raises(StateMachineDoesNotExist):
        await driver.engine.describe_state_machine(state_machine_arn=ARN)
    with pytest.raises(TaskTimedOut):
        await driver.succeed(2)


async def test_a_machine_whose_last_execution_ends_meanwhile_is_deleted(driver: Driver) -> None:
    """Both are written in one transaction: nothing is left to wait for."""
    arn = await driver.run(only(parked()))

    await asyncio.gather(
        driver.engine.delete_state_machine(state_machine_arn=ARN),
        driver.engine.send_task_success(driver.tokens[-1], "1"),
    )

    assert await driver.status(arn) == "SUCCEEDED"
    with pytest.raises(StateMachineDoesNotExist):
        await driver.engine.describe_state_machine(state_machine_arn=ARN)


async def test_a_name_is_as_good_as_new_after_a_deletion(driver: Driver) -> None:
    """A machine made again under its old name runs its executions to their end."""
    await driver.run(only(parked()))
    await driver.engine.delete_state_machine(state_machine_arn=ARN)
    await driver.succeed(1)

    arn = await driver.run(only(parked()))
    await driver.succeed(2)

    assert await driver.output(arn) == 2


async def test_machines_are_listed_page_by_page(driver: Driver) -> None:
    """Every machine once, the deleted ones not at all."""
    for name in ("c", "a", "d", "b", "gone"):
        await driver.machine(ONE, name)
    await driver.engine.delete_state_machine(state_machine_arn=ARN.replace(":machine", ":gone"))

    first = await driver.engine.list_state_machines(max_results=3)
    second = await driver.engine.list_state_machines(max_results=3, next_token=first["nextToken"])

    assert [m["name"] for m in first["stateMachines"]] == ["a", "b", "c"]
    assert [m["name"] for m in second["stateMachines"]] == ["d"]
    assert "nextToken" not in second


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 81,
        "a b",
        "a:b",
        "a/b",
        "a?b",
        'a"b',
        "a\u0085b",
        "a\x00b",
        "a<b",
        "{a}",
        "a\ud800",
    ],
)
async def test_names_with_forbidden_characters_are_refused(driver: Driver, name: str) -> None:
    """AWS's list of forbidden characters, and 80 of the others."""
    with pytest.raises(InvalidName):
        await driver.engine.create_state_machine(
            name=name, definition=json.dumps(ONE), role_arn=ROLE
        )


async def test_odd_but_allowed_names_are_taken(driver: Driver) -> None:
    """Dots, exclamation marks and letters of any language are names."""
    for name in ("a.b", "état", "a!b", "x" * 80, "(a)+=@'"):
        arn = await driver.machine(ONE, name)
        assert (await driver.engine.describe_state_machine(state_machine_arn=arn))["name"] == name


async def test_what_is_not_available_is_refused_not_ignored(driver: Driver) -> None:
    """Log destinations would be silent promises."""
    text = json.dumps(ONE)
    create = driver.engine.create_state_machine

    with pytest.raises(InvalidLoggingConfiguration):
        await create(
            name="m", definition=text, role_arn=ROLE, logging_configuration={"level": "ALL"}
        )


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("no-arn", "Invalid Arn: 'Invalid ARN prefix: no-arn'"),
        (
            ARN.replace("stateMachine", "execution") + ":e",
            "Invalid Arn: 'Resource type not valid in this context: execution'",
        ),
        (
            ARN.replace("stateMachine", "express"),
            "Invalid Arn: 'Resource type not valid in this context: express'",
        ),
    ],
)
async def test_arns_of_other_things_are_refused(driver: Driver, arn: str, message: str) -> None:
    """What is no state machine's ARN is told apart from a machine that is not there."""
    with pytest.raises(InvalidArn) as caught:
        await driver.engine.describe_state_machine(state_machine_arn=arn)

    assert caught.value.message == message


@pytest.mark.parametrize(
    "arn", [ARN, ARN.replace("us-east-1", "eu-west-1"), ARN.replace("1234", "9999"), ARN + ":1"]
)
async def test_machines_elsewhere_do_not_exist(driver: Driver, arn: str) -> None:
    """Another region, account or version names nothing here."""
    with pytest.raises(StateMachineDoesNotExist):
        await driver.engine.start_execution(state_machine_arn=arn)


async def test_a_faulty_definition_is_refused_with_its_faults(driver: Driver) -> None:
    """CreateStateMachine names every fault; nothing is stored."""
    with pytest.raises(InvalidDefinition) as caught:
        await driver.machine({"StartAt": "A", "Nope": 1})

    assert caught.value.message == (
        "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: The field 'Nope' is not "
        "supported by Step Functions at /Nope, "
        "SCHEMA_VALIDATION_FAILED: These fields are required: [States] at /'"
    )
    assert (await driver.engine.list_state_machines())["stateMachines"] == []


async def test_what_is_hardly_meant_is_a_warning_for_who_asks(driver: Driver) -> None:
    """Paths where nothing reads them; the definition is fine, and no warning is told unasked."""
    rules: Json = [
        {"Not": {"Variable": "$.a", "StringEquals": "$.b"}, "Next": "Fixed"},
        {"And": [{"Variable": "$.a", "StringMatches": "$$.c"}], "Next": "Bad"},
    ]
    queried: Json = {"StartAt": "Q", "States": {"Q": {"Type": "Succeed", "Output": "$.x"}}}
    queried["States"]["Q"]["QueryLanguage"] = "JSONata"
    branch: Json = {
        "StartAt": "In",
        "States": {"In": {"Type": "Pass", "Parameters": [{"id": "States.UUID()"}], "End": True}},
    }
    states: Json = {
        "Choose": {"Type": "Choice", "Choices": rules},
        "Fixed": {"Type": "Pass", "Result": {"a.$": ["$.x"]}, "Assign": {"v": "$5"}, "Next": "All"},
        "All": {"Type": "Parallel", "Branches": [branch, queried], "End": True},
        "Bad": {"Type": "Fail", "Error": "$.error", "Cause": "States.Nope()"},
    }
    text = json.dumps({"StartAt": "Choose", "States": states})

    unasked = await driver.call("ValidateStateMachineDefinition", definition=text)
    asked = await driver.call("ValidateStateMachineDefinition", definition=text, severity="WARNING")

    assert unasked == {"result": "OK", "diagnostics": [], "truncated": False}
    assert asked["result"] == "OK"
    assert {one["severity"] for one in asked["diagnostics"]} == {"WARNING"}
    assert [(one["code"], one["location"]) for one in asked["diagnostics"]] == [
        ("NO_PATH", "/States/Choose/Choices[0]/Not/StringEquals"),
        ("NO_PATH", "/States/Choose/Choices[1]/And[0]/StringMatches"),
        ("PASS_RESULT_IS_STATIC", "/States/Fixed/Result"),
        ("NO_DOLLAR", "/States/All/Branches[0]/States/In/Parameters[0]/id"),
        ("NO_PATH", "/States/Bad/Error"),
    ]


async def test_a_definition_is_validated_without_being_stored(driver: Driver) -> None:
    """ValidateStateMachineDefinition answers with diagnostics, at most as many as asked."""
    states = {f"S{n}": {"Type": "Succeed"} for n in range(6)}
    text = json.dumps({"StartAt": "S0", "States": states})

    fine = await driver.call("ValidateStateMachineDefinition", definition=json.dumps(ONE))
    bad = await driver.call("ValidateStateMachineDefinition", definition=text, maxResults=2)

    empty = await driver.call("ValidateStateMachineDefinition", definition="")

    assert fine == {"result": "OK", "diagnostics": [], "truncated": False}
    assert empty["diagnostics"][0]["message"] == "Definition must be a valid JSON object"
    assert bad == {
        "result": "FAIL",
        "diagnostics": [
            {
                "severity": "ERROR",
                "code": "MISSING_TRANSITION_TARGET",
                "message": f'State "S{n}" is not reachable.',
                "location": f"/States/S{n}",
            }
            for n in (1, 2)
        ],
        "truncated": True,
    }


@pytest.mark.parametrize(
    ("destinations", "message"),
    [
        ([], "Invalid Logging Configuration: Must specify exactly one Log Destination."),
        ([{}, {}], "Invalid Logging Configuration: Must specify exactly one Log Destination."),
        (
            [{"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:us-east-1:1:log-group:g:*"}}],
            "Invalid Logging Configuration: Log Destination not found.",
        ),
    ],
)
async def test_logs_need_one_destination_that_exists(
    driver: Driver, destinations: Json, message: str
) -> None:
    """In AWS's words."""
    logs = {"level": "ALL", "destinations": destinations}

    with pytest.raises(InvalidLoggingConfiguration) as caught:
        await driver.call(
            "CreateStateMachine",
            name="m",
            definition=json.dumps(ONE),
            roleArn=ROLE,
            loggingConfiguration=logs,
        )

    assert caught.value.message == message


async def test_what_a_structure_does_not_have_is_left_out(driver: Driver) -> None:
    """Unknown members and nulls, however deep."""
    group: Json = {"cloudWatchLogsLogGroup": {"logGroupArn": "arn", "new": 1}, "other": None}
    logs: Json = {"level": None, "destinations": [group], "new": {}}
    definition = json.dumps(ONE)

    await driver.call(
        "CreateStateMachine",
        name="machine",
        definition=definition,
        roleArn=ROLE,
        loggingConfiguration=logs,
    )

    described = await driver.call("DescribeStateMachine", stateMachineArn=ARN)
    assert described["loggingConfiguration"] == {
        "level": "OFF",
        "includeExecutionData": False,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": "arn"}}],
    }


async def test_no_level_has_two_log_destinations(driver: Driver) -> None:
    """Not even the one that logs nothing."""
    with pytest.raises(InvalidLoggingConfiguration):
        await driver.call(
            "CreateStateMachine",
            name="m",
            definition=json.dumps(ONE),
            roleArn=ROLE,
            loggingConfiguration={"level": "OFF", "destinations": [{}, {}]},
        )


async def test_a_configuration_is_checked_member_by_member(driver: Driver) -> None:
    """A wrong value is named by its path, a wrong type refused."""
    given: Json = {"name": "m", "definition": json.dumps(ONE), "roleArn": ROLE}

    with pytest.raises(ValidationException) as caught:
        await driver.call("CreateStateMachine", **given, loggingConfiguration={"level": "SOME"})
    with pytest.raises(SerializationException):
        await driver.call("CreateStateMachine", **given, loggingConfiguration={"destinations": 1})

    assert caught.value.message == (
        "1 validation error detected: Value 'SOME' at 'loggingConfiguration.level' failed to "
        "satisfy constraint: Member must satisfy enum value set: [ALL, ERROR, FATAL, OFF]"
    )


async def test_there_are_no_more_machines_than_aws_allows(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is there is no new one, and a deleted one makes room."""
    monkeypatch.setattr(machines, "MAX_MACHINES", 2)  # a hundred thousand take their time
    first = await driver.machine(ONE, "first")
    await driver.machine(ONE, "second")

    with pytest.raises(StateMachineLimitExceeded):
        await driver.machine(ONE, "third")
    assert await driver.machine(ONE, "first") == first
    await driver.call("DeleteStateMachine", stateMachineArn=first)
    await driver.machine(ONE, "third")
    with pytest.raises(StateMachineLimitExceeded):
        await driver.machine(ONE, "first")
