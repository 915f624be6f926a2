"""The JSON API of approvals, over the whole application: auth, answers, refusals."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.approvals.api_keys import api_key_entry, new_api_key
from app.logs import LogLines
from app.main import service
from app.secret_files import new_secret_key
from app.server import Stop
from app.settings import Settings

KEY = new_api_key()
AUTH = {"Authorization": f"Bearer {KEY}"}
TOKEN = "task-token-" + "x" * 60
BODY: dict[str, Any] = {
    "task_token": TOKEN,
    "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:m:e",
    "title": "Deploy billing 4.2 to production",
    "recipients": ["marc@example.com", {"email": "lena@example.com", "name": "Lena"}],
}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a whole service, the engine included."""
    settings = Settings(
        data_dir=tmp_path,
        secret_keys=SecretStr(new_secret_key()),
        api_keys=api_key_entry(KEY),
        smtp_url=SecretStr("smtp://127.0.0.1:9"),
        mail_from="signoff@example.com",
    )
    async with service(settings, {}, Stop(), LogLines(io.StringIO())) as running:
        transport = httpx.ASGITransport(app=running.sites[0].app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8080"
        ) as opened:
            yield opened


async def mint(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    """POST a mint, with other fields where given."""
    return await client.post("/approvals", json={**BODY, **changes}, headers=AUTH)


async def test_a_mint_answers_with_a_link_per_recipient_and_action(
    client: httpx.AsyncClient,
) -> None:
    """201, and again 200 with the same links; nothing of the task token in the answer."""
    first = await mint(client)
    again = await mint(client)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["links"] == again.json()["links"]
    assert [(link["recipient"], link["action"]) for link in first.json()["links"]] == [
        ("marc@example.com", "approve"),
        ("marc@example.com", "reject"),
        ("lena@example.com", "approve"),
        ("lena@example.com", "reject"),
    ]
    assert all(
        len(link["url"].removeprefix("http://127.0.0.1:8080")) < 120
        for link in first.json()["links"]
    )
    assert TOKEN not in first.text


async def test_another_content_for_the_same_task_token_is_a_conflict(
    client: httpx.AsyncClient,
) -> None:
    """409 with a stable code; the first one stays."""
    await mint(client)

    other = await mint(client, title="Something else")

    assert (other.status_code, other.json()["error"]) == (409, "conflict")


async def test_an_approval_is_listed_and_shown_without_its_token(
    client: httpx.AsyncClient,
) -> None:
    """The fields of the contract, and the state of each mail."""
    minted = (await mint(client)).json()

    listed = (await client.get("/approvals?state=PENDING&limit=1", headers=AUTH)).json()
    shown = await client.get(f"/approvals/{minted['id']}", headers=AUTH)

    assert listed == {"approvals": [shown.json()], "next_cursor": None}
    assert shown.json() | {"created_at": "", "expires_at": ""} == {
        "id": minted["id"],
        "state": "PENDING",
        "title": "Deploy billing 4.2 to production",
        "message": None,
        "facts": {},
        "requester": None,
        "recipients": [
            {"email": "marc@example.com", "name": None, "mail": "queued"},
            {"email": "lena@example.com", "name": "Lena", "mail": "queued"},
        ],
        "actions": [
            {"name": "approve", "label": "Approve", "style": "primary"},
            {"name": "reject", "label": "Reject", "style": "danger"},
        ],
        "execution_arn": BODY["execution_arn"],
        "created_at": "",
        "expires_at": "",
        "decision": None,
        "delivered_at": None,
        "needs_operator": False,
    }
    assert TOKEN not in shown.text


async def test_a_revoked_approval_stays_revoked(client: httpx.AsyncClient) -> None:
    """Once withdrawn, twice withdrawn; mails are not sent again; its audit tells."""
    minted = (await mint(client)).json()
    path = f"/approvals/{minted['id']}"

    first = await client.post(f"{path}/revoke", headers=AUTH)
    second = await client.post(f"{path}/revoke", headers=AUTH)
    resend = await client.post(f"{path}/resend", headers=AUTH)
    audit = (await client.get(f"{path}/audit", headers=AUTH)).json()

    assert (first.status_code, first.json()["state"]) == (200, "REVOKED")
    assert second.json()["state"] == "REVOKED"
    assert (resend.status_code, resend.json()["error"]) == (409, "conflict")
    events = [entry["event"] for entry in audit["entries"]]
    assert [event for event in events if event != "MAIL_FAILED"] == ["CREATED", "REVOKED"]
    assert audit["verified"] is True


ROUTES = [
    ("POST", "/approvals"),
    ("GET", "/approvals"),
    ("GET", f"/approvals/{'a' * 26}"),
    ("POST", f"/approvals/{'a' * 26}/revoke"),
    ("POST", f"/approvals/{'a' * 26}/resend"),
    ("GET", f"/approvals/{'a' * 26}/audit"),
    ("GET", "/metrics"),
]
WRONG_KEYS = ["", "Bearer", "Bearer nonsense", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer sgn_é"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_of_the_api_needs_a_key(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    """401 in one shape, whatever is wrong with the key, and never an echo of it."""
    for key in WRONG_KEYS:
        headers = httpx.Headers({"Authorization": key} if key else {}, encoding="latin-1")
        answer = await client.request(method, path, headers=headers)

        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "nonsense" not in answer.text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/inbox", "/inbox/messages"])
async def test_what_is_not_for_production_is_not_there(
    client: httpx.AsyncClient, path: str
) -> None:
    """The service shows strangers neither its schema nor anybody's mail."""
    assert (await client.get(path)).status_code == 404


SECRET = "do-not-echo-me"
BAD_BODIES = {
    "not JSON": f'{{"task_token": "{SECRET}"'.encode(),
    "an array": f'["{SECRET}"]'.encode(),
    "a repeated key": f'{{"task_token": "{SECRET}", "task_token": "b"}}'.encode(),
    "NaN": f'{{"task_token": "{SECRET}", "expires_in": NaN}}'.encode(),
    "an unknown field": f'{{"task_tokens": "{SECRET}"}}'.encode(),
    "deep JSON": b"[" * 100_000,
    "a deep output": b'{"a":' * 300 + b"1" + b"}" * 300,
    "a lone surrogate": b'{"task_token": "\\ud800"}',
    "not UTF-8": b'{"task_token": "\xff"}',
    "nothing": b"",
    "a number": b"1",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_body_is_refused_without_an_echo(
    client: httpx.AsyncClient, body: bytes
) -> None:
    """400, a stable code, a sentence; nothing of what was sent."""
    headers = {**AUTH, "Content-Type": "application/json"}

    answer = await client.post("/approvals", content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["error"] in ("bad_request", "invalid_request")
    assert answer.json()["message"].endswith(".")
    assert SECRET not in answer.text


async def test_a_body_of_more_than_a_megabyte_is_refused(client: httpx.AsyncClient) -> None:
    """413 before anything is parsed."""
    answer = await mint(client, message="x" * 2**20)

    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


async def test_a_body_that_is_not_json_by_its_type_is_refused(client: httpx.AsyncClient) -> None:
    """A form cannot mint."""
    answer = await client.post("/approvals", data={"title": "x"}, headers=AUTH)

    assert answer.status_code == 400


async def test_faults_are_named_by_their_fields(client: httpx.AsyncClient) -> None:
    """All at once, each with a sentence."""
    answer = await mint(client, title="", recipients=["a@b, c@d"], expires_in=0, colour="red")

    assert answer.status_code == 400
    assert sorted(answer.json()["fields"]) == [
        "colour",
        "expires_in",
        "recipients.0.email",
        "title",
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=NONSENSE", "state"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("cursor=nonsense", "cursor"),
    ],
)
async def test_a_list_says_what_is_wrong_with_its_question(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    """400 by the field, never a 500."""
    answer = await client.get(f"/approvals?{query}", headers=AUTH)

    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [field]


@pytest.mark.parametrize("approval_id", ["a" * 26, "A" * 26, "..%2f..", "%00", "x" * 3000])
async def test_unknown_ids_have_one_answer(client: httpx.AsyncClient, approval_id: str) -> None:
    """404, whatever the id looks like."""
    answer = await client.get(f"/approvals/{approval_id}", headers=AUTH)

    assert answer.status_code == 404


async def test_pages_follow_each_other(client: httpx.AsyncClient) -> None:
    """Newest first, by cursors, without gaps."""
    ids = [(await mint(client, task_token=f"{TOKEN}{n}")).json()["id"] for n in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        query = f"/approvals?limit=2&cursor={cursor}"
        page = (await client.get(query, headers=AUTH)).json()
        seen += [approval["id"] for approval in page["approvals"]]
        cursor = page["next_cursor"]

    assert seen == ids[::-1]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/approvals", {"GET", "POST"}),
        (f"/approvals/{'a' * 26}", {"GET"}),
        (f"/approvals/{'a' * 26}/revoke", {"POST"}),
        ("/healthz", {"GET", "HEAD"}),
    ],
)
async def test_a_refused_method_is_told_of_those_that_there_are(
    client: httpx.AsyncClient, path: str, allowed: set[str]
) -> None:
    """405, with every method of the address in Allow."""
    answer = await client.delete(path, headers=AUTH)

    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


async def test_health_is_told_without_secrets(client: httpx.AsyncClient) -> None:
    """Alive, ready, and counted."""
    await mint(client)

    health = await client.get("/healthz")
    ready = await client.get("/readyz")
    metrics = await client.get("/metrics", headers=AUTH)

    assert health.json() == {"service": "signoff", "status": "ok"}
    assert (ready.status_code, ready.json()["reasons"]) == (200, [])
    assert 'signoff_mints_total{result="created"} 1.0' in metrics.text
    assert "signoff_mails_queued 2.0" in metrics.text
    assert TOKEN not in metrics.text
