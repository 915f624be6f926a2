"""What people type: characters that no text needs, and the comment of a decision."""

import re

from app.approvals.model import CommentRule
from app.errors import BadRequest

MAX_COMMENT = 4_000

# C0 and C1 controls, DEL, the two separators that some programs break lines at, lone surrogates.
CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
NOT_IN_TEXT = f"[{CONTROLS}]"
# They reorder what people read ("Trojan Source"); no honest text needs them.
BIDI = "[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"


def clean_text(text: str) -> str:
    """What a person typed, without control and bidi characters, with LF line ends, trimmed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # `re` compiles such sets once, when somebody types: who looks at a page does not wait for it.
    return re.sub(BIDI, "", re.sub(NOT_IN_TEXT, "", text)).strip()


def read_comment(comment: str | None, rule: CommentRule) -> str | None:
    """What a person typed as the reason, cleaned; None for nothing.

    Raises:
        BadRequest: it is missing, too long, or not asked for; ``fields`` has ``comment``.
    """
    text = clean_text(comment) if comment else ""
    fault = None
    if not text and rule is CommentRule.REQUIRED:
        fault = "A reason is needed."
    elif text and rule is CommentRule.NONE:
        fault = "This action takes no comment."
    elif len(text) > MAX_COMMENT:
        fault = f"At most {MAX_COMMENT:,} characters are allowed."
    if fault is not None:
        raise BadRequest(fault, fields={"comment": fault})
    return text or None
