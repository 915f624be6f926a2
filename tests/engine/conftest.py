"""Engines on a database of their own, with a clock that only moves when told; moto beside them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.engine.driving import Driver
from tests.moto_server import moto_server


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    """A started engine."""
    driver = Driver(tmp_path)
    await driver.start()
    yield driver
    await driver.stop()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of a server with AWS's services."""
    with moto_server() as url:
        yield url


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Any: nobody checks them here."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return monkeypatch
