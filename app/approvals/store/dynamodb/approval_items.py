"""Approvals in DynamoDB."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from app.approvals.model import Approval, Payload, State
from app.approvals.store.dynamodb import answers, approval_moves, keys, rows
from app.approvals.store.dynamodb.definition import STATE_INDEX
from app.approvals.store.dynamodb.due import EXPIRY, LOOK, due
from app.approvals.store.dynamodb.mail_items import mail_keys
from app.approvals.store.dynamodb.minting import mint
from app.approvals.store.dynamodb.moves import Plan, make_move
from app.approvals.store.dynamodb.reading import ApprovalReader
from app.approvals.store.dynamodb.table import Table
from app.approvals.store.dynamodb.wire import Condition, Item, Key
from app.approvals.store.dynamodb.writes import Update
from app.approvals.store.interface import Backlog, Ballot, Lease, NewApproval, Owed, Stored
from app.clock import to_ms

if TYPE_CHECKING:
    from app.approvals.attempts import Settled

_CURSOR = re.compile(r"[0-9]{13}#[!-~]{1,64}", re.ASCII)


class ApprovalItems(ApprovalReader):
    """The `Approvals` of a DynamoDB store."""

    _own_mails: deque[Key]

    async def mint(self, new: NewApproval) -> bool:
        """Store a new approval; whether it is new."""
        minted = await self._run(partial(mint, self._table, new))
        if minted:
            mails = mail_keys(keys.partition(new.id), 0, len(new.request.recipients))
            self._own_mails.extend(mails)
        return minted

    async def stored(self, approval_id: str) -> Stored | None:
        """The approval with this id."""
        found = await self._run(partial(self._load, approval_id))
        if found is None:
            return None
        row, kept = found
        approval = rows.read_approval(row, kept.request)
        return Stored(approval, kept.sealed_token, kept.fingerprint)

    async def newest_of_execution(self, execution_arn: str) -> str | None:
        """The id of the execution's newest approval."""
        return await self._run(partial(_newest_of_execution, self._table, execution_arn))

    async def list(
        self, state: State | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[Approval], str | None]:
        """Up to *limit* approvals, newest first, and the cursor for the next ones."""
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise ValueError("not a cursor of this store")
        return await self._run(partial(self._list, state, limit, cursor))

    async def expired(self, now: datetime, limit: int) -> Sequence[Approval]:
        """PENDING approvals whose date has passed, longest ago first."""

        def expired() -> Sequence[Approval]:
            past = due(self._table, EXPIRY, limit, now)
            found = self._load_all([keys.approval_of(item["pk"]) or "" for item in past])
            return [one for one in found if _is_past(one, now)]

        return await self._run(expired)

    async def decide(self, ballot: Ballot) -> bytes | None:
        """PENDING -> DECIDED; the sealed task token if this ballot did it."""

        def decide() -> bytes | None:
            # Read first: once the decision is recorded, nothing may fail any more.
            token = self._sealed_token(ballot.approval_id)
            plan = partial(approval_moves.decide, ballot)
            made = make_move(
                self._table,
                ballot.approval_id,
                plan,
                token=ballot.decision.id,
                seen=self._seen,
            )
            return token if made else None

        return await self._run(decide)

    async def expire(self, approval_id: str, payload: Payload | None, now: datetime) -> bool:
        """PENDING -> EXPIRED; whether this call did it."""
        return await self._move(approval_id, partial(approval_moves.expire, payload, now))

    async def revoke(self, approval_id: str, now: datetime) -> bool:
        """PENDING -> REVOKED; whether this call did it."""
        return await self._move(approval_id, partial(approval_moves.revoke, now))

    async def task_closed(self, approval_id: str, evidence: str, now: datetime) -> bool:
        """PENDING -> CLOSED; whether this call did it."""
        return await self._move(approval_id, partial(approval_moves.task_closed, evidence, now))

    async def claim_pending(self, now: datetime, limit: int) -> Sequence[Stored]:
        """PENDING approvals whose task is to be looked at now."""

        def claim() -> Sequence[Stored]:
            found = due(self._table, LOOK, limit, now) if limit > 0 else []
            claimed = [self._claim_pending(item, now) for item in found]
            return [stored for stored in claimed if stored is not None]

        return await self._run(claim)

    async def claim(self, lease: Lease, now: datetime, limit: int) -> Sequence[Owed]:
        """Take answers that are due."""
        return await self._run(partial(answers.claim, self._table, lease, now, limit))

    async def settle(self, approval_id: str, settled: "Settled", now: datetime) -> bool:
        """End what is owed; whether it was still owed."""
        return await self._move(approval_id, partial(approval_moves.settle, settled, now))

    async def postpone(
        self, owed: Owed, next_at: datetime, reason: str, needs_operator: bool, now: datetime
    ) -> None:
        """Give a lease back: due again at *next_at*."""
        sets = {"due_at": to_ms(next_at), "evidence": reason, "needs_operator": needs_operator}
        await self._run(partial(answers.postpone, self._table, owed, sets, now))

    async def release(self, owner: str | None, now: datetime) -> None:
        """Give back the leases of *owner* (None: of everyone)."""
        await self._run(partial(answers.release, self._table, owner, now))

    async def backlog(self) -> Backlog:
        """What is owed at the moment."""
        return await self._run(partial(answers.backlog, self._table))

    async def _move(self, approval_id: str, plan: Plan) -> bool:
        return await self._run(partial(make_move, self._table, approval_id, plan, seen=self._seen))

    def _claim_pending(self, item: Item, now: datetime) -> Stored | None:
        """The approval, which is ours to look at; None if somebody was faster, or it is over."""
        found = self._load(keys.approval_of(item["pk"]) or "")
        if found is None:
            return None
        row, kept = found
        held = (("due", "=", item["due"]), ("due_at", "=", item["due_at"]))
        sets = rows.pending(row, kept.request, now)
        if self._table.update(Update(Key(item["pk"], item["sk"]), held, sets)) is None:
            return None
        approval = rows.read_approval(row, kept.request)
        return Stored(approval, kept.sealed_token, kept.fingerprint)

    def _sealed_token(self, approval_id: str) -> bytes | None:
        kept = self._kept.get(approval_id)
        if kept is not None:
            return kept.sealed_token
        first = self._table.get(keys.request_key(approval_id))
        return first["token"] if first else None

    def _load_all(self, approval_ids: Sequence[str]) -> Sequence[Approval]:
        """The approvals with these ids, in this order, read in few calls."""
        wanted = [keys.row_key(one) for one in approval_ids]
        wanted += [keys.request_key(one) for one in approval_ids if self._kept.get(one) is None]
        items = self._table.get_all(wanted)
        found = (self._assembled(one, items) for one in approval_ids)
        return [approval for approval in found if approval is not None]

    def _assembled(self, approval_id: str, items: dict[Key, Item]) -> Approval | None:
        row = items.get(keys.row_key(approval_id))
        if row is None:
            return None
        kept = self._kept.get(approval_id)
        first = items.get(keys.request_key(approval_id))
        if kept is None and (first is None or row["parts"] > 1):
            found = self._load(approval_id)
            return rows.read_approval(found[0], found[1].request) if found else None
        if kept is None and first is not None:
            kept = self._keep(approval_id, row, [first])
        return rows.read_approval(row, kept.request) if kept else None

    def _list(
        self, state: State | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[Approval], str | None]:
        states = list(State) if state is None else [state]
        ways = [_by_place(self._table, one, limit + 1, cursor) for one in states]
        newest = merge(*ways, key=lambda item: item["place"], reverse=True)
        items = list(islice(newest, limit + 1))
        more = items[limit - 1]["place"] if len(items) > limit else None
        ids = dict.fromkeys(keys.approval_of(item["pk"]) or "" for item in items[:limit])
        found = self._load_all(list(ids))
        return [one for one in found if state in (None, one.state)], more


def _newest_of_execution(table: Table, execution_arn: str) -> str | None:
    listed: list[Condition] = [("pk", "=", keys.execution_partition(execution_arn))]
    for item in table.query(listed, limit=1, newest_first=True):
        return str(item["sk"]).partition("#")[2]
    return None


def _by_place(table: Table, state: State, limit: int, cursor: str | None) -> Iterator[Item]:
    before: list[Condition] = [("place", "<", cursor)] if cursor else []
    conditions: list[Condition] = [("state", "=", state.value), *before]
    return table.query(conditions, index=STATE_INDEX, limit=limit, newest_first=True)


def _is_past(approval: Approval, now: datetime) -> bool:
    return approval.state is State.PENDING and approval.request.expires_at <= now
