"""The built functions, under Lambda's own runtime, do what the service does anywhere else.

API Gateway's events are routed as the template says. DynamoDB, SES and Secrets Manager are moto,
Step Functions is the bundled engine; the functions are what `sam build` made.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from httpx import HTTPError

from app.strict_json import Json, dumps, loads
from tests.aws.acting import (
    FORM,
    FUNCTION_ARN,
    changed,
    decide,
    links,
    mail,
    minted,
    path_of,
    started,
    state_machine,
    states,
    status,
    time_passes,
    waiting_task,
    zipped_bytes,
)
from tests.aws.cloud import Fault
from tests.aws.functions import FunctionError
from tests.aws.stack import CALLER, Stack
from tests.aws.tools import REPOSITORY, needs_tools
from tests.processes import wait_for

pytestmark = [pytest.mark.aws, needs_tools]

WORKFLOW = (REPOSITORY / "examples" / "approval" / "workflow.asl.json").read_text()
WRITE = "TransactWriteItems"


_ran: set[str] = set()


@pytest.fixture(autouse=True)
def calm(stack: Stack, request: pytest.FixtureRequest) -> Iterator[None]:
    """No fault is left over, and no environment that a test has changed."""
    yield
    stack.cloud.faults.clear()
    _ran.add(request.function.__name__)


@pytest.fixture
def all_above(request: pytest.FixtureRequest) -> None:
    """For what speaks of all tests above it; skips where they did not all run before."""
    names = [name for name in vars(request.module) if name.startswith("test_")]
    if not _ran.issuperset(names[: names.index(request.function.__name__)]):
        pytest.skip("it speaks of all tests above it, and they did not all run")


@pytest.fixture
def machine(stack: Stack) -> str:
    """The example's state machine; its ARN."""
    return state_machine(stack, loads(WORKFLOW.replace("${SignoffFunction}", FUNCTION_ARN)))


def test_a_workflow_asks_somebody_decides_and_it_goes_on(stack: Stack, machine: str) -> None:
    """The whole way: mint by invocation, mail, page, decision, confirmation."""
    execution, path = started(stack, machine)
    assert mail(stack)["To"] == "Marc Weber <marc@example.com>"

    looked = [stack.request("GET", path), stack.request("HEAD", path), stack.request("GET", path)]
    assert [one.status for one in looked] == [200, 200, 200]
    assert looked[1].text == ""
    assert status(stack, execution) == "RUNNING"

    decided = decide(stack, path)
    assert (decided.status, "Approved by you" in decided.text) == (200, True)
    wait_for(lambda: status(stack, execution) == "SUCCEEDED")

    assert mail(stack)["To"] == "ana@example.com"
    output = loads(states(stack).describe_execution(executionArn=execution)["output"])
    assert output["decision"]["approval"]["by"] == "marc@example.com"


def test_a_rejection_is_caught_by_its_name(stack: Stack, machine: str) -> None:
    """The workflow gets the error that the request names, with the comment as its cause."""
    execution, approve = started(stack, machine)
    reject = links(mail(stack))["reject"]
    assert approve != reject

    assert decide(stack, reject, "Not on a Friday").status == 200

    wait_for(lambda: status(stack, execution) == "SUCCEEDED")
    output = loads(states(stack).describe_execution(executionArn=execution)["output"])
    assert output["decision"] == {"Error": "Rejected", "Cause": "Not on a Friday"}


def test_one_decision_counts(stack: Stack, machine: str) -> None:
    """The same again is answered alike, the other one is refused, and both after that too."""
    execution, approve = started(stack, machine)
    reject = links(mail(stack))["reject"]
    page = stack.request("GET", reject)

    first, again = decide(stack, approve), stack.request("GET", approve)
    other = stack.request("GET", reject)

    assert page.status == first.status == again.status == 200
    assert other.status == 409
    wait_for(lambda: status(stack, execution) == "SUCCEEDED")


