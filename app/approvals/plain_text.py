"""What workflows and people wrote, made fit to be shown: no control characters, no hidden turns.

Bidirectional controls are dropped because they make a line read other than it is ("exe.txt" for
"txt.exe"); scripts that run right to left need none of them, the pages mark each text's own
direction. Braces, angle brackets and the like stay: templates escape them.
"""

import re

# Compiled by `re` when the first text has more than printable ASCII, which is when it is needed.
#: C0 and C1 controls but tab and newline, line separators, lone surrogates, bidirectional controls
_UNSEEN = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)


def one_line(text: str) -> str:
    """*text* as one line with single spaces."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return re.sub(_UNSEEN, "", re.sub(r"\s+", " ", text)).strip()


def lines(text: str) -> str:
    """*text* with its line breaks as ``\\n`` and without what cannot be seen."""
    return re.sub(_UNSEEN, "", text.replace("\r\n", "\n").replace("\r", "\n")).strip("\n")


def clip(text: str, limit: int) -> str:
    """*text*, or its first *limit* characters up to a word's end and an ellipsis."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    cut = max(head.rfind(" "), head.rfind("\n"))
    return (head[:cut] if cut > limit * 3 // 4 else head).rstrip() + "…"
