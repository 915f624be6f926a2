"""Reading approvals: all that a decision page asks of the store.

Apart from the moves, so that a function that only shows a page loads no more than this.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.approvals.store.dynamodb import keys, rows
from app.approvals.store.dynamodb.rows import Kept, SeenRows
from app.approvals.store.dynamodb.wire import Item
from app.approvals.store.parsed_requests import ParsedRequests

if TYPE_CHECKING:
    from app.approvals.model import Approval
    from app.approvals.store.dynamodb.running import Run
    from app.approvals.store.dynamodb.table import Table


class ApprovalReader:
    """Reads approvals one by one."""

    def __init__(self, table: "Table", run: "Run") -> None:
        self._table = table
        self._run = run
        self._kept: ParsedRequests[str, Kept] = ParsedRequests()
        self._seen = SeenRows()

    async def approval(self, approval_id: str) -> "Approval | None":
        """The approval with this id."""
        found = await self._run(partial(self._load, approval_id))
        return rows.read_approval(found[0], found[1].request) if found else None

    def _load(self, approval_id: str) -> tuple[Item, Kept] | None:
        """The row as it is, and what never changes (from memory, if it is there)."""
        kept = self._kept.get(approval_id)
        if kept is not None:
            known = self._table.get(keys.row_key(approval_id))
            if known is not None:
                self._seen.keep(known)
            return (known, kept) if known else None
        pk = keys.partition(approval_id)
        items = list(self._table.query([("pk", "=", pk), ("sk", "between", ("a", "b~"))]))
        if len(items) < 2:
            return None
        row, *parts = items
        self._seen.keep(row)
        return row, self._keep(approval_id, row, parts)

    def _keep(self, approval_id: str, row: Item, parts: Sequence[Item]) -> Kept:
        kept = rows.read_kept(row, parts)
        self._kept.keep(approval_id, kept, kept.size)
        return kept
