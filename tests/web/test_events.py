"""The event stream over real sockets: live, resumed, filtered, bounded, and closed to strangers."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from app.engine.runtime import Engine
from app.engine.store import open_database
from app.web import events as stream
from app.web.events import EventStream, Patience
from app.web.limits import Limits
from app.web.stepfunctions import create_stepfunctions_app
from tests.engine.driving import ROLE, only
from tests.processes import HTTP, PATIENCE_S, SignoffProcess, wait_for

PASS = json.dumps(only({"Type": "Pass", "End": True}))
WHERE = "arn:aws:states:us-east-1:123456789012:stateMachine"


class Serving(threading.Thread):
    """Runs an engine and its port on a loop of their own."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.started = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        database = open_database(self.directory)
        self.engine = Engine(database)
        await self.engine.start()
        self.ending = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        api = create_stepfunctions_app(self.engine)
        self.stream = EventStream(
            api, self.engine.changes, self._ended, Patience(keep_alive_s=0.2, slow_s=0.5)
        )
        config = uvicorn.Config(
            Limits(self.stream), log_level="critical", access_log=False, ws="none"
        )
        self.server = uvicorn.Server(config)
        self.started.set()
        await self.server.serve([self.socket])
        await self.engine.stop()
        await database.close()

    async def _ended(self) -> None:
        await self.ending.wait()

    def stop(self) -> None:
        """End the streams, then the server."""
        self.loop.call_soon_threadsafe(self.ending.set)
        self.server.should_exit = True
        self.join(PATIENCE_S)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """An engine with its port."""
    serving = Serving(tmp_path)
    serving.start()
    serving.started.wait(PATIENCE_S)
    yield serving
    serving.stop()


class Listener:
    """What an EventSource does."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
        self.last_id = ""

    def block(self) -> dict[str, str]:
        """The next block of lines: its fields, a comment's under an empty name."""
        fields: dict[str, str] = {}
        for line in self.lines:
            if not line:
                self.last_id = fields.get("id", self.last_id)
                return fields
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        raise EOFError

    def event(self) -> dict[str, Any]:
        """The next event's value."""
        while "data" not in (block := self.block()):
            pass
        value: dict[str, Any] = json.loads(block["data"])
        return value | ({"type": block["event"]} if "event" in block else {})

    def told(self, count: int) -> list[tuple[str, str]]:
        """The next events in short."""
        details = [self.event()["detail"] for _ in range(count)]
        return [(detail["name"], detail["status"]) for detail in details]


@contextmanager
def listening(url: str, last_id: str | None = None, **query: str) -> Iterator[Listener]:
    """A listener that has been let in."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with HTTP.stream("GET", f"{url}/events", params=query, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "access-control-allow-origin" not in answer.headers
        listener = Listener(answer.iter_lines())
        assert listener.block()["retry"] == "2000"
        yield listener


def call(url: str, operation: str, **members: Any) -> Any:
    """One call of the API."""
    headers = {"X-Amz-Target": f"AWSStepFunctions.{operation}"}
    answer = HTTP.post(url, json=members, headers=headers)
    answer.raise_for_status()
    return answer.json()


def machine(url: str, name: str = "machine") -> str:
    """A new machine's ARN."""
    made = call(url, "CreateStateMachine", name=name, definition=PASS, roleArn=ROLE)
    return str(made["stateMachineArn"])


def run(url: str, arn: str, name: str, **members: Any) -> None:
    """An execution that ends at once."""
    call(url, "StartExecution", stateMachineArn=arn, name=name, **members)


def test_a_listener_is_told_as_it_happens(serving: Serving) -> None:
    """Start and end of each execution, in EventBridge's shape."""
    arn = machine(serving.url)
    with listening(serving.url) as listener:
        run(serving.url, arn, "one")
        run(serving.url, arn, "two")

        told = listener.told(4)

    assert told == [(n, status) for n in ("one", "two") for status in ("RUNNING", "SUCCEEDED")]


def test_a_listener_that_comes_back_misses_nothing(serving: Serving) -> None:
    """What happened meanwhile comes first; the browser's header goes before the page's address."""
    arn = machine(serving.url)
    with listening(serving.url) as listener:
        run(serving.url, arn, "one")
        listener.told(1)
        last_id = listener.last_id
    run(serving.url, arn, "two")

    with listening(serving.url, last_id, lastEventId="0") as listener:
        told = listener.told(3)

    assert told == [("one", "SUCCEEDED"), ("two", "RUNNING"), ("two", "SUCCEEDED")]


