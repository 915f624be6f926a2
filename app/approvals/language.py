"""Every sentence people read, in their language and with their clock on the wall.

A language is one file, `templates/languages/<tag>.toml`; `en.toml` has every phrase and is what
others fall back to. Phrases are formats that this project (or the operator) wrote; what workflows
and people say only ever fills them, so braces in a title stay braces.
"""

import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from app.approvals.model import Action, Recipient
from app.errors import StartRefused
from app.templating import find

FALLBACK = "en"

_DATE_LISTS = {"months": 12, "months_short": 12, "weekdays": 7, "weekdays_short": 7, "am_pm": 2}
_DATE_FORMATS = ("full", "short", "weekday", "weekday_full")
_DATE_NAMES = frozenset(
    {"day", "day2", "month", "month_short", "month_number", "year", "hour", "hour12", "minute"}
    | {"am_pm", "weekday", "weekday_short", "zone"}
)
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


@dataclass(frozen=True, slots=True)
class Reader:
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


@dataclass(frozen=True, slots=True)
class Languages:
    """All languages there are, by tag, and those of people who gave none."""

    by_tag: Mapping[str, Language]
    default_zone: str = "UTC"
    default_tag: str = FALLBACK
    _readers: dict[tuple[str | None, str | None], Reader] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        override: Path | None = None,
        default_zone: str = "UTC",
        default_tag: str = FALLBACK,
    ) -> "Languages":
        """Every `languages/*.toml`, the operator's before ours.

        Raises:
            StartRefused: a file cannot be used (the sentence names it and the place), or there is
                none for *default_tag*.
        """
        files = {path.stem: path for path in find(override, "languages/*.toml")}
        english = _parse(files[FALLBACK], None)
        tongues = {
            tag.lower(): english if tag == FALLBACK else _parse(path, english)
            for tag, path in files.items()
        }
        if default_tag.lower() not in tongues:
            known = ", ".join(sorted(tongues))
            raise StartRefused(f"SIGNOFF_LANGUAGE has no file in templates/languages: {known}.")
        return cls(tongues, default_zone, default_tag)

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


def _parse(path: Path, english: Language | None) -> Language:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        dates = content.pop("dates", {})
        language = content.pop("language", {})
        phrases = dict(_flatten(content))
        _check_phrases(phrases, english)
        return Language(
            tag=str(language.get("tag", path.stem)),
            direction=str(language.get("direction", "ltr")),
            phrases={**(english.phrases if english else {}), **phrases},
            date_lists=_date_lists(dates, english),
            date_formats=_date_formats(dates, english),
        )
    except (OSError, ValueError, AttributeError) as exc:
        raise StartRefused(f"templates/languages/{path.name} cannot be used: {exc}.") from exc


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            raise ValueError(f"{prefix}{name} is not a text")


def _check_phrases(phrases: Mapping[str, str], english: Language | None) -> None:
    for key, phrase in phrases.items():
        names = _names(key, phrase)
        if english is None:
            continue
        if key not in english.phrases:
            raise ValueError(f"{key} is not a phrase of en.toml")
        _check_names(key, names, _names(key, english.phrases[key]))


def _names(key: str, phrase: str) -> frozenset[str]:
    """The names in braces; nothing but plain names may stand there."""
    found = set()
    for _, name, spec, conversion in string.Formatter().parse(phrase):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{key} has something other than a name in braces")
        found.add(name)
    return frozenset(found)


def _check_names(key: str, names: frozenset[str], allowed: frozenset[str]) -> None:
    if extra := names - allowed:
        raise ValueError(f"{key} uses {{{min(extra)}}}, which is not given there")


def _date_lists(dates: Mapping[str, Any], english: Language | None) -> dict[str, tuple[str, ...]]:
    lists = dict(english.date_lists) if english else {}
    for name, length in _DATE_LISTS.items():
        if name in dates:
            lists[name] = tuple(str(word) for word in dates[name])
        if len(lists.get(name, ())) != length:
            raise ValueError(f"dates.{name} must have {length} words")
    return lists


def _date_formats(dates: Mapping[str, Any], english: Language | None) -> dict[str, str]:
    formats = dict(english.date_formats) if english else {}
    for name in _DATE_FORMATS:
        if name in dates:
            formats[name] = str(dates[name])
            _check_names(f"dates.{name}", _names(name, formats[name]), _DATE_NAMES)
        if name not in formats:
            raise ValueError(f"dates.{name} is missing")
    return formats