def test_what_is_no_link_is_a_friendly_page(stack: Stack) -> None:
    """Forged, cut off, mangled, or with another method: never an error, never a decision."""
    path = path_of(minted(stack, "token-of-mangled-links"))

    assert stack.request("GET", path[:-1]).status == 404
    assert stack.request("GET", path + "/more").status == 404
    assert stack.request("GET", path.replace(".", "%2E", 1)).status == 200
    assert stack.request("PUT", path).status == 405
    assert stack.request("POST", path, body="x" * 70_000, headers=FORM).status == 413
    assert stack.request("POST", path, body="{}").status == 415
    page = stack.request("GET", path)
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_json_api_is_for_those_whom_iam_lets_in(stack: Stack) -> None:
    """API Gateway asks first; the function does not answer unsigned requests either."""
    answer = minted(stack, "token-of-the-api")
    path = f"/approvals/{answer['id']}"

    assert stack.request("GET", path).status == 403
    shown = stack.request("GET", path, caller=CALLER)
    assert (shown.status, loads(shown.text)["state"]) == (200, "PENDING")
    revoked = stack.request("POST", f"{path}/revoke", caller=CALLER)
    assert loads(revoked.text)["state"] == "REVOKED"
    assert stack.request("GET", path_of(answer)).status == 410

    event = {
        "version": "2.0",
        "rawPath": path,
        "headers": {"host": "signoff.example.com"},
        "requestContext": {"http": {"method": "GET", "sourceIp": "192.0.2.1"}},
    }
    unsigned = stack.functions["ApiFunction"].invoke(event)
    assert (unsigned["statusCode"], loads(unsigned["body"])["error"]) == (401, "unauthorized")


def test_a_mint_over_http_mails_and_answers_201(stack: Stack) -> None:
    """The same request again is a 200 with the same links, and no second mail."""
    body = {"task_token": "token-over-http", "title": "Deploy", "recipients": ["marc@example.com"]}
    json = {"content-type": "application/json"}
    before = len(stack.cloud.mails())

    first, again = (
        stack.request("POST", "/approvals", body=dumps(body).decode(), headers=json, caller=CALLER)
        for _ in range(2)
    )

    assert (first.status, again.status) == (201, 200)
    assert loads(first.text)["links"] == loads(again.text)["links"]
    assert len(stack.cloud.mails()) == before + 1


def test_the_callback_urls_work_as_before(stack: Stack) -> None:
    """sfn-callback-urls' calls: directly, over HTTP, and their links."""
    actions = [{"name": "approve", "type": "success", "response": {}, "output": {"ok": True}}]
    call = {"token": "token-of-callback-urls", "actions": actions}
    json = {"content-type": "application/json"}

    direct = stack.functions["SignoffFunction"].invoke(call)
    http = stack.request("POST", "/urls", body=dumps(call).decode(), headers=json, caller=CALLER)
    url = urlsplit(direct["urls"]["approve"])

    assert http.status == 200
    assert stack.request("POST", "/urls", body="{}", headers=json).status == 403
    assert url.path == "/respond"
    page = stack.request("GET", "/respond", query=url.query, headers={"accept": "text/html"})
    assert (page.status, "<form" in page.text) == (200, True)


@pytest.mark.parametrize(
    ("action", "ends"), [("approve", "SUCCEEDED"), ("reject", "FAILED"), ("wait", "RUNNING")]
)
def test_a_callback_url_tells_the_workflow(stack: Stack, action: str, ends: str) -> None:
    """Success, failure and heartbeat, each by a POST as programs send it."""
    execution, token = waiting_task(stack)
    actions = [
        {"name": "approve", "type": "success", "output": {"ok": True}},
        {"name": "reject", "type": "failure", "error": "rejected"},
        {"name": "wait", "type": "heartbeat"},
    ]
    urls = stack.functions["SignoffFunction"].invoke({"token": token, "actions": actions})["urls"]

    answer = stack.request("POST", "/respond", query=urlsplit(urls[action]).query)

    assert answer.status == 200
    assert status(stack, execution) == ends


def test_an_answer_that_comes_too_late_is_told_so(stack: Stack, machine: str) -> None:
    """The execution was stopped: its history says so, and the page does."""
    execution, path = started(stack, machine)
    states(stack).stop_execution(executionArn=execution)

    decided = decide(stack, path)

    shown = stack.request("GET", f"/approvals/{path[3:29]}", caller=CALLER)
    assert (decided.status, loads(shown.text)["state"]) == (410, "TOO_LATE")


def test_the_sweeper_keeps_tasks_waiting_and_ends_what_expired(stack: Stack) -> None:
    """Heartbeats for requests that ask for them, the agreed answer when nobody decided."""
    executions, tokens = zip(waiting_task(stack), waiting_task(stack), strict=True)
    ask: dict[str, Json] = {"title": "Deploy", "recipients": ["marc@example.com"]}
    wishes: list[dict[str, Json]] = [
        {"heartbeat_seconds": 600},
        {"expires_in": 1, "on_expiry": {"type": "failure", "error": "Expired"}},
    ]
    for token, wish in zip(tokens, wishes, strict=True):
        stack.functions["SignoffFunction"].invoke({"task_token": token, **ask, **wish})

    def ended() -> bool:
        time_passes(stack)
        stack.functions["SweepFunction"].invoke({})
        return status(stack, executions[1]) == "FAILED"

    wait_for(ended)

    assert "SendTaskHeartbeat" in stack.cloud.calls
    assert status(stack, executions[0]) == "RUNNING"


