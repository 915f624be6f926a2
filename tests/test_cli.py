"""The command line, as operators use it: real processes, exit statuses, sentences."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.approvals.api_keys import api_key_entry
from app.strict_json import dumps, loads
from tests.loopback import LoopbackHandler, LoopbackServer
from tests.processes import PATIENCE_S, SignoffProcess, free_port

ROOT = str(Path(__file__).parent.parent)
REQUEST = {
    "task_token": "cli-task-token-" + "x" * 50,
    "title": "Deploy [bold]billing[/] 4.2",
    "recipients": ["marc@example.com"],
}


def signoff(
    *arguments: str, environment: Mapping[str, str] | None = None, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run `signoff` to its end."""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, **(environment or {})}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=variables,
        input=given,
        capture_output=True,
        timeout=PATIENCE_S,
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignoffProcess]:
    """A running service; its mail server is down."""
    process = SignoffProcess(("serve",), tmp_path_factory.mktemp("cli") / "data")
    yield process.start()
    assert process.stop() == 0


def as_operator(service: SignoffProcess) -> dict[str, str]:
    """The environment of somebody who operates *service*."""
    return {**service.variables(), "SIGNOFF_API_KEY": service.api_key}


def ask(service: SignoffProcess, *arguments: str, given: bytes = b"") -> Any:
    """What a command answers as JSON."""
    done = signoff(*arguments, environment=as_operator(service), given=given)
    assert done.returncode == 0, done.stderr
    return loads(done.stdout)


def test_an_approval_is_minted_shown_resent_and_revoked(service: SignoffProcess) -> None:
    """The whole life that an operator can give it, from the command line."""
    minted = ask(service, "mint", "-", given=dumps(REQUEST))
    shown = ask(service, "show", minted["id"])
    resent = ask(service, "resend", minted["id"])
    listed = signoff("list", environment=as_operator(service))
    revoked = ask(service, "revoke", minted["id"])
    audit = ask(service, "audit", "show", minted["id"])

    assert shown["title"] == "Deploy [bold]billing[/] 4.2"
    assert resent["state"] == "PENDING"
    assert b"Deploy [bold]billing[/] 4.2" in listed.stdout  # text, not markup
    assert revoked["state"] == "REVOKED"
    events = [entry["event"] for entry in audit["entries"] if entry["event"] != "MAIL_FAILED"]
    assert events == ["CREATED", "RESENT", "REVOKED"]


def test_a_refusal_is_a_sentence_and_status_2(service: SignoffProcess) -> None:
    """No traceback, and every faulty field by its name."""
    done = signoff("mint", "-", environment=as_operator(service), given=b'{"title": ""}')

    assert done.returncode == 2
    assert done.stderr.startswith(b"signoff: ")
    assert done.stderr.count(b"task_token: ") == 1 and done.stderr.count(b"recipients: ") == 1
    assert b"Traceback" not in done.stderr


def test_faults_beyond_the_first_are_named_once_too(service: SignoffProcess) -> None:
    """The sentence has room for five; each of the others has a line of its own."""
    wrong = {**REQUEST, **{f"typo_{number}": 1 for number in range(7)}}

    done = signoff("mint", "-", environment=as_operator(service), given=dumps(wrong))

    said = done.stderr.decode()
    assert said.startswith("signoff: 7 fields are wrong. ")
    assert [said.count(f"typo_{number}: ") for number in range(7)] == [1] * 7


def test_a_service_that_is_not_there_is_named() -> None:
    """The sentence says where nobody answers, and what to do."""
    environment = {"SIGNOFF_PORT": str(free_port()), "SIGNOFF_API_KEY": "sgn_x"}

    done = signoff("list", environment=environment)

    assert done.returncode == 2
    assert b"No Signoff service answers at http://127.0.0.1:" in done.stderr


class Stranger(LoopbackHandler):
    """Answers everything with a page, as proxies and other people's services do."""

    def do_GET(self) -> None:
        self.answer(200, b"<p>Welcome</p>", ("Content-Type", "text/html"))


