"""Events as signed POSTs to a receiver over real sockets."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.engine.events import OwedEvent
from app.engine.events.webhook import MAX_ANSWER_BYTES, Signer, Webhook
from app.errors import StartRefused
from tests.engine.events.receiver import Receiver
from tests.engine.events.recording import Recorder
from tests.processes import PATIENCE_S, free_port

OLD, NEW = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
EVENTS = [OwedEvent(n, 0, 0, f'{{"id":"event-{n}","n":{n}}}') for n in range(3)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes everything until told otherwise."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
async def webhook(receiver: Receiver) -> AsyncIterator[Webhook]:
    """A webhook that leads there."""
    webhook = Webhook(receiver.url, Signer([NEW, OLD]), call_s=PATIENCE_S)
    yield webhook
    await webhook.close()


def signatures(secret: str, headers: dict[str, str], body: bytes) -> str:
    """What a receiver computes."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


async def test_each_event_is_one_signed_post(webhook: Webhook, receiver: Receiver) -> None:
    """Body, id and signature are those of Standard Webhooks; each key signs."""
    refusals = await webhook.deliver(EVENTS)

    assert refusals == {}
    assert sorted(r.body.decode() for r in receiver.received) == [e.text for e in EVENTS]
    for received in receiver.received:
        assert received.path == "/hook"
        assert received.headers["content-type"] == "application/json"
        assert received.headers["webhook-id"] == received.event["id"]
        assert received.headers["webhook-signature"].split(" ") == [
            signatures(secret, received.headers, received.body) for secret in (NEW, OLD)
        ]


async def test_the_documented_verification_holds(webhook: Webhook, receiver: Receiver) -> None:
    """The lines in docs/events.md take what is signed, and nothing that was changed or is old."""
    text = Path("docs/events.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(def verified.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"base64": base64, "hmac": hmac, "time": time}
    exec(code, names)
    verified = names["verified"]

    await webhook.deliver(EVENTS[:1])

    (found,) = receiver.received
    older = found.headers | {"webhook-timestamp": str(int(time.time()) - 301)}
    assert verified(found.headers, found.body, NEW)
    assert verified(found.headers, found.body, OLD)
    assert not verified(found.headers, found.body + b" ", NEW)
    assert not verified(found.headers, found.body, NEW.swapcase().replace("WHSEC_", "whsec_"))
    assert not verified(older, found.body, NEW)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 410, 429, 500, 503])
async def test_anything_but_a_2xx_is_a_refusal(
    webhook: Webhook, receiver: Receiver, status: int
) -> None:
    """A redirect too: it is not followed, so nobody else is given the signed body."""
    elsewhere = Receiver()
    receiver.judge = lambda _number, event: status if event["n"] == 1 else 200
    receiver.answer_headers = {"location": elsewhere.url}

    refusals = await webhook.deliver(EVENTS)

    elsewhere.close()
    assert refusals == {1: f"http_{status}"}
    assert elsewhere.received == []


async def test_a_receiver_that_hangs_is_left(receiver: Receiver) -> None:
    """An answer that does not come in time is a refusal."""
    receiver.go_on.clear()
    webhook = Webhook(receiver.url, Signer([NEW]), call_s=0.3)

    refusals = await webhook.deliver(EVENTS[:1])

    await webhook.close()
    assert refusals[0].lower() in ("timeout", "connecttimeout", "writetimeout", "readtimeout")


async def test_nobody_there_is_a_refusal() -> None:
    """A closed port refuses at once."""
    webhook = Webhook(f"http://127.0.0.1:{free_port()}", Signer([NEW]))

    refusals = await webhook.deliver(EVENTS[:1])

    await webhook.close()
    assert refusals == {0: "ConnectError"}


async def test_a_long_answer_is_not_read_whole(webhook: Webhook, receiver: Receiver) -> None:
    """What a receiver says beyond some kilobytes is its own business."""
    receiver.judge = lambda _number, _event: 200
    receiver.answer_body = b"x" * (MAX_ANSWER_BYTES * 1_000)

    assert await webhook.deliver(EVENTS) == {}


async def test_attempts_keep_their_id(webhook: Webhook, receiver: Receiver, tmp_path: Path) -> None:
    """A receiver that remembers ids acts once, however often it was told."""
    receiver.judge = lambda number, _event: 500 if number == 0 else 200
    recorder = await Recorder.over(tmp_path, webhook)
    await recorder.begin()

    await recorder.delivery.deliver_due()
    recorder.clock.now += 2 * recorder.second
    await recorder.delivery.deliver_due()

    owed = recorder.owed
    await recorder.database.close()
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert owed == 0


@pytest.mark.parametrize(
    "secret", ["whsec_", "whsec_c2hvcnQ=", "whsec_!!!", NEW.removeprefix("whsec_"), "whsec_ß"]
)
def test_a_weak_secret_is_refused_without_repeating_it(secret: str) -> None:
    """The sentence says what a secret is, not what was given."""
    with pytest.raises(StartRefused) as refused:
        Signer([OLD, secret])

    assert refused.value.message == (
        "SIGNOFF_EVENT_WEBHOOK_SECRETS cannot be used: each is whsec_ and 24 to 64 bytes in base64."
    )


def test_no_secret_is_refused() -> None:
    """Unsigned events are not sent."""
    with pytest.raises(StartRefused, match="SIGNOFF_EVENT_WEBHOOK_SECRETS is needed"):
        Signer([])
