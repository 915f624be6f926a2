"""A real browser, and a real service for it to look at.

Browser tests share one loop and one browser. Contexts are made per test: people's have no
JavaScript, because nothing may need it; axe needs it, and gets contexts of its own.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect
from starlette.applications import Starlette
from starlette.types import ASGIApp

from app.approvals.channels.smtp import SmtpChannel, SmtpServer
from app.approvals.links import LinkSigner
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import Mailbox
from app.approvals.mail.outbox import MailWorker
from app.approvals.model import Approval
from app.approvals.pages.decision_pages import DecisionPages
from app.approvals.pages.frame import PageFrame
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.sqlite import SqliteStore
from app.approvals.targets.embedded import EmbeddedTarget
from app.inbox import Inbox
from app.web.decide import DecideFirst
from app.web.inbox import inbox_routes
from tests.approvals.asked import LANGUAGES, TEMPLATES
from tests.approvals.workflow import Workflow
from tests.approvals.world import HandClock, ring
from tests.processes import PATIENCE_S

Scheme = Literal["light", "dark"]

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = (360, 740)
DESK = (1280, 900)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's chromium, started once; without it, browser tests are skipped."""
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no browser; to run these tests: apt-get install chromium")
    expect.set_options(PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE_S * 1000
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def window(
    browser: Browser,
    size: tuple[int, int] = DESK,
    *,
    scheme: Scheme = "light",
    scripts: bool = False,
) -> AsyncIterator[Page]:
    """A page of *size* in a context of its own."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        java_script_enabled=scripts,
        locale="en-GB",
    )
    context.set_default_timeout(PATIENCE_S * 1000)
    try:
        yield await context.new_page()
    finally:
        await context.close()


@dataclass
class House:
    """A whole service with its mailbox, as far as people see it, and a workflow that waits."""

    url: str
    service: ApprovalService
    store: SqliteStore
    worker: MailWorker
    workflow: Workflow
    clock: HandClock

    async def ask(self, token: str = "token-1", **changes: Any) -> Approval:
        """The approval of a task that waits for *token*, its mails delivered."""
        minted = await self.service.mint(
            {
                "task_token": token,
                "execution_arn": self.workflow.wait_for(token),
                "title": "Deploy billing 4.2 to production",
                "message": "Release notes are in CHG-1182.",
                "facts": {"Change": "CHG-1182", "Risk": "medium"},
                "requester": {"name": "Ana Ruiz", "email": "ana@example.com"},
                "recipients": [{"email": "marc@example.com", "time_zone": "Europe/Berlin"}],
                "actions": [
                    {
                        "name": "approve",
                        "label": "Approve deployment",
                        "style": "primary",
                        "outcome": {"type": "success", "output": {"ok": True}},
                    },
                    {
                        "name": "reject",
                        "label": "Reject",
                        "style": "danger",
                        "comment": "required",
                        "outcome": {"type": "failure", "error": "Rejected"},
                    },
                ],
            }
            | changes
        )
        await self.worker.send_due()
        return minted.approval

    async def record(self, approval: Approval) -> Approval:
        """What is committed about *approval*."""
        found = await self.store.approval(approval.id)
        assert found is not None
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A service on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    clock, keys, workflow = HandClock(), ring(), Workflow()
    store = SqliteStore.open(tmp_path / "approvals.sqlite3")
    links = LinkSigner(keys, url)
    service = ApprovalService(
        store=store,
        targets={"embedded": EmbeddedTarget(workflow)},
        links=links,
        sealer=await open_sealer(keys, store),
        clock=clock,
        inline_s=PATIENCE_S,
    )
    pages = DecisionPages(
        service=service,
        nonces=links,
        languages=LANGUAGES,
        frame=PageFrame(TEMPLATES),
        clock=clock,
        base_url=url,
    )
    writer = MailWriter(
        TEMPLATES, LANGUAGES, mail_from=Mailbox("signoff@example.com"), link=service.link
    )
    async with (
        Inbox.running(tmp_path, "127.0.0.1", 0, clock) as inbox,
        inbox.listening("127.0.0.1", 0) as smtp_port,
        _served(DecideFirst(pages, Starlette(routes=[*inbox_routes(inbox)])), listener),
    ):
        channel = SmtpChannel(SmtpServer.parse(f"smtp://127.0.0.1:{smtp_port}"))
        worker = MailWorker(store=store, writer=writer, channel=channel, clock=clock)
        yield House(url, service, store, worker, workflow, clock)
        await worker.stop()
        await service.close()
        await store.close()


@asynccontextmanager
async def _served(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    yield
    server.should_exit = True
    server.force_exit = True
    await serving
