"""The languages as files: `templates/languages/<tag>.toml`.

`en.toml` has every phrase and is what others fall back to.
"""

import string
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.approvals.language import FALLBACK, Language, Languages
from app.errors import StartRefused
from app.templating import find

_DATE_LISTS = {"months": 12, "months_short": 12, "weekdays": 7, "weekdays_short": 7, "am_pm": 2}
_DATE_FORMATS = ("full", "short", "weekday", "weekday_full")
_DATE_NAMES = frozenset(
    {"day", "day2", "month", "month_short", "month_number", "year", "hour", "hour12", "minute"}
    | {"am_pm", "weekday", "weekday_short", "zone"}
)


def load_languages(
    override: Path | None = None,
    default_zone: str = "UTC",
    default_tag: str = FALLBACK,
) -> Languages:
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
    return Languages(tongues, default_zone, default_tag)


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
