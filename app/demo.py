"""The demo: a service with secrets of its own, a mailbox, and the example workflow."""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from app.errors import StartRefused, StateMachineAlreadyExists
from app.inbox import Inbox
from app.logs import configure_logs
from app.main import FUNCTION, service
from app.run import Running, load_functions, prepare, settle
from app.secret_files import API_KEY_FILE, SECRET_FILE, keep_secret
from app.server import Stop, serve
from app.settings import LOOPBACK, ChannelKind, Settings, TargetKind, authority
from app.strict_json import Json, dumps, loads
from app.templating import shipped_directory

STATE_MACHINE = "approval-example"
SENDER = "signoff@signoff.example"


class Workflows(Protocol):
    """What the demo needs of an engine: verbs of the Step Functions API."""

    async def create_state_machine(self, *, name: str, definition: str, role_arn: str) -> Json:
        """Create it, or answer as before when it is there."""

    async def update_state_machine(self, *, state_machine_arn: str, definition: str) -> Json:
        """Give it another definition."""

    async def list_executions(
        self, *, state_machine_arn: str, status_filter: str, max_results: int
    ) -> Json:
        """Some of its executions."""

    async def start_execution(self, *, state_machine_arn: str, input: str) -> Json:
        """Start it."""


async def run_demo(settings: Settings, functions: Iterable[str]) -> int:
    """Service, engine, mailbox and the example in one process; its exit status."""
    prepare(settings.data_dir)
    settings, stop = demo_settings(settings), Stop()
    # The terminal is for the person who tries it.
    with (settings.data_dir / "demo.log").open("a") as log:
        lines = configure_logs(settings.log_level, log)
        async with (
            Inbox.running(settings.data_dir, settings.host, settings.inbox_port) as inbox,
            service(settings, load_functions(functions), stop, lines, inbox) as running,
        ):
            await serve(running.sites, stop, partial(_begin, settings, running))
        lines.flush()
    return int(stop.failed)


async def _begin(settings: Settings, running: Running) -> None:
    await settle()
    if settings.demo_autostart and running.engine is not None:
        await start_example(running.engine, settings)
    sys.stdout.write(welcome(settings))
    sys.stdout.flush()


def demo_settings(settings: Settings) -> Settings:
    """*settings*, with all that a first try should not have to set.

    Raises:
        StartRefused: the demo would be reachable by others; it shows everybody's mail.
    """
    if settings.host not in LOOPBACK:
        raise StartRefused(
            "The demo shows every mail to whoever asks, so it listens on 127.0.0.1 only. "
            "Unset SIGNOFF_HOST, or use: signoff serve"
        )
    keys = settings.secret_keys or SecretStr(keep_secret(settings.data_dir / SECRET_FILE))
    return settings.model_copy(
        update={
            "secret_keys": keys,
            "target": TargetKind.EMBEDDED,
            "store": "sqlite",
            "channel": ChannelKind.SMTP,
            "smtp_url": SecretStr(f"smtp://{authority(settings.host, settings.inbox_port)}"),
            "mail_from": settings.mail_from or SENDER,
        }
    )


def welcome(settings: Settings) -> str:
    """What the terminal says once every port takes connections."""
    engine = f"http://{authority(settings.engine_host, settings.engine_port)}"
    url, mailbox = settings.public_url, authority(settings.host, settings.inbox_port)
    key = keep_secret(settings.data_dir / API_KEY_FILE)
    asked = (
        "A workflow asks marc@example.com to approve a deployment: open the inbox, read the mail,\n"
        "press a button, confirm. The workflow goes on and mails a confirmation.\n"
        if settings.demo_autostart
        else "No execution was started (SIGNOFF_DEMO_AUTOSTART=0).\n"
    )
    return f"""
  Signoff is up.

  inbox     {url}/inbox
  service   {url}   API key: {key}
  engine    {engine}   aws stepfunctions list-state-machines --endpoint-url {engine}
  mailbox   {mailbox} (SMTP)
  data      {settings.data_dir}   log: {settings.data_dir / "demo.log"}

{asked}Ctrl-C stops it; the next start goes on with the same data.

"""


async def start_example(workflows: Workflows, settings: Settings) -> None:
    """Create the example workflow and start an execution, unless one of an earlier start waits."""
    machine_arn = await create_example(workflows, settings)
    waiting = await workflows.list_executions(
        state_machine_arn=machine_arn, status_filter="RUNNING", max_results=1
    )
    if waiting["executions"]:
        return
    text = dumps(loads((_example() / "input.json").read_bytes())).decode()
    await workflows.start_execution(state_machine_arn=machine_arn, input=text)


async def create_example(workflows: Workflows, settings: Settings) -> str:
    """Create the example workflow, or bring it up to date; its ARN."""
    definition = (_example() / "workflow.asl.json").read_text()
    definition = definition.replace("${SignoffFunction}", FUNCTION)
    try:
        created = await workflows.create_state_machine(
            name=STATE_MACHINE,
            definition=definition,
            role_arn=f"arn:aws:iam::{settings.account}:role/signoff-demo",
        )
        return str(created["stateMachineArn"])
    except StateMachineAlreadyExists:
        # An earlier demo, of a version with another example, was kept in the data directory.
        arn = f"arn:aws:states:{settings.region}:{settings.account}:stateMachine:{STATE_MACHINE}"
        await workflows.update_state_machine(state_machine_arn=arn, definition=definition)
        return arn


def _example() -> Path:
    return shipped_directory().with_name("examples") / "approval"
