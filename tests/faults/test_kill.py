"""kill -9 at random points under load: no decision is lost, record and workflow agree."""

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.proxy import LossyProxy
from tests.faults.rounds import ask, check, click_all, create_machine, settled
from tests.processes import SignoffProcess, free_port, wait_for

#: rounds of each kind; releases run many more (SIGNOFF_KILL_ROUNDS=1000)
ROUNDS = int(os.environ.get("SIGNOFF_KILL_ROUNDS", "20"))
APPROVALS = 4
PARK = ("--function", "park=tests.faults.functions:park")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[SignoffProcess]:
    """Service and engine in one process."""
    process = SignoffProcess(("serve", *PARK), tmp_path / "data")
    yield process.start()
    process.kill()


def test_kills_of_service_and_engine_in_one_process_lose_nothing(
    embedded: SignoffProcess,
) -> None:
    """After each kill: no decision lost, record and workflow agree, at most one outcome."""
    chance = random.Random(1)
    seen: Counter[str] = Counter()
    machine_arn = create_machine(embedded)

    for _ in range(ROUNDS):
        approvals = [ask(embedded, embedded, machine_arn) for _ in range(APPROVALS)]
        click_all(approvals, embedded.kill, chance)
        embedded.start()
        wait_for(lambda: settled(embedded))
        seen.update(check(embedded, embedded, asked) for asked in approvals)

    # Otherwise the kills fell at the wrong moments and the test shows nothing.
    assert seen["DELIVERED"] > 0
    assert seen.keys() <= {"DELIVERED", "PENDING"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SignoffProcess]:
    """The engine alone."""
    process = SignoffProcess(("engine", *PARK), tmp_path / "engine")
    yield process.start()
    process.kill()


@pytest.fixture
def proxy(engine: SignoffProcess) -> Iterator[LossyProxy]:
    """What stands between, and loses every tenth answer."""
    proxy = LossyProxy(engine.engine_port, loses=0.1, seed=2)
    yield proxy
    proxy.close()


@pytest.fixture
def service(tmp_path: Path, proxy: LossyProxy) -> Iterator[SignoffProcess]:
    """The service, with the engine behind the proxy as its Step Functions endpoint."""
    environment = {"SIGNOFF_TARGET": "aws", "AWS_ENDPOINT_URL_SFN": proxy.url}
    process = SignoffProcess(
        ("serve",), tmp_path / "service", environment=environment, port=free_port()
    )
    yield process.start()
    process.kill()


def kill(victims: Iterable[SignoffProcess]) -> None:
    """Pull the plug of each."""
    for victim in victims:
        victim.kill()


def test_kills_of_either_side_with_lost_answers_lose_nothing(
    engine: SignoffProcess, proxy: LossyProxy, service: SignoffProcess
) -> None:
    """The same with two processes, killed apart and together, and answers lost in between."""
    chance = random.Random(3)
    seen: Counter[str] = Counter()
    machine_arn = create_machine(engine)
    victims = ([service], [engine], [service, engine])

    for _ in range(ROUNDS):
        approvals = [ask(service, engine, machine_arn) for _ in range(APPROVALS)]
        killed = chance.choice(victims)
        click_all(approvals, partial(kill, killed), chance)
        for one in killed:
            one.start()
        wait_for(lambda: settled(service))
        seen.update(check(service, engine, asked) for asked in approvals)

    assert seen["DELIVERED"] > 0
    assert seen.keys() <= {"DELIVERED", "PENDING"}
    assert proxy.lost > 0