def test_what_is_no_service_of_ours_is_named(tmp_path: Path) -> None:
    """Another service at the address is told from ours, by commands and by the doctor."""
    with LoopbackServer(Stranger) as stranger:
        environment = {
            "SIGNOFF_BASE_URL": stranger.url,
            "SIGNOFF_API_KEY": "sgn_x",
            "SIGNOFF_DATA_DIR": str(tmp_path),
        }
        listed = signoff("list", environment=environment)
        examined = signoff("doctor", environment=environment)

    assert listed.returncode == 2
    assert listed.stderr.decode() == (
        f"signoff: What answers at {stranger.url} is no Signoff service. Set SIGNOFF_BASE_URL.\n"
    )
    assert f"bad  base URL: {stranger.url} is not this service." in examined.stdout.decode()


class PagesOnly(LoopbackHandler):
    """The decision pages of functions on Lambda, where nothing else is open to everybody."""

    def do_GET(self) -> None:
        if self.path.startswith("/d/"):
            self.answer(404, b'{"code": "unknown_link"}', ("Content-Type", "application/json"))
        else:
            self.answer(404, b'{"message": "Not Found"}', ("Content-Type", "application/json"))


def test_the_doctor_knows_decision_pages_without_a_service(tmp_path: Path) -> None:
    """The address of a deployment on AWS answers as it should."""
    with LoopbackServer(PagesOnly) as functions:
        environment = {
            "SIGNOFF_BASE_URL": functions.url,
            "SIGNOFF_DATA_DIR": str(tmp_path),
        }
        examined = signoff("doctor", environment=environment)

    assert f"ok   base URL: {functions.url} is this service." in examined.stdout.decode()


def test_a_key_that_is_none_is_not_sent() -> None:
    """Characters that no header takes are told of in a sentence."""
    done = signoff("list", environment={"SIGNOFF_API_KEY": "sgn_\u043a\u043b\u044e\u0447"})

    assert done.returncode == 2
    assert done.stderr.startswith(b"signoff: The API key has characters that no key has.")


def test_a_new_key_comes_with_its_entry() -> None:
    """The entry is the hash of the key, and nothing else is kept of it."""
    done = signoff("keys", "new")

    key, entry = (line.split()[1] for line in done.stdout.decode().splitlines()[:2])
    assert api_key_entry(key) == entry


def test_the_audit_is_verified_beside_a_running_service(service: SignoffProcess) -> None:
    """An intact audit is said to hold; a changed one is named, with status 1."""
    ask(service, "mint", "-", given=dumps({**REQUEST, "task_token": "another" + "x" * 50}))

    holds = signoff("audit", "verify", environment=service.variables())
    assert (holds.returncode, holds.stdout[:16]) == (0, b"The audit holds:")

    with sqlite3.connect(service.data_dir / "approvals.sqlite3") as forger:
        forger.execute("DROP TRIGGER audit_unchanged")
        forger.execute("UPDATE audit SET event = 'REVOKED' WHERE seq = 1")
    forger.close()
    changed = signoff("audit", "verify", environment=service.variables())

    assert changed.returncode == 1
    assert b"The audit does not hold: entry 1 was changed" in changed.stdout


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(service: SignoffProcess) -> None:
    """The mail server is down, everything else is well."""
    done = signoff("doctor", environment=service.variables())

    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert [line for line in lines if line.startswith("bad")] == [
        f"bad  mail: The mail server 127.0.0.1:{service.inbox_port} cannot be reached."
    ]
    assert "     Check host, port, user and password in SIGNOFF_SMTP_URL." in lines


