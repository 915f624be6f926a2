"""Clients and tables for tests, at any address that speaks DynamoDB's API."""

from app.approvals.store.dynamodb.definition import table_definition
from app.approvals.store.dynamodb.table import Client
from app.aws_json import DYNAMODB, AwsJsonClient, AwsRefused, Credentials
from tests.processes import wait_for


def dynamodb_client(endpoint: str) -> AwsJsonClient:
    """A client of the DynamoDB at *endpoint*."""
    credentials = Credentials("test", "test", None)
    return AwsJsonClient(
        DYNAMODB, region="us-east-1", credentials=lambda: credentials, endpoint=endpoint
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
