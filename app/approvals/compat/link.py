"""A callback URL that is used: whose it is, whether it still holds, what it tells the workflow.

The order of the questions is the original's: data, expiration, name, type, switches; for a post
action method, content type, body and the first outcome it fits; then templates. All of it comes
before anything is sent, the templates of the reply too: what was sent cannot be taken back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Protocol

from app.approvals.compat.request import failure_fault, output_fault, output_text
from app.approvals.compat.rules import PostRules
from app.approvals.compat.template import Filler
from app.approvals.model import Action, Approval, Callback, Holder, Payload
from app.errors import CallbackRefused, UnknownLink
from app.strict_json import Json

MAX_SHOWN = 100  #: characters of what an address said, in an error


@dataclass(frozen=True, slots=True)
class Switches:
    """What the operator allows; asked at each call and at each click."""

    output_parameters: bool = False  #: query parameters may fill templates
    post_actions: bool = False
    get_applies: bool = False  #: a GET does what the link says, as with the original


@dataclass(frozen=True, slots=True)
class Link:
    """A link that holds."""

    holder: Holder
    approval: Approval
    action: Action
    callback: Callback
    parameters: Mapping[str, str]  #: of the query, without ``data``


@dataclass(frozen=True, slots=True)
class LinkAnswer:
    """What a link tells the workflow, and what its user is told then."""

    payload: Payload | None  #: None for a heartbeat
    response: Mapping[str, Json]  #: json, html, text, redirect: whichever the caller gave


class Finder(Protocol):
    """What is needed of the approval service."""

    async def find(self, holder: Holder) -> Approval: ...


class Verifier(Protocol):
    """What is needed of the link signer."""

    def callback_holder(self, data: str) -> Holder: ...


class CallbackLinks:
    """Opens links and reads what they say."""

    def __init__(
        self, service: Finder, links: Verifier, rules: PostRules, switches: Switches
    ) -> None:
        self._service = service
        self._links = links
        self._rules = rules
        self._switches = switches

    async def open(self, query: Mapping[str, str]) -> Link:
        """The link that *query* is, expired or not.

        Raises:
            CallbackRefused: InvalidPayload and its like.
        """
        try:
            holder = self._links.callback_holder(_data(query))
            approval = await self._service.find(holder)
        except UnknownLink as exc:
            raise CallbackRefused("InvalidPayload", _INVALID) from exc
        action = approval.request.actions[holder.action]
        if not isinstance(action.outcome, Callback):
            raise CallbackRefused("InvalidPayload", _INVALID)
        parameters = {name: value for name, value in query.items() if name != "data"}
        return Link(holder, approval, action, action.outcome, parameters)

    def check_date(self, link: Link, now: datetime) -> None:
        """Accept a link that has not expired.

        Raises:
            CallbackRefused: ExpiredPayload.
        """
        if link.approval.request.expires_at <= now:
            raise expired(link.approval)

    def check_use(self, link: Link) -> None:
        """Accept what the address says beside its data, and what the operator allows.

        Raises:
            CallbackRefused: ActionMismatched, ParametersDisabled or PostActionsDisabled.
        """
        _same("name", link.parameters.get("action"), link.action.name)
        _same("type", link.parameters.get("type"), link.callback.type)
        if link.callback.takes_parameters and not self._switches.output_parameters:
            raise CallbackRefused("ParametersDisabled", "Output parameters are disabled")
        if link.callback.type == "post" and not self._switches.post_actions:
            raise CallbackRefused("PostActionsDisabled", "Post actions are disabled")

    async def answer(self, link: Link, body: Json = None) -> LinkAnswer:
        """What *link* says; *body* is asked by a post action alone.

        Raises:
            CallbackRefused: OutputFormatting or InvalidPostActionBody.
        """
        content: Mapping[str, Json] = link.callback.content
        if link.callback.type == "post":
            chosen = await self._rules.choose(content["outcomes"], body)
            response = chosen.outcome.get("response", content.get("response", {}))
            return LinkAnswer(chosen.payload, response)
        if link.callback.takes_parameters:
            content = _filled(content, link.parameters)
        return LinkAnswer(_payload(link.callback.type, content), content.get("response", {}))


def expired(approval: Approval) -> CallbackRefused:
    """What is said of links whose date has passed; the date is UTC, as on Lambda."""
    ended = approval.request.expires_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    return CallbackRefused("ExpiredPayload", f"Response expired on {ended.isoformat()}")


_INVALID = "The data of this address is incomplete or was changed. Copy the whole address."


def _data(query: Mapping[str, str]) -> str:
    data = query.get("data", "")
    if not data:
        raise CallbackRefused("InvalidPayload", "The parameter data is missing")
    # The first characters tell links of sfn-callback-urls itself, which hold the task token.
    if data.startswith("1-"):
        sentence = "This address was made by sfn-callback-urls without encryption; ask for another"
        raise CallbackRefused("EncryptionRequired", sentence)
    if data.startswith("2-"):
        sentence = "This address was made by sfn-callback-urls with a key; ask for another"
        raise CallbackRefused("DecryptionUnsupported", sentence)
    return data


def _same(what: str, said: str | None, meant: str) -> None:
    if said and said != meant:
        sentence = (
            f"The action {what} says {said[:MAX_SHOWN]} in the url but {meant} in the payload"
        )
        raise CallbackRefused("ActionMismatched", sentence)


def _filled(content: Mapping[str, Json], parameters: Mapping[str, str]) -> dict[str, Json]:
    filler = Filler(parameters)
    told = {
        name: filler.fill(content[name]) for name in ("output", "error", "cause") if name in content
    }
    response = {
        name: text if name == "redirect" else filler.fill(text, _ESCAPES.get(name, str))
        for name, text in content.get("response", {}).items()
    }
    return {**told, "response": response}


_ESCAPES = {"html": escape}


def _payload(kind: str, content: Mapping[str, Json]) -> Payload | None:
    if kind == "heartbeat":
        return None
    if kind == "success":
        text = output_text(content["output"])
        fault = output_fault(text)
        payload = Payload(output=text)
    else:
        payload = Payload(error=content.get("error"), cause=content.get("cause"))
        fault = failure_fault(payload.error, payload.cause)
    if fault is not None:
        raise CallbackRefused("OutputFormatting", f"With these parameters the {kind} {fault}")
    return payload
