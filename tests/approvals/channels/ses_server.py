"""An HTTP endpoint that takes mail as SES's API does, and refuses what it is told to."""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from tests.loopback import LoopbackHandler, LoopbackServer
from tests.processes import PATIENCE_S

Answer = tuple[int, str, str]  #: status, error code, message


@dataclass
class FakeSes:
    """What was sent, and what is answered."""

    taken: list[Mapping[str, Any]] = field(default_factory=list)
    refusals: dict[str, list[Answer]] = field(default_factory=dict)  #: by recipient; "" for all
    account: Mapping[str, Any] | Answer = field(default_factory=lambda: {"SendingEnabled": True})
    #: answers to other questions, by path
    told: dict[str, Mapping[str, Any] | Answer] = field(default_factory=dict)
    hang_up: int = 0  #: how often to take a mail and cut the line instead of answering
    calls: int = 0

    def mails(self) -> list[tuple[str, str, bytes]]:
        """Sender, recipient and bytes of each."""
        return [
            (
                mail["FromEmailAddress"],
                mail["Destination"]["ToAddresses"][0],
                b64decode(mail["Content"]["Raw"]["Data"]),
            )
            for mail in self.taken
        ]

    def take(self, mail: Mapping[str, Any]) -> Answer | None:
        """What is wrong with it, if anything."""
        self.calls += 1
        [recipient] = mail["Destination"]["ToAddresses"]
        for whom in (recipient, ""):
            if self.refusals.get(whom):
                answers = self.refusals[whom]
                return answers.pop(0) if len(answers) > 1 else answers[0]
        self.taken.append(mail)
        return None


class _Handler(LoopbackHandler):
    ses: FakeSes

    def do_POST(self) -> None:
        fault = self.ses.take(json.loads(self.body()))
        if fault is None and self.ses.hang_up:
            self.ses.hang_up -= 1
            self.close_connection = True
            return
        self._say(fault or {"MessageId": "0100"})

    def do_GET(self) -> None:
        nothing = (404, "NotFoundException", "There is none.")
        is_account = self.path == "/v2/email/account"
        self._say(self.ses.account if is_account else self.ses.told.get(self.path, nothing))

    def _say(self, answer: Mapping[str, Any] | Answer) -> None:
        json_type = ("Content-Type", "application/json")
        if isinstance(answer, tuple):
            status, code, message = answer
            content = json.dumps({"message": message}).encode()
            self.answer(status, content, json_type, ("x-amzn-ErrorType", code))
        else:
            self.answer(200, json.dumps(answer).encode(), json_type)


@contextmanager
def serving_ses(ses: FakeSes) -> Iterator[str]:
    """The address at which *ses* answers."""
    with LoopbackServer(type("Handler", (_Handler,), {"ses": ses})) as server:
        yield server.url


def ses_client(url: str) -> Any:
    """A client of the SES at *url*."""
    return boto3.client(
        "sesv2",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            read_timeout=PATIENCE_S, retries={"total_max_attempts": 1, "mode": "standard"}
        ),
    )
