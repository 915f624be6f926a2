"""A whole approvals half for tests: real store on disk, service and sweeper, a clock by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.approvals.answers import Decided, Minted
from app.approvals.compat.http import Callbacks
from app.approvals.compat.link import Switches
from app.approvals.function import SignoffFunction
from app.approvals.keyring import KeyRing
from app.approvals.language_files import load_languages
from app.approvals.links import LinkSigner
from app.approvals.model import Approval, Holder
from app.approvals.pages.frame import PageFrame
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.interface import ApprovalStore
from app.approvals.store.sqlite import SqliteStore
from app.approvals.sweeper import Sweeper
from app.approvals.targets import Target
from app.approvals.targets.embedded import EmbeddedTarget
from app.strict_json import Json
from app.templating import environment
from tests.approvals.workflow import Workflow
from tests.processes import PATIENCE_S

NOW = datetime(2025, 11, 12, 9, 41, tzinfo=UTC)
BASE_URL = "https://signoff.example.com"
OTHER_BASE_URL = "https://abc123.execute-api.eu-west-1.amazonaws.com/v1"
KEY = "uT3-Vq0_nM7xL1kZc9RbYw5sHd8fGj2p"
OLDER_KEY = "kP9_wQ2-rT6yU1iO4aS8dF3gH7jK5lZ0"


#: how worlds open their stores; the fixture `each_store` puts another in its place
open_store: Callable[[Path], ApprovalStore] = SqliteStore.open


@dataclass
class HandClock:
    """Stands still until it is told to go."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **of_timedelta: float) -> None:
        """Let time pass."""
        self.now += timedelta(**of_timedelta)


@dataclass
class World:
    """What a test has in its hands."""

    store: ApprovalStore
    service: ApprovalService
    sweeper: Sweeper
    workflow: Workflow
    clock: HandClock
    ring: KeyRing
    links: LinkSigner
    minted: list[Minted] = field(default_factory=list)

    async def mint(self, token: str = "token-1", **changes: Any) -> Approval:
        """The approval of a task that waits for *token*."""
        body = mint_body(token, execution_arn=self.workflow.wait_for(token)) | changes
        minted = await self.service.mint(body)
        self.minted.append(minted)
        return minted.approval

    async def decide(
        self,
        approval: Approval,
        action: str = "approve",
        *,
        by: int = 0,
        comment: str | None = None,
    ) -> Decided:
        """What recipient *by* gets to see after deciding."""
        names = [known.name for known in approval.request.actions]
        holder = Holder(approval.id, by, names.index(action))
        found = await self.service.find(holder)
        return await self.service.decide(
            holder, found, comment=comment, from_ip="192.0.2.7", user_agent="Browser/1"
        )

    async def record(self, approval: Approval) -> Approval:
        """What is committed about *approval*."""
        found = await self.store.approval(approval.id)
        assert found is not None
        return found

    async def events(self, approval: Approval) -> list[str]:
        """The names of its audit entries."""
        chain = await self.store.chain(approval.id)
        assert chain is not None
        return [entry.event for entry in chain.entries]

    async def settle(self, rounds: int = 20) -> None:
        """Sweep on while time passes, until nothing is owed."""
        for _ in range(rounds):
            await self.sweep()
            if (await self.store.backlog()).answers == 0:
                return
            self.clock.advance(seconds=61)

    async def sweep(self) -> None:
        """One round of the sweeper, and the deliveries it began."""
        await self.sweeper.sweep()
        await self.service.delivery.idle()

    def callbacks(self, **switches: bool) -> Callbacks:
        """The sfn-callback-urls API over this service."""
        return Callbacks(
            service=self.service,
            links=self.links,
            frame=PageFrame(environment()),
            languages=load_languages(),
            switches=Switches(**switches),
            base_url=BASE_URL,
            more_base_urls=(OTHER_BASE_URL,),
            clock=self.clock,
        )

    def function(self) -> SignoffFunction:
        """The function ``signoff``."""
        return SignoffFunction(self.service, self.callbacks().urls)

    async def close(self) -> None:
        """Stop orderly."""
        self.workflow.release.set()
        await self.sweeper.stop()
        await self.service.close()
        await self.store.close()


def mint_body(token: str = "token-1", **changes: Any) -> Json:
    """A mint request with two recipients."""
    body = {
        "task_token": token,
        "title": "Deploy billing 4.2 to production",
        "recipients": ["marc@example.com", {"email": "lena@example.com", "name": "Lena Vogt"}],
    }
    return body | changes


def ring(*secrets: str) -> KeyRing:
    """A ring of these secrets, or of one."""
    return KeyRing(secrets or (KEY,))


async def open_world(
    path: Path,
    *,
    workflow: Workflow | None = None,
    clock: HandClock | None = None,
    keys: KeyRing | None = None,
    target: Target | None = None,
    opens: Callable[[Path], ApprovalStore] | None = None,
    alone: bool = True,
    every_s: float = 1.0,
    inline_s: float = PATIENCE_S,
    **of_service: Any,
) -> World:
    """A world over the store in *path*; opening the same one again is what a restart does."""
    keys = keys or ring()
    clock = clock or HandClock()
    workflow = workflow or Workflow()
    store = (opens or open_store)(path)
    links = LinkSigner(keys, BASE_URL)
    service = ApprovalService(
        store=store,
        targets={"embedded": target or EmbeddedTarget(workflow)},
        links=links,
        sealer=await open_sealer(keys, store),
        clock=clock,
        uniform=lambda low, high: high,
        inline_s=inline_s,
        **of_service,
    )
    sweeper = Sweeper(
        service=service, store=store, ring=keys, clock=clock, every_s=every_s, alone=alone
    )
    return World(store, service, sweeper, workflow, clock, keys, links)
