"""The stores that the contract tests run over. Add one line for a new store."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from app.approvals.store import ApprovalStore
from app.approvals.store.dynamodb.definition import table_definition
from app.approvals.store.dynamodb.running import InThreads
from app.approvals.store.dynamodb.store import DynamoStore
from app.approvals.store.dynamodb.table import Table
from app.approvals.store.sqlite import SqliteStore
from app.aws_json import DYNAMODB, AwsJsonClient, AwsRefused, Credentials
from tests.approvals.store.moto import moto_url

#: opens the store of a directory; twice for the same directory is two processes on one store
Factory = Callable[[Path], ApprovalStore]


def sqlite(directory: Path) -> ApprovalStore:
    """A SQLite file."""
    return SqliteStore.open(directory / "approvals.sqlite3")


def moto(directory: Path) -> ApprovalStore:
    """A table of moto's DynamoDB."""
    name = "approvals-" + sha256(str(directory).encode()).hexdigest()[:16]
    client = dynamodb_client(moto_url())
    create_table(client, name)
    return DynamoStore(Table(client, name), InThreads())


def dynamodb_client(endpoint: str) -> AwsJsonClient:
    """A client of the DynamoDB at *endpoint*."""
    credentials = Credentials("test", "test", None)
    return AwsJsonClient(
        DYNAMODB, region="us-east-1", credentials=lambda: credentials, endpoint=endpoint
    )


def create_table(client: AwsJsonClient, name: str) -> None:
    """Make the table, if it is not there."""
    try:
        client.call("CreateTable", table_definition(name))
    except AwsRefused as exc:
        if exc.code != "ResourceInUseException":
            raise


FACTORIES: dict[str, Factory] = {"sqlite": sqlite, "dynamodb on moto": moto}
