"""`signoff doctor`: what is wrong with this installation, and how to mend it."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile

import httpx

from app.approvals.api_keys import ApiKeys
from app.approvals.channels import MailError
from app.approvals.keyring import KeyRing
from app.approvals.targets import TargetBusy, TargetError, TaskGone
from app.approvals.targets.stepfunctions import StepFunctionsTarget, connect
from app.channel_setting import make_channel
from app.doctor_aws import ses_findings, table_findings
from app.engine.store import FILE as ENGINE_FILE
from app.engine_process import event_routing
from app.errors import SignoffError, StartRefused, UnknownLink
from app.findings import Finding
from app.main import api_key_entries
from app.secret_files import API_KEY_FILE
from app.secrets_source import read_secret_keys
from app.settings import ChannelKind, Settings, TargetKind, load_settings

MIN_FREE_BYTES = 200 * 2**20
PERMISSIONS = (
    "states:SendTaskSuccess, SendTaskFailure and SendTaskHeartbeat on the state machines, and "
    "states:GetExecutionHistory on their executions"
)


async def examine() -> list[Finding]:
    """All findings, in the order in which one would mend them."""
    try:
        settings = load_settings()
    except StartRefused as exc:
        return [Finding("settings", False, exc.message, "The README lists every setting.")]
    return [
        Finding("settings", True, "All can be read."),
        _secret_keys(settings),
        _api_keys(settings),
        _data_directory(settings.data_dir),
        *_databases(settings.data_dir),
        *(await table_findings(settings, settings.table) if settings.table else ()),
        await _mail(settings),
        *(ses_findings(settings) if settings.channel is ChannelKind.SES else ()),
        await _target(settings),
        await _events(settings),
        _base_url(settings.public_url),
    ]


def _secret_keys(settings: Settings) -> Finding:
    secrets = settings.secret_keys.get_secret_value() if settings.secret_keys else None
    try:
        ring = KeyRing(read_secret_keys(secrets))
    except StartRefused as exc:
        return Finding("secret keys", False, exc.message)
    return Finding("secret keys", True, f"{len(ring.keys)} in the ring, the newest signs.")


def _api_keys(settings: Settings) -> Finding:
    if not settings.api_keys and not (settings.data_dir / API_KEY_FILE).exists():
        return Finding("API keys", True, "None yet: the service makes one at its first start.")
    try:
        ApiKeys(api_key_entries(settings))
    except SignoffError as exc:
        return Finding("API keys", False, exc.message, "Make one with: signoff keys new")
    return Finding("API keys", True, "They can be read.")


def _data_directory(directory: Path) -> Finding:
    mend = "Name a directory on a local disk with SIGNOFF_DATA_DIR, owned by this user."
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        sentence = f"{directory} cannot be written ({exc.strerror})."
        return Finding("data directory", False, sentence, mend)
    free = shutil.disk_usage(directory).free
    if free < MIN_FREE_BYTES:
        sentence = f"{directory} has only {free // 2**20} MB left."
        return Finding("data directory", False, sentence, "Make room: 200 MB at least.")
    return Finding("data directory", True, f"{directory} takes writes; {free // 2**30} GB free.")


def _databases(directory: Path) -> Iterator[Finding]:
    for path in sorted(directory.glob("*.sqlite3")):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
                verdict = str(file.execute("PRAGMA integrity_check(1)").fetchone()[0])
        except sqlite3.Error as exc:
            verdict = str(exc)
        ok = verdict == "ok"
        sentence = "Every page is sound." if ok else f"It is damaged: {verdict}."
        yield Finding(path.name, ok, sentence, "" if ok else "Restore it from a backup.")


_MAIL_SETTINGS = {
    ChannelKind.SMTP: "The README's example has both settings.",
    ChannelKind.SES: "docs/aws.md says how an address is verified.",
}
_MAIL_MENDS = {
    ChannelKind.SMTP: "Check host, port, user and password in SIGNOFF_SMTP_URL.",
    ChannelKind.SES: "Check the network, AWS_REGION and this role's permissions for SES.",
}


async def _mail(settings: Settings) -> Finding:
    try:
        channel = make_channel(settings)
    except StartRefused as exc:
        return Finding("mail", False, exc.message, _MAIL_SETTINGS[settings.channel])
    try:
        await channel.check()
    except MailError as exc:
        mend = _MAIL_MENDS[settings.channel]
        return Finding("mail", False, exc.message, mend)
    finally:
        await channel.close()
    return Finding("mail", True, "The mail server lets us in.")


async def _target(settings: Settings) -> Finding:
    if settings.target is TargetKind.EMBEDDED:
        return Finding("target", True, "The bundled engine; it runs with: signoff serve")
    try:
        target = StepFunctionsTarget(connect())
    except StartRefused as exc:
        return Finding("target", False, exc.message, "Set AWS_REGION and give credentials.")
    try:
        # A token that cannot exist: whoever knows that it does not, listens to us.
        await target.succeed("signoff-doctor", "{}")
    except TaskGone:
        return Finding("target", True, "Step Functions answers and lets us complete tasks.")
    except TargetBusy as exc:
        mend = "Check the network, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_SFN."
        return Finding("target", False, f"Step Functions does not answer ({exc.code}).", mend)
    except TargetError as exc:
        mend = f"Allow this role {PERMISSIONS}, and check its credentials."
        return Finding("target", False, f"Step Functions refuses ({exc.code}).", mend)
    finally:
        target.close()
    return Finding("target", False, "Step Functions took a token that does not exist.")


async def _events(settings: Settings) -> Finding:
    if settings.target is TargetKind.AWS:
        return Finding("events", True, "AWS tells EventBridge of its executions itself.")
    try:
        routing = event_routing(settings)
    except StartRefused as exc:
        return Finding("events", False, exc.message, "docs/events.md has an example.")
    for destination in routing.destinations:
        await destination.close()
    names = " and ".join(destination.name for destination in routing.destinations)
    owed, given_up = _owed_events(settings.data_dir / ENGINE_FILE)
    if given_up:
        sentence = f"{given_up} execution status events were given up, {owed} are owed."
        mend = "The log says why. Mend the destination; DescribeExecution has what was missed."
        return Finding("events", False, sentence, mend)
    sentence = f"They go to {names}; {owed} are owed." if names else "Nobody is told of them."
    return Finding("events", True, sentence)


def _owed_events(path: Path) -> tuple[int, int]:
    """How many events are owed, and how many were given up."""
    sql = "SELECT count(due_ms), count(*) - count(due_ms) FROM owed_events"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            owed, given_up = file.execute(sql).fetchone()
    except sqlite3.Error:
        return 0, 0  # no engine ran here yet; a damaged file is told of elsewhere
    return owed, given_up


def _base_url(url: str) -> Finding:
    mend = "Start the service (signoff serve), or let SIGNOFF_BASE_URL name the proxy before it."
    try:
        ours = _is_service(url) or _shows_pages(url)
    except httpx.HTTPError as exc:
        sentence = f"{url} does not answer ({type(exc).__name__})."
        return Finding("base URL", False, sentence, mend)
    if not ours:
        return Finding("base URL", False, f"{url} is not this service.", mend)
    return Finding("base URL", True, f"{url} is this service.")


def _is_service(url: str) -> bool:
    answer = httpx.get(f"{url}/healthz", timeout=5)
    return answer.status_code == 200 and _member(answer, "service") == "signoff"


def _shows_pages(url: str) -> bool:
    """Whether decision pages are there: on Lambda they are all that is open to everybody."""
    answer = httpx.get(f"{url}/d/doctor", headers={"Accept": "application/json"}, timeout=15)
    return answer.status_code == 404 and _member(answer, "code") == UnknownLink.code


def _member(answer: httpx.Response, name: str) -> object:
    try:
        document = answer.json()
    except ValueError:
        return None
    return document.get(name) if isinstance(document, dict) else None
