"""Clients and tables for tests, at any address that speaks DynamoDB's API."""

from typing import ClassVar

from app.approvals.store.dynamodb.definition import table_definition
from app.approvals.store.dynamodb.table import Client
from app.aws_json import DYNAMODB, AwsJsonClient, AwsRefused, Credentials
from app.strict_json import Json
from tests.processes import PATIENCE_S, wait_for


def dynamodb_client(endpoint: str) -> AwsJsonClient:
    """A client of the DynamoDB at *endpoint*."""
    credentials = Credentials("test", "test", None)
    return AwsJsonClient(
        DYNAMODB,
        region="us-east-1",
        credentials=lambda: credentials,
        endpoint=endpoint,
        connect_s=PATIENCE_S,
        read_s=PATIENCE_S,
    )


def create_table(client: Client, name: str) -> None:
    """Make the table, if it is not there."""
    try:
        client.call("CreateTable", table_definition(name))
    except AwsRefused as exc:
        if exc.code != "ResourceInUseException":
            raise
    wait_for(lambda: _is_ready(client, name))


def _is_ready(client: Client, name: str) -> bool:
    table = client.call("DescribeTable", {"TableName": name})["Table"]
    return bool(table["TableStatus"] == "ACTIVE")


class WithTokens:
    """A client of a stand-in, with what AWS does with the token of a transaction.

    Within ten minutes the same token with the same parameters is answered as it was, and not
    applied again; with other parameters it is refused. Neither moto nor dynalite do that.
    """

    _made: ClassVar[dict[tuple[str, str], Json]] = {}  # by table and token

    def __init__(self, client: Client) -> None:
        self._client = client

    def call(self, operation: str, members: Json) -> Json:
        if operation != "TransactWriteItems":
            return self._client.call(operation, members)
        [first] = members["TransactItems"][0].values()
        token = (first["TableName"], members["ClientRequestToken"])
        if self._made.get(token, members) != members:
            raise AwsRefused("IdempotentParameterMismatchException", 400, {})
        if token not in self._made:
            self._client.call(operation, members)
            self._made[token] = members
        return {}

    def close(self) -> None:
        self._client.close()
