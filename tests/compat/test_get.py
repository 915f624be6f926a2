"""What a GET does: it asks (the default), or decides as with the original."""

import re
from html import unescape

import pytest

from tests.compat.api import APPROVE, BEAT, BROWSER, REJECT, TOKEN, Api, outcome, post

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = {"Content-Type": "application/x-www-form-urlencoded"} | BROWSER
PREFETCHES = [
    {"Sec-Purpose": "prefetch;prerender"},
    {"Purpose": "prefetch"},
    {"X-Purpose": "preview"},
    {"X-Moz": "prefetch"},
]
FETCHERS = [
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "WhatsApp/2.23.20.0",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (Windows Phone 8.1; ARM; Trident/7.0) like iPhone BingPreview/1.0b",
    "BarracudaCentral/1.0",
    "Mimecast URL Protection",
    "Proofpoint URL Defense",
    "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0 Safari/537.36",
    "TelegramBot (like TwitterBot)",
    "LinkedInBot/1.0",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
]


def fields(page: str) -> dict[str, str]:
    """What a robot sends that submits the page's form as it finds it."""
    inputs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in inputs}


def confirmed(page: str, **answers: str) -> dict[str, str]:
    """What a person sends who ticks the box."""
    box = re.search(r'name="decision" value="([^"]*)"', page)
    assert box is not None
    return {**fields(page), "decision": unescape(box[1]), **answers}


@pytest.mark.parametrize("action", [APPROVE, REJECT, BEAT], ids=["success", "failure", "heartbeat"])
async def test_a_browser_is_asked(api: Api, action: dict[str, str]) -> None:
    """However often it opens the link: a page, and nothing is sent."""
    url = await api.url(action)

    for _ in range(20):
        response = await api.get(url, **BROWSER)

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert 'type="checkbox"' in response.text and "<script" not in response.text
    assert api.sent == []


async def test_the_page_tells_no_other_link_of_the_call(api: Api) -> None:
    """Who may approve need not be who may reject."""
    urls = await api.urls(APPROVE, REJECT)

    page = (await api.get(urls["approve"], **BROWSER)).text

    assert "reject" not in page.lower().replace("approve or reject", "")


async def test_a_person_confirms_and_is_told_the_truth(api: Api) -> None:
    """Box, button: the workflow is told, the page says so, and says it again."""
    urls = await api.urls(APPROVE, REJECT)
    page = (await api.get(urls["approve"], **BROWSER)).text

    done = await api.http.post(urls["approve"], data=confirmed(page), headers=BROWSER)
    again = await api.get(urls["approve"], **BROWSER)
    other = await api.get(urls["reject"], **BROWSER)

    assert (done.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert "Approved on 12 Nov 2025, 09:41 UTC." in done.text
    assert "The workflow has been told." in done.text
    assert "Already approved, 12 Nov, 09:41 UTC." in other.text
    assert [operation for operation, _ in api.sent] == ["SendTaskSuccess"]


async def test_a_robot_that_submits_the_form_decides_nothing(api: Api) -> None:
    """The box is ticked by nobody by default."""
    url = await api.url(APPROVE)
    page = (await api.get(url, **BROWSER)).text

    response = await api.http.post(url, data=fields(page), headers=BROWSER)

    assert response.status_code == 422
    assert "Tick the box to approve. Nothing has been decided yet." in response.text
    assert api.sent == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"nonce": "1.u3zm477p.AAAA"}, 400),
        ({"decision": "reject"}, 422),
        ({"nonce": ""}, 400),
    ],
)
async def test_a_form_that_is_not_of_this_page_decides_nothing(
    api: Api, changes: dict[str, str], status: int
) -> None:
    """Another nonce, another choice."""
    url = await api.url(APPROVE)
    page = (await api.get(url, **BROWSER)).text

    response = await api.http.post(url, data=confirmed(page) | changes, headers=BROWSER)

    assert response.status_code == status
    assert api.sent == []


async def test_a_form_of_another_site_decides_nothing(api: Api) -> None:
    """Browsers say where a form was."""
    url = await api.url(APPROVE)
    page = (await api.get(url, **BROWSER)).text
    headers = BROWSER | {"Origin": "https://evil.example"}

    response = await api.http.post(url, data=confirmed(page), headers=headers)

    assert response.status_code == 403
    assert api.sent == []


async def test_a_form_with_a_field_twice_decides_nothing(api: Api) -> None:
    """Ambiguous is refused, not resolved."""
    url = await api.url(APPROVE)
    form = "&".join(f"{k}={v}" for k, v in confirmed((await api.get(url, **BROWSER)).text).items())

    response = await api.http.post(url, content=form + "&decision=reject", headers=FORM)

    assert response.status_code == 400
    assert api.sent == []


async def test_a_page_that_was_open_for_long_is_shown_once_more(api: Api) -> None:
    """With a new nonce, which works."""
    url = await api.url(APPROVE)
    old_page = (await api.get(url, **BROWSER)).text
    api.world.clock.advance(hours=1)

    stale = await api.http.post(url, data=confirmed(old_page), headers=BROWSER)
    fresh = await api.http.post(url, data=confirmed(stale.text), headers=BROWSER)

    assert (stale.status_code, fresh.status_code) == (422, 200)
    assert len(api.sent) == 1


