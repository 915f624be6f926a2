"""``GET /events`` on the engine's port: execution status changes as a server-sent event stream.

Rules kept here:

- a listener reads the stored log at its own pace, so what waits for it is bounded, whatever it
  does; one that takes nothing for a while is cut off, and may come back with ``Last-Event-ID``;
- nothing is missed in silence: where the log does not reach back, an event ``gap`` says so;
- pages of other origins read nothing: there is no CORS header, browsers that tell where a request
  comes from are believed, and a name that an attacker's DNS could lead to loopback is refused.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from app.engine.events.log import StatusChanges
from app.errors import BadRequest, StoreError
from app.web.own_pages import is_foreign_page, is_local_host

log = logging.getLogger(__name__)

PATH = "/events"
MAX_LISTENERS = 64
PAGE = 16  #: events read at once; each is at most some 500 KB
KEEP_ALIVE_S = 15.0
SLOW_S = 10.0  #: how long a listener may take nothing
LISTEN_EVERY_S = 300.0  #: well before the recording for a listener ends
MAX_NUMBER = 2**62

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),  # proxies that gather answers would hold ours for ever
]
_NAME = r"[^:/]{1,80}"
_MACHINE = re.compile(rf"^arn:aws[\w-]*:states:[\w-]+:\d{{12}}:stateMachine:{_NAME}(/{_NAME})?$")


class SlowListener(Exception):
    """A listener takes nothing."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a listener wants."""

    machine: str | None  #: a state machine's ARN, or all
    after: int | None  #: the number of the last event it has; None: only what comes


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the stream waits, in seconds."""

    keep_alive_s: float = KEEP_ALIVE_S
    slow_s: float = SLOW_S


class EventStream:
    """The stream in front of the engine's other routes."""

    def __init__(
        self,
        app: ASGIApp,
        changes: StatusChanges,
        ending: Callable[[], Awaitable[None]],
        patience: Patience = Patience(),  # frozen
    ) -> None:
        """*ending* returns when the process is about to end, so that no stream holds it up."""
        self._app = app
        self._changes = changes
        self._ending = ending
        self._patience = patience
        self.listeners = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        scope["endpoint"], scope["path_params"] = self, {}  # for the access log
        try:
            refusal = _refusal(scope) or await self._admitted()
            wish = _wish(scope)
        except BadRequest as exc:
            refusal = 400, exc.message
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        self.listeners += 1
        try:
            await self._stream(wish, receive, send)
        finally:
            self.listeners -= 1

    async def _admitted(self) -> tuple[int, str] | None:
        if self.listeners >= MAX_LISTENERS:
            return 503, f"There are {MAX_LISTENERS} listeners already."
        try:
            await self._changes.listen()
        except StoreError as exc:
            return 503, exc.message
        return None

    async def _stream(self, wish: Wish, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        told = asyncio.create_task(self._tell(wish, send))
        others = {asyncio.create_task(_gone(receive)), asyncio.create_task(_until(self._ending))}
        try:
            await asyncio.wait({told, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (told, *others):
                task.cancel()
            await asyncio.gather(told, *others, return_exceptions=True)
        if not told.cancelled() and isinstance(told.exception(), SlowListener):
            log.warning("a listener took nothing and was cut off")
            return  # there is no room for the last chunk either
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.slow_s):
                await send({"type": "http.response.body", "body": b""})

    async def _tell(self, wish: Wish, send: Send) -> None:
        """Tell what is recorded, and go on for ever."""
        changes, patience = self._changes, self._patience
        clock = asyncio.get_running_loop().time
        listened_at = clock()
        position = changes.newest() if wish.after is None else wish.after
        await self._send(send, f"retry: 2000\nid: {position}\n\n")
        while True:
            tick = changes.tick
            position = await self._tell_recorded(wish.machine, position, send)
            try:
                async with asyncio.timeout(patience.keep_alive_s):
                    await tick.wait()
            except TimeoutError:
                await self._send(send, f": keep-alive\nid: {position}\n\n")
            if clock() - listened_at > LISTEN_EVERY_S:
                await changes.listen()
                listened_at = clock()

    async def _tell_recorded(self, machine: str | None, position: int, send: Send) -> int:
        """Tell all that is recorded after *position*; the new position."""
        changes = self._changes
        while True:
            oldest, newest = changes.complete_after(), changes.newest()
            if not oldest <= position <= newest:
                # It was away too long, or listened to another database.
                missed = orjson.dumps({"after": position, "until": oldest}).decode()
                await self._send(send, f"event: gap\nid: {oldest}\ndata: {missed}\n\n")
                position = oldest
            page = changes.page(position, machine, PAGE)
            for number, text in page:
                await self._send(send, f"id: {number}\ndata: {text}\n\n")
            if len(page) < PAGE:
                # What came meanwhile has its own tick; what others' machines did is passed by.
                return max(newest, page[-1][0] if page else 0)
            position = page[-1][0]

    async def _send(self, send: Send, text: str) -> None:
        try:
            async with asyncio.timeout(self._patience.slow_s):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        except TimeoutError as exc:
            raise SlowListener from exc


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until(ending: Callable[[], Awaitable[None]]) -> None:
    await ending()


def _refusal(scope: Scope) -> tuple[int, str] | None:
    """Why a request is not answered, if it is not; *scope* has at most one Host."""
    if scope["method"] != "GET":
        return 405, "GET is the only method here."
    if not is_local_host(scope):
        return 403, "Use an address or a local name of this host."
    if is_foreign_page(scope):
        return 403, "Pages of other origins may not listen."
    return None


def _wish(scope: Scope) -> Wish:
    """What the request asks for.

    Raises:
        BadRequest
    """
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"), keep_blank_values=True, strict_parsing=True
        )
    except ValueError as exc:
        if scope["query_string"]:
            raise BadRequest("The query cannot be read.") from exc
        pairs = []
    query = dict(pairs)
    if len(query) < len(pairs) or query.keys() - {"stateMachineArn", "lastEventId"}:
        raise BadRequest("The query may have stateMachineArn and lastEventId, once each.")
    machine = query.get("stateMachineArn")
    if machine is not None and not _MACHINE.match(machine):
        raise BadRequest("stateMachineArn is not a state machine's ARN.")
    sent = [value for name, value in scope["headers"] if name == b"last-event-id"]
    # A browser that comes back sends the header, and its page's first address again.
    after = sent[-1].decode("latin-1") if sent else query.get("lastEventId")
    return Wish(machine, None if after is None else _number(after))


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,19}", text, re.ASCII) or int(text) > MAX_NUMBER:
        raise BadRequest("Last-Event-ID is not the id of an event.")
    return int(text)


async def _refuse(send: Send, status: int, sentence: str) -> None:
    codes = {400: "bad_request", 403: "forbidden", 405: "method_not_allowed", 503: "busy"}
    body = orjson.dumps({"error": codes[status], "message": sentence})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    more = {405: [(b"allow", b"GET")], 503: [(b"retry-after", b"5")]}
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [*headers, *more.get(status, [])],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
