"""Settings: wrong ones stop the start with a sentence that says what to set, never the value."""

import pytest

from app.approvals.compat.link import Switches
from app.errors import StartRefused
from app.main import callback_switches as switches
from app.settings import load_settings

WRONG = {
    "a base URL without https": ("BASE_URL", "http://signoff.example.com", "https://"),
    "a base URL without a host": ("BASE_URL", "https://", "https://signoff.example.com"),
    "a base URL with a query": ("BASE_URL", "https://a.com?x=1", "https://signoff.example.com"),
    "a base URL with a user": ("BASE_URL", "https://u:p@a.com", "https://signoff.example.com"),
    "a base URL of another kind": ("BASE_URL", "ftp://a.com", "https://signoff.example.com"),
    "a base URL with a quote": ("BASE_URL", 'https://a.com/"x', "https://signoff.example.com"),
    "a base URL with a wrong port": ("BASE_URL", "https://a.com:99999", "https://signoff.example"),
    "a port beyond the last": ("PORT", "70000", "65535"),
    "a port in words": ("PORT", "http", "integer"),
    "an unknown target": ("TARGET", "azure", "'embedded' or 'aws'"),
    "an unknown store": ("STORE", "postgres", "sqlite"),
    "a store without a table": ("STORE", "dynamodb:a", "dynamodb:TABLE"),
    "a table that cannot be": ("STORE", "dynamodb:no table", "dynamodb:TABLE"),
    "an unknown channel": ("CHANNEL", "pigeon", "'smtp' or 'ses'"),
    "no configuration set": ("SES_CONFIGURATION_SET", "a b", "pattern"),
    "an unknown zone": ("TIME_ZONE", "Mars/Olympus", "Europe/Berlin"),
    "an unknown level": ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
    "a life of a second": ("DEFAULT_EXPIRES_IN", "1", "60"),
    "a retention of a second": ("ENGINE_RETENTION", "1", "60"),
    "a webhook without https": ("EVENT_WEBHOOK_URL", "http://hooks.example.com", "https://"),
    "a webhook with a user": ("EVENT_WEBHOOK_URL", "https://u:p@a.com", "https://hooks.example"),
    "a webhook in words": ("EVENT_WEBHOOK_URL", "there", "https://hooks.example.com"),
    "a bus with a blank": ("EVENT_BUS", "a b", "pattern"),
    "a source with a quote": ("EVENT_SOURCE", 'a"b', "pattern"),
    "an event that is given up at once": ("EVENT_RETRY_FOR", "0", "1"),
    "a GET that does something else": ("CALLBACK_GET", "decide", "'confirm' or 'apply'"),
    "a switch in other words": ("ENABLE_POST_ACTIONS", "perhaps", "boolean"),
    "an address of another kind": ("CALLBACK_BASE_URLS", "https://a.com, b", "https://signoff"),
    "callbacks without https": ("CALLBACK_BASE_URLS", "http://signoff.example.com", "https://"),
    "callbacks with a query": ("CALLBACK_BASE_URLS", "https://a.com/?b=c", "https://signoff"),
    "a short account": ("ACCOUNT", "123", "pattern"),
}


@pytest.mark.parametrize(("name", "value", "hint"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_named_with_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    """The sentence names the variable and what to set, and does not repeat the value."""
    monkeypatch.setenv(f"SIGNOFF_{name}", value)

    with pytest.raises(StartRefused) as refused:
        load_settings()

    assert refused.value.message.startswith(f"SIGNOFF_{name} cannot be used: ")
    assert hint in refused.value.message
    assert value not in refused.value.message or value in hint or value == "https://"


def test_a_host_that_others_reach_needs_a_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links never come from the Host header, so the address must be said."""
    monkeypatch.setenv("SIGNOFF_HOST", "0.0.0.0")

    with pytest.raises(StartRefused, match="SIGNOFF_BASE_URL is needed"):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"PORT": "9999"}, "http://127.0.0.1:9999"),
        ({"HOST": "::1"}, "http://[::1]:8080"),
        ({"BASE_URL": "https://signoff.example.com/"}, "https://signoff.example.com"),
        ({"BASE_URL": "https://a.com/signoff", "HOST": "0.0.0.0"}, "https://a.com/signoff"),
    ],
)
def test_links_begin_with_the_base_url_or_the_loopback_address(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str
) -> None:
    """A trailing slash does not matter; a path in front is kept."""
    for name, value in variables.items():
        monkeypatch.setenv(f"SIGNOFF_{name}", value)

    assert load_settings().public_url == url


def test_secrets_are_not_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings gives no secret away."""
    monkeypatch.setenv("SIGNOFF_SECRET_KEYS", "very-secret-key-material")
    monkeypatch.setenv("SIGNOFF_SMTP_URL", "smtp://user:very-secret@mail.example.com")

    assert "very-secret" not in repr(load_settings())


@pytest.mark.parametrize(("value", "allowed"), [("true", True), ("false", False), ("0", False)])
def test_the_switches_of_callback_urls_are_those_of_the_stack(
    monkeypatch: pytest.MonkeyPatch, value: str, allowed: bool
) -> None:
    """As they come everything is off, and a GET asks; addresses are listed with commas."""
    assert switches(load_settings()) == Switches()
    monkeypatch.setenv("SIGNOFF_ENABLE_OUTPUT_PARAMETERS", value)
    monkeypatch.setenv("SIGNOFF_ENABLE_POST_ACTIONS", value)
    monkeypatch.setenv("SIGNOFF_CALLBACK_GET", "apply")
    monkeypatch.setenv("SIGNOFF_CALLBACK_BASE_URLS", "https://a.com/v1/, https://b.com")

    settings = load_settings()

    assert switches(settings) == Switches(allowed, allowed, get_applies=True)
    assert settings.more_base_urls == ("https://a.com/v1", "https://b.com")
