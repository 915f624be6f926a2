"""What TestState shows of an HTTP task: the request as it is sent, and the response."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from app.engine.resources.outbound import Answer, Pairs
from app.strict_json import Json


@dataclass(slots=True)
class Trace:
    """One exchange."""

    reveals: bool  #: whether what a connection adds is shown, too
    shown: dict[str, Json] = field(default_factory=dict)  #: members of inspectionData

    def sent(
        self, method: str, url: str, headers: Pairs, query: Pairs, content: bytes | None
    ) -> None:
        """Note the request."""
        parts = {"body": (content or b"").decode()} if content else {}
        whole = f"{url}?{urlencode(query)}" if query else url
        self.shown["request"] = {
            "protocol": urlsplit(url).scheme,
            "method": method,
            "url": whole,
            "headers": _listed(headers),
            **parts,
        }

    def answered(self, protocol: str, answer: Answer) -> None:
        """Note the response."""
        self.shown["response"] = {
            "protocol": protocol,
            "statusCode": str(answer.status),
            "statusMessage": answer.reason,
            "headers": _listed(_each(answer.headers)),
            "body": answer.text,
        }


#: where the exchange of the test that is under way is noted
TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextmanager
def traced(*, reveals: bool) -> Iterator[Trace]:
    """Note the exchange that is made within."""
    trace = Trace(reveals)
    token = TRACE.set(trace)
    try:
        yield trace
    finally:
        TRACE.reset(token)


def _each(headers: Mapping[str, list[str]]) -> Pairs:
    return [(name, value) for name, values in headers.items() for value in values]


def _listed(headers: Pairs) -> str:
    return "[" + ", ".join(f"{name}: {value}" for name, value in headers) + "]"
