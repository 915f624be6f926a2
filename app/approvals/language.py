"""Every sentence people read, in their language and with their clock on the wall.

Phrases are formats that this project (or the operator) wrote (`language_files.py` reads them); what
workflows and people say only ever fills them, so braces in a title stay braces.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.approvals.model import Action, Recipient

FALLBACK = "en"

_NAMED_ACTIONS = frozenset({"approve", "reject"})


@dataclass(frozen=True, slots=True)
class Language:
    """The phrases and date formats of one language."""

    tag: str
    direction: str  #: "ltr" or "rtl", for the ``dir`` attribute
    phrases: Mapping[str, str]  #: by dotted key, such as "mail.subject"
    date_lists: Mapping[str, tuple[str, ...]]
    date_formats: Mapping[str, str]

    def say(self, key: str, /, **values: str) -> str:
        """The phrase called *key*, filled with *values* as they are."""
        return self.phrases[key].format_map(values) if values else self.phrases[key]

    def date(self, moment: datetime, zone: tzinfo, style: str) -> str:
        """*moment* on a clock in *zone*: "12 Nov 2025, 09:41 CET"."""
        local = moment.astimezone(zone)
        lists = self.date_lists
        month, weekday = local.month - 1, local.weekday()
        return self.date_formats[style].format_map(
            {
                "day": local.day,
                "day2": f"{local.day:02}",
                "month": lists["months"][month],
                "month_short": lists["months_short"][month],
                "month_number": local.month,
                "year": local.year,
                "hour": f"{local.hour:02}",
                "hour12": local.hour % 12 or 12,
                "minute": f"{local.minute:02}",
                "am_pm": lists["am_pm"][local.hour // 12],
                "weekday": lists["weekdays"][weekday],
                "weekday_short": lists["weekdays_short"][weekday],
                "zone": _zone_name(local),
            }
        )


class Reader(NamedTuple):
    """One person's language and time zone."""

    language: Language
    zone: tzinfo

    def say(self, key: str, /, **values: str) -> str:
        """The phrase called *key* in this person's language."""
        return self.language.say(key, **values)

    def say_action(self, action: Action, part: str, /, **values: str) -> str:
        """What is said about *action*: by its name if we know it, else by its label."""
        name = action.name if action.name in _NAMED_ACTIONS else "any"
        return self.language.say(f"action.{name}.{part}", label=action.label, **values)

    def full(self, moment: datetime) -> str:
        """Day, month, year, time and zone."""
        return self.language.date(moment, self.zone, "full")

    def short(self, moment: datetime, now: datetime) -> str:
        """Day, month, time and zone; with the year if it is another one than *now*'s."""
        same = self._same_year(moment, now)
        return self.language.date(moment, self.zone, "short" if same else "full")

    def weekday(self, moment: datetime, now: datetime) -> str:
        """Weekday, day, month, time and zone; with the year if it is another one than *now*'s."""
        same = self._same_year(moment, now)
        return self.language.date(moment, self.zone, "weekday" if same else "weekday_full")

    def _same_year(self, moment: datetime, now: datetime) -> bool:
        return moment.astimezone(self.zone).year == now.astimezone(self.zone).year


class Languages:
    """All languages there are, by tag, and those of people who gave none."""

    def __init__(
        self,
        by_tag: Mapping[str, Language],
        default_zone: str = "UTC",
        default_tag: str = FALLBACK,
    ) -> None:
        self.by_tag = by_tag
        self.default_zone = default_zone
        self.default_tag = default_tag
        self._readers: dict[tuple[str | None, str | None], Reader] = {}

    def reader(self, recipient: Recipient | None = None) -> Reader:
        """How to speak to *recipient*; without one, in the default language and zone."""
        if recipient is None:
            return self._reader(None, None)
        return self._reader(recipient.language, recipient.time_zone)

    def _reader(self, tag: str | None, zone: str | None) -> Reader:
        key = (tag, zone)
        reader = self._readers.get(key)
        if reader is None:
            reader = Reader(self._language(tag), _zone(zone, self.default_zone))
            if len(self._readers) < 4096:  # a bound, because workflows choose the keys
                self._readers[key] = reader
        return reader

    def _language(self, tag: str | None) -> Language:
        for candidate in _ever_shorter(tag or self.default_tag):
            if candidate in self.by_tag:
                return self.by_tag[candidate]
        return self.by_tag[self.default_tag.lower()]


def _ever_shorter(tag: str) -> Iterator[str]:
    """pt-BR, then pt: what RFC 4647 calls lookup."""
    parts = tag.lower().replace("_", "-").split("-")
    while parts:
        yield "-".join(parts)
        parts.pop()


@lru_cache(maxsize=1024)
def _zone(name: str | None, default: str) -> tzinfo:
    for candidate in (name, default):
        if candidate:
            try:
                return ZoneInfo(candidate)
            except (ValueError, OSError, LookupError):  # unknown, or no name of a zone at all
                continue
    return ZoneInfo("UTC")


def _zone_name(local: datetime) -> str:
    """CET, UTC; zones without an abbreviation are named by their distance: UTC-03."""
    name = local.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name
