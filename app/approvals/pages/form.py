"""The body that the decision page's form sends, read strictly.

Only what a browser sends for this form is read: urlencoded UTF-8, few fields, each at most once. A
field given twice is refused rather than resolved, because "approve" and "reject" in one body mean
that somebody plays tricks (click protocol, C.3, step 0).
"""

from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from app.errors import BadForm

MAX_FORM_BYTES = 64 * 1024
MAX_FORM_FIELDS = 50
FORM_TYPE = "application/x-www-form-urlencoded"


class FormRefused(BadForm):
    """The form cannot be read. `reason` names the page that says so."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class OwnOrigins:
    """Where a form of ours can have been: browsers say so with what they send."""

    def __init__(self, *base_urls: str) -> None:
        # "null" is what they say of our own page, because it sends no referrer.
        self._origins = frozenset({None, "null", *map(_origin, base_urls)})

    def check(self, origin: str | None, fetch_site: str | None) -> None:
        """Accept a form by its Origin and Sec-Fetch-Site headers.

        Raises:
            FormRefused: it was on another site.
        """
        if (origin and origin.lower()) not in self._origins:
            raise FormRefused("cross_site")
        if fetch_site in ("cross-site", "same-site"):
            raise FormRefused("cross_site")


def _origin(url: str) -> str:
    """The origin of *url* as browsers write it: in lower case, without the scheme's own port."""
    site = urlsplit(url)
    own_port = ":443" if site.scheme == "https" else ":80"
    return f"{site.scheme}://{site.netloc}".lower().removesuffix(own_port)


class DecisionForm(NamedTuple):
    """What the person filled in."""

    decision: str | None  #: the action's name; None if the box was not ticked
    comment: str
    nonce: str | None


def read_form(content_type: str, body: bytes) -> DecisionForm:
    """The decision page's form that *body* holds. Raises as `read_fields`."""
    fields = read_fields(content_type, body)
    return DecisionForm(
        decision=fields.get("decision") or None,
        comment=fields.get("comment", ""),
        nonce=fields.get("nonce"),
    )


def read_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of the form that *body* holds.

    Raises:
        FormRefused: it is not such a form, or too large, or ambiguous.
    """
    if content_type.partition(";")[0].strip().lower() != FORM_TYPE:
        raise FormRefused("not_a_form")
    if len(body) > MAX_FORM_BYTES:
        raise FormRefused("too_large")
    if body.count(b"&") >= MAX_FORM_FIELDS:
        raise FormRefused("too_many_fields")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict"
        )
    except ValueError as exc:
        raise FormRefused("not_text") from exc
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise FormRefused("duplicate_field")
    return fields