GOOD = {
    "SIGNOFF_SECRET_KEYS": "qCw3Vh2kXl8bYp5ZsT0dRf7uJm4nGa1e",
    "SIGNOFF_SMTP_URL": "smtp://127.0.0.1:9",
    "SIGNOFF_MAIL_FROM": "signoff@example.com",
}
REFUSED = {
    "no secret key": ({"SIGNOFF_SECRET_KEYS": ""}, "SIGNOFF_SECRET_KEYS is empty"),
    "a placeholder": ({"SIGNOFF_SECRET_KEYS": "changeme" * 5}, "SIGNOFF_SECRET_KEYS: key 1"),
    "31 bytes": ({"SIGNOFF_SECRET_KEYS": GOOD["SIGNOFF_SECRET_KEYS"][:31]}, "shorter than 32"),
    "a missing key file": ({"SIGNOFF_SECRET_KEYS": "file:/nowhere"}, "cannot be read"),
    "a wrong base URL": ({"SIGNOFF_BASE_URL": "signoff.example.com"}, "SIGNOFF_BASE_URL"),
    "a base URL without TLS": ({"SIGNOFF_BASE_URL": "http://a.example.com"}, "https://"),
    "a host for all without a base URL": ({"SIGNOFF_HOST": "0.0.0.0"}, "SIGNOFF_BASE_URL"),
    "a wrong API key entry": ({"SIGNOFF_API_KEYS": "sha256:abc"}, "signoff keys new"),
    "no mail server": ({"SIGNOFF_SMTP_URL": ""}, "SIGNOFF_SMTP_URL"),
    "a wrong mail server": ({"SIGNOFF_SMTP_URL": "mail.example.com"}, "SIGNOFF_SMTP_URL"),
    "a wrong sender": ({"SIGNOFF_MAIL_FROM": "nobody"}, "SIGNOFF_MAIL_FROM"),
    "a webhook without a secret": (
        {"SIGNOFF_EVENT_WEBHOOK_URL": "https://hooks.example.com"},
        "SIGNOFF_EVENT_WEBHOOK_SECRETS is needed",
    ),
    "a webhook with a weak secret": (
        {
            "SIGNOFF_EVENT_WEBHOOK_URL": "https://hooks.example.com",
            "SIGNOFF_EVENT_WEBHOOK_SECRETS": "whsec_c2hvcnQ=",
        },
        "SIGNOFF_EVENT_WEBHOOK_SECRETS cannot be used",
    ),
    "no template directory": ({"SIGNOFF_TEMPLATES_DIR": "/nowhere"}, "SIGNOFF_TEMPLATES_DIR"),
}


@pytest.mark.parametrize(("wrong", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_start_that_cannot_work_says_what_to_set(
    tmp_path: Path, wrong: Mapping[str, str], sentence: str
) -> None:
    """Status 2 and one sentence; no traceback and no secret in it."""
    environment = {"SIGNOFF_DATA_DIR": str(tmp_path), **GOOD, **wrong}
    environment = {name: value for name, value in environment.items() if value}

    done = signoff("serve", environment=environment)

    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert said.startswith("signoff: ") and sentence in said
    assert "Traceback" not in said
    assert GOOD["SIGNOFF_SECRET_KEYS"][:31] not in said and "changemechangeme" not in said


def test_the_demo_is_not_shown_to_others(tmp_path: Path) -> None:
    """It shows everybody's mail, so it listens on loopback only."""
    environment = {
        "SIGNOFF_HOST": "0.0.0.0",
        "SIGNOFF_BASE_URL": "https://signoff.example.com",
        "SIGNOFF_DATA_DIR": str(tmp_path),
    }

    done = signoff("demo", environment=environment)

    assert done.returncode == 2
    assert b"listens on 127.0.0.1 only" in done.stderr


def test_a_second_engine_on_one_directory_is_refused(service: SignoffProcess) -> None:
    """Two engines would do every task twice."""
    environment = {
        **service.variables(),
        "SIGNOFF_PORT": str(free_port()),
        "SIGNOFF_ENGINE_PORT": str(free_port()),
    }

    done = signoff("serve", environment=environment)

    assert done.returncode == 2
    assert b"Another engine is using the data directory" in done.stderr


def test_a_taken_port_is_named(service: SignoffProcess, tmp_path: Path) -> None:
    """The sentence names the port and its setting."""
    environment = {**service.variables(), "SIGNOFF_DATA_DIR": str(tmp_path)}

    done = signoff("serve", environment=environment)

    assert done.returncode == 2
    assert f"Port {service.port} on 127.0.0.1".encode() in done.stderr


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    """Never silently: the file is named, and what to do."""
    (tmp_path / "approvals.sqlite3").write_bytes(b"this is no database" * 500)

    done = signoff("serve", environment={"SIGNOFF_DATA_DIR": str(tmp_path), **GOOD})

    assert done.returncode == 2
    assert b"approvals.sqlite3" in done.stderr and b"backup" in done.stderr
