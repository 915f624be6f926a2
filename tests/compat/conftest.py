"""The API with its switches in three positions; each is started once."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.compat.api import Api, serving

once = pytest_asyncio.fixture(scope="session", loop_scope="session")


@once
async def _as_it_comes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with serving(tmp_path_factory.mktemp("api")) as served:
        yield served


@once
async def _allowed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    path = tmp_path_factory.mktemp("full")
    async with serving(path, output_parameters=True, post_actions=True) as served:
        yield served


@once
async def _applied(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    switches = {"output_parameters": True, "post_actions": True, "get_applies": True}
    async with serving(tmp_path_factory.mktemp("old"), **switches) as served:
        yield served


@pytest.fixture
def api(_as_it_comes: Api) -> Api:
    """All switches as they come: parameters and post actions off, a GET asks."""
    return _as_it_comes.begin()


@pytest.fixture
def full(_allowed: Api) -> Api:
    """Parameters and post actions allowed, a GET asks."""
    return _allowed.begin()


@pytest.fixture
def old(_applied: Api) -> Api:
    """As the original with all it can do: a GET decides."""
    return _applied.begin()


@pytest.fixture(params=[False, True], ids=["http", "direct"])
def direct(request: pytest.FixtureRequest) -> bool:
    """Whether calls are direct invocations."""
    return bool(request.param)
