"""Can everybody read and use it: accessibility, narrow and zoomed screens, dark and light."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, Route

from app.approvals.mail.model import MailKind, Notice
from app.approvals.model import Approval, Holder, State
from app.approvals.pages.decision_pages import Submission
from app.approvals.pages.frame import Answer
from app.inbox import read_mail
from tests.approvals.asked import (
    APPROVAL,
    MARC,
    NOW,
    approval,
    decided,
    fake_service,
    mail,
    pages,
    writer,
)
from tests.browser.fixtures import DESK, PHONE, House, Scheme, window

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADDRESS = "https://signoff.example.com/"
APPROVE, REJECT = 0, 1
LONG = approval(
    title="Deploy the billing service including the Donaudampfschifffahrtsgesellschaftskapitän",
    message="x" * 300 + "\n" + "word " * 200,
    facts=(("Change" * 12, "CHG-1182" * 40), ("Risk", "medium"), ("Where", "line\nby line")),
)


async def opened(of: Approval = APPROVAL, action: int = APPROVE) -> Answer:
    service = fake_service(of)
    return await pages(service).get(_link(service.link(of, 0, action)), wants_json=False)


async def sent(action: int, **fields: str) -> Answer:
    service = fake_service()
    nonce = service.links.form_nonce(Holder(APPROVAL.id, 0, action), NOW)
    body = urlencode({"nonce": nonce, **fields}).encode()
    form = Submission("application/x-www-form-urlencoded", body)
    link = _link(service.link(APPROVAL, 0, action))
    return await pages(service).post(link, form, wants_json=False)


async def every_page() -> dict[str, Answer]:
    """Each page that people can get to see."""
    ends = (State.EXPIRED, State.REVOKED, State.CLOSED)
    afterwards = (
        State.DECIDED, State.DELIVERED, State.TOO_LATE, State.SUPERSEDED, State.UNRESOLVED,
    )  # fmt: skip
    return {
        "approve": await opened(),
        "reject": await opened(action=REJECT),
        "long": await opened(LONG),
        "no choice": await sent(APPROVE, comment="kept"),
        "no reason": await sent(REJECT, decision="reject"),
        "decided by another": await opened(decided(recipient=1)),
        "unknown link": await pages(fake_service()).get("x", wants_json=False),
        "not saved": pages(fake_service()).refuse("not_saved", wants_json=False),
        **{state: await opened(replace(APPROVAL, state=state)) for state in ends},
        **{state: await opened(decided(state, comment="Go.")) for state in afterwards},
    }


def mails() -> dict[str, str]:
    """The HTML part of each kind of mail."""
    notice = Notice("n1", (MARC,), "Approved", "It goes on.", (("Comment", "Go."),), NOW)
    notice_mail = mail(approval_id=None, notice_id="n1", kind=MailKind.NOTICE)
    outgoing = {
        "request": writer().request(APPROVAL, mail(), NOW),
        "long request": writer().request(LONG, mail(), NOW),
        "notice": writer().notice(notice, notice_mail, NOW),
    }
    return {name: read_mail(1, NOW, [], one.data).html or "" for name, one in outgoing.items()}


Show = Callable[[Answer | str], Awaitable[Page]]


@asynccontextmanager
async def gallery(
    browser: Browser,
    size: tuple[int, int] = DESK,
    *,
    scheme: Scheme = "light",
    scripts: bool = False,
) -> AsyncIterator[Show]:
    """One window that shows answer after answer, each with its own headers."""
    shown: list[Answer] = []

    async def fulfill(route: Route) -> None:
        headers = {name.decode(): value.decode() for name, value in shown[-1].headers}
        await route.fulfill(status=shown[-1].status, headers=headers, body=shown[-1].body)

    async with window(browser, size, scheme=scheme, scripts=scripts) as page:
        await page.route("**/*", fulfill)

        async def show(answer: Answer | str) -> Page:
            if isinstance(answer, str):
                answer = Answer(200, ((b"content-type", b"text/html"),), answer.encode())
            shown.append(answer)
            await page.goto(ADDRESS)
            return page

        yield show


async def violations(page: Page) -> list[str]:
    """What axe-core finds wrong, by rule and element."""
    results = await Axe().run(page)
    return [
        f"{violation['id']}: {node['html']}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]


async def test_a_barrier_would_be_found(chromium: Browser) -> None:
    """The check itself works: pale text, a nameless field and a missing title are reported."""
    bad = "<main><h1>x</h1><p style='color:#ccc'>pale</p><input></main>"
    async with gallery(chromium, scripts=True) as show:
        rules = {found.partition(":")[0] for found in await violations(await show(bad))}

    assert rules == {"color-contrast", "document-title", "html-has-lang", "label"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_has_a_barrier(chromium: Browser, scheme: Scheme) -> None:
    """Every page passes axe-core's whole set of rules, light and dark."""
    found = {}
    async with gallery(chromium, scheme=scheme, scripts=True) as show:
        for name, answer in (await every_page()).items():
            found[name] = await violations(await show(answer))

    assert found == {name: [] for name in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_mail_has_a_barrier(chromium: Browser, scheme: Scheme) -> None:
    """The HTML of every mail passes axe-core's whole set of rules, light and dark."""
    found = {}
    async with gallery(chromium, scheme=scheme, scripts=True) as show:
        for name, html in mails().items():
            found[name] = await violations(await show(html))

    assert found == {name: [] for name in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_mailbox_has_no_barrier(chromium: Browser, house: House, scheme: Scheme) -> None:
    """List and mail pages of the development mailbox pass axe-core's whole set of rules."""
    found = {}
    async with window(chromium, scheme=scheme, scripts=True) as page:
        await page.goto(f"{house.url}/inbox")
        found["empty"] = await violations(page)
        await house.ask()
        for address in ("/inbox", "/inbox/1"):
            await page.goto(house.url + address)
            found[address] = await violations(page)

    assert found == {address: [] for address in found}


# 1280 pixels at 400 % zoom are 320: what WCAG 1.4.10 asks for.
@pytest.mark.parametrize("size", [PHONE, (320, 256), (280, 653)])
async def test_no_page_scrolls_sideways(chromium: Browser, size: tuple[int, int]) -> None:
    """Pages and mails fit narrow and zoomed screens, long words included."""
    widths = {}
    shown: dict[str, Answer | str] = {**await every_page(), **mails()}
    async with gallery(chromium, size) as show:
        for name, answer in shown.items():
            page = await show(answer)
            widths[name] = await page.evaluate("document.documentElement.scrollWidth")

    assert widths == dict.fromkeys(widths, size[0])


@pytest.mark.parametrize("size", [PHONE, DESK])
async def test_what_is_pressed_is_large_enough(chromium: Browser, size: tuple[int, int]) -> None:
    """Buttons, boxes and links are at least 44 pixels high."""
    small = {}
    shown: dict[str, Answer | str] = {"page": await opened(), "mail": mails()["request"]}
    async with gallery(chromium, size) as show:
        for name, answer in shown.items():
            page = await show(answer)
            targets = await page.locator("button, .choice, textarea, a[href]").all()
            boxes = [await target.bounding_box() for target in targets]
            small[name] = [box for box in boxes if box is None or box["height"] < 44]
            assert len(boxes) > 1

    assert small == {"page": [], "mail": []}


async def test_the_buttons_of_a_mail_stand_apart_and_full_width_on_a_phone(
    chromium: Browser,
) -> None:
    """On a narrow screen each button has a row of its own, 16 pixels from the next."""
    async with gallery(chromium, PHONE) as show:
        page = await show(mails()["request"])
        first, second = [
            await button.bounding_box() for button in await page.locator(".button td").all()
        ]

    assert first is not None
    assert second is not None
    assert (first["x"], first["width"]) == (second["x"], second["width"])
    assert first["width"] == 320
    assert second["y"] - (first["y"] + first["height"]) >= 16


async def test_the_button_is_in_reach_without_scrolling_on_a_phone(chromium: Browser) -> None:
    """On a phone the button sticks to the lower edge, however long the request is."""
    async with gallery(chromium, PHONE) as show:
        page = await show(await opened(LONG))
        box = await page.get_by_role("button").bounding_box()

    assert box is not None
    assert box["y"] + box["height"] <= PHONE[1]


async def test_a_zoomed_page_is_not_covered_by_its_button(chromium: Browser) -> None:
    """On a screen too low for it the button does not stick, and covers nothing."""
    async with gallery(chromium, (320, 256)) as show:
        page = await show(await opened(LONG))
        position = await page.locator(".bar").evaluate("bar => getComputedStyle(bar).position")

    assert position == "static"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_keyboard_shows_where_it_is(chromium: Browser, scheme: Scheme) -> None:
    """Each stop of the Tab key is ringed in yellow and black."""
    rings = []
    async with gallery(chromium, PHONE, scheme=scheme) as show:
        page = await show(await opened())
        for _ in range(4):
            await page.keyboard.press("Tab")
            rings.append(
                await page.evaluate(
                    "(e => [e.tagName, getComputedStyle(e).outlineColor,"
                    " getComputedStyle(e).outlineStyle])(document.activeElement)"
                )
            )

    yellow = "rgb(255, 221, 0)"
    assert rings == [
        ["INPUT", yellow, "solid"],
        ["TEXTAREA", yellow, "solid"],
        ["BUTTON", yellow, "solid"],
        ["A", yellow, "solid"],
    ]


async def test_what_has_the_focus_is_not_under_the_button(chromium: Browser) -> None:
    """Tabbing through a long page on a phone never hides the focused field."""
    async with gallery(chromium, PHONE) as show:
        page = await show(await opened(LONG))
        for _ in range(2):
            await page.keyboard.press("Tab")
            focused = await page.locator(":focus").bounding_box()
            bar = await page.locator(".bar").bounding_box()
            assert focused is not None
            assert bar is not None
            assert focused["y"] + focused["height"] <= bar["y"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_style_is_allowed_by_its_own_policy(chromium: Browser, scheme: Scheme) -> None:
    """The policy header lets the page's style in, in either scheme, and reports nothing."""
    complaints: list[str] = []
    async with gallery(chromium, scheme=scheme) as show:
        page = await show(await opened())
        page.on("console", lambda message: complaints.append(message.text))
        await show(await opened())
        background = await page.locator("main").evaluate(
            "main => getComputedStyle(main).backgroundColor"
        )

    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 29)"}[scheme]
    assert complaints == []


def _link(url: str) -> str:
    return url.rpartition("/")[2]
