"""What the packages hold, and that what is compiled for a cold start is the same as without."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.aws_lambda.http_event import http_result, read_http_event
from app.errors import BadRequest
from app.templating import environment
from tests.aws.tools import REPOSITORY
from tools.lambda_package import PAGES, CannotBuild, compile_templates, imported

WORDS: dict[str, Any] = {
    "lang": "en",
    "direction": "ltr",
    "style": "",
    "heading": "<b>Deploy</b> & go",
    "asks": "Ana asks",
    "problem": "Tick the box",
    "problem_label": "There is a problem",
    "problem_field": "decision",
    "facts": (("Change", "CHG-1182"), ("<i>", '"')),
    "message": "two\nlines",
    "message_from": "Ana writes",
    "you_act_as": "You act as marc@example.com",
    "action": "approve",
    "confirm": "I approve",
    "comment": "</textarea>",
    "comment_rule": "required",
    "comment_label": "Comment",
    "comment_hint": "Others see it",
    "comment_required": True,
    "nonce": "n.o.n.c.e",
    "button": "Approve",
    "button_style": "primary",
    "others": [{"action": "reject", "url": "https://x.example/d/a", "words": "Reject instead"}],
    "otherwise": "Or:",
    "expiry": "Until tomorrow",
    "sentences": ("One & two.", "Three."),
    "next_steps": (),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled templates as a package."""
    directory = tmp_path_factory.mktemp("package") / "app" / "compiled_templates"
    compile_templates(directory)
    return directory


def render(compiled: Path, name: str, words: dict[str, Any]) -> str:
    """What the click function makes of *words*, in a process with its modules only."""
    code = (
        "import json, sys, app; app.__path__.append(sys.argv[1])\n"
        "from app.aws_lambda.rendering import CompiledTemplates\n"
        "words = json.loads(sys.argv[3])\n"
        "sys.stdout.write(CompiledTemplates().get_template(sys.argv[2]).render(**words))\n"
        "assert 'jinja2' not in sys.modules\n"
    )
    text = json.dumps(words)
    done = subprocess.run(
        [sys.executable, "-c", code, str(compiled.parent), name, text],
        capture_output=True,
        cwd=REPOSITORY,
        check=True,
    )
    return done.stdout.decode()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("without", [(), ("problem", "problem_field"), ("facts", "message")])
def test_a_compiled_page_is_the_page(compiled: Path, name: str, without: tuple[str, ...]) -> None:
    """To the byte what Jinja2 makes of it, whatever is there to say."""
    words = {key: (None if key in without else value) for key, value in WORDS.items()}

    assert render(compiled, name, words) == environment().get_template(name).render(**words)


def test_a_missing_word_is_a_mistake(compiled: Path) -> None:
    """As with Jinja2's strict undefined: no page with a hole in it."""
    words = {key: value for key, value in WORDS.items() if key != "heading"}

    with pytest.raises(subprocess.CalledProcessError) as failed:
        render(compiled, "pages/afterwards.html", words)

    assert b"uses heading, which is not given" in failed.value.stderr


@pytest.mark.parametrize(
    "page", ["{{ heading|upper }}", "{% include 'x' %}", "{% macro a() %}{% endmacro %}"]
)
def test_the_build_refuses_what_pages_there_cannot_have(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better no package than a page that fails when somebody wants to decide."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "style.css").write_text(page)
    monkeypatch.setattr("tools.lambda_package.environment", lambda: environment(tmp_path))

    with pytest.raises(CannotBuild, match=r"templates/pages/style\.css uses what pages on Lambda"):
        compile_templates(tmp_path / "compiled")


def test_the_click_function_imports_no_more_than_it_needs() -> None:
    """No framework, no boto3, no engine, in what its entry point can reach."""
    modules = imported(["app.aws_lambda.click"])

    assert not [name for name in modules if name.startswith(("app.web", "app.engine", "app.main"))]
    assert "app.approvals.service" in modules
    assert "app.approvals.mail.messages" not in modules


def test_http_events_come_in_and_go_out_whole() -> None:
    """Cookies, bodies in base64, headers that come twice."""
    event = {
        "version": "2.0",
        "rawPath": "/d/a%2Eb",
        "rawQueryString": "a=1",
        "cookies": ["a=1", "b=2"],
        "headers": {"Content-Type": "text/plain"},
        "body": "/w==",
        "isBase64Encoded": True,
        "requestContext": {"http": {"method": "POST", "sourceIp": "192.0.2.1"}},
    }

    request = read_http_event(event)

    assert (request.method, request.path, request.body) == ("POST", "/d/a.b", b"\xff")
    assert request.headers == {b"content-type": b"text/plain", b"cookie": b"a=1; b=2"}
    assert (request.from_ip, request.caller) == ("192.0.2.1", None)
    headers = [(b"Set-Cookie", b"a=1"), (b"x", b"1"), (b"x", b"2"), (b"content-length", b"1")]
    assert http_result(200, headers, b"\xff") == {
        "statusCode": 200,
        "headers": {"x": "1, 2"},
        "body": "/w==",
        "isBase64Encoded": True,
        "cookies": ["a=1"],
    }


EVENT: dict[str, Any] = {
    "version": "2.0",
    "rawPath": "/d/a",
    "headers": {"host": "signoff.example.com"},
    "requestContext": {"http": {"method": "POST"}},
}


@pytest.mark.parametrize(
    "event",
    [
        *({}, [], "x", None, 3, True),
        {name: value for name, value in EVENT.items() if name != "version"},
        {name: value for name, value in EVENT.items() if name != "rawPath"},
        {**EVENT, "version": "1.0"},
        {**EVENT, "requestContext": None},
        {**EVENT, "requestContext": {"http": {}}},
        {**EVENT, "requestContext": {"http": {"method": 3}}},
        {**EVENT, "rawPath": None},
        {**EVENT, "rawQueryString": 3},
        {**EVENT, "headers": ["host"]},
        {**EVENT, "headers": {"host": None}},
        {**EVENT, "headers": {"host": "\ud800"}},
        {**EVENT, "cookies": [None]},
        {**EVENT, "body": 3},
        {**EVENT, "body": "\ud800"},
        {**EVENT, "body": "\u00e9", "isBase64Encoded": True},
        {**EVENT, "body": "abc", "isBase64Encoded": True},
    ],
)
def test_what_is_no_http_event_is_refused_in_a_sentence(event: Any) -> None:
    """Whoever invokes a function behind the API by hand is told what it is for."""
    with pytest.raises(BadRequest, match="answers HTTP events of API Gateway"):
        read_http_event(event)


@pytest.mark.parametrize(
    ("base_url", "sent", "path"),
    [
        ("https://example.com", "/d/a", "/d/a"),
        ("https://example.com/", "/d/a", "/d/a"),
        ("https://example.com/approve/it/", "/approve/it/d/a", "/d/a"),
        ("https://example.com/approve", "/d/a", "/d/a"),
        ("https://example.com/d", "/d/d/a", "/d/a"),
        ("https://example.com/approve", "/approves/d/a", "/approves/d/a"),
    ],
)
def test_the_base_path_of_a_domain_is_no_part_of_the_path(
    base_url: str, sent: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API Gateway leaves it there when a mapping of a domain of one's own has one."""
    monkeypatch.setenv("SIGNOFF_BASE_URL", base_url)

    assert read_http_event({**EVENT, "rawPath": sent}).path == path
