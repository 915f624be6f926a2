"""dynalite: a DynamoDB written apart from moto, in another language, against AWS's own answers.

What it finds that moto does not: expressions that AWS would refuse (it was tested against AWS's
validation, sentence by sentence). What it cannot do: transactions, time to live and backups. So a
transaction is made here of single calls, one after the other under a lock, and taken back when a
condition fails; whether AWS's own are atomic is not for a test to show.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.approvals.store.dynamodb.table import Client
from app.aws_json import AwsRefused, AwsSilent
from app.strict_json import Json
from tests.approvals.store.tables import dynamodb_client
from tests.processes import free_port, wait_for

VERSION = "4.0.0"
_NEW = "ReturnValuesOnConditionCheckFailure"  #: a member that dynalite does not know
_NO_REASON = {"Code": "None"}
#: runs a program until its standard input ends: when our process does, killed or not
_AS_LONG_AS_WE = "process.stdin.on('end', process.exit).resume(); require(process.argv[1])"


class OneByOne:
    """A client of dynalite whose transactions are single calls."""

    def __init__(self, client: Client, lock: threading.Lock) -> None:
        self._client = client
        self._lock = lock

    def call(self, operation: str, members: Json) -> Json:
        writes = operation in ("TransactWriteItems", "UpdateItem")
        # A write that meets another is refused, as by AWS (there, if they meet at one item).
        if not self._lock.acquire(blocking=not writes):
            raise _conflict(operation)
        try:
            if operation == "TransactWriteItems":
                return self._transact(members["TransactItems"])
            return self._client.call(operation, _known(members))
        finally:
            self._lock.release()

    def close(self) -> None:
        self._client.close()

    def _transact(self, writes: list[Json]) -> Json:
        done: list[tuple[str, Json, Json]] = []
        for number, write in enumerate(writes):
            [(kind, members)] = write.items()
            table, key = members["TableName"], _key(members)
            before = self._client.call("GetItem", {"TableName": table, "Key": key}).get("Item")
            try:
                self._client.call(f"{kind}Item", _known(members))
            except AwsRefused as exc:
                self._take_back(done)
                if exc.code != "ConditionalCheckFailedException":
                    raise
                reasons = [_NO_REASON] * len(writes)
                old = {"Item": before} if before else {}
                reasons[number] = {"Code": "ConditionalCheckFailed", **old}
                raise AwsRefused(
                    "TransactionCanceledException", 400, {"CancellationReasons": reasons}
                ) from exc
            done.append((table, key, before))
        return {}

    def _take_back(self, done: list[tuple[str, Json, Json]]) -> None:
        for table, key, before in reversed(done):
            if before:
                self._client.call("PutItem", {"TableName": table, "Item": before})
            else:
                self._client.call("DeleteItem", {"TableName": table, "Key": key})


def _conflict(operation: str) -> AwsRefused:
    if operation == "UpdateItem":
        return AwsRefused("TransactionConflictException", 400, {})
    reasons = [{"Code": "TransactionConflict"}]
    return AwsRefused("TransactionCanceledException", 400, {"CancellationReasons": reasons})


def _known(members: Json) -> Json:
    return {name: value for name, value in members.items() if name != _NEW}


def _key(members: Json) -> Json:
    item = members.get("Key") or members["Item"]
    return {"pk": item["pk"], "sk": item["sk"]}


@cache
def dynalite_lock() -> threading.Lock:
    """Held by each call of this process, so that nobody sees half a transaction."""
    return threading.Lock()


@cache
def dynalite_url() -> str:
    """The address of dynalite, installed and started the first time; skips where that is not so."""
    program = _installed() / "node_modules" / "dynalite" / "cli.js"
    port = free_port()
    waits = ["--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        ["node", "-e", _AS_LONG_AS_WE, str(program), *where, *waits],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(_end, process)
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: _answers(url))
    return url


def _installed() -> Path:
    """Where npm put dynalite: once for a virtual environment."""
    target = Path(sys.prefix) / f"dynalite-{VERSION}"
    if target.exists():
        return target
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("dynalite needs node and npm")
    with tempfile.TemporaryDirectory(dir=sys.prefix) as made:
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"dynalite@{VERSION}"]
        done = subprocess.run(command, cwd=made, capture_output=True, timeout=300)
        if done.returncode != 0:
            pytest.skip("npm could not install dynalite")
        if not target.exists():
            os.rename(Path(made), target)
            Path(made).mkdir()  # for the context's own end
    return target


def _answers(url: str) -> bool:
    client = dynamodb_client(url)
    try:
        client.call("ListTables", {})
    except AwsSilent:
        return False
    finally:
        client.close()
    return True


def _end(process: subprocess.Popen[Any]) -> None:
    with process:  # closes its standard input, and waits
        process.kill()
