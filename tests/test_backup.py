"""Copies of a running service's databases."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.approvals.model import State
from app.backup import back_up
from app.errors import StartRefused
from tests.approvals.world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A running service."""
    opened = await open_world(tmp_path / "data" / "approvals.sqlite3")
    yield opened
    await opened.close()


async def test_a_copy_is_a_service_of_that_moment(world: World, tmp_path: Path) -> None:
    """What came later is not in it; nobody but its owner can read it."""
    decided, pending = await world.mint("token-1"), await world.mint("token-2")
    await world.decide(decided)

    [copy] = back_up(tmp_path / "data", tmp_path / "backup")

    await world.decide(pending)
    restored = await open_world(copy, clock=world.clock, workflow=world.workflow)
    states = [(await restored.record(one)).state for one in (decided, pending)]
    assert (copy.name, copy.stat().st_mode & 0o077) == ("approvals.sqlite3", 0)
    assert states == [State.DELIVERED, State.PENDING]
    assert (await restored.service.audit(decided.id)).verified
    await restored.close()


async def test_an_old_copy_does_not_decide_anew(world: World, tmp_path: Path) -> None:
    """The execution's history is the judge of what was decided after the copy."""
    approval = await world.mint()
    [copy] = back_up(tmp_path / "data", tmp_path / "backup")
    await world.decide(approval, "approve")

    restored = await open_world(copy, clock=world.clock, workflow=world.workflow)
    again = await restored.decide(approval, "reject", comment="No.")

    assert again.approval.state is State.SUPERSEDED
    assert world.workflow.closings("token-1") == 1
    await restored.close()


async def test_the_engine_is_copied_after_the_approvals(world: World, tmp_path: Path) -> None:
    """So that it never lags behind them."""
    for name in ("engine.sqlite3", "inbox.sqlite3"):
        connection = sqlite3.connect(tmp_path / "data" / name)
        connection.execute("CREATE TABLE t (n)")
        connection.close()

    copies = back_up(tmp_path / "data", tmp_path / "backup")

    assert [copy.name for copy in copies] == [
        "approvals.sqlite3",
        "engine.sqlite3",
        "inbox.sqlite3",
    ]
    assert sorted(path.name for path in (tmp_path / "backup").iterdir()) == [
        copy.name for copy in copies
    ]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither another backup nor anything else; and no backup is made of nothing."""
    (tmp_path / "data").mkdir()
    with pytest.raises(StartRefused, match="There is no database"):
        back_up(tmp_path / "data", tmp_path / "backup")
    (tmp_path / "data" / "engine.sqlite3").write_bytes(b"this is no database" * 500)
    with pytest.raises(StartRefused, match="cannot be copied"):
        back_up(tmp_path / "data", tmp_path / "backup")
    (tmp_path / "backup" / "note").touch()

    with pytest.raises(StartRefused, match="is not empty"):
        back_up(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(StartRefused, match="cannot be written"):
        back_up(tmp_path / "data", tmp_path / "backup" / "note")
