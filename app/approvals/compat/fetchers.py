"""Requests that nobody made on purpose: prefetches, previews, mail scanners.

Only asked where a GET decides (`CALLBACK_GET=apply`), and no safety rests on it: a fetcher that
hides is told from nobody. That is why this is not the default.
"""

import re
from collections.abc import Mapping

_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_SPECULATIVE = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)
_FETCHERS = re.compile(
    r"bot\b|bot[/ -]|crawl|spider|slurp|preview|prefetch|linkexpanding|whatsapp|facebookexternalhit"
    r"|facebookcatalog|skypeuri|telegram|viber|snapchat|embedly|unfurl|vkshare|mastodon|iframely"
    r"|barracuda|mimecast|proofpoint|urldefense|safelinks|fireeye|trendmicro|symantec|messagelabs"
    r"|cloudmark|forcepoint|websense|sophos|ironport|zscaler|checkpoint|virustotal|urlscan"
    r"|headlesschrome|phantomjs|link ?check|url ?scan|google-?(safety|read-aloud|imageproxy)",
    re.IGNORECASE,
)


def is_speculative(headers: Mapping[str, str]) -> bool:
    """Whether the headers (by lower-case name) say that no person and no program of theirs asks."""
    if any(_SPECULATIVE.search(headers.get(name, "")) for name in _PURPOSES):
        return True
    return _FETCHERS.search(headers.get("user-agent", "")) is not None
