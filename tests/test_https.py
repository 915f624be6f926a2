"""One POST, and what can become of it."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import certifi
import pytest

from app import https
from app.https import ROOTS, Connection, NoAnswer, Unreachable
from tests.approvals.channels.mailservers import authority
from tests.processes import PATIENCE_S, free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing:  a \r\n\r\n{}"


class Server:
    """Says one prepared answer for each request, on as many connections as it takes."""

    def __init__(self, answers: list[bytes], tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Nobody listens any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                with closing(self._tls.wrap_socket(line, True) if self._tls else line) as line:
                    self._talk(line)
            except OSError:
                line.close()

    def _talk(self, line: socket.socket) -> None:
        line.settimeout(PATIENCE_S)
        while self.answers:
            request = line.recv(65_536)
            if not request:
                return
            self.requests.append(request)
            line.sendall(self.answers.pop(0))
            if not self.answers:
                line.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A server that says what it is told."""
    servers: list[Server] = []

    def start(*answers: bytes, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(list(answers), tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def tls() -> Iterator[None]:
    """What was trusted before is forgotten, before and after."""
    https._tls.cache_clear()
    yield
    https._tls.cache_clear()


def test_a_call_has_an_answer(serve: Callable[..., Server]) -> None:
    """Status, headers in lower case, body; and what was sent is what was meant."""
    server = serve(OK, OK)
    with closing(Connection(server.url)) as connection:
        answer = connection.post("/p", {"host": connection.host, "x-a": "b"}, b"{1}")
        again = connection.post("/p", {"host": connection.host}, b"")

    assert (answer.status, answer.headers["x-thing"], answer.body) == (200, "a", b"{}")
    assert again.body == b"{}"
    assert server.connections == 1
    head = f"POST /p HTTP/1.1\r\nhost: {connection.host}\r\nx-a: b\r\ncontent-length: 3\r\n\r\n"
    assert server.requests[0] == head.encode() + b"{1}"


def test_a_body_may_come_in_chunks(serve: Callable[..., Server]) -> None:
    """With an extension and a trailer, as the standard allows."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve(head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n")

    with closing(Connection(server.url)) as connection:
        assert connection.post("/", {}, b"").body == b"abcde"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 nothing\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_whole_answer_may_have_been_done(
    serve: Callable[..., Server], answer: bytes
) -> None:
    """Cut short, without a length, too long, or something else altogether."""
    with closing(Connection(serve(answer).url)) as connection, pytest.raises(NoAnswer):
        connection.post("/", {}, b"")


def test_nobody_there_means_that_nothing_was_sent() -> None:
    """The two cases ask for different things."""
    with pytest.raises(Unreachable) as refused:
        Connection(f"http://127.0.0.1:{free_port()}").post("/", {}, b"")

    assert refused.value.reason == "ConnectionRefusedError"


def test_a_connection_that_rested_is_not_trusted(serve: Callable[..., Server]) -> None:
    """Servers hang up on idle connections, and a frozen Lambda does not notice."""
    now = [1000.0]
    server = serve(OK, OK, OK)
    with closing(Connection(server.url, clock=lambda: now[0])) as connection:
        connection.post("/", {}, b"")
        now[0] += 60
        server.answers.append(OK)
        connection.post("/", {}, b"")

    assert server.connections == 2


def test_after_a_dead_connection_the_next_call_has_a_new_one(
    serve: Callable[..., Server],
) -> None:
    """However many were kept: a server that ended has forgotten them all."""
    server = serve(OK)
    with closing(Connection(server.url)) as connection:
        kept = [connection._open() for _ in range(3)]
        connection._idle.extend(kept)
        for stream in kept:
            stream.socket.shutdown(socket.SHUT_RDWR)

        with pytest.raises(NoAnswer):
            connection.post("/", {}, b"")

        assert connection.post("/", {}, b"").status == 200


def test_a_server_may_want_no_second_call(serve: Callable[..., Server]) -> None:
    """Connection: close is believed."""
    last = OK.replace(b"X-Thing:  a", b"Connection: close")
    server = serve(last, OK)
    with closing(Connection(server.url)) as connection:
        connection.post("/", {}, b"")

        assert connection._idle == []


@pytest.mark.usefixtures("tls")
def test_only_a_trusted_server_is_spoken_to(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bundle that AWS_CA_BUNDLE names, and by nothing else then."""
    server = serve(OK, OK, tls=authority(tmp_path).server)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    with pytest.raises(Unreachable) as stranger:
        Connection(server.url).post("/", {}, b"")
    assert stranger.value.reason == "SSLCertVerificationError"

    https._tls.cache_clear()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "127.0.0.1.pem"))
    with closing(Connection(server.url)) as connection:
        assert connection.post("/", {}, b"").status == 200


def test_the_roots_are_amazons_and_everybody_has_them() -> None:
    """Five certificates, each in the bundle that browsers and botocore have."""
    theirs = set(_certificates(Path(certifi.where()).read_text()))
    ours = _certificates(Path(ROOTS).read_text())

    assert len(ours) == 5
    assert set(ours) <= theirs


def _certificates(bundle: str) -> list[str]:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return ["".join(part.partition(end)[0].split()) for part in bundle.split(begin)[1:]]
