"""What only the SQLite store promises: speed with a million rows, and clear refusals."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.approvals.audit import Chain, check_chain
from app.approvals.model import State
from app.approvals.store import approval_rows, audit_rows, mail_rows, parsed_requests
from app.approvals.store.sqlite import SqliteStore
from app.errors import StartRefused
from app.sqlite import Row
from tests.approvals.store.test_contract import new
from tests.approvals.world import NOW

#: beginnings of other statements
FRAGMENTS = {"_SELECT", "_CHAIN"}
#: read whole on purpose: a check of everything, only what is owed, or just the last row
WHOLE = {"_STRAY", "_ALL_DIGESTS", "_ANSWERS", "_MAILS", "_RELEASE", "_LAST_DIGEST"}


def statements() -> Iterator[tuple[str, str]]:
    """Every query and change of the store, by name."""
    for module in (approval_rows, audit_rows, mail_rows):
        yield from _statements(module)


def _statements(module: ModuleType) -> Iterator[tuple[str, str]]:
    for name, value in vars(module).items():
        if name in FRAGMENTS or not isinstance(value, str):
            continue
        if value.lstrip().startswith(("SELECT", "UPDATE")):
            yield name, value


@pytest.mark.parametrize(("name", "statement"), sorted(set(statements())))
async def test_no_statement_reads_or_sorts_a_whole_table(
    tmp_path: Path, name: str, statement: str
) -> None:
    """However many approvals there are, each statement goes through an index."""
    await SqliteStore.open(tmp_path / "a.sqlite3").close()
    connection = sqlite3.connect(tmp_path / "a.sqlite3")

    plan = connection.execute(
        "EXPLAIN QUERY PLAN " + statement, (1,) * statement.count("?")
    ).fetchall()
    connection.close()

    steps = [str(step[3]) for step in plan]
    assert name in WHOLE or not [step for step in steps if _reads_all(step)], steps


def _reads_all(step: str) -> bool:
    return bool(re.match(r"SCAN (?!.* USING (COVERING )?INDEX)", step)) or "TEMP B-TREE" in step


async def test_an_audit_that_grows_while_it_is_read_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move of another process between two reads is no sign that somebody changed the record."""
    store = SqliteStore.open(tmp_path / "a.sqlite3")
    for number in range(3):
        await store.mint(new(f"approval-{number}"))
    read = store.database.read

    def after_a_move(sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        if sql == audit_rows._ENTRIES:
            with ThreadPoolExecutor(1) as other:
                other.submit(asyncio.run, _revoke_one(tmp_path / "a.sqlite3")).result()
        return read(sql, parameters)

    monkeypatch.setattr(store.database, "read", after_a_move)
    shown = await store.chain("approval-0")
    verified = [chain async for chain in store.chains() if isinstance(chain, Chain)]

    assert shown is not None
    assert [check_chain(chain) for chain in (shown, *verified)] == [None] * 4
    assert [chain.state for chain in (shown, *verified)] == [
        State.PENDING,
        State.REVOKED,
        State.PENDING,
        State.PENDING,
    ]
    await store.close()


async def _revoke_one(path: Path) -> None:
    """Revoke the oldest approval that is open, as another process does."""
    store = SqliteStore.open(path)
    for number in range(3):
        if await store.revoke(f"approval-{number}", NOW):
            break
    await store.close()


async def test_a_damaged_file_stops_the_start(tmp_path: Path) -> None:
    """Flipped bytes are found before anything is built on them."""
    path = tmp_path / "a.sqlite3"
    store = SqliteStore.open(path)
    for number in range(50):
        await store.mint(new(f"approval-{number}"))
    await store.close()
    content = bytearray(path.read_bytes())
    content[8192:8292] = b"\xff" * 100
    path.write_bytes(content)

    with pytest.raises(StartRefused, match="Restore it from a backup"):
        SqliteStore.open(path)


async def test_the_database_of_another_program_is_not_touched(tmp_path: Path) -> None:
    """A wrong data directory is refused, its file left as it was."""
    path = tmp_path / "a.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 7")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    with pytest.raises(StartRefused, match="another program"):
        SqliteStore.open(path)


async def test_many_requests_are_read_right_though_few_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept in memory never answers for another approval."""
    monkeypatch.setattr(parsed_requests, "KEPT_BYTES", 2_000)
    store = SqliteStore.open(tmp_path / "a.sqlite3")
    for number in range(10):
        await store.mint(new(f"approval-{number}", title=f"Title {number}"))

    for _ in range(2):
        for number in range(10):
            approval = await store.approval(f"approval-{number}")
            assert approval is not None
            assert approval.request.title == f"Title {number}"

    await store.close()
