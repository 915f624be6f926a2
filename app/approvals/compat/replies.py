"""What the user of a callback URL is answered: JSON, text or a page, or sent on elsewhere.

Negotiation is the original's: the first of three types in the order of Accept; weights, wildcards
and cases are not looked at, and JSON is what remains. What an address said is escaped in every
page, and a page that the workflow wrote runs in a sandbox.
"""

import json
from enum import StrEnum

from app.approvals.compat.link import LinkAnswer
from app.approvals.compat.request import redirect_fault
from app.approvals.language import Languages
from app.approvals.pages.frame import Answer, PageFrame
from app.errors import CallbackRefused
from app.strict_json import Json


class ReplyType(StrEnum):
    """A type of answer."""

    JSON = "application/json"
    HTML = "text/html"
    TEXT = "text/plain"


_BY_NAME = {kind.value: kind for kind in ReplyType}


def negotiated(accept: str) -> ReplyType:
    """The type that the Accept header asks for."""
    names = (entry.partition(";")[0].strip() for entry in accept.split(","))
    return next((_BY_NAME[name] for name in names if name in _BY_NAME), ReplyType.JSON)


class Replies:
    """Makes answers of a negotiated type."""

    def __init__(self, frame: PageFrame, languages: Languages) -> None:
        self._frame = frame
        self._languages = languages

    def accepted(self, kind: ReplyType, document: Json, answer: LinkAnswer) -> Answer:
        """It was done: what the caller wants said then, else *document*."""
        response = answer.response
        address = response.get("redirect")
        # Looked at when it came, and again: rules may have become stricter since.
        if address is not None and redirect_fault(address) is None:
            return self._frame.bare(303, (b"location", address.encode("ascii")))
        name = kind.name.lower()
        if name not in response:
            return self._said(200, kind, "callback.accepted", document)
        if kind is ReplyType.HTML:
            return self._frame.foreign(response[name])
        if kind is ReplyType.TEXT:
            return self._frame.text(200, response[name])
        return self._frame.json(200, response[name])

    def refused(self, kind: ReplyType, refusal: CallbackRefused, decision: Json = None) -> Answer:
        """It was not done, and why; *decision* is what was done instead, if anything."""
        document: Json = {"error": refusal.code, "message": refusal.message}
        if decision is None:
            return self._said(refusal.status, kind, "callback.refused", document)
        document["decision"] = decision
        return self._said(refusal.status, kind, "callback.already", document)

    def not_by(self, *methods: str) -> Answer:
        """The address does not take this method."""
        return self._frame.bare(405, (b"allow", ", ".join(methods).encode()))

    def not_of_this_type(self) -> Answer:
        """The body is of a type that is not taken."""
        return self._frame.bare(415)

    def _said(self, status: int, kind: ReplyType, heading: str, document: Json) -> Answer:
        if kind is ReplyType.JSON:
            return self._frame.json(status, document)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        if kind is ReplyType.TEXT:
            return self._frame.text(status, text)
        reader = self._languages.reader()
        title = reader.say(heading)
        return self._frame.html(status, "pages/response.html", reader, heading=title, details=text)
