"""Many at once on real sockets: one decision counts, and everybody is told that one."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from urllib.parse import urlencode, urlsplit

import pytest

from app.strict_json import loads
from bench.load import http_request, run_load
from tests.faults.rounds import Asked, ask, check, create_machine, settled
from tests.processes import SignoffProcess, wait_for

PARK = ("--function", "park=tests.faults.functions:park")
CLICKERS = 64


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SignoffProcess]:
    """Service and engine in one process."""
    process = SignoffProcess(("serve", *PARK), tmp_path / "data").start()
    yield process
    process.kill()


def clicks(asked: Asked, count: int) -> list[bytes]:
    """Requests of *count* clickers, half on each link."""
    return [
        http_request(
            "POST",
            urlsplit(asked.links[action]).path,
            urlencode({"decision": action, "nonce": asked.nonces[action]}).encode(),
            content_type="application/x-www-form-urlencoded",
            accept="application/json",
        )
        for action in ("approve", "reject")
        for _ in range(count // 2)
    ]


def test_of_64_clickers_on_both_links_one_decision_counts(service: SignoffProcess) -> None:
    """Same decision: 200 for each; the other one: 409 with what was decided; both sides win."""
    machine_arn = create_machine(service)
    chance, winners = random.Random(7), Counter[str]()

    for _ in range(20):
        asked = ask(service, service, machine_arn)
        requests = clicks(asked, CLICKERS)
        chance.shuffle(requests)
        load = asyncio.run(run_load(service.port, requests, CLICKERS, keep_bodies=True))

        assert load.statuses == {200: CLICKERS // 2, 409: CLICKERS // 2}
        told = {loads(body)["decision"]["action"] for body in load.bodies}
        assert len(told) == 1
        asked.told = told
        wait_for(partial(settled, service))
        assert check(service, service, asked) == "DELIVERED"
        winners.update(told)

    assert len(winners) == 2


def test_a_revoke_and_a_click_at_once_have_one_winner(service: SignoffProcess) -> None:
    """Withdrawn and undecided, or decided and delivered; never both."""
    machine_arn = create_machine(service)
    revoke = {"authorization": service.key_header["Authorization"]}

    for number in range(20):
        asked = ask(service, service, machine_arn)
        requests = [
            clicks(asked, 2)[0],
            http_request("POST", f"/approvals/{asked.id}/revoke", b"{}", **revoke),
        ]
        if number % 2:
            requests.reverse()
        asyncio.run(run_load(service.port, requests, 2))
        wait_for(partial(settled, service))
        record = service.api("GET", f"/approvals/{asked.id}").json()

        if record["state"] == "REVOKED":
            execution = service.states("DescribeExecution", executionArn=asked.execution_arn)
            assert (record["decision"], execution["status"]) == (None, "RUNNING")
        else:
            assert check(service, service, asked) == "DELIVERED"


def test_a_click_at_the_expiry_counts_or_does_not(service: SignoffProcess) -> None:
    """Whoever comes at that very moment: expired without an outcome, or decided with one."""
    machine_arn = create_machine(service)
    # Four seconds, so that a busy machine reads their pages before they expire.
    asked = [(monotonic() + 4, ask(service, service, machine_arn, expires_in=4)) for _ in range(20)]
    seen = Counter[str]()

    async def click_at(expiry: float, one: Asked) -> None:
        request = clicks(one, 2)[0]
        # Most arrive around the expiry; the service's clock decides.
        early_s = random.Random(one.id).uniform(-0.2, 0.8)
        await asyncio.sleep(expiry - early_s - monotonic())
        await run_load(service.port, [request], 1)

    async def all_click() -> None:
        await asyncio.gather(*(click_at(*one) for one in asked))

    asyncio.run(all_click())

    for _, one in asked:
        record = wait_for(partial(closed, service, one))
        seen[record["state"]] += 1
        if record["state"] == "EXPIRED":
            execution = service.states("DescribeExecution", executionArn=one.execution_arn)
            assert (record["decision"], execution["status"]) == (None, "RUNNING")
        else:
            assert check(service, service, one) == "DELIVERED"
    assert seen.keys() <= {"EXPIRED", "DELIVERED"}


def closed(service: SignoffProcess, asked: Asked) -> dict[str, str] | None:
    """The record, once it is final."""
    record = service.api("GET", f"/approvals/{asked.id}").json()
    return record if record["state"] not in ("PENDING", "DECIDED") else None
