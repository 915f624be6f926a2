"""Engines on a database of their own, with a clock that only moves when told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.driving import Driver


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    """A started engine."""
    driver = Driver(tmp_path)
    await driver.start()
    yield driver
    await driver.stop()
