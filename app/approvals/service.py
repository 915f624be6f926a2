"""Minting, showing, deciding, withdrawing: what the web, the function and the CLI call.

The order of things is the click protocol's. A decision is recorded in one transaction, which is the
instant at which it counts; then it is delivered, here for a few seconds and by the sweeper after
that. What callers are told is read from committed state, afterwards.
"""

import asyncio
import logging
import random
from base64 import b32encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from secrets import token_hex

from app.approvals.answers import AuditView, Decided, Minted, MintedLink, Notified, Page
from app.approvals.approval_ids import approval_id
from app.approvals.attempts import Uniform
from app.approvals.audit_check import chain_fault
from app.approvals.delivery import Delivery, Settlement
from app.approvals.document import request_document
from app.approvals.links import LinkSigner
from app.approvals.mail.cap import MailCap
from app.approvals.mail.model import ApprovalView, Notice
from app.approvals.model import Action, Approval, Decision, Holder, Payload, Request, State
from app.approvals.payloads import decision_payload, expiry_payload
from app.approvals.protocol import as_of
from app.approvals.reading import Reading
from app.approvals.request import MintBody, read_mint, read_notice
from app.approvals.seal import Sealer
from app.approvals.store.interface import ApprovalStore, Ballot, NewApproval, Owed
from app.approvals.targets import Target, TaskGone
from app.approvals.typed_text import clean_text, read_comment
from app.clock import Clock, utc_now
from app.errors import (
    BadRequest,
    Conflict,
    InvalidApprovalRequest,
    StoreUnavailable,
    StoreUnconfirmed,
    UnknownApproval,
)
from app.metrics import NO_METER, Meter
from app.strict_json import Json, canonical

log = logging.getLogger(__name__)

DEFAULT_EXPIRES_IN = 604_800
MAX_LIST = 100
MAX_USER_AGENT = 200


