"""For operators and their machines: is it alive, does it take work, what does it count."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.approvals.store import ApprovalStore, Backlog
from app.clock import Clock, iso
from app.errors import StoreError
from app.strict_json import Json, dumps
from app.web.metrics import CONTENT_TYPE, PrometheusMeter

#: a decision that is owed for longer than this is a reason to look (the service is not "ready")
MAX_OWED_AGE_S = 600

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
    ) -> None:
        """*probe* writes to the store; *authorize* guards the metrics."""
        self._store = store
        self._probe = probe
        self._meter = meter
        self._clock = clock
        self._authorize = authorize

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
        try:
            await self._probe()
            backlog = await self._store.backlog()
        except StoreError:
            reasons.append("store_unwritable")
        owed_s = _age_s(backlog.oldest_answer_at if backlog else None, self._clock())
        if owed_s > MAX_OWED_AGE_S:
            reasons.append("decisions_owed_for_long")
        body = {
            "status": "unready" if reasons else "ready",
            "reasons": reasons,
            "owed": _owed(backlog, owed_s),
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
        for name, value in gauges.items():
            self._meter.gauge(name, value)
        return Response(self._meter.render(), 200, _HEADERS, media_type=CONTENT_TYPE)


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
