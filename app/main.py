"""Build each object once and join the two halves. Nothing else knows both.

`approvals` is given the engine as an object with three methods of the Step Functions API; `engine`
is given the function ``signoff`` as one of its local functions.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from jinja2 import Environment

from app.approvals.api_keys import ApiKeys, api_key_entry, new_api_key
from app.approvals.audit_check import AuditReport, check_audit
from app.approvals.channels import Channel
from app.approvals.compat.http import Callbacks
from app.approvals.compat.link import Switches
from app.approvals.function import SignoffFunction
from app.approvals.keyring import KeyRing
from app.approvals.language import Languages
from app.approvals.language_files import load_languages
from app.approvals.links import LinkSigner
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import Mailbox
from app.approvals.mail.outbox import MailWorker
from app.approvals.pages.decision_pages import DecisionPages
from app.approvals.pages.frame import PageFrame
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.interface import ApprovalStore
from app.approvals.sweeper import EVERY_S, TABLE_EVERY_S, Sweeper
from app.approvals.targets import Target
from app.approvals.targets.embedded import EmbeddedTarget
from app.approvals.targets.stepfunctions import StepFunctionsTarget, connect
from app.channel_setting import make_channel
from app.clock import utc_now
from app.engine.functions import Invocation
from app.engine.runtime import Engine
from app.engine_process import engine_site, make_engine
from app.errors import StartRefused, StoreError
from app.inbox import Inbox
from app.logs import LogLines
from app.presence import Presence
from app.run import Functions, Running
from app.secret_files import API_KEY_FILE, SECRET_FILE, keep_secret
from app.secrets_source import read_secret_keys
from app.server import Site, Stop
from app.settings import CallbackGet, Settings, TargetKind, revealed
from app.store_setting import open_store, open_to_read
from app.strict_json import Json
from app.templating import environment
from app.web.application import application
from app.web.approvals import ApprovalsApi
from app.web.bearer import BearerKeys
from app.web.border import Border
from app.web.compat import callback_routes
from app.web.decide import DecideFirst
from app.web.forwarded import ForwardedClient, read_networks
from app.web.health import Health, no_events
from app.web.inbox import inbox_routes
from app.web.limits import AsgiApp
from app.web.metrics import PrometheusMeter
from app.web.rate_limits import RateLimits, Rates

FUNCTION = "signoff"  #: what workflows call
Wording = tuple[Environment, Languages]  #: the templates and the phrases in them


@asynccontextmanager
async def service(
    settings: Settings,
    functions: Functions,
    stop: Stop,
    lines: LogLines,
    inbox: Inbox | None = None,
) -> AsyncIterator[Running]:
    """Approvals, and the engine if it is the target, started; stopped at the end.

    Raises:
        StartRefused: a setting, the data or the surroundings make it impossible.
    """
    meter = PrometheusMeter()
    ring = KeyRing(read_secret_keys(revealed(settings.secret_keys)))
    keys = BearerKeys(ApiKeys(api_key_entries(settings)))
    channel = make_channel(settings)
    function = _Signoff()
    async with AsyncExitStack() as stack:
        presence = Presence(settings.data_dir)
        stack.callback(presence.leave)
        local: Functions = {**functions, FUNCTION: function}
        engine, targets = _targets(settings, local, meter, stop, stack)
        store = await open_store(settings, on_failed=partial(stop.request, failed=True))
        stack.push_async_callback(store.close)
        links = LinkSigner(ring, settings.public_url)
        approvals = ApprovalService(
            store=store,
            targets=targets,
            links=links,
            sealer=await open_sealer(ring, store),
            meter=meter,
            default_expires_in=settings.default_expires_in,
            mails_per_hour=settings.mails_per_hour,
        )
        stack.push_async_callback(approvals.close)
        wording = _wording(settings)
        pages, callbacks = _for_people(settings, approvals, links, wording, stack)
        function.answer = SignoffFunction(approvals, callbacks.urls)
        worker = _mailing(settings, approvals, store, channel, wording, meter)
        stack.push_async_callback(worker.stop)
        sweeper = _sweeping(settings, approvals, store, ring, presence)
        stack.push_async_callback(sweeper.stop)
        if engine is not None:
            await engine.start()
            # Stopped first: the function that its workflows call must still be there.
            stack.push_async_callback(engine.stop)
        app = create_app(
            ApprovalsApi(approvals, keys.check), pages, callbacks, store, meter, inbox, engine
        )
        yield Running(
            _sites(settings, _guarded(settings, app, pages), engine, Border(meter, lines), stop),
            engine,
        )


async def verify_audit(settings: Settings) -> AuditReport:
    """Check the whole audit of the store; a running service is not in the way.

    Raises:
        StartRefused: there is no store, or it cannot be read.
    """
    store = open_to_read(settings)
    made_by_demo = settings.data_dir / SECRET_FILE
    given = revealed(settings.secret_keys) or (
        f"file:{made_by_demo}" if made_by_demo.exists() else None
    )
    try:
        ring = KeyRing(read_secret_keys(given))
        return await check_audit(store, ring)
    except StoreError as exc:
        sentence = f"The store {settings.store} cannot be read; signoff doctor says more."
        raise StartRefused(sentence) from exc
    finally:
        await store.close()


def create_app(
    api: ApprovalsApi,
    pages: DecisionPages,
    callbacks: Callbacks,
    store: ApprovalStore,
    meter: PrometheusMeter,
    inbox: Inbox | None,
    engine: Engine | None = None,
) -> AsgiApp:
    """The service as one ASGI application."""
    health = Health(
        store=store,
        probe=store.probe,
        meter=meter,
        clock=utc_now,
        # The demo listens on loopback only, and has nothing to hide.
        authorize=_allow if inbox else api.authorize,
        events=engine.event_backlogs if engine else no_events,
    )
    routes = [
        *callback_routes(callbacks, api.authorize),
        *health.routes(),
        *(inbox_routes(inbox) if inbox else ()),
    ]
    return DecideFirst(pages, application([api.router()], routes))


def _guarded(settings: Settings, app: AsgiApp, pages: DecisionPages) -> AsgiApp:
    """*app* within the rates that the operator set, told who its clients are."""
    rates = Rates(settings.mints_per_minute, settings.answers_per_minute)
    if rates != Rates():
        app = RateLimits(app, rates, pages)
    proxies = read_networks(settings.trusted_proxies)
    return ForwardedClient(app, proxies) if proxies else app


def callback_switches(settings: Settings) -> Switches:
    """What the operator allows to callback URLs."""
    return Switches(
        output_parameters=settings.enable_output_parameters,
        post_actions=settings.enable_post_actions,
        get_applies=settings.callback_get is CallbackGet.APPLY,
    )


def api_key_entries(settings: Settings) -> tuple[str, ...]:
    """The accepted API keys: those of the setting, else one that is made in the data directory."""
    given = tuple(entry.strip() for entry in settings.api_keys.split(",") if entry.strip())
    if given:
        return given
    key = keep_secret(settings.data_dir / API_KEY_FILE, new_api_key())
    return (api_key_entry(key),)


def _targets(
    settings: Settings,
    functions: Functions,
    meter: PrometheusMeter,
    stop: Stop,
    stack: AsyncExitStack,
) -> tuple[Engine | None, Mapping[str, Target]]:
    if settings.target is TargetKind.EMBEDDED:
        engine = make_engine(settings, functions, meter, stop, stack)
        return engine, {TargetKind.EMBEDDED.value: EmbeddedTarget(engine)}
    target = StepFunctionsTarget(connect())
    stack.callback(target.close)
    return None, {TargetKind.AWS.value: target}


class _Signoff:
    """The function ``signoff`` of the engine's workflows.

    The engine needs its functions and approvals need the engine; this is where the circle closes.
    """

    answer: SignoffFunction

    async def __call__(self, event: Json, invocation: Invocation) -> Json:
        return await self.answer(
            event, invocation.request_id, heartbeat_seconds=invocation.heartbeat_s
        )


def _wording(settings: Settings) -> Wording:
    directory = settings.templates_dir
    languages = load_languages(directory, settings.time_zone, settings.language)
    return environment(directory), languages


def _for_people(
    settings: Settings,
    approvals: ApprovalService,
    links: LinkSigner,
    wording: Wording,
    stack: AsyncExitStack,
) -> tuple[DecisionPages, Callbacks]:
    """What answers whoever opens a link."""
    templates, languages = wording
    frame = PageFrame(templates)
    pages = DecisionPages(
        service=approvals,
        nonces=links,
        languages=languages,
        frame=frame,
        clock=utc_now,
        base_url=settings.public_url,
    )
    callbacks = Callbacks(
        service=approvals,
        links=links,
        frame=frame,
        languages=languages,
        switches=callback_switches(settings),
        base_url=settings.public_url,
        more_base_urls=settings.more_base_urls,
        clock=utc_now,
    )
    stack.callback(callbacks.close)
    return pages, callbacks


def _sweeping(
    settings: Settings,
    approvals: ApprovalService,
    store: ApprovalStore,
    ring: KeyRing,
    presence: Presence,
) -> Sweeper:
    """What takes care of all that is due, started."""
    # Processes on other machines may share a table; nothing here tells of them.
    alone = presence.alone and settings.table is None
    every_s = EVERY_S if settings.table is None else TABLE_EVERY_S
    sweeper = Sweeper(service=approvals, store=store, ring=ring, every_s=every_s, alone=alone)
    sweeper.start()
    return sweeper


def _mailing(
    settings: Settings,
    approvals: ApprovalService,
    store: ApprovalStore,
    channel: Channel,
    wording: Wording,
    meter: PrometheusMeter,
) -> MailWorker:
    """What sends the mails, started."""
    templates, languages = wording
    writer = MailWriter(
        templates,
        languages,
        mail_from=Mailbox.parse(settings.mail_from or ""),
        link=approvals.link,
    )
    worker = MailWorker(store=store, writer=writer, channel=channel, meter=meter)
    approvals.on_mail_queued = worker.wake
    worker.start()
    return worker


def _sites(
    settings: Settings, app: AsgiApp, engine: Engine | None, border: Border, stop: Stop
) -> tuple[Site, ...]:
    site = Site(border.around(app), settings.host, settings.port, "SIGNOFF_PORT")
    if engine is None:
        return (site,)
    return site, engine_site(settings, engine, border, stop)


def _allow(_request: object) -> None:
    """Let everybody in."""
