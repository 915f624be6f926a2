"""Many clickers, kills and lost answers, with approvals in DynamoDB and two services over it."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.approvals.store.dynamodb.setup import create_table
from app.strict_json import loads
from bench.load import run_load
from tests.approvals.store.moto import moto_url
from tests.approvals.store.tables import dynamodb_client
from tests.faults.proxy import LossyProxy
from tests.faults.rounds import ask, check, click_all, create_machine, settled
from tests.faults.test_races import CLICKERS, clicks
from tests.processes import SignoffProcess, wait_for

#: moto takes one call at a time; releases run more (SIGNOFF_KILL_ROUNDS=1000)
ROUNDS = int(os.environ.get("SIGNOFF_KILL_ROUNDS", "2"))
PARK = ("--function", "park=tests.faults.functions:park")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SignoffProcess]:
    """The engine alone."""
    process = SignoffProcess(("engine", *PARK), tmp_path / "engine")
    yield process.start()
    process.kill()


@pytest.fixture
def dynamodb() -> Iterator[LossyProxy]:
    """What stands before moto's DynamoDB, and loses every tenth answer."""
    proxy = LossyProxy(urlsplit(moto_url()).port or 0, loses=0.1, seed=4)
    yield proxy
    proxy.close()


@pytest.fixture
def services(
    tmp_path: Path, engine: SignoffProcess, dynamodb: LossyProxy
) -> Iterator[list[SignoffProcess]]:
    """Two services with nothing in common but the table and their keys."""
    create_table(dynamodb_client(moto_url()), tmp_path.name)
    environment = {
        "SIGNOFF_STORE": f"dynamodb:{tmp_path.name}",
        "SIGNOFF_TARGET": "aws",
        "AWS_ENDPOINT_URL_SFN": engine.engine_url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
    }
    one = SignoffProcess(("serve",), tmp_path / "one", environment=environment)
    two = SignoffProcess(
        ("serve",),
        tmp_path / "two",
        environment=environment,
        secret_keys=one.secret_keys,
        api_key=one.api_key,
    )
    yield [one.start(), two.start()]
    one.kill()
    two.kill()


def test_of_64_clickers_at_two_services_one_decision_counts(
    engine: SignoffProcess, services: list[SignoffProcess], dynamodb: LossyProxy
) -> None:
    """However many answers of DynamoDB are lost, everybody is told the one that is recorded."""
    machine_arn = create_machine(engine)
    asked = ask(services[0], engine, machine_arn)
    requests = clicks(asked, CLICKERS)
    random.Random(5).shuffle(requests)
    halves = requests[: CLICKERS // 2], requests[CLICKERS // 2 :]

    async def click() -> list[bytes]:
        loads_ = await asyncio.gather(
            *(
                run_load(service.port, half, CLICKERS // 2, keep_bodies=True)
                for service, half in zip(services, halves, strict=True)
            )
        )
        statuses = sum((Counter(load.statuses) for load in loads_), Counter[int]())
        assert statuses == {200: CLICKERS // 2, 409: CLICKERS // 2}
        return [body for load in loads_ for body in load.bodies]

    told = {loads(body)["decision"]["action"] for body in asyncio.run(click())}

    assert len(told) == 1
    asked.told = told
    wait_for(lambda: settled(services[0]))
    assert [check(service, engine, asked) for service in services] == ["DELIVERED", "DELIVERED"]


def test_kills_with_lost_answers_of_dynamodb_lose_nothing(
    engine: SignoffProcess, services: list[SignoffProcess], dynamodb: LossyProxy
) -> None:
    """One service is killed while people click; the other one goes on."""
    chance = random.Random(6)
    seen: Counter[str] = Counter()
    machine_arn = create_machine(engine)
    one, two = services

    for _ in range(ROUNDS):
        approvals = [ask(one, engine, machine_arn) for _ in range(2)]
        click_all(approvals, one.kill, chance)
        wait_for(lambda: settled(two))
        seen.update(check(two, engine, asked) for asked in approvals)
        one.start()

    assert seen["DELIVERED"] > 0
    assert seen.keys() <= {"DELIVERED", "PENDING"}
    assert dynamodb.lost > 0
