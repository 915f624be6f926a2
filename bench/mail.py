"""Mails per second: a filled outbox, sent over kept connections to aiosmtpd in another process."""

import asyncio
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.approvals.channels.smtp import SmtpChannel, SmtpServer
from app.approvals.keyring import KeyRing
from app.approvals.language_files import load_languages
from app.approvals.links import LinkSigner
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import Mailbox
from app.approvals.mail.outbox import MailWorker
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.sqlite import SqliteStore
from app.approvals.targets import Target
from app.secret_files import new_secret_key
from app.templating import environment
from tests.processes import free_port

MAILS = 3_000
#: nobody decides here, so nobody asks it
_NOWHERE = cast(Target, object())


async def mails_per_second(directory: Path) -> float:
    """How many mails a second leave a filled outbox: claimed, rendered, sent, settled."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "bench.mail", str(port)], stdout=-1)
    assert server.stdout is not None
    server.stdout.readline()  # it listens
    store = SqliteStore.open(directory / "approvals.sqlite3")
    try:
        worker = await _filled(store, port)
        started = perf_counter()
        await worker.send_due()
        seconds = perf_counter() - started
        left = (await store.backlog()).mails
        if left:
            raise SystemExit(f"{left} mails were not sent")
        await worker.stop()
        return MAILS / seconds
    finally:
        await store.close()
        server.terminate()
        server.wait()
        server.stdout.close()


async def _filled(store: SqliteStore, port: int) -> MailWorker:
    ring = KeyRing([new_secret_key()])
    links = LinkSigner(ring, "https://signoff.example.com")
    sealer = await open_sealer(ring, store)
    service = ApprovalService(store=store, targets={"none": _NOWHERE}, links=links, sealer=sealer)
    await asyncio.gather(*(service.mint(_request(number)) for number in range(MAILS // 2)))
    writer = MailWriter(
        environment(), load_languages(), mail_from=Mailbox("signoff@example.com"), link=service.link
    )
    channel = SmtpChannel(SmtpServer.parse(f"smtp://127.0.0.1:{port}"))
    return MailWorker(store=store, writer=writer, channel=channel)


def _request(number: int) -> dict[str, object]:
    return {
        "task_token": f"bench-{number}-" + "x" * 100,
        "title": "Deploy billing 4.2 to production",
        "message": "All checks passed on staging. Release notes are in CHG-1182.",
        "facts": {"Change": "CHG-1182", "Service": "billing", "Risk": "medium"},
        "requester": {"name": "Ana Ruiz", "email": "ana@example.com"},
        "recipients": [
            {"email": f"marc{number}@example.com", "name": "Marc", "time_zone": "Europe/Berlin"},
            {"email": f"lena{number}@example.com", "name": "Lena"},
        ],
    }


class _Sink:
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "250 taken"


def main(port: int) -> None:
    """Take mail on *port* until terminated."""
    controller = Controller(_Sink(), hostname="127.0.0.1", port=port)
    controller.start()
    print("listening", flush=True)
    asyncio.new_event_loop().run_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
