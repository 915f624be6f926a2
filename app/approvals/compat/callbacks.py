"""Callback URLs as sfn-callback-urls 1.1.0 makes them: a task token and actions in, addresses out.

All actions of a call are one approval, so the first decision among them is the only one. Its links
hold a signed reference: neither the task token nor what the actions say leaves the store.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import quote, urlencode

from app.approvals.approval_ids import id_as_hex, new_approval_id
from app.approvals.compat.link import Switches
from app.approvals.compat.request import (
    CallbackAction,
    CallbackCall,
    read_call,
    read_expiration,
)
from app.approvals.compat.rules import PostRules
from app.approvals.compat.template import check_template
from app.approvals.model import Action, Approval, CommentRule, Holder, Request
from app.clock import Clock
from app.errors import CallbackRefused, TooLarge
from app.strict_json import Json, NotJson, loads

log = logging.getLogger(__name__)

TITLE = "Workflow task"  #: the API has no field for what it is about
#: without an expiration a link lives as long as any task may wait
LONGEST = timedelta(days=365)

_FIELDS = frozenset({"token", "actions", "expiration", "enable_output_parameters", "base_url"})
_MINT_FIELDS = frozenset({"task_token", "title", "recipients"})
_STYLES = {"approve": "primary", "reject": "danger"}


class Opener(Protocol):
    """What is needed of the approval service."""

    async def open(self, new_id: str, task_token: str, request: Request) -> Approval: ...


class CallbackSigner(Protocol):
    """What is needed of the link signer."""

    def sign_callback(self, holder: Holder) -> str: ...


def is_callback_call(event: Json) -> bool:
    """Whether an event is meant for `CallbackUrls`, and not a mint request."""
    names = event.keys() if isinstance(event, dict) else frozenset()
    return bool(names & _FIELDS) and not names & _MINT_FIELDS


class CallbackUrls:
    """Answers ``POST /urls`` and its direct invocation."""

    def __init__(
        self,
        *,
        service: Opener,
        links: CallbackSigner,
        rules: PostRules,
        switches: Switches,
        base_url: str,
        more_base_urls: tuple[str, ...] = (),
        clock: Clock,
    ) -> None:
        """URLs begin with *base_url*; calls may ask for one of *more_base_urls* instead."""
        self._service = service
        self._links = links
        self._rules = rules
        self._switches = switches
        self._base_url = base_url.rstrip("/")
        self._base_urls = {self._base_url, *(url.rstrip("/") for url in more_base_urls)}
        self._clock = clock

    async def invoke(self, event: Json) -> Json:
        """The answer to a direct invocation; what is refused is an answer too.

        Raises:
            StoreUnavailable, StoreUnconfirmed: nothing can be answered; invoke again.
        """
        try:
            body = loads(json.dumps(event, allow_nan=False))
        except (NotJson, ValueError, TypeError, RecursionError):
            return _refusal(CallbackRefused("InvalidJSON", "The event is not JSON."))
        return (await self.create(body))[1]

    async def create(self, body: Json) -> tuple[int, Json]:
        """HTTP status and answer for *body*."""
        try:
            call = read_call(body)
        except CallbackRefused as exc:
            return exc.status, _refusal(exc)
        new_id = new_approval_id()
        transaction = {"transaction_id": id_as_hex(new_id)}
        try:
            return 200, transaction | await self._open(new_id, call)
        except CallbackRefused as exc:
            return exc.status, transaction | _refusal(exc)
        except TooLarge as exc:
            too_large = CallbackRefused("RequestTooLarge", exc.message, 413)
            return too_large.status, transaction | _refusal(too_large)

    async def _open(self, new_id: str, call: CallbackCall) -> dict[str, Json]:
        now = self._clock()
        expires_at, said = now + LONGEST, None
        if call.expiration is not None:
            expires_at, said = read_expiration(call.expiration, now)
        await self._check(call)
        base_url = self._base(call)
        await self._service.open(new_id, call.token, _request(call, expires_at))
        urls = {
            action.name: self._url(base_url, Holder(new_id, 0, index), action)
            for index, action in enumerate(call.actions)
        }
        return {"urls": urls} | ({} if said is None else {"expiration": said})

    async def _check(self, call: CallbackCall) -> None:
        seen: set[str] = set()
        for action in call.actions:
            if action.name in seen:
                sentence = f"Two actions have the name {action.name}"
                raise CallbackRefused("DuplicateActionName", sentence)
            seen.add(action.name)
            await self._check_action(action, call.takes_parameters)

    async def _check_action(self, action: CallbackAction, wants_parameters: bool) -> None:
        content: Mapping[str, Json] = action.callback.content
        if action.callback.type == "post":
            if not self._switches.post_actions:
                raise CallbackRefused("PostActionsDisabled", "Post actions are disabled")
            await self._rules.check(content["outcomes"])
        elif wants_parameters:
            if not self._switches.output_parameters:
                raise CallbackRefused("ParametersDisabled", "Output parameters are disabled")
            replies = content.get("response", {})
            check_template([content.get(name) for name in ("output", "error", "cause")])
            check_template([replies.get(name) for name in ("json", "html", "text")])

    def _base(self, call: CallbackCall) -> str:
        if call.base_url is None:
            return self._base_url
        base_url = call.base_url.rstrip("/")
        if base_url not in self._base_urls:
            # Whoever gets such a link trusts it: it must lead here, and nowhere else.
            sentence = "base_url is not an address of this service (SIGNOFF_CALLBACK_BASE_URLS)"
            raise CallbackRefused("InvalidBaseUrl", sentence)
        return base_url

    def _url(self, base_url: str, holder: Holder, action: CallbackAction) -> str:
        query = {
            "action": action.name,
            "type": action.callback.type,
            "data": self._links.sign_callback(holder),
        }
        return f"{base_url}/respond?{urlencode(query, quote_via=quote)}"


def _request(call: CallbackCall, expires_at: datetime) -> Request:
    actions = tuple(
        Action(
            name=action.name,
            label=action.name.replace("_", " ").capitalize(),
            style=_STYLES.get(action.name, "default"),
            comment=CommentRule.NONE,
            outcome=action.callback,
        )
        for action in call.actions
    )
    return Request(TITLE, None, (), None, (), actions, expires_at, None, None)


def _refusal(exc: CallbackRefused) -> dict[str, Json]:
    return {"error": exc.code, "message": exc.message}
