"""The engine as a part of a process: made from the settings, and answered for on its port.

The engine alone is such a process too (`engine_alone`); nothing of approvals is loaded for it.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from app.engine.events import Destination, EventRouting
from app.engine.events.eventbridge import EventBridge
from app.engine.events.webhook import Signer, Webhook
from app.engine.mock_file import MockFile, read_mock_file
from app.engine.rehearsal import Rehearsal
from app.engine.runtime import Engine
from app.engine.store import open_database
from app.local_settings import LocalSettings
from app.logs import LogLines
from app.run import Functions, Running
from app.secrets_source import read_secret_keys
from app.server import Site, Stop
from app.settings import Settings, revealed
from app.web.border import Border
from app.web.events import EventStream
from app.web.lambda_invoke import LocalLambda
from app.web.metrics import PrometheusMeter
from app.web.own_pages import OwnPagesOnly
from app.web.stepfunctions import MAX_BODY_BYTES, as_aws, create_stepfunctions_app


@asynccontextmanager
async def engine_alone(
    settings: Settings, functions: Functions, stop: Stop, lines: LogLines
) -> AsyncIterator[Running]:
    """The engine without approvals, started; stopped at the end."""
    meter = PrometheusMeter()
    async with AsyncExitStack() as stack:
        engine = make_engine(settings, functions, meter, stop, stack)
        await engine.start()
        stack.push_async_callback(engine.stop)
        yield Running((engine_site(settings, engine, Border(meter, lines), stop),), engine)


def make_engine(
    settings: Settings,
    functions: Functions,
    meter: PrometheusMeter,
    stop: Stop,
    stack: AsyncExitStack,
) -> Engine:
    """The engine on its database in the data directory, not yet started; closed with *stack*.

    Raises:
        StartRefused: a setting or the database makes it impossible.
    """
    database = open_database(settings.data_dir)
    stack.push_async_callback(database.close)
    database.on_failed = partial(stop.request, failed=True)
    return Engine(
        database,
        account=settings.account,
        region=settings.region,
        functions=functions,
        endpoints=settings.endpoints,
        http_hosts=settings.private_hosts,
        rehearsal=_rehearsal(settings.local),
        events=event_routing(settings),
        retention_s=settings.engine_retention,
        meter=meter,
    )


def event_routing(settings: Settings) -> EventRouting:
    """Where execution status changes go.

    Raises:
        StartRefused: a setting is missing or wrong.
    """
    destinations: list[Destination] = []
    if settings.event_bus is not None:
        destinations.append(EventBridge(settings.event_bus, settings.region))
    if settings.event_webhook_url is not None:
        secrets = read_secret_keys(
            revealed(settings.event_webhook_secrets), "SIGNOFF_EVENT_WEBHOOK_SECRETS"
        )
        destinations.append(Webhook(settings.event_webhook_url, Signer(secrets)))
    return EventRouting(destinations, settings.event_source, settings.event_retry_for)


def _rehearsal(local: LocalSettings) -> Rehearsal:
    mocks = MockFile() if local.sfn_mock_config is None else read_mock_file(local.sfn_mock_config)
    return Rehearsal(mocks, local.wait_time_scale)


def engine_site(settings: Settings, engine: Engine, border: Border, stop: Stop) -> Site:
    """The Step Functions API and the stream of status changes, on the engine's port."""
    # It takes any credentials, so a page that a developer opens must not be able to call it.
    api = OwnPagesOnly(LocalLambda(engine.functions, create_stepfunctions_app(engine)))
    stream = EventStream(api, engine.changes, stop.wait)
    app = border.around(stream, MAX_BODY_BYTES, as_aws)
    return Site(app, settings.engine_host, settings.engine_port, "SIGNOFF_ENGINE_PORT")