async def test_a_heartbeat_by_its_page_keeps_the_task_waiting(api: Api) -> None:
    """Again and again; when nobody waits any more, the page says so."""
    url = await api.url(BEAT)
    page = (await api.get(url, **BROWSER)).text
    form = confirmed(page)

    kept = [await api.http.post(url, data=form, headers=BROWSER) for _ in range(2)]
    api.recorder.refuse("TaskTimedOut")
    late = await api.http.post(url, data=form, headers=BROWSER)
    api.recorder.refuse("ThrottlingException")
    other = await api.url(BEAT)
    form = confirmed((await api.get(other, **BROWSER)).text)
    busy = await api.http.post(other, data=form, headers=BROWSER)

    assert [response.status_code for response in kept] == [200, 200]
    assert "this task is still worked on" in kept[1].text
    assert (late.status_code, "Too late" in late.text) == (410, True)
    assert busy.status_code == 503


async def test_after_the_page_the_caller_s_own_answer_is_given(api: Api) -> None:
    """A redirect, or a page of theirs in its sandbox."""
    away = {**APPROVE, "response": {"redirect": "https://example.com/thanks"}}
    own = {**APPROVE, "name": "own", "response": {"html": "<b>Thanks</b>"}}
    beat = {**BEAT, "response": {"html": "<b>Go on</b>"}}
    answers = []
    for token, action in (("a", away), ("b", own), ("c", beat)):
        url = await api.url(action, token=token)
        form = confirmed((await api.get(url, **BROWSER)).text)
        answers.append(await api.http.post(url, data=form, headers=BROWSER))

    assert answers[0].headers["location"] == "https://example.com/thanks"
    assert [answer.text for answer in answers[1:]] == ["<b>Thanks</b>", "<b>Go on</b>"]


async def test_parameters_stay_in_the_address_of_the_form(full: Api) -> None:
    """What the link was given fills the output when the form comes back."""
    action = {**APPROVE, "output": "$who"}
    bare = await full.url(action, enable_output_parameters=True)
    refused = await full.get(bare, **BROWSER)
    url = bare + "&who=Ana"
    form = confirmed((await full.get(url, **BROWSER)).text)

    await full.http.post(url, data=form, headers=BROWSER)

    assert (refused.status_code, "who is missing" in refused.text) == (400, True)
    assert full.sent == [("SendTaskSuccess", {"taskToken": TOKEN, "output": '"Ana"'})]


async def test_pages_say_what_became_of_a_request(api: Api) -> None:
    """Expired, withdrawn: 410 with words, and forms are too late as well."""
    url = await api.url(APPROVE, expiration="2025-11-12T10:00:00Z")
    form = confirmed((await api.get(url, **BROWSER)).text)
    api.world.clock.advance(minutes=20)

    shown = await api.get(url, **BROWSER)
    submitted = await api.http.post(url, data=form, headers=BROWSER)

    assert (shown.status_code, submitted.status_code) == (410, 410)
    assert "This request ended on 12 Nov 2025, 10:00 UTC without your answer" in shown.text
    assert api.sent == []


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/plain"])
@pytest.mark.parametrize("action", [APPROVE, REJECT, BEAT], ids=["success", "failure", "heartbeat"])
async def test_a_program_s_get_is_told_to_post(
    api: Api, action: dict[str, str], accept: str
) -> None:
    """It must not believe that it decided: 405, a code, and how to go on."""
    response = await api.get(await api.url(action), accept=accept)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert "ConfirmationRequired" in response.text and "Send a POST" in response.text
    assert api.sent == []


@pytest.mark.parametrize("headers", [{}, BROWSER])
async def test_a_head_never_does_anything(old: Api, headers: dict[str, str]) -> None:
    """Not even where a GET decides."""
    for action in (APPROVE, REJECT, BEAT, post(outcome(output=1))):
        response = await old.http.head(await old.url(action), headers=headers)
        assert response.content == b""

    assert old.sent == []


@pytest.mark.parametrize("headers", PREFETCHES, ids=[next(iter(entry)) for entry in PREFETCHES])
async def test_a_prefetch_never_does_anything(old: Api, headers: dict[str, str]) -> None:
    """Not even where a GET decides; the person who comes after it decides."""
    url = await old.url(APPROVE)

    programs = await old.http.get(url, headers=headers)
    browsers = await old.http.get(url, headers=headers | BROWSER)

    assert (programs.status_code, browsers.status_code) == (405, 200)
    assert old.sent == []
    assert (await old.get(url)).status_code == 200


@pytest.mark.parametrize("agent", FETCHERS, ids=[agent.split("/")[0][-20:] for agent in FETCHERS])
async def test_a_known_fetcher_never_does_anything(old: Api, agent: str) -> None:
    """Mail scanners and previews, as far as they say who they are."""
    urls = await old.urls(APPROVE, REJECT)

    for url in urls.values():
        await old.get(url, User_Agent=agent)
        await old.get(url, User_Agent=agent, **BROWSER)

    assert old.sent == []


@pytest.mark.parametrize("agent", ["curl/8.5.0", "python-requests/2.32", "Mozilla/5.0 Firefox/140"])
async def test_programs_and_people_are_no_fetchers(old: Api, agent: str) -> None:
    """Where a GET decides, theirs does."""
    response = await old.get(await old.url(APPROVE), User_Agent=agent, **BROWSER)

    assert response.status_code == 200
    assert len(old.sent) == 1


async def test_fetchers_do_not_wear_a_link_out(api: Api) -> None:
    """A person decides after a hundred scans."""
    url = await api.url(APPROVE)
    for _ in range(50):
        await api.get(url)
        await api.http.head(url)

    assert (await api.click(url)).status_code == 200
