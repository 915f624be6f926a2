"""The stores that the contract tests run over. Add one line for a new store."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from app.approvals.store import ApprovalStore
from app.approvals.store.sqlite import SqliteStore


class ClosableStore(ApprovalStore, Protocol):
    """A store that a test opened."""

    async def close(self) -> None: ...


#: opens the store of a directory; twice for the same directory is two processes on one store
Factory = Callable[[Path], ClosableStore]


def sqlite(directory: Path) -> ClosableStore:
    """A SQLite file."""
    return SqliteStore.open(directory / "approvals.sqlite3")


FACTORIES: dict[str, Factory] = {"sqlite": sqlite}
