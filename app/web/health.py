"""For operators and their machines: is it alive, does it take work, what does it count."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.approvals.store.interface import ApprovalStore, Backlog
from app.clock import Clock, from_ms, iso
from app.engine.events.log import EventBacklog
from app.errors import StoreError
from app.strict_json import Json, dumps
from app.web.metrics import CONTENT_TYPE, PrometheusMeter

#: a decision that is owed for longer than this is a reason to look (the service is not "ready")
MAX_OWED_AGE_S = 600

EventBacklogs = Callable[[], Mapping[str, EventBacklog]]


def no_events() -> Mapping[str, EventBacklog]:
    """No engine in this process."""
    return {}


_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Health:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        probe: Callable[[], Awaitable[None]],
        meter: PrometheusMeter,
        clock: Clock,
        authorize: Callable[[Request], object],
        events: EventBacklogs = no_events,
    ) -> None:
        """*probe* writes to the store; *authorize* guards the metrics.

        *events* tells what the engine owes to its events' destinations.
        """
        self._store = store
        self._probe = probe
        self._meter = meter
        self._clock = clock
        self._authorize = authorize
        self._events = events

    def routes(self) -> list[Route]:
        """The three routes."""
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    async def healthz(self, _request: Request) -> Response:
        """200 as long as the process answers at all."""
        return _answer(200, {"service": "signoff", "status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """200 if the store takes writes and no decision is owed for long; 503 with the reasons."""
        reasons = []
        backlog = None
        events: dict[str, Json] = {}
        try:
            await self._probe()
            backlog = await self._store.backlog()
            events = owed_events(self._events, self._clock())
        except StoreError:
            reasons.append("store_unwritable")
        owed_s = _age_s(backlog.oldest_answer_at if backlog else None, self._clock())
        if owed_s > MAX_OWED_AGE_S:
            reasons.append("decisions_owed_for_long")
        body = {
            "status": "unready" if reasons else "ready",
            "reasons": reasons,
            "owed": _owed(backlog, owed_s),
            **events,
        }
        return _answer(503 if reasons else 200, body)

    async def metrics(self, request: Request) -> Response:
        """Prometheus text: counters since the start, and what is owed now."""
        self._authorize(request)
        backlog = await self._store.backlog()
        now = self._clock()
        gauges = {
            "decisions_owed": float(backlog.answers),
            "decisions_owed_oldest_seconds": _age_s(backlog.oldest_answer_at, now),
            "decisions_needing_operator": float(backlog.needs_operator),
            "mails_queued": float(backlog.mails),
            "mails_queued_oldest_seconds": _age_s(backlog.oldest_mail_due, now),
        }
        for name, events in self._events().items():
            gauges[f"events_owed_{name}"] = float(events.owed)
            gauges[f"events_given_up_{name}"] = float(events.given_up)
        for name, value in gauges.items():
            self._meter.gauge(name, value)
        return Response(self._meter.render(), 200, _HEADERS, media_type=CONTENT_TYPE)


def owed_events(backlogs: EventBacklogs, now: datetime) -> dict[str, Json]:
    """What the engine has not told its destinations, if it has any.

    Raises:
        StoreError
    """
    shown = {
        name: {
            "owed": events.owed,
            "given_up": events.given_up,
            "oldest_seconds": round(_age_s(_moment(events.oldest_ms), now), 1),
        }
        for name, events in backlogs().items()
    }
    return {"events": shown} if shown else {}


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _age_s(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def _owed(backlog: Backlog | None, age_s: float) -> Json:
    if backlog is None:
        return None
    oldest = backlog.oldest_answer_at
    return {
        "decisions": backlog.answers,
        "oldest_at": iso(oldest) if oldest else None,
        "oldest_seconds": round(age_s, 1),
        "needs_operator": backlog.needs_operator,
        "mails": backlog.mails,
    }


def _answer(status: int, body: Json) -> Response:
    return Response(dumps(body), status, _HEADERS, media_type="application/json")
