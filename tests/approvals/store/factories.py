"""The stores that the contract tests run over. Add one line for a new store."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from app.approvals.store.dynamodb.running import InThreads
from app.approvals.store.dynamodb.store import DynamoStore
from app.approvals.store.dynamodb.table import Client, Table
from app.approvals.store.interface import ApprovalStore
from app.approvals.store.sqlite import SqliteStore
from tests.approvals.store.dynalite import OneByOne, dynalite_lock, dynalite_url
from tests.approvals.store.moto import moto_url
from tests.approvals.store.tables import WithTokens, create_table, dynamodb_client

#: opens the store of a directory; twice for the same directory is two processes on one store
Factory = Callable[[Path], ApprovalStore]


def sqlite(directory: Path) -> ApprovalStore:
    """A SQLite file."""
    return SqliteStore.open(directory / "approvals.sqlite3")


def moto(directory: Path) -> ApprovalStore:
    """A table of moto's DynamoDB."""
    return _dynamodb(dynamodb_client(moto_url()), directory)


def dynalite(directory: Path) -> ApprovalStore:
    """A table of dynalite's DynamoDB."""
    return _dynamodb(OneByOne(dynamodb_client(dynalite_url()), dynalite_lock()), directory)


def _dynamodb(client: Client, directory: Path) -> ApprovalStore:
    name = "approvals-" + sha256(str(directory).encode()).hexdigest()[:16]
    create_table(client, name)
    return DynamoStore(Table(WithTokens(client), name), InThreads())


FACTORIES: dict[str, Factory] = {
    "sqlite": sqlite,
    "dynamodb on moto": moto,
    "dynamodb on dynalite": dynalite,
}