def test_the_list_has_the_newest_first(stack: Stack) -> None:
    """As on a server; what IAM authorized may see it."""
    ids = [minted(stack, f"token-to-be-listed-{number}")["id"] for number in range(2)]

    listed = stack.request("GET", "/approvals", query="limit=2&state=PENDING", caller=CALLER)

    assert [one["id"] for one in loads(listed.text)["approvals"]] == ids[::-1]


def test_an_address_gets_so_many_mails_an_hour(stack: Stack) -> None:
    """More is refused by a name that a workflow can retry, and nothing is stored."""
    ask = {"title": "Deploy", "recipients": ["often@example.com"]}
    with changed(stack, "SignoffFunction", SIGNOFF_MAILS_PER_HOUR="1") as function:
        function.invoke({"task_token": "token-of-the-first-mail", **ask})
        with pytest.raises(FunctionError) as error:
            function.invoke({"task_token": "token-of-the-second-mail", **ask})

    assert error.value.type == "TooManyMails"


@pytest.mark.parametrize(
    ("event", "type_", "says"),
    [
        ({"title": "Deploy"}, "InvalidApprovalRequest", "task_token"),
        ({"task_token": "t", "title": "x", "recipients": ["no"]}, "InvalidApprovalRequest", "ecip"),
        (["no", "request"], "InvalidApprovalRequest", "object"),
        ("text", "InvalidApprovalRequest", "object"),
        ({"notify": {"to": []}}, "InvalidApprovalRequest", "to"),
    ],
)
def test_what_is_no_request_is_a_function_error_with_a_name(
    stack: Stack, event: Json, type_: str, says: str
) -> None:
    """State machines catch it by its name; its message says what to mend."""
    with pytest.raises(FunctionError) as error:
        stack.functions["SignoffFunction"].invoke(event)

    assert error.value.type == type_
    assert says in error.value.message


def test_a_workflow_catches_a_refused_request_by_name(stack: Stack) -> None:
    """InvalidApprovalRequest is an error name like any other."""
    invoke = "arn:aws:states:::lambda:invoke.waitForTaskToken"
    asks = {
        "Type": "Task",
        "Resource": invoke,
        "Parameters": {
            "FunctionName": FUNCTION_ARN,
            "Payload": {"task_token.$": "$$.Task.Token", "title": "Nobody is asked"},
        },
        "Catch": [{"ErrorEquals": ["InvalidApprovalRequest"], "Next": "Mended"}],
        "End": True,
    }
    definition = {"StartAt": "Ask", "States": {"Ask": asks, "Mended": {"Type": "Succeed"}}}
    machine = state_machine(stack, definition)
    run = states(stack).start_execution(stateMachineArn=machine)["executionArn"]

    wait_for(lambda: status(stack, run) == "SUCCEEDED")


def test_lambda_may_retry_an_event(stack: Stack) -> None:
    """The same event again: the same answer, by a new environment too, and one mail."""
    before = len(stack.cloud.mails())
    first = minted(stack, "token-that-comes-twice")
    stack.functions["SignoffFunction"].stop()

    again = minted(stack, "token-that-comes-twice")

    assert again == first
    assert len(stack.cloud.mails()) == before + 1


def test_the_same_token_for_something_else_is_a_conflict(stack: Stack) -> None:
    """A state machine can tell it from a request that is wrong in itself."""
    minted(stack, "token-for-two-things")
    other = {"task_token": "token-for-two-things", "title": "Other", "recipients": ["a@b.example"]}

    with pytest.raises(FunctionError) as error:
        stack.functions["SignoffFunction"].invoke(other)

    assert error.value.type == "Conflict"


