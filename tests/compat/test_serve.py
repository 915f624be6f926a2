"""The real process: settings, key, sockets, a host in another time zone, and the plug pulled."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.api import APPROVE, REJECT, outcome, post
from tests.compat.recorder import Recorder
from tests.processes import HTTP, SignoffProcess, wait_for

BASE = {"SIGNOFF_TARGET": "aws", "TZ": "America/New_York", "SIGNOFF_LOG_LEVEL": "DEBUG"}
ALLOWED = {"SIGNOFF_ENABLE_OUTPUT_PARAMETERS": "true", "SIGNOFF_ENABLE_POST_ACTIONS": "true"}
APPLIED = ALLOWED | {"SIGNOFF_CALLBACK_GET": "apply"}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Where AWS_ENDPOINT_URL_SFN leads."""
    with Recorder() as opened:
        yield opened


def service(recorder: Recorder, path: Path, **settings: str) -> SignoffProcess:
    """A process with these settings."""
    path.mkdir(exist_ok=True)
    environment = BASE | {"AWS_ENDPOINT_URL_SFN": recorder.url} | settings
    return SignoffProcess(("serve",), path / "data", environment=environment)


def create(process: SignoffProcess, token: str, *actions: Any, **fields: Any) -> Any:
    """The answer of ``POST /urls``."""
    call = {"token": token, "actions": list(actions), **fields}
    headers = process.key_header | {"Content-Type": "application/json"}
    return HTTP.post(f"{process.url}/urls", content=json.dumps(call), headers=headers).json()


def test_the_switches_are_settings(recorder: Recorder, tmp_path: Path) -> None:
    """Off as they come, on when they are set; a GET decides only where it is allowed."""
    process = service(recorder, tmp_path).start()
    assert create(process, "t0", post(outcome(output=1)))["error"] == "PostActionsDisabled"
    asked = create(process, "t0", APPROVE, enable_output_parameters=True)
    assert asked["error"] == "ParametersDisabled"
    url = create(process, "t0", APPROVE)["urls"]["approve"]
    assert HTTP.get(url).status_code == 405
    process.stop()

    process = service(recorder, tmp_path / "applied", **APPLIED).start()
    action = {**APPROVE, "output": "$who", "name": "who"}
    urls = create(process, "t1", action, enable_output_parameters=True)["urls"]
    answer = create(process, "t2", post(outcome(output_body=True)))["urls"]["answer"]

    by_get = HTTP.get(urls["who"] + "&who=Ana")
    by_post = HTTP.post(answer, json={"a": 1})
    process.stop()

    assert (by_get.status_code, by_post.status_code) == (200, 200)
    assert recorder.sent == [
        ("SendTaskSuccess", {"taskToken": "t1", "output": '"Ana"'}),
        ("SendTaskSuccess", {"taskToken": "t2", "output": '{"a": 1}'}),
    ]
    assert "a GET of a callback URL decides" in process.log()
    # Nobody reads tokens, links or answers in the log, however much it says.
    data = [url.partition("data=")[2] for url in (url, urls["who"], answer)]
    secrets = [*data, process.api_key, 't1"', '"a": 1']
    assert [secret for secret in secrets if secret in process.log()] == []


def test_a_click_survives_the_plug(recorder: Recorder, tmp_path: Path) -> None:
    """Recorded, killed before Step Functions took it, started again: delivered, once for all."""
    process = service(recorder, tmp_path).start()
    urls = create(process, "t3", APPROVE, REJECT)["urls"]
    for _ in range(50):
        recorder.refuse("ThrottlingException", status=400)

    response = HTTP.post(urls["reject"])
    process.kill()
    assert response.json()["delivered"] is False

    with Recorder() as later:  # a call of the killed one may still come in at the first
        process.environment = BASE | {"AWS_ENDPOINT_URL_SFN": later.url}
        process.start()
        wait_for(lambda: later.sent)
        assert HTTP.post(urls["approve"]).json()["decision"]["action"] == "reject"
        process.stop()
    failure = {"taskToken": "t3", "error": "rejected", "cause": "Ana rejected it"}
    assert later.sent == [("SendTaskFailure", failure)]


def test_nobody_loads_what_only_some_calls_need() -> None:
    """JSON Schema stays out of the service's process; it and dates out of a cold start."""
    code = (
        "import sys, app.approvals.compat.http; print({'jsonschema', 'dateutil'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert done.stdout.strip() == b"set()"
