"""Real `signoff` processes for tests: started, asked over HTTP, killed, started again."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.approvals.api_keys import api_key_entry, new_api_key
from app.secret_files import new_secret_key

#: how long anything may take on a machine that is busy with much else; only a failure waits so long
PATIENCE_S = 120
#: one client for all (making one reads certificates), without kept connections: servers get killed
HTTP = httpx.Client(
    timeout=PATIENCE_S,
    verify=False,
    limits=httpx.Limits(max_keepalive_connections=0, max_connections=64),
)
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/test"


def free_port() -> int:
    """A port on loopback where nobody listens, and that nobody else is given.

    On Linux a socket that is bound and does not listen keeps it, for as long as we run: whoever
    asks for any port gets another one, and SO_REUSEADDR lets a server listen there, again and
    again.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = int(holder.getsockname()[1])
    if sys.platform == "linux":
        holder.detach()  # its descriptor stays open
    else:
        holder.close()
    return port


@dataclass
class SignoffProcess:
    """One `signoff` command with its own data directory; may be killed and started again."""

    command: tuple[str, ...]
    data_dir: Path
    port: int = field(default_factory=free_port)
    engine_port: int = field(default_factory=free_port)
    inbox_port: int = field(default_factory=free_port)
    secret_keys: str = field(default_factory=new_secret_key)
    api_key: str = field(default_factory=new_api_key)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        atexit.register(self.kill)  # for a test that failed before it could

    def start(self) -> "SignoffProcess":
        """Start it and wait until it answers."""
        log = (self.data_dir.parent / f"{self.data_dir.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", *self.command],
                env=self.variables(),
                stdout=log,
                stderr=log,
            )
        self.wait_until_up()
        return self

    def run(self, *command: str) -> str:
        """What another command prints in the same environment."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *command],
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def variables(self) -> dict[str, str]:
        """The environment it runs in."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "SIGNOFF_DATA_DIR": str(self.data_dir),
            "SIGNOFF_PORT": str(self.port),
            "SIGNOFF_ENGINE_PORT": str(self.engine_port),
            "SIGNOFF_INBOX_PORT": str(self.inbox_port),
            "SIGNOFF_SECRET_KEYS": self.secret_keys,
            "SIGNOFF_API_KEYS": api_key_entry(self.api_key),
            "SIGNOFF_SMTP_URL": f"smtp://127.0.0.1:{self.inbox_port}",
            "SIGNOFF_MAIL_FROM": "signoff@example.com",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            **self.environment,
        }

    @property
    def url(self) -> str:
        """Where the service answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def engine_url(self) -> str:
        """Where the Step Functions API answers."""
        return f"http://127.0.0.1:{self.engine_port}"

    @property
    def key_header(self) -> dict[str, str]:
        """The header that carries the API key."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def wait_until_up(self) -> None:
        """Return once it answers; fail with its log if it does not."""
        address = self.engine_url if self.command[0] == "engine" else self.url
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}:\n{self.log()}")
            try:
                if HTTP.get(f"{address}/healthz").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.02)
        raise AssertionError(f"it does not answer:\n{self.log()}")

    def log(self) -> str:
        """All it has written so far."""
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text()

    def kill(self) -> None:
        """Pull the plug: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end (SIGTERM); its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(timeout=PATIENCE_S)
        self.process = None
        return status

    def api(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """One call of the JSON API."""
        return HTTP.request(method, self.url + path, headers=self.key_header, **rest)

    def states(self, operation: str, **members: Any) -> Any:
        """One call of the Step Functions API."""
        response = HTTP.post(
            self.engine_url,
            json=members,
            headers={
                "X-Amz-Target": f"AWSStepFunctions.{operation}",
                "Content-Type": "application/x-amz-json-1.0",
            },
        )
        response.raise_for_status()
        return response.json()


def wait_for(condition: Any, patience_s: float = PATIENCE_S) -> Any:
    """The first true value of *condition()*; fails after *patience_s* seconds."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