def test_the_sweeper_delivers_what_a_killed_invocation_left_owed(
    stack: Stack, machine: str
) -> None:
    """Killed after the decision was stored: the page says so, and the workflow hears of it."""
    execution, path = started(stack, machine)
    click = stack.functions["ClickFunction"]
    stack.cloud.faults.append(Fault("SendTaskSuccess", hangs=True))
    with ThreadPoolExecutor(1) as browser:
        clicked = browser.submit(decide, stack, path)
        wait_for(lambda: not stack.cloud.faults)
        click.stop()  # while it waits for Step Functions
    assert isinstance(clicked.exception(), HTTPError)

    assert "Approved by you" in stack.request("GET", path).text
    assert status(stack, execution) == "RUNNING"
    time_passes(stack)
    told = stack.functions["SweepFunction"].invoke({})

    # The workflow goes on at once, and may have queued its confirmation already.
    assert told | {"QueuedMails": 0} == {
        "OwedAnswers": 0,
        "OldestOwedSeconds": 0,
        "NeedsOperator": 0,
        "QueuedMails": 0,
    }
    wait_for(lambda: status(stack, execution) == "SUCCEEDED")


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(WRITE, "ProvisionedThroughputExceededException")] * 3,
        [Fault(WRITE, "TransactionInProgressException")] * 2,
        [Fault(WRITE, lost=True)],
        [
            Fault(WRITE, lost=True),
            Fault(WRITE, "ThrottlingException"),
        ],
        [Fault("Query", "ThrottlingException")] * 2,
        [Fault("SendTaskSuccess", lost=True)],
    ],
    ids=["throttled", "conflict", "lost", "lost, throttled", "read throttled", "answer lost"],
)
def test_a_click_survives_what_services_do(stack: Stack, machine: str, faults: list[Fault]) -> None:
    """Throttling, conflicts and lost answers: one decision, told, and the workflow goes on."""
    execution, path = started(stack, machine)
    stack.cloud.faults.extend(faults)

    decided = decide(stack, path)

    assert (decided.status, "Approved by you" in decided.text) == (200, True)
    if status(stack, execution) == "RUNNING":
        time_passes(stack)
    stack.functions["SweepFunction"].invoke({})
    wait_for(lambda: status(stack, execution) == "SUCCEEDED")
    shown = stack.request("GET", f"/approvals/{path[3:29]}", caller=CALLER)
    assert loads(shown.text)["state"] == "DELIVERED"


@pytest.mark.parametrize("code", ["ExpiredTokenException", "AccessDeniedException"])
def test_what_step_functions_refuses_is_owed_and_told_to_operators(
    stack: Stack, machine: str, code: str
) -> None:
    """Expired credentials, a missing permission: the decision stays, an alarm gets a figure."""
    execution, path = started(stack, machine)
    stack.cloud.faults.append(Fault("SendTaskSuccess", code))

    assert "Approved by you" in decide(stack, path).text
    told = stack.functions["SweepFunction"].invoke({})
    assert (told["OwedAnswers"], told["NeedsOperator"]) == (1, 1)
    assert '"Namespace":"Signoff"' in stack.functions["SweepFunction"].logs()

    time_passes(stack)
    told = stack.functions["SweepFunction"].invoke({})
    assert (told["OwedAnswers"], told["NeedsOperator"]) == (0, 0)
    wait_for(lambda: status(stack, execution) == "SUCCEEDED")


def test_a_table_that_cannot_be_reached_decides_nothing(stack: Stack) -> None:
    """The page says that nothing was recorded; later it works."""
    path = path_of(minted(stack, "token-of-a-lost-table"))
    stack.cloud.faults.append(Fault("Query", "AccessDeniedException"))
    stack.functions["ClickFunction"].stop()  # it would remember the approval

    refused = stack.request("GET", path)

    assert (refused.status, refused.headers["retry-after"]) == (503, "60")
    assert stack.request("GET", path).status == 200


def test_secret_keys_that_cannot_be_read_decide_nothing(stack: Stack) -> None:
    """A cold environment without keys answers with a page too."""
    path = path_of(minted(stack, "token-of-lost-keys"))
    stack.functions["ClickFunction"].stop()
    stack.cloud.faults.append(Fault("GetSecretValue", "AccessDeniedException"))

    assert stack.request("GET", path).status == 503
    assert stack.request("GET", path).status == 200


def test_keys_are_rotated_without_a_deployment(stack: Stack) -> None:
    """A new key in front: warm environments take its links, and those of the old one."""
    old = path_of(minted(stack, "token-under-the-old-key"))
    assert stack.request("GET", old).status == 200
    client = stack.client("secretsmanager")
    keys = client.get_secret_value(SecretId=stack.names["SecretKeys"])["SecretString"]
    newer = "b7d1f0c2" + keys[8:][::-1]
    client.put_secret_value(SecretId=stack.names["SecretKeys"], SecretString=f"{newer},{keys}")
    stack.functions["SignoffFunction"].stop()

    new = path_of(minted(stack, "token-under-the-new-key"))

    assert new.split(".")[3] != old.split(".")[3]
    assert stack.request("GET", old).status == 200
    wait_for(lambda: stack.request("GET", new).status == 200)


