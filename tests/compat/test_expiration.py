"""When links end: whatever looks like a date, with a zone or without one."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.compat.api import APPROVE, Api

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def host_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The time zone of the process."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


DATES = [
    ("2025-11-12T09:51:00", "2025-11-12T09:51:00"),
    ("2025-11-12T09:51:00Z", "2025-11-12T09:51:00+00:00"),
    ("2025-11-12T09:51:00+00:00", "2025-11-12T09:51:00+00:00"),
    ("2025-11-12T11:51:00+02:00", "2025-11-12T11:51:00+02:00"),
    ("2025-11-12 04:51 -0500", "2025-11-12T04:51:00-05:00"),
    ("Wed, 12 Nov 2025 09:51:00 GMT", "2025-11-12T09:51:00+00:00"),
    ("12 November 2025 09:51", "2025-11-12T09:51:00"),
    ("2025-11-12T09:51:00.000", "2025-11-12T09:51:00"),
]


@pytest.mark.parametrize(("text", "said"), DATES, ids=[text for text, _ in DATES])
async def test_a_link_ends_at_its_date_wherever_the_service_runs(
    api: Api, direct: bool, host_zone: str, text: str, said: str
) -> None:
    """Ten minutes from now, to the second; the original answers a zone with 500, always."""
    answer = await api.create(APPROVE, direct=direct, expiration=text)
    api.world.clock.advance(minutes=10, milliseconds=-1)
    still = await api.click(answer["urls"]["approve"].replace("type=success", "type=failure"))
    api.world.clock.advance(milliseconds=1)

    ended = await api.click(answer["urls"]["approve"])

    assert answer["expiration"] == said
    assert still.json()["error"] == "ActionMismatched"
    assert ended.json() == {
        "error": "ExpiredPayload",
        "message": "Response expired on 2025-11-12T09:51:00",
    }


async def test_a_year_alone_is_a_date(api: Api) -> None:
    """Today, in that year."""
    assert (await api.create(APPROVE, expiration="2099"))["expiration"] == "2099-11-12T00:00:00"


@pytest.mark.parametrize("text", ["2025-11-12T09:41:00Z", "2025-11-12T10:40:00+01:00", "2020"])
async def test_a_date_in_the_past_is_refused(api: Api, direct: bool, text: str) -> None:
    """With the original's words, and the transaction."""
    answer = await api.create(APPROVE, direct=direct, expiration=text)

    assert list(answer) == ["transaction_id", "error", "message"]
    assert (answer["error"], answer["message"]) == ("InvalidDate", "Expiration is in the past")


@pytest.mark.parametrize(
    "text",
    [
        *("never", "", "2026-13-01", "2026-01-01T00:00:00+25:00", "9999-12-31T23:59:59-12:00"),
        *("2026-01-01 10:00 EST", "24 Nov 2026 8:00 PST", "\x00", "9" * 99, "0"),
    ],
)
async def test_what_is_no_date_is_refused(api: Api, direct: bool, text: str) -> None:
    """An abbreviation too: the original drops it, or fails, and links end hours off."""
    assert (await api.create(APPROVE, direct=direct, expiration=text))["error"] == "InvalidDate"


async def test_a_long_text_is_not_read(api: Api) -> None:
    """Dates have fewer than a hundred characters."""
    assert (await api.create(APPROVE, expiration="1" * 101))["error"] == "InvalidJSON"
