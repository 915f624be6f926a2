"""What a person does: read the mail, open the page, decide. On a phone and without JavaScript."""

import pytest
from playwright.async_api import Browser, Page, expect

from app.approvals.model import Approval, State
from tests.browser.fixtures import PHONE, House, window

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def open_from_mail(page: Page, house: House, button: str) -> Page:
    """The page behind *button* of the newest mail, in the tab that it opens."""
    await page.goto(f"{house.url}/inbox")
    await page.get_by_role("listitem").first.get_by_role("link").click()
    mail = page.frame_locator("iframe")
    async with page.context.expect_page() as opened:
        await mail.get_by_role("link", name=button).click()
    return await opened.value


async def undecided(house: House, approval: Approval) -> bool:
    return (await house.record(approval)).state is State.PENDING and house.workflow.calls == []


async def test_a_person_approves_on_a_phone(chromium: Browser, house: House) -> None:
    """From the mail to the approved workflow, with nothing decided before the box is ticked."""
    approval = await house.ask()
    async with window(chromium, PHONE) as inbox:
        page = await open_from_mail(inbox, house, "Approve...")
        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Approve: Deploy billing 4.2 to production?"
        )
        await expect(page).to_have_title("Approve: Deploy billing 4.2 to production?")
        await expect(page.get_by_text("You act as marc@example.com.")).to_be_visible()

        box = page.get_by_role("checkbox")
        await expect(box).not_to_be_checked()
        await page.get_by_role("button", name="Approve deployment").click()
        await expect(box).to_be_visible()
        assert await undecided(house, approval)

        await page.get_by_label("I have read this request and approve it.").check()
        await page.get_by_label("Comment (optional)").fill("Go ahead.")
        await page.get_by_role("button", name="Approve deployment").click()

        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Approved: Deploy billing 4.2 to production"
        )
        await expect(page.get_by_text("Approved by you on 12 Nov 2025, 10:41 CET.")).to_be_visible()
        await expect(page.get_by_text("Go ahead.")).to_be_visible()
        await expect(page.get_by_text("The workflow has been told.")).to_be_visible()

    found = await house.record(approval)
    assert found.state is State.DELIVERED
    assert found.decision is not None
    assert (found.decision.action, found.decision.comment) == ("approve", "Go ahead.")


async def test_a_person_rejects_with_a_reason(chromium: Browser, house: House) -> None:
    """A reason that is only blanks is asked for again; with a reason the request is rejected."""
    approval = await house.ask()
    async with window(chromium, PHONE) as inbox:
        page = await open_from_mail(inbox, house, "Reject...")
        await page.get_by_role("checkbox").check()
        await page.get_by_label("Reason (required)").fill("   ")
        await page.get_by_role("button", name="Reject").click()

        summary = page.get_by_role("alert")
        await expect(summary).to_contain_text("Write a reason. Nothing has been decided yet.")
        assert await undecided(house, approval)
        await summary.get_by_role("link").click()
        reason = page.get_by_label("Reason (required)")
        await expect(reason).to_be_focused()
        await page.keyboard.type("Not before the audit.")
        await page.get_by_role("checkbox").check()
        await page.get_by_role("button", name="Reject").click()

        await expect(page.get_by_text("Rejected by you on 12 Nov 2025")).to_be_visible()

    found = await house.record(approval)
    assert found.state is State.DELIVERED
    assert found.decision is not None
    assert (found.decision.action, found.decision.comment) == ("reject", "Not before the audit.")


async def test_a_person_changes_to_the_other_action(chromium: Browser, house: House) -> None:
    """Who opened the wrong link finds the other way on the page."""
    await house.ask()
    async with window(chromium, PHONE) as inbox:
        page = await open_from_mail(inbox, house, "Approve...")
        await page.get_by_role("link", name="Reject instead").click()

        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Reject: Deploy billing 4.2 to production?"
        )


async def test_coming_back_later_shows_what_is_recorded(chromium: Browser, house: House) -> None:
    """Reloading the answer and opening either link again tell the same truth."""
    approval = await house.ask()
    approve, reject = (house.service.link(approval, 0, action) for action in (0, 1))
    async with window(chromium, PHONE) as page:
        await page.goto(approve)
        await page.get_by_role("checkbox").check()
        await page.get_by_role("button", name="Approve deployment").click()
        await expect(page.get_by_text("Approved by you on")).to_be_visible()

        again = await page.goto(approve)
        await expect(page.get_by_text("Approved by you on")).to_be_visible()
        other = await page.goto(reject)
        await expect(
            page.get_by_text("Already approved by you, 12 Nov, 10:41 CET.")
        ).to_be_visible()

    assert again is not None
    assert other is not None
    assert (again.status, other.status) == (200, 409)
    assert house.workflow.calls == ["SendTaskSuccess"]


async def test_a_robot_with_a_browser_decides_nothing(chromium: Browser, house: House) -> None:
    """Loading both pages with scripts on and pressing every button leaves all as it was."""
    approval = await house.ask()
    async with window(chromium, scripts=True) as page:
        for action in (0, 1):
            await page.goto(house.service.link(approval, 0, action))
            await page.evaluate(
                "document.querySelectorAll('[required]').forEach(e => e.required = 0)"
            )
            for button in await page.get_by_role("button").all():
                await button.click()
                await expect(page.get_by_role("alert")).to_contain_text("Nothing has been decided")

    assert await undecided(house, approval)


async def test_the_confirmation_mail_is_readable(chromium: Browser, house: House) -> None:
    """A plain mail shows its words and facts, and has nothing to press."""
    await house.service.notify(
        {
            "to": ["ana@example.com"],
            "subject": "Approved: Deploy billing 4.2 to production",
            "facts": {"Decided by": "marc@example.com", "Comment": "Go ahead."},
        },
        request_id="1",
    )
    await house.worker.send_due()
    async with window(chromium, PHONE) as page:
        await page.goto(f"{house.url}/inbox")
        await page.get_by_role("listitem").first.get_by_role("link").click()
        mail = page.frame_locator("iframe")

        await expect(mail.get_by_role("heading", level=1)).to_have_text(
            "Approved: Deploy billing 4.2 to production"
        )
        await expect(mail.get_by_role("cell", name="Go ahead.")).to_be_visible()
        await expect(mail.get_by_role("link")).to_have_count(0)