def test_a_callback_url_under_a_new_key_works_at_once(stack: Stack) -> None:
    """Warm environments look for the key that they do not know."""
    actions = [{"name": "approve", "type": "success", "output": {"ok": True}}]
    call = {"token": "token-of-a-rotated-callback", "actions": actions}
    assert stack.request("GET", "/respond").status == 400  # there is a warm environment
    client = stack.client("secretsmanager")
    keys = client.get_secret_value(SecretId=stack.names["SecretKeys"])["SecretString"]
    newer = "c6e2a1d3" + keys[8:64][::-1]
    client.put_secret_value(SecretId=stack.names["SecretKeys"], SecretString=f"{newer},{keys}")
    stack.functions["SignoffFunction"].stop()

    urls = stack.functions["SignoffFunction"].invoke(call)["urls"]

    query, browser = urlsplit(urls["approve"]).query, {"accept": "text/html"}
    wait_for(
        lambda: stack.request("GET", "/respond", query=query, headers=browser).status == 200, 20
    )


def test_mails_without_a_way_out_fail_the_sweeper_and_no_mint(stack: Stack) -> None:
    """What was asked for is stored; the alarms get their figures, and one of them rings."""
    nowhere = {"SIGNOFF_CHANNEL": "smtp", "SIGNOFF_SMTP_URL": "file:/nowhere/smtp"}
    with changed(stack, "SignoffFunction", **nowhere):
        assert minted(stack, "token-without-a-way-out")["state"] == "PENDING"

    before = stack.functions["SweepFunction"].logs().count('"Namespace":"Signoff"')
    with (
        changed(stack, "SweepFunction", **nowhere) as sweeper,
        pytest.raises(FunctionError) as lost,
    ):
        sweeper.invoke({})

    assert lost.value.type == "StartRefused"
    assert sweeper.logs().count('"Namespace":"Signoff"') == before + 1
    assert stack.functions["SweepFunction"].invoke({})["QueuedMails"] == 0


def test_what_is_built_is_small_and_ready(artifacts: Path, tmp_path: Path) -> None:
    """Below 3 and 10 MB zipped; bytecode that stays valid; no tests, no engine, no source maps."""
    sizes = {name: zipped_bytes(artifacts / name) for name in ("ClickFunction", "ApiFunction")}
    assert sizes["ClickFunction"] < 3_000_000
    assert sizes["ApiFunction"] < 10_000_000

    for name in sizes:
        files = {str(path.relative_to(artifacts / name)) for path in (artifacts / name).rglob("*")}
        assert not [one for one in files if one.startswith(("tests", "app/engine", "app/main"))]
    click = {path.name for path in (artifacts / "ClickFunction").iterdir()}
    assert not click & {"boto3", "botocore", "fastapi", "jinja2", "pydantic"}
    for source in (artifacts / "ClickFunction" / "app").rglob("*.py"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        assert compiled.read_bytes()[4:8] == b"\x01\0\0\0", compiled  # unchecked, by its hash


def test_the_built_template_needs_no_aliases(artifacts: Path) -> None:
    """CloudFormation knows none; the template is written with them, and SAM writes them out."""
    built = (artifacts / "template.yaml").read_text()

    assert re.findall(r"[&*]\w+$", built, re.MULTILINE) == []
    assert built.count("secretsmanager:GetSecretValue") == 8


@pytest.mark.usefixtures("all_above")
def test_no_log_holds_a_token_a_link_or_a_key(stack: Stack) -> None:
    """Whatever was logged above, at the level DEBUG, can be shown to anybody."""
    keys = stack.client("secretsmanager").get_secret_value(SecretId=stack.names["SecretKeys"])
    written = "".join(function.logs() for function in stack.functions.values())

    assert "decision recorded" in written
    assert "token-" not in written
    assert "/d/" not in written
    assert not any(key in written for key in keys["SecretString"].split(","))


#: rights that no call above needed, and why they are there
UNUSED = {
    # Which of the two SES asks for, for a raw message of its newer API, nobody saw here.
    "ses:SendEmail",
    # Lambda itself takes it, for events that were given up.
    "sqs:SendMessage",
}


@pytest.mark.usefixtures("all_above")
def test_each_function_has_the_rights_that_it_uses_and_no_more(stack: Stack) -> None:
    """All of the above was done under the rights of the roles; none of them is to spare."""
    spare = {name: rights.granted - rights.used for name, rights in stack.cloud.rights.items()}

    assert {name: rights - UNUSED for name, rights in spare.items() if rights - UNUSED} == {}
