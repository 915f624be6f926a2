"""Templates of the operator's own replace ours, file by file."""

import hashlib
from base64 import b64encode
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from app.approvals.language_files import load_languages
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import Mailbox
from app.approvals.pages.decision_pages import DecisionPages
from app.approvals.pages.frame import PageFrame
from app.errors import StartRefused
from app.templating import environment
from tests.approvals.asked import APPROVAL, BASE_URL, NOW, fake_service, mail


def put(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_one_file_of_the_operators_replaces_ours(tmp_path: Path) -> None:
    """A template in the directory is used; the others stay as shipped."""
    put(tmp_path, "mail/request.txt", "Acme asks: {{ title }}\n")
    writer = MailWriter(
        environment(tmp_path),
        load_languages(tmp_path),
        mail_from=Mailbox("ok@example.com"),
        link=lambda of, recipient, action: "https://signoff.example.com/d/x",
    )

    message = message_from_bytes(writer.request(APPROVAL, mail(), NOW).data, policy=default)
    _, plain, html = message.walk()

    assert plain.get_content() == "Acme asks: Deploy billing 4.2 to production\r\n"
    assert "Ana Ruiz asks you to approve or reject this." in html.get_content()


async def test_a_style_of_the_operators_is_allowed_by_the_policy(tmp_path: Path) -> None:
    """The policy header carries the hash of whichever style is shown."""
    style = "body { background: papayawhip; }\n"
    put(tmp_path, "pages/style.css", style)
    service = fake_service()
    pages = DecisionPages(
        service=service,
        nonces=service.links,
        languages=load_languages(tmp_path),
        frame=PageFrame(environment(tmp_path)),
        clock=lambda: NOW,
        base_url=BASE_URL,
    )

    answer = await pages.get(service.link(APPROVAL, 0, 0).rpartition("/")[2], wants_json=False)

    digest = b64encode(hashlib.sha256(style.encode()).digest())
    assert b"style-src 'sha256-%b'" % digest in dict(answer.headers)[b"content-security-policy"]
    assert f"<style>{style}</style>".encode() in answer.body


def test_a_template_that_is_text_is_not_escaped_and_all_others_are(tmp_path: Path) -> None:
    """Only files that end in .txt are plain text."""
    for name in ("x.txt", "x.html", "x.htm", "x.svg", "x"):
        put(tmp_path, name, "{{ text }}")
    templates = environment(tmp_path)

    rendered = {
        name: templates.get_template(name).render(text="<b>")
        for name in ("x.txt", "x.html", "x.htm", "x.svg", "x")
    }

    assert rendered == {
        "x.txt": "<b>",
        "x.html": "&lt;b&gt;",
        "x.htm": "&lt;b&gt;",
        "x.svg": "&lt;b&gt;",
        "x": "&lt;b&gt;",
    }


def test_a_directory_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """The sentence names the setting."""
    with pytest.raises(StartRefused, match="SIGNOFF_TEMPLATES_DIR is not a directory"):
        environment(tmp_path / "gone")
