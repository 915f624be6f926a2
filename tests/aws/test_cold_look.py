"""What a cold look at the decision page imports: people wait for every module of it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.approvals.keyring import KeyRing
from app.approvals.links import LinkSigner
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.dynamodb.in_place import InPlace
from app.approvals.store.dynamodb.store import DynamoStore
from app.approvals.store.dynamodb.table import Table
from app.approvals.targets.signed_stepfunctions import SignedStepFunctionsTarget
from app.aws_lambda.stepfunctions import TARGET
from app.secret_files import new_secret_key
from tests.approvals.store.moto import moto_url
from tests.approvals.store.tables import create_table, dynamodb_client
from tests.aws.tools import REPOSITORY
from tools.lambda_package import compile_templates

BASE_URL = "https://signoff.example.com"
TABLE = "cold-look"

#: of other libraries, or dear ones of Python's own
NOT_NEEDED = frozenset(
    [
        "asyncio",
        "boto3",
        "cffi",
        "concurrent.futures",
        "decimal",
        "email",
        "http.client",
        "idna",
        "jinja2",
        "nacl",
        "orjson",
        "pathlib",
        "pydantic",
        "random",
        "secrets",
        "subprocess",
        "tempfile",
        "urllib.request",
        "uuid",
    ]
)
#: of ours, all that a look runs; who adds one weighs it with `make bench-cold`
NEEDED = frozenset(
    [
        "approvals",
        "approvals.pages.afterwards",
        "approvals.asking",
        "approvals.pages.form",
        "approvals.document",
        "approvals.keyring",
        "approvals.language",
        "approvals.links",
        "approvals.model",
        "approvals.pages.frame",
        "approvals.pages.request",
        "approvals.pages",
        "approvals.pages.decision_pages",
        "approvals.plain_text",
        "approvals.protocol",
        "approvals.reading",
        "approvals.store",
        "approvals.store.dynamodb",
        "approvals.store.dynamodb.definition",
        "approvals.store.dynamodb.due",
        "approvals.store.dynamodb.in_place",
        "approvals.store.dynamodb.keys",
        "approvals.store.dynamodb.reading",
        "approvals.store.dynamodb.rows",
        "approvals.store.dynamodb.table",
        "approvals.store.dynamodb.wire",
        "approvals.store.parsed_requests",
        "approvals.typed_text",
        "aws_json",
        "aws_lambda",
        "aws_lambda.click",
        "aws_lambda.clicks",
        "aws_lambda.http_event",
        "aws_lambda.rendering",
        "aws_lambda.rotation",
        "clock",
        "compiled_templates",
        "compiled_templates.languages",
        "compiled_templates.pages_decide_html",
        "compiled_templates.pages_form_html",
        "compiled_templates.pages_layout_html",
        "compiled_templates.pages_style_css",
        "errors",
        "https",
        "json_value",
        "logs",
        "secrets_source",
    ]
)
#: each takes half a millisecond to make
DATACLASSES = frozenset(
    [
        "approvals.keyring.Key",
        "approvals.language.Language",
        "approvals.model.Action",
        "approvals.model.Approval",
        "approvals.model.Callback",
        "approvals.model.Decision",
        "approvals.model.Failure",
        "approvals.model.Person",
        "approvals.model.Recipient",
        "approvals.model.Request",
        "approvals.model.Success",
        "aws_json.Credentials",
        "aws_lambda.clicks._Current",
        "https._Stream",
    ]
)
LOOK = """
import json, sys, app
app.__path__.append(sys.argv[1])
before = {*sys.modules}
from app.aws_lambda.click import handler
answer = handler(json.loads(sys.argv[2]), None)
modules = sorted({*sys.modules} - before)
import dataclasses, gc
gc.collect()  # of a class with slots there were two
gc.unfreeze()  # what is frozen is not told
made = {
    f"{one.__module__}.{one.__qualname__}"
    for one in gc.get_objects()
    if isinstance(one, type) and dataclasses.is_dataclass(one)
}
print(json.dumps({"answer": answer, "modules": modules, "dataclasses": sorted(made)}))
"""


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process says of a GET of the page of an approval in a table of moto's."""
    compiled = tmp_path_factory.mktemp("package") / "app" / "compiled_templates"
    compile_templates(compiled)
    key = new_secret_key()
    event: dict[str, Any] = {
        "version": "2.0",
        "rawPath": _minted_path(key),
        "headers": {"host": "signoff.example.com"},
        "requestContext": {"http": {"method": "GET", "sourceIp": "192.0.2.1"}},
    }
    return _looked(compiled, event, key)


def _minted_path(key: str) -> str:
    client = dynamodb_client(moto_url())
    create_table(client, TABLE)
    store, ring = DynamoStore(Table(client, TABLE), InPlace()), KeyRing([key])

    async def minted() -> str:
        service = ApprovalService(
            store=store,
            targets={TARGET: SignedStepFunctionsTarget(client, InPlace())},
            links=LinkSigner(ring, BASE_URL),
            sealer=await open_sealer(ring, store),
        )
        body = {"task_token": "t" * 600, "title": "Deploy?", "recipients": ["marc@example.com"]}
        return (await service.mint(body)).links[0].url

    return urlsplit(asyncio.run(minted())).path


def _looked(compiled: Path, event: dict[str, Any], key: str) -> dict[str, Any]:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": moto_url(),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "SIGNOFF_BASE_URL": BASE_URL,
        "SIGNOFF_STORE": f"dynamodb:{TABLE}",
        "SIGNOFF_SECRET_KEYS": key,
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(compiled.parent), json.dumps(event)],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_look_shows_the_form(look: dict[str, Any]) -> None:
    """What is measured here is the page that people wait for."""
    assert look["answer"]["statusCode"] == 200
    assert "Deploy?" in look["answer"]["body"]
    assert "<form" in look["answer"]["body"]


def test_a_look_imports_what_it_needs(look: dict[str, Any]) -> None:
    """Of other libraries and of our own modules: a new one shows up here first."""
    modules = set(look["modules"])

    assert modules & NOT_NEEDED == set()
    assert {name[4:] for name in modules if name.startswith("app.")} == NEEDED


def test_a_look_makes_few_dataclasses(look: dict[str, Any]) -> None:
    """The core's values are some; what only crosses a border is a named tuple."""
    assert {name[4:] for name in look["dataclasses"]} == DATACLASSES
