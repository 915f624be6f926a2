"""The demo's settings: what a first try need not set."""

from pathlib import Path

import pytest

from app.demo import demo_settings, welcome
from app.settings import Settings


@pytest.mark.parametrize(
    ("host", "mailbox"), [("127.0.0.1", "127.0.0.1:1025"), ("::1", "[::1]:1025")]
)
def test_the_demo_mails_to_its_own_mailbox(tmp_path: Path, host: str, mailbox: str) -> None:
    """Wherever it listens, at the loopback address of IPv6 too."""
    settings = demo_settings(Settings(host=host, data_dir=tmp_path))

    assert settings.smtp_url is not None
    assert settings.smtp_url.get_secret_value() == f"smtp://{mailbox}"
    assert f"mailbox   {mailbox} (SMTP)" in welcome(settings)
