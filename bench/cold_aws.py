"""An AWS account behind TLS on loopback, with approvals to look at and to decide."""

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
from werkzeug.serving import WSGIRequestHandler, make_server

from app.approvals.answers import Minted
from app.approvals.keyring import KeyRing
from app.approvals.links import LinkSigner
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.dynamodb.definition import table_definition
from app.approvals.store.dynamodb.store import DynamoStore
from app.aws_lambda.stepfunctions import TARGET, stepfunctions_target
from app.clock import utc_now
from app.secret_files import new_secret_key
from tests.approvals.channels.mailservers import authority
from tests.approvals.store.moto import OneAtATime

TABLE = "approvals"
BASE_URL = "https://signoff.example.com"


@dataclass
class Account:
    """What the functions find, and events for them."""

    environment: Mapping[str, str]
    certificate: Path
    service: ApprovalService
    links: LinkSigner
    minted: int = 0

    def __post_init__(self) -> None:
        self.approval_id = self._mint().approval.id

    def look(self) -> dict[str, Any]:
        """A GET of the decision page."""
        return _event("GET", self._path(self._mint()))

    def decide(self) -> dict[str, Any]:
        """A POST of the form on the decision page of a new approval."""
        minted = self._mint()
        holder = self.links.holder(self._path(minted).rpartition("/")[2])
        form = {"decision": "approve", "nonce": self.links.form_nonce(holder, utc_now())}
        event = _event("POST", self._path(minted)) | {"body": urlencode(form)}
        event["headers"] |= {"content-type": "application/x-www-form-urlencoded"}
        return event

    def show(self) -> dict[str, Any]:
        """A GET of the approval over the JSON API, signed by somebody."""
        event = _event("GET", f"/approvals/{self.approval_id}")
        event["requestContext"]["authorizer"] = {"iam": {"userArn": "arn:aws:iam::1:user/bench"}}
        return event

    def _path(self, minted: Minted) -> str:
        return urlsplit(minted.links[0].url).path

    def _mint(self) -> Minted:
        self.minted += 1
        body = {
            "task_token": f"AQCEAAAAKgAAAAMAAAAA{self.minted:0>680}",
            "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:deploy:run-1",
            "title": "Deploy billing 4.2 to production",
            "message": "All checks passed on staging.",
            "facts": {"Change": "CHG-1182", "Risk": "medium"},
            "recipients": [{"email": "marc@example.com", "time_zone": "Europe/Berlin"}],
        }
        return asyncio.run(self.service.mint(body))


@contextmanager
def open_account(directory: Path) -> Iterator[Account]:
    """An account with a table, a secret, and one approval."""
    ca = authority(directory)
    certificate = directory / "127.0.0.1.pem"
    server = make_server(
        "127.0.0.1", 0, _Aws(), threaded=True, ssl_context=ca.server, request_handler=_Quiet
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "AWS_ENDPOINT_URL": f"https://127.0.0.1:{server.server_port}",
        "AWS_CA_BUNDLE": str(certificate),
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    os.environ.update(environment)
    try:
        yield _furnished(environment, certificate)
    finally:
        server.shutdown()


def _furnished(environment: Mapping[str, str], certificate: Path) -> Account:
    boto3.client("dynamodb").create_table(**table_definition(TABLE))
    key = new_secret_key()
    made = boto3.client("secretsmanager").create_secret(Name="keys", SecretString=key)
    ring, store = KeyRing([key]), DynamoStore.open(TABLE)
    links = LinkSigner(ring, BASE_URL)
    service = ApprovalService(
        store=store,
        targets={TARGET: stepfunctions_target()},
        links=links,
        sealer=asyncio.run(open_sealer(ring, store)),
    )
    told = {
        **environment,
        "SECRET": made["ARN"],
        "SIGNOFF_BASE_URL": BASE_URL,
        "SIGNOFF_STORE": f"dynamodb:{TABLE}",
        "SIGNOFF_SECRET_KEYS": f"secretsmanager:{made['ARN']}",
        "SIGNOFF_CHANNEL": "smtp",
        "SIGNOFF_SMTP_URL": "smtp://127.0.0.1:1",
        "SIGNOFF_MAIL_FROM": "signoff@example.com",
    }
    return Account(told, certificate, service, links)


class _Aws:
    """moto, and a Step Functions that takes every answer."""

    def __init__(self) -> None:
        self._moto = OneAtATime()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        if ".SendTask" in environ.get("HTTP_X_AMZ_TARGET", ""):
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            start_response("200 OK", [("Content-Type", "application/x-amz-json-1.0")])
            return [b"{}"]
        return self._moto(environ, start_response)


class _Quiet(WSGIRequestHandler):
    """Keeps connections, as AWS does, and says nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        """Nothing."""


def _event(method: str, path: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "signoff.example.com"},
        "requestContext": {"http": {"method": method, "sourceIp": "192.0.2.1"}},
    }
