"""The store of many machines: one DynamoDB table that all of them share."""

from collections import deque
from functools import partial
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING, Self

from app.approvals.store.dynamodb import keys
from app.approvals.store.dynamodb.approval_items import ApprovalItems
from app.approvals.store.dynamodb.audit_items import AuditItems
from app.approvals.store.dynamodb.in_place import InPlace
from app.approvals.store.dynamodb.mail_items import MailItems
from app.approvals.store.dynamodb.table import ConditionFailed, Table, open_table
from app.approvals.store.dynamodb.wire import Item
from app.approvals.store.dynamodb.writes import Put, Update

if TYPE_CHECKING:
    from app.approvals.store.dynamodb.running import Run
    from app.approvals.store.interface import Wraps


OWN_MAILS = 10_000  #: more that wait here are found by the index


class DynamoStore(ApprovalItems, MailItems, AuditItems):
    """An `ApprovalStore` in one DynamoDB table."""

    def __init__(self, table: Table, run: "Run") -> None:
        """The store in *table*; *run* does what blocks."""
        super().__init__(table, run)
        self._own_mails = deque(maxlen=OWN_MAILS)

    @classmethod
    def open(cls, name: str, run: "Run | None" = None) -> Self:
        """The store in the table *name*, by the standard AWS variables.

        Without *run*, work is done in place: the caller has nothing else to do meanwhile.

        Raises:
            StartRefused: there is no region, or there are no credentials.
        """
        return cls(open_table(name), run or InPlace())

    @property
    def table(self) -> Table:
        """The table: for checks of it."""
        return self._table

    async def close(self) -> None:
        """Hang up."""
        self._run.close()
        self._table.close()

    async def probe(self) -> None:
        """The smallest write there is."""
        await self._run(partial(self._table.update, Update(keys.PROBE, (), {"probed": 1})))

    async def keep_wraps(self, wraps: "Wraps") -> "Wraps":
        """The wraps that are stored: *wraps* if there were none before."""
        return await self._run(partial(_keep_wraps, self._table, wraps))

    async def replace_wraps(self, old: "Wraps", new: "Wraps") -> bool:
        """Store *new* if *old* is what is stored; whether that was so."""
        change = Update(keys.WRAPS, (("version", "=", _version(old)),), _wraps(new))
        return await self._run(partial(self._table.update, change)) is not None


def _keep_wraps(table: Table, wraps: "Wraps") -> "Wraps":
    stored = table.get(keys.WRAPS)
    if stored is None and wraps:
        try:
            table.transact([Put({**keys.WRAPS._asdict(), **_wraps(wraps)})], token_hex(16))
        except ConditionFailed:
            stored = table.get(keys.WRAPS)
        else:
            return wraps
    return stored["wraps"] if stored else {}


def _wraps(wraps: "Wraps") -> Item:
    return {"wraps": dict(wraps), "version": _version(wraps)}


def _version(wraps: "Wraps") -> str:
    """What tells these wraps from others, in one value that a condition can compare."""
    pairs = [f"{key_id}:{wrap.hex()}" for key_id, wrap in sorted(wraps.items())]
    return sha256("\n".join(pairs).encode()).hexdigest()