def test_one_machine_can_be_listened_to(serving: Serving) -> None:
    """Others' changes are passed by, and the place is kept up all the same."""
    arns = [machine(serving.url, name) for name in ("noisy", "quiet")]
    with listening(serving.url, stateMachineArn=arns[1]) as listener:
        for number in range(40):
            run(serving.url, arns[0], f"n{number}")
        run(serving.url, arns[1], "wanted")

        told = listener.told(2)
        while "" not in listener.block():
            pass

    assert told == [("wanted", "RUNNING"), ("wanted", "SUCCEEDED")]
    assert listener.last_id == "82"


def test_a_connection_without_events_is_kept_alive(serving: Serving) -> None:
    """A comment now and then, with the place to come back to."""
    with listening(serving.url) as listener:
        assert listener.block() == {"": "keep-alive", "id": "0"}


def test_a_gap_is_told(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was away for longer than the log reaches back knows it."""
    monkeypatch.setattr("app.engine.events.log.KEPT", 4)
    arn = machine(serving.url)
    with listening(serving.url):
        for number in range(4):
            run(serving.url, arn, f"run{number}")

    with listening(serving.url, "1") as listener:
        gap = listener.event()
        told = listener.told(4)
    with listening(serving.url, "1000") as other:
        ahead = other.event()

    assert gap == {"type": "gap", "after": 1, "until": 4}
    assert [name for name, _ in told] == ["run2", "run2", "run3", "run3"]
    assert ahead == {"type": "gap", "after": 1000, "until": 4}


def test_a_slow_listener_is_cut_off_and_may_come_back(serving: Serving) -> None:
    """One that reads nothing gives its place up; the others and the engine do not notice."""
    arn = machine(serving.url)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.connect(("127.0.0.1", serving.port))
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: serving.stream.listeners == 1)
    with listening(serving.url) as listener:
        large, told = json.dumps("x" * 200_000), []
        for number in range(12):
            run(serving.url, arn, f"run{number}", input=large)
            told += listener.told(2)
        wait_for(lambda: serving.stream.listeners == 1)
    slow.close()

    with listening(serving.url, "0") as again:
        assert again.told(24) == told


def test_listeners_are_bounded(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told to come later; one that went makes room."""
    monkeypatch.setattr(stream, "MAX_LISTENERS", 1)
    with listening(serving.url):
        refused = HTTP.get(f"{serving.url}/events")
    wait_for(lambda: serving.stream.listeners == 0)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    with listening(serving.url):
        pass


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8083"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_origins_are_refused(serving: Serving, headers: dict[str, str]) -> None:
    """A page in the developer's browser learns nothing, by DNS tricks neither."""
    refused = HTTP.get(f"{serving.url}/events", headers=headers)

    assert refused.status_code == 403
    assert refused.json()["error"] == "forbidden"


@pytest.mark.parametrize(
    "headers",
    [{"Host": "localhost:8083"}, {"Host": "stepfunctions:8083"}, {"Sec-Fetch-Site": "same-origin"}],
)
def test_local_names_are_let_in(serving: Serving, headers: dict[str, str]) -> None:
    """Names of containers and of this host."""
    with HTTP.stream("GET", f"{serving.url}/events", headers=headers) as answer:
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?stateMachineArn=machine", {}),
        ("?statemachinearn=x", {}),
        ("?lastEventId=1&lastEventId=2", {}),
        ("?lastEventId", {}),
        ("?lastEventId=-1", {}),
        ("?lastEventId=%C3%9F", {}),
        ("", {"Last-Event-ID": "latest"}),
        ("", {"Last-Event-ID": "9" * 30}),
    ],
)
def test_what_cannot_be_meant_is_refused(
    serving: Serving, query: str, headers: dict[str, str]
) -> None:
    """A sentence instead of a stream that stays empty."""
    refused = HTTP.get(f"{serving.url}/events{query}", headers=headers)

    assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")


def test_other_methods_are_refused(serving: Serving) -> None:
    """And the other routes are still there."""
    assert HTTP.post(f"{serving.url}/events").status_code == 405
    assert HTTP.get(f"{serving.url}/healthz").status_code == 200


def test_a_stream_survives_a_kill_and_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """Resumed after kill -9 without a gap; a stop ends it at once."""
    process = SignoffProcess(("engine",), tmp_path / "data").start()
    url = process.engine_url
    arn = machine(url)
    with listening(url) as listener:
        run(url, arn, "one")
        listener.told(1)
        process.kill()
    process.start()
    run(url, arn, "two")

    with listening(url, listener.last_id) as listener:
        told = listener.told(3)
        status = process.stop()
        with pytest.raises(EOFError):
            while True:
                listener.block()

    assert told == [("one", "SUCCEEDED"), ("two", "RUNNING"), ("two", "SUCCEEDED")]
    assert status == 0
