"""Calls of one table, repeated until they are answered, for as long as anybody waits.

What DynamoDB answers is one of four things, and each asks for something else: done; a condition
does not hold (`ConditionFailed`); not now (throttled, another transaction is at it, no answer: the
same call again, after a pause that grows and is drawn at random); never (a permission, a table
that does not exist: `StoreUnavailable`, and a line in the log). When the patience ends,
`StoreUnconfirmed` says that an attempt may have counted.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from app.approvals.store.dynamodb.wire import Condition, Item, Key, from_wire_item, query
from app.aws_json import (
    DYNAMODB,
    AwsJsonClient,
    AwsRefused,
    AwsSilent,
    find_credentials,
    find_region,
)
from app.errors import StoreError, StoreUnavailable, StoreUnconfirmed
from app.json_value import Json

if TYPE_CHECKING:
    from app.approvals.store.dynamodb.writes import Update, Write

log = logging.getLogger(__name__)

PATIENCE_S = 8.0  #: for one call with all its repetitions, begun before it is over
PAUSE_S = 0.025  #: the longest first pause; doubled each time
PAUSE_MAX_S = 1.0

_CONDITION = "ConditionalCheckFailed"
#: reasons of a cancelled transaction, and codes, that say: the same again, later
_LATER = frozenset(
    {
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        # Temporary credentials that ended on the way: the next attempt is signed with new ones.
        "ExpiredTokenException",
        "ExpiredToken",
    }
)
#: an earlier attempt is still at it
_IN_PROGRESS = "TransactionInProgressException"

_BATCH = 100  #: keys in one BatchGetItem


class Reason(NamedTuple):
    """Why one write of a transaction was not made."""

    failed: bool  #: its condition did not hold
    old: Item | None  #: the item as it is, if there is one


class ConditionFailed(Exception):
    """At least one condition did not hold, so nothing was written by this attempt."""

    def __init__(self, reasons: Sequence[Reason], *, after_silence: bool) -> None:
        super().__init__()
        self.reasons = reasons  #: one for each write
        #: an earlier attempt had no answer: it may be the very reason why the condition failed
        self.after_silence = after_silence


class Client(Protocol):
    """One attempt at a call; an `AwsJsonClient`."""

    def call(self, operation: str, members: Json) -> Json:
        """The answer.

        Raises:
            AwsRefused, AwsSilent
        """

    def close(self) -> None:
        """Hang up."""


class Table:
    """One table. Blocking; each thread may use it."""

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self.name = name
        self._monotonic = monotonic
        self._sleep = sleep

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def get(self, key: Key) -> Item | None:
        """The item at *key*."""
        members = {"TableName": self.name, "Key": key.wire, "ConsistentRead": True}
        item = self._read("GetItem", members).get("Item")
        return from_wire_item(item) if item else None

    def get_all(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """The items at *keys*, as far as there are any."""
        found: dict[Key, Item] = {}
        left = [key.wire for key in dict.fromkeys(keys)]  # DynamoDB takes no key twice
        ends = self._monotonic() + PATIENCE_S
        while left:
            batch, left = left[:_BATCH], left[_BATCH:]
            wanted = {self.name: {"Keys": batch, "ConsistentRead": True}}
            answer = self._read("BatchGetItem", {"RequestItems": wanted})
            [wires] = answer["Responses"].values() or ((),)
            for item in map(from_wire_item, wires):
                found[Key(item["pk"], item["sk"])] = item
            missed = [
                key for table in answer.get("UnprocessedKeys", {}).values() for key in table["Keys"]
            ]
            if missed:  # throttled, or more than one answer holds
                self._wait(ends, PAUSE_S)
            left += missed
        return found

    def query(
        self,
        conditions: Sequence[Condition],
        *,
        index: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Item]:
        """The items under *conditions* on the keys, in the order of their sort key."""
        members = query(self.name, conditions, index) | {"ScanIndexForward": not newest_first}
        while True:
            answer = self._read("Query", members if limit is None else members | {"Limit": limit})
            yield from map(from_wire_item, answer["Items"])
            limit = None if limit is None else limit - len(answer["Items"])
            if "LastEvaluatedKey" not in answer or limit == 0:
                return
            members["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def count(self, conditions: Sequence[Condition], *, index: str) -> int:
        """How many items of *index* fulfil *conditions*."""
        members = query(self.name, conditions, index) | {"Select": "COUNT"}
        total = 0
        while True:
            answer = self._read("Query", members)
            total += int(answer["Count"])
            if "LastEvaluatedKey" not in answer:
                return total
            members["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def scan(self) -> Iterator[Item]:
        """Every item; those of one partition follow each other, in the order of their sort key."""
        members: dict[str, Any] = {"TableName": self.name, "ConsistentRead": True}
        while True:
            answer = self._read("Scan", members)
            yield from map(from_wire_item, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            members["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def update(self, change: "Update") -> Item | None:
        """The item after *change*; None if its conditions do not hold.

        A change that was made by an attempt whose answer was lost is told by what it sets; so
        that must be of the caller's own.
        """
        members = change.wire(self.name) | {"ReturnValues": "ALL_NEW"}
        try:
            return from_wire_item(self._write("UpdateItem", members)["Attributes"])
        except ConditionFailed as failed:
            item = failed.reasons[0].old
            made = item is not None and change.sets.items() <= item.items()
            return item if failed.after_silence and made else None

    def transact(self, writes: "Sequence[Write]", token: str) -> None:
        """All of *writes*, or none. Within ten minutes the same *token* counts once.

        Raises:
            ConditionFailed: with the reason of each write.
        """
        items = [{type(write).__name__: write.wire(self.name)} for write in writes]
        self._write("TransactWriteItems", {"TransactItems": items, "ClientRequestToken": token})

    def _read(self, operation: str, members: Json) -> Json:
        try:
            return self._write(operation, members)
        except StoreError as exc:
            raise StoreUnavailable("The store cannot be read at the moment.") from exc

    def _write(self, operation: str, members: Json) -> Json:
        ends = self._monotonic() + PATIENCE_S
        pause_s, open_ = PAUSE_S, False
        while True:
            try:
                return self._client.call(operation, members)
            except AwsSilent as silence:
                open_ = open_ or silence.sent
                reason = silence.reason
            except AwsRefused as refusal:
                reason = _why_later(refusal, operation, after_silence=open_)
                open_ = open_ or refusal.status >= 500 or reason == _IN_PROGRESS
            try:
                self._wait(ends, pause_s)
            except StoreUnavailable:
                log.warning("the table does not answer", extra={"call": operation, "why": reason})
                if open_:
                    raise StoreUnconfirmed() from None
                raise
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _wait(self, ends: float, pause_s: float) -> None:
        """Pause for a random part of *pause_s*; StoreUnavailable if that is too long."""
        if self._monotonic() + pause_s > ends:
            raise StoreUnavailable()
        # Not at the top: a call that is answered at once has no pauses to spread.
        from random import uniform  # noqa: PLC0415

        self._sleep(uniform(0, pause_s))  # noqa: S311  # keeps no secret


def open_table(name: str) -> Table:
    """The table called *name*, by the standard AWS variables.

    Raises:
        StartRefused: there is no region, or there are no credentials.
    """
    client = AwsJsonClient(
        DYNAMODB,
        region=find_region(),
        credentials=find_credentials(),
        connect_s=1.0,
        read_s=3.0,
    )
    return Table(client, name)


def _why_later(refusal: AwsRefused, operation: str, *, after_silence: bool) -> str:
    """The reason for which to make the same call again.

    Raises:
        ConditionFailed, StoreUnavailable, StoreUnconfirmed: do not.
    """
    reasons = _reasons(refusal)
    if any(reason.failed for reason in reasons):
        raise ConditionFailed(reasons, after_silence=after_silence) from refusal
    codes = _codes(refusal)
    for code in codes:
        if code in _LATER or refusal.status >= 500:
            return code
    log.error("the table refuses", extra={"call": operation, "code": ",".join(codes)})
    raise StoreUnconfirmed() if after_silence else StoreUnavailable() from refusal


def _codes(refusal: AwsRefused) -> list[str]:
    """The codes of the transaction's writes, or that of the call."""
    told = [reason.get("Code", "None") for reason in _cancellations(refusal)]
    return [code for code in told if code != "None"] or [refusal.code]


def _reasons(refusal: AwsRefused) -> list[Reason]:
    if refusal.code == _CONDITION + "Exception":
        return [_reason({"Code": _CONDITION, **refusal.answer})]
    return [_reason(reason) for reason in _cancellations(refusal)]


def _reason(told: Json) -> Reason:
    old = told.get("Item")
    return Reason(told.get("Code") == _CONDITION, from_wire_item(old) if old else None)


def _cancellations(refusal: AwsRefused) -> Sequence[Json]:
    told: Sequence[Json] = refusal.answer.get("CancellationReasons") or ()
    return told
