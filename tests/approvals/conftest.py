"""A world per test, closed afterwards."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.approvals.store.sqlite import SqliteStore
from tests.approvals import world as worlds
from tests.approvals.store.factories import moto
from tests.approvals.world import World, open_world

STORES = {"sqlite": SqliteStore.open, "dynamodb on moto": moto}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses `each_store` over each store; what is marked ``sqlite``, over that one."""
    if "each_store" in metafunc.fixturenames:
        only_one = metafunc.definition.get_closest_marker("sqlite") is not None
        names = ["sqlite"] if only_one else list(STORES)
        metafunc.parametrize("each_store", names, indirect=True)


@pytest.fixture
def each_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets worlds have the store of which the test is told."""
    monkeypatch.setattr(worlds, "open_store", STORES[request.param])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A service, a sweeper and a workflow over a store on disk."""
    opened = await open_world(tmp_path / "approvals.sqlite3")
    yield opened
    await opened.close()
