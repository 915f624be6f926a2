"""The demo, from the mail in the inbox to the confirmation, as a newcomer walks it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, ViewportSize

from app.strict_json import loads
from tests.processes import HTTP, PATIENCE_S, SignoffProcess, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:approval-example"
LINK = re.compile(r"http://127\.0\.0\.1:\d+/d/\S+")
PHONE: ViewportSize = {"width": 360, "height": 740}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[SignoffProcess]:
    """`signoff demo` with a data directory of its own."""
    process = SignoffProcess(("demo",), tmp_path / "data")
    yield process.start()
    process.stop()


def mails(demo: SignoffProcess) -> list[Any]:
    """What is in the inbox, newest first."""
    return list(HTTP.get(f"{demo.url}/inbox/messages").json())


def request_mail(demo: SignoffProcess) -> Any:
    """The mail that asks, once it is there."""
    return wait_for(lambda: mails(demo))[-1]


def confirmation(demo: SignoffProcess) -> Any:
    """The mail that confirms, once it is there."""
    return wait_for(lambda: [mail for mail in mails(demo) if mail["to"] == "ana@example.com"])[0]


def execution(demo: SignoffProcess) -> Any:
    """The example's execution."""
    listed = demo.states("ListExecutions", stateMachineArn=MACHINE)["executions"]
    return demo.states("DescribeExecution", executionArn=listed[0]["executionArn"])


async def phone(chromium: Browser) -> Page:
    """A phone's page: narrow, and without JavaScript."""
    context = await chromium.new_context(viewport=PHONE, java_script_enabled=False)
    context.set_default_timeout(PATIENCE_S * 1000)
    return await context.new_page()


async def open_link(page: Page, demo: SignoffProcess, label: str) -> None:
    """Open the inbox, the mail, and the link behind its button, as a person would."""
    await page.goto(f"{demo.url}/inbox")
    await page.get_by_role("link", name="Approval needed").first.click()
    button = page.frame_locator("iframe").get_by_role("link", name=label)
    async with page.context.expect_page() as opened:
        await button.click()
    await page.goto((await opened.value).url)


async def test_a_newcomer_approves_and_the_workflow_goes_on(
    chromium: Browser, demo: SignoffProcess
) -> None:
    """Mail, button, box, confirm: SUCCEEDED, and the confirmation names who and why."""
    request_mail(demo)
    page = await phone(chromium)

    await open_link(page, demo, "Approve")
    await page.get_by_role("checkbox").check()
    await page.get_by_label("Comment (optional)").fill("Watch the queue.")
    await page.get_by_role("button", name="Approve deployment").click()

    assert await page.title() == "Approved: Deploy billing 4.2 to production"
    assert "The workflow has been told." in await page.inner_text("main")
    told = confirmation(demo)
    assert told["subject"] == "Approved: Deploy billing 4.2 to production"
    assert "Marc Weber (marc@example.com)" in told["text"]
    assert "Watch the queue." in told["text"]
    wait_for(lambda: execution(demo)["status"] == "SUCCEEDED")
    await page.context.close()


async def test_a_rejection_asks_for_a_reason_and_is_confirmed(
    chromium: Browser, demo: SignoffProcess
) -> None:
    """Without a reason nothing is decided; with one the workflow catches it and confirms."""
    request_mail(demo)
    page = await phone(chromium)

    await open_link(page, demo, "Reject")
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Reject").click()
    await page.get_by_label("Reason (required)").fill("Too risky this week.")
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Reject").click()

    assert await page.title() == "Rejected: Deploy billing 4.2 to production"
    told = confirmation(demo)
    assert told["subject"] == "Rejected: Deploy billing 4.2 to production"
    assert "Decided by" in told["text"] and "Too risky this week." in told["text"]
    wait_for(lambda: execution(demo)["status"] == "SUCCEEDED")
    await page.context.close()


async def test_a_kill_between_mail_and_click_costs_nothing(
    chromium: Browser, demo: SignoffProcess
) -> None:
    """The link of a mail that was sent before the plug was pulled still decides."""
    link = LINK.findall(request_mail(demo)["text"])[0]
    demo.kill()
    demo.start()
    assert len(demo.states("ListExecutions", stateMachineArn=MACHINE)["executions"]) == 1
    page = await phone(chromium)

    await page.goto(link)
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Approve deployment").click()

    assert "The workflow has been told." in await page.inner_text("main")
    assert confirmation(demo)["subject"].startswith("Approved")
    await page.context.close()


async def test_secrets_are_in_no_log(demo: SignoffProcess) -> None:
    """After mint, mail and looks at the pages: no link, token or key in any log."""
    mail = request_mail(demo)
    links = LINK.findall(mail["text"])
    for link in links:
        HTTP.get(link)
        HTTP.get(link.replace("/d/", "/D/"))
    demo.api("GET", "/approvals")
    arn = execution(demo)["executionArn"]
    history = demo.states("GetExecutionHistory", executionArn=arn, maxResults=1000)["events"]
    parameters = loads(history[2]["taskScheduledEventDetails"]["parameters"])
    token = parameters["Payload"]["task_token"]
    demo.stop()

    written = demo.log() + (demo.data_dir / "demo.log").read_text()

    secrets = [*(link.rpartition(".")[2] for link in links), token, demo.secret_keys]
    assert [secret for secret in secrets if secret in written] == []
    raw = b"".join(path.read_bytes() for path in demo.data_dir.glob("approvals.sqlite3*"))
    assert [secret for secret in secrets if secret.encode() in raw] == []
    demo.start()
