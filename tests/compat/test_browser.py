"""Callback URLs in a real browser: on a phone, without JavaScript, and readable for everybody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.fixtures import DESK, PHONE, Scheme, chromium, window
from tests.compat.api import APPROVE, BEAT, BROWSER, TOKEN, Api, outcome, post
from tests.compat.test_form import RELAY, REVIEW

__all__ = ["chromium"]  # the fixture

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMMENT = {
    "type": "object",
    "properties": {"comment": {"type": "string", "minLength": 3}},
    "required": ["comment"],
}


@asynccontextmanager
async def browsing(
    browser: Browser,
    api: Api,
    size: tuple[int, int] = PHONE,
    *,
    scheme: Scheme = "light",
    scripts: bool = False,
) -> AsyncIterator[Page]:
    """A window in front of the service."""

    async def forward(route: Route) -> None:
        request = route.request
        headers = {**await request.all_headers(), "accept": "text/html"}
        answer = await api.http.request(
            request.method, request.url, content=request.post_data_buffer, headers=headers
        )
        await route.fulfill(
            status=answer.status_code, headers=dict(answer.headers), body=answer.content
        )

    async with window(browser, size, scheme=scheme, scripts=scripts) as page:
        await page.route("**/*", forward)
        yield page


@pytest.mark.parametrize(
    "action",
    [
        {**APPROVE, "response": {"redirect": "https://thanks.example.com/you"}},
        post(outcome(output=1, response={"redirect": "https://thanks.example.com/you"})),
    ],
)
async def test_a_person_is_sent_on_where_the_workflow_wants(
    chromium: Browser, full: Api, action: Any
) -> None:
    """Browsers follow a form's answer no further than the page's policy allows."""

    async def thank(route: Route) -> None:
        await route.fulfill(body="<h1>Thank you</h1>", content_type="text/html")

    url = await full.url(action)
    async with browsing(chromium, full) as page:
        await page.route("https://thanks.example.com/**", thank)
        await page.goto(url)
        await page.get_by_role("checkbox").check()
        await page.get_by_role("button").click()

        await expect(page.get_by_role("heading")).to_have_text("Thank you")
    assert len(full.sent) == 1


async def test_a_person_rejects_with_a_comment(chromium: Browser, full: Api) -> None:
    """The form holds until reason and box are there; then the workflow has the reason."""
    action = post(RELAY | {"schema": COMMENT}) | {"name": "reject_with_comments"}
    url = await full.url(action)
    async with browsing(chromium, full) as page:
        await page.goto(url)
        button = page.get_by_role("button", name="Reject with comments")
        await button.click()
        await expect(page.get_by_role("checkbox")).to_be_visible()
        assert full.sent == []

        await page.get_by_role("textbox", name="Comment").fill("no")
        await page.get_by_role("checkbox").check()
        await button.click()
        await expect(page.get_by_role("alert")).to_contain_text("Write at least 3 characters")
        await page.get_by_role("alert").get_by_role("link").click()
        await expect(page.get_by_role("textbox", name="Comment")).to_be_focused()

        await page.get_by_role("textbox", name="Comment").fill("Too risky this week.")
        await page.get_by_role("checkbox").check()
        await button.click()
        await expect(page.get_by_text("The workflow has been told.")).to_be_visible()

    cause = {"taskToken": TOKEN, "error": "rejected", "cause": "Too risky this week."}
    assert full.sent == [("SendTaskFailure", cause)]


async def pages(api: Api) -> dict[str, tuple[str, Any]]:
    """An address of each kind of page, and what is posted to it, if anything."""
    ask, done = await api.url(APPROVE), await api.url(APPROVE, token="done")
    await api.click(done)
    review = outcome(output_body=True) | {"schema": REVIEW}
    return {
        "the page that asks": (ask, None),
        "a heartbeat": (await api.url(BEAT), None),
        "a form": (await api.url(post(review)), None),
        "a form with a fault": (await api.url(post(review)), {"nonce": "x", "field-1": "kept"}),
        "a form for programs": (await api.url(post(review | {"schema": {"type": "array"}})), None),
        "afterwards": (done, None),
        "accepted": (await api.url(APPROVE, token="posted"), {}),
        "refused": ("https://signoff.example.com/respond?data=%3Cb%3E", None),
    }


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESK, "dark")])
async def test_every_page_can_be_read_by_everybody(
    chromium: Browser, full: Api, size: tuple[int, int], scheme: Scheme
) -> None:
    """axe-core finds nothing, and nothing is wider than the screen."""
    found: dict[str, Any] = {}
    async with window(chromium, size, scheme=scheme, scripts=True) as page:
        for name, (url, form) in (await pages(full)).items():
            # Shown as content: axe is a script, which the page's own policy forbids.
            await page.set_content(await shown(full, url, form))
            results = await Axe().run(page)
            wider = "document.documentElement.scrollWidth - window.innerWidth"
            faults = [violation["id"] for violation in results.response["violations"]]
            found[name] = (faults, await page.evaluate(wider) > 0)

    assert found == dict.fromkeys(found, ([], False))


async def shown(api: Api, url: str, form: Any) -> str:
    """The page that a browser gets."""
    if form is None:
        return (await api.get(url, **BROWSER)).text
    return (await api.http.post(url, data=form, headers=BROWSER)).text
