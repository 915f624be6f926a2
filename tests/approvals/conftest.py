"""A world per test, closed afterwards."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.approvals.world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A service, a sweeper and a workflow over a store on disk."""
    opened = await open_world(tmp_path / "approvals.sqlite3")
    yield opened
    await opened.close()