class ApprovalService(Reading):
    """Everything that can be done with approvals."""

    _store: ApprovalStore

    def __init__(
        self,
        *,
        store: ApprovalStore,
        targets: Mapping[str, Target],
        links: LinkSigner,
        sealer: Sealer,
        clock: Clock = utc_now,
        meter: Meter = NO_METER,
        default_expires_in: int = DEFAULT_EXPIRES_IN,
        mails_per_hour: int = 0,
        inline_s: float = 3.0,
        uniform: Uniform = random.uniform,
    ) -> None:
        """A service over *store*; new approvals go to the first of *targets*.

        *mails_per_hour* is the limit of each address; 0 is none.
        """
        super().__init__(store, links, clock)
        self._target = next(iter(targets))
        self._sealer = sealer
        self._meter = meter
        self._default_expires_in = default_expires_in
        self._inline_s = inline_s
        self._cap = MailCap(store, mails_per_hour, clock, meter)
        #: called when a mail was queued; the mail worker is woken by it
        self.on_mail_queued: Callable[[], None] = _nobody
        self.delivery = Delivery(
            store=store,
            targets=targets,
            sealer=sealer,
            clock=clock,
            meter=meter,
            uniform=uniform,
        )

    async def close(self) -> None:
        """Finish the deliveries under way. Decisions that are owed stay owed."""
        await self.delivery.stop()

    async def mint(self, body: Json) -> Minted:
        """The approval for *body*; the same one for a repeated request.

        Raises:
            InvalidApprovalRequest: with what to mend, by field.
            Conflict: the task token has an approval with other content.
            TooManyMails: a recipient got enough of them.
        """
        now = self._clock()
        mint = read_mint(body, now, self._default_expires_in)
        new_id = approval_id(self._target, mint.task_token)
        if self._cap.counts and await self._store.approval(new_id) is not None:
            return await self._minted_before(new_id, mint)
        await self._cap.admit(mint.request.recipients)
        new = NewApproval(
            id=new_id,
            target=self._target,
            request=mint.request,
            document=mint.document,
            fingerprint=mint.fingerprint,
            sealed_token=self._sealer.seal(mint.task_token, new_id),
            created_at=now,
        )
        if await self._store.mint(new):
            self.on_mail_queued()
            self._meter.count("mints", result="created")
            log.info("approval minted", extra={"approval": new.id})
            approval = Approval(new.id, new.target, new.request, State.PENDING, now)
            return Minted(approval, self._minted_links(approval), True, mint.warnings)
        return await self._minted_before(new.id, mint)

    async def open(self, new_id: str, task_token: str, request: Request) -> Approval:
        """A new approval of *task_token*, whose id the caller drew (`new_approval_id`).

        Callers of the sfn-callback-urls API may ask again for the same token, and then have two
        approvals of which the workflow takes one.
        """
        now = self._clock()
        document = request_document(request)
        await self._store.mint(
            NewApproval(
                id=new_id,
                target=self._target,
                request=request,
                document=document,
                fingerprint=sha256(canonical(document)).digest(),
                sealed_token=self._sealer.seal(task_token, new_id),
                created_at=now,
            )
        )
        self._meter.count("mints", result="created")
        log.info("approval minted", extra={"approval": new_id})
        return Approval(new_id, self._target, request, State.PENDING, now)

    async def decide(
        self,
        holder: Holder,
        approval: Approval,
        *,
        comment: str | None,
        from_ip: str | None,
        user_agent: str | None,
        payload: Payload | None = None,
    ) -> Decided:
        """Record that *holder* does what the link says, and tell the workflow.

        *approval* is what `find` gave; whether it may still be decided is asked once more, in the
        transaction that records. *payload* is what the workflow is told by a `Callback`; all other
        actions know it themselves.

        When somebody decided before, or it is too late, nothing changes and the answer says so.
        The answer waits a few seconds for the workflow, not longer.

        Raises:
            BadRequest: the comment is missing, too long or not wanted.
            StoreUnavailable: nothing was recorded.
            StoreUnconfirmed: it may have been recorded; looking again will tell.
        """
        action = approval.request.actions[holder.action]
        now = self._clock()
        state, decision = as_of(approval, now).state, None
        if state is State.PENDING:
            reason = read_comment(comment, action.comment)
            decision = _decision(approval, holder, action, reason, now)
            told = payload or decision_payload(approval.id, approval.request, decision)
            settlement = await self._record(approval, decision, told, from_ip, user_agent)
            if settlement is not None:
                return Decided(_settled(approval, decision, settlement), True, True)
        elif state is State.EXPIRED:
            await self.expire(approval)
        try:
            return await self._decided(holder, action, decision)
        except StoreUnavailable as exc:
            # It may well be recorded by now; only the reading failed.
            raise StoreUnconfirmed() from exc

    async def heartbeat(self, approval_id: str) -> None:
        """Tell the workflow that the task is still worked on; may be repeated.

        Raises:
            UnknownApproval: there is none with this id.
            TaskGone: nobody waits any more; a pending approval is closed.
            TargetBusy, TargetRefused: the workflow was not told.
        """
        stored = await self._store.stored(approval_id)
        if stored is None:
            raise UnknownApproval()
        try:
            await self.delivery.heartbeat(stored)
        except TaskGone as gone:
            await self.delivery.closed(approval_id, f"{gone.code} at a heartbeat")
            raise

    async def expire(self, approval: Approval) -> bool:
        """End an approval whose date has passed; whether it was still pending."""
        payload = expiry_payload(approval.id, approval.request)
        if not await self._store.expire(approval.id, payload, self._clock()):
            return False
        self._meter.count("expiries")
        log.info("approval expired", extra={"approval": approval.id})
        return True

    async def revoke(self, approval_id: str) -> Approval:
        """Withdraw an approval; nothing is told to the workflow.

        Raises:
            UnknownApproval: there is none with this id.
            Conflict: it was decided, or ended otherwise, before.
        """
        if await self._store.revoke(approval_id, self._clock()):
            log.info("approval revoked", extra={"approval": approval_id})
        approval = await self._known(approval_id)
        if approval.state is not State.REVOKED:
            raise Conflict(f"It cannot be withdrawn any more: its state is {approval.state}.")
        return approval

    async def resend(self, approval_id: str) -> Approval:
        """Send the mails of an approval again, to all its recipients.

        Raises:
            UnknownApproval: there is none with this id.
            Conflict: there is nothing left to decide.
            TooManyMails: a recipient got enough of them.
        """
        if self._cap.counts:
            await self._cap.admit((await self._known(approval_id)).request.recipients)
        sent = await self._store.resend(approval_id, self._clock())
        approval = await self._known(approval_id)
        if not sent:
            raise Conflict(f"There is nothing left to decide: its state is {approval.state}.")
        self.on_mail_queued()
        log.info("mails queued again", extra={"approval": approval_id})
        return approval

    async def show(self, approval_id: str) -> ApprovalView:
        """An approval and how its mails fare (UnknownApproval if there is none)."""
        return await self._view(await self._known(approval_id))

    async def list(self, *, state: str | None, limit: int, cursor: str | None) -> Page:
        """Up to *limit* approvals, newest first, and the cursor for the next ones.

        Raises:
            BadRequest: a state, limit or cursor that does not exist.
        """
        wanted = _state(state)
        if not 1 <= limit <= MAX_LIST:
            raise BadRequest(fields={"limit": f"A number from 1 to {MAX_LIST} is needed."})
        try:
            approvals, more = await self._store.list(wanted, limit, cursor)
        except ValueError as exc:
            raise BadRequest(fields={"cursor": "The next_cursor of a list is needed."}) from exc
        now = self._clock()
        return Page([await self._view(as_of(approval, now)) for approval in approvals], more)

    async def audit(self, approval_id: str) -> AuditView:
        """An approval's audit, checked (UnknownApproval if there is none)."""
        chain = await self._store.chain(approval_id)
        if chain is None:
            raise UnknownApproval()
        entries = [entry.document() for entry in chain.entries]
        return AuditView(entries, await chain_fault(self._store, chain) is None)

    async def notify(self, body: Json, *, request_id: str) -> Notified:
        """Queue the plain mail that *body* asks for; once for each *request_id*.

        Raises:
            InvalidApprovalRequest: with what to mend, by field.
            TooManyMails: one of them got enough.
        """
        wanted = read_notice(body)
        about = await self._newest_of(wanted.decision_of) if wanted.decision_of else None
        digest = sha256(b"signoff notice\0" + request_id.encode()).digest()
        notice = Notice(
            id=b32encode(digest[:16]).decode().rstrip("=").lower(),
            to=wanted.to,
            subject=wanted.subject,
            message=wanted.message,
            facts=wanted.facts,
            created_at=self._clock(),
            about=about,
        )
        if self._cap.counts and await self._store.notice(notice.id) is None:
            await self._cap.admit(notice.to)
        if await self._store.add_notice(notice):
            self.on_mail_queued()
            log.info("notice queued", extra={"notice": notice.id})
        return Notified(notice.id, len(notice.to))

    async def _newest_of(self, execution_arn: str) -> str:
        """The id of the execution's newest approval."""
        approval_id = await self._store.newest_of_execution(execution_arn)
        if approval_id is None:
            sentence = "No approval is known that was minted with this execution_arn."
            # State machines see the message only.
            message = f"One field is wrong. decision_of: {sentence}"
            raise InvalidApprovalRequest(message, fields={"decision_of": sentence})
        return approval_id

    async def _minted_before(self, approval_id: str, mint: MintBody) -> Minted:
        stored = await self._store.stored(approval_id)
        if stored is None or stored.fingerprint != mint.fingerprint:
            raise Conflict("This task token already has an approval with other content.")
        self._meter.count("mints", result="repeated")
        approval = as_of(stored.approval, self._clock())
        return Minted(approval, self._minted_links(approval), False, mint.warnings)

    def _minted_links(self, approval: Approval) -> tuple[MintedLink, ...]:
        return tuple(
            MintedLink(recipient.email, action.name, self.link(approval, who, what))
            for who, recipient in enumerate(approval.request.recipients)
            for what, action in enumerate(approval.request.actions)
        )

    async def _record(
        self,
        approval: Approval,
        decision: Decision,
        payload: Payload,
        from_ip: str | None,
        user_agent: str | None,
    ) -> Settlement | None:
        """What is stored of the delivery, if *decision* counts and was settled in time."""
        lease = self.delivery.lease()
        agent = clean_text(user_agent)[:MAX_USER_AGENT] if user_agent else None
        ballot = Ballot(approval.id, decision, payload, lease, from_ip, agent)
        sealed_token = await self._counts(ballot)
        if sealed_token is None:
            self._meter.count("decisions", result="late")
            return None
        self._meter.count("decisions", result="recorded")
        log.info("decision recorded", extra={"approval": approval.id})
        owed = Owed(
            approval_id=approval.id,
            target=approval.target,
            sealed_token=sealed_token,
            payload=payload,
            decision_id=decision.id,
            execution_arn=approval.request.execution_arn,
            attempts=1,
            lease=lease,
        )
        attempt = self.delivery.start(owed)
        await asyncio.wait({attempt}, timeout=self._inline_s)
        return attempt.result() if attempt.done() and not attempt.cancelled() else None

    async def _counts(self, ballot: Ballot) -> bytes | None:
        """The sealed task token if the ballot is the decision, else None."""
        try:
            return await self._store.decide(ballot)
        except StoreUnconfirmed as unconfirmed:
            try:
                found = await self._store.stored(ballot.approval_id)
            except StoreUnavailable:
                raise unconfirmed from None
            # Still pending proves nothing: what was written may come up when the store recovers.
            if found is None or found.approval.decision is None:
                raise
            mine = found.approval.decision.id == ballot.decision.id
            return found.sealed_token if mine else None

    async def _decided(self, holder: Holder, action: Action, wanted: Decision | None) -> Decided:
        approval = await self._known(holder.approval_id)
        decision = approval.decision
        mine = (
            decision is not None
            and decision.recipient == holder.recipient
            and decision.action == action.name
        )
        recorded = decision is not None and wanted is not None and decision.id == wanted.id
        return Decided(approval, mine, recorded)

    async def _known(self, approval_id: str) -> Approval:
        approval = await self._store.approval(approval_id)
        if approval is None:
            raise UnknownApproval()
        return as_of(approval, self._clock())

    async def _view(self, approval: Approval) -> ApprovalView:
        return ApprovalView(approval, await self._store.mail_states(approval.id))


def _nobody() -> None:
    """Nobody waits for mails."""


def _settled(approval: Approval, decision: Decision, settlement: Settlement) -> Approval:
    """*approval* as it is stored once *decision* is settled: final, so it need not be read back."""
    state, at = settlement.settled.state, settlement.at
    return replace(
        approval,
        state=state,
        decision=decision,
        closed_at=at,
        delivered_at=at if state is State.DELIVERED else None,
        needs_operator=False,
        evidence=settlement.settled.evidence,
    )


def _decision(
    approval: Approval, holder: Holder, action: Action, comment: str | None, now: datetime
) -> Decision:
    return Decision(
        id=token_hex(16),
        action=action.name,
        recipient=holder.recipient,
        by=approval.request.recipient(holder.recipient).email,
        at=now,
        comment=comment,
    )


def _state(name: str | None) -> State | None:
    try:
        return None if name is None else State(name)
    except ValueError as exc:
        names = ", ".join(State)
        raise BadRequest(fields={"state": f"One of these is needed: {names}."}) from exc
