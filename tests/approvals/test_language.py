"""What people read: phrases, dates, and a language that is one file."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.approvals.language import Languages
from app.approvals.language_files import load_languages
from app.approvals.model import Action, CommentRule, Recipient, Success
from app.errors import StartRefused

WINTER = datetime(2025, 11, 12, 8, 41, tzinfo=UTC)
SUMMER = datetime(2025, 7, 1, 22, 5, tzinfo=UTC)

GERMAN = """
[language]
tag = "de"
[dates]
months_short = ["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni",
  "Juli", "Aug.", "Sep.", "Okt.", "Nov.", "Dez."]
full = "{day}. {month_short} {year}, {hour}:{minute} Uhr {zone}"
[page]
you_act_as = "Sie handeln als {address}."
"""


def someone(language: str | None = None, zone: str | None = None) -> Recipient:
    return Recipient("marc@example.com", None, language, zone)


def with_file(directory: Path, name: str, text: str) -> Languages:
    (directory / "languages").mkdir(exist_ok=True)
    (directory / "languages" / name).write_text(text, encoding="utf-8")
    return load_languages(directory)


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        ("Europe/Berlin", WINTER, "12 Nov 2025, 09:41 CET"),
        ("Europe/Berlin", SUMMER, "2 Jul 2025, 00:05 CEST"),
        ("America/Sao_Paulo", WINTER, "12 Nov 2025, 05:41 UTC-03"),
        ("Asia/Kolkata", WINTER, "12 Nov 2025, 14:11 IST"),
        (None, WINTER, "12 Nov 2025, 08:41 UTC"),
        ("Nowhere/Land", WINTER, "12 Nov 2025, 08:41 UTC"),
        ("../../etc/passwd", WINTER, "12 Nov 2025, 08:41 UTC"),
        ("/etc/passwd", WINTER, "12 Nov 2025, 08:41 UTC"),
        ("Europe", WINTER, "12 Nov 2025, 08:41 UTC"),
        ("", WINTER, "12 Nov 2025, 08:41 UTC"),
    ],
)
def test_dates_stand_in_the_readers_zone_with_its_name(
    zone: str | None, moment: datetime, shown: str
) -> None:
    """A date is shown on the reader's own clock, and the zone is named."""
    reader = load_languages().reader(someone(zone=zone))

    assert reader.full(moment) == shown


def test_short_dates_name_the_year_only_when_it_is_another() -> None:
    """A date of this year needs no year; one of another year has it."""
    reader = load_languages().reader(someone(zone="Europe/Berlin"))
    next_year = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)

    shown = [
        reader.short(WINTER, WINTER),
        reader.short(WINTER, next_year),
        reader.weekday(WINTER, WINTER),
        reader.weekday(next_year, WINTER),
    ]

    assert shown == [
        "12 Nov, 09:41 CET",
        "12 Nov 2025, 09:41 CET",
        "Wed 12 Nov, 09:41 CET",
        "Fri 2 Jan 2026, 09:00 CET",
    ]


def test_an_unknown_language_is_answered_in_english() -> None:
    """Whoever asks for a language we lack is spoken to in English."""
    reader = load_languages().reader(someone(language="tlh"))

    assert reader.say("page.you_act_as", address="m@example.com") == "You act as m@example.com."


@pytest.mark.parametrize("tag", ["de", "de-AT", "DE_ch"])
def test_a_new_language_is_one_file(tmp_path: Path, tag: str) -> None:
    """A file adds a language, for its regions too; what it leaves out is said in English."""
    reader = with_file(tmp_path, "de.toml", GERMAN).reader(someone(tag, "Europe/Berlin"))

    said = [
        reader.language.tag,
        reader.full(WINTER),
        reader.say("page.you_act_as", address="m@example.com"),
        reader.say("page.problem"),
    ]

    assert said == [
        "de",
        "12. Nov. 2025, 09:41 Uhr CET",
        "Sie handeln als m@example.com.",
        "There is a problem",
    ]


def test_who_names_no_language_gets_the_services(tmp_path: Path) -> None:
    """A service can speak another language than English to whoever names none, or none it has."""
    with_file(tmp_path, "de.toml", GERMAN)
    languages = load_languages(tmp_path, "Europe/Berlin", "de")

    said = [
        languages.reader(someone(tag)).say("page.you_act_as", address="m@example.com")
        for tag in (None, "tlh", "en-GB")
    ]

    assert said == [
        "Sie handeln als m@example.com.",
        "Sie handeln als m@example.com.",
        "You act as m@example.com.",
    ]


def test_a_service_language_without_a_file_stops_the_start() -> None:
    """The sentence names the setting and the languages there are."""
    with pytest.raises(StartRefused, match=r"SIGNOFF_LANGUAGE has no file .*: en"):
        load_languages(default_tag="tlh")


@pytest.mark.parametrize(
    "text",
    ["{0.__class__}", "{title!r}", "%(title)s", "{{title}}", "{title:>99999999}", "${title}", "{"],
)
def test_what_workflows_say_is_never_a_format(text: str) -> None:
    """Braces and percent signs in a title stay as they are."""
    reader = load_languages().reader()

    subject = reader.say("mail.subject", title=text, when="now")

    assert subject == f"Approval needed: {text} (by now)"


def test_unknown_actions_are_called_by_their_label() -> None:
    """An action we have no word for is named as the workflow labels it."""
    action = Action("hold", "Hold {until} Monday", "default", CommentRule.NONE, Success({}))
    reader = load_languages().reader()

    assert reader.say_action(action, "ask", title="Pay") == "Hold {until} Monday: Pay?"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[page]\nyou_act_as = "{adress}"', "page.you_act_as uses {adress}, which is not given"),
        ('[page]\nyou_act_as = "{address.x}"', "something other than a name in braces"),
        ('[page]\nyou_act_as = "{address!r}"', "something other than a name in braces"),
        ('[page]\nyou_act_as = "{"', "cannot be used"),
        ('[page]\nyou_act_ass = "x"', "page.you_act_ass is not a phrase of en.toml"),
        ("[page]\nyou_act_as = 3", "page.you_act_as is not a text"),
        ('[dates]\nmonths = ["Januar"]', "dates.months must have 12 words"),
        ('[dates]\nfull = "{century}"', "dates.full uses {century}, which is not given"),
        ("nonsense", "cannot be used"),
    ],
)
def test_a_wrong_language_file_stops_the_start(tmp_path: Path, text: str, reason: str) -> None:
    """A mistake in a language file is found at the start, with its place."""
    with pytest.raises(StartRefused) as refused:
        with_file(tmp_path, "de.toml", text)

    assert "templates/languages/de.toml" in refused.value.message
    assert reason in refused.value.message


def test_a_missing_templates_directory_stops_the_start(tmp_path: Path) -> None:
    """A directory of templates that is not there is named as a setting to mend."""
    with pytest.raises(StartRefused, match="SIGNOFF_TEMPLATES_DIR is not a directory"):
        load_languages(tmp_path / "gone")
