"""Built functions under AWS's own runtime: awslambdaric, in the emulator of aws-sam-cli."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.strict_json import Json, NotJson, dumps, loads
from tests.aws.tools import REPOSITORY
from tests.processes import PATIENCE_S, free_port

_PACKAGES = REPOSITORY / ".venv-aws" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
_EMULATOR = _PACKAGES / "samcli" / "local" / "rapid" / "aws-lambda-rie-x86_64"
#: Lambda's runtime client; nothing else of the tools may be seen by a function
_RUNTIME_CLIENT = ("awslambdaric", "runtime_client*.so", "simplejson", "snapshot_restore_py.py")

runs_here = platform.machine() == "x86_64" and sys.version_info[:2] == (3, 11)


class FunctionError(Exception):
    """The function failed, as Lambda tells it."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(told.get("errorMessage"))
        self.type = told.get("errorType")
        self.message = str(told.get("errorMessage"))


def runtime_client(directory: Path) -> Path:
    """*directory* with Lambda's runtime client in it, and nothing else."""
    directory.mkdir()
    for pattern in _RUNTIME_CLIENT:
        for path in _PACKAGES.glob(pattern):
            (directory / path.name).symlink_to(path)
    return directory


@dataclass
class Function:
    """One function in one execution environment."""

    name: str
    handler: str
    artifact: Path
    runtime: Path
    timeout_s: int
    variables: Mapping[str, str]
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """A cold environment: the next event imports everything."""
        control = free_port()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(_EMULATOR),
                    *("--runtime-interface-emulator-address", f"127.0.0.1:{self.port}"),
                    *("--runtime-api-address", f"127.0.0.1:{control}"),
                    *(sys.executable, "-S", "-B", "-m", "awslambdaric", self.handler),
                ],
                env=self._environment(),
                cwd=self.artifact,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def invoke(self, event: Json) -> Json:
        """What the function returns.

        Raises:
            FunctionError: it raised, or ran out of time.
        """
        with self.one_at_a_time:
            if self.process is None:
                self.start()
            answer = self._post(event)
        if isinstance(answer, dict) and "errorType" in answer:
            raise FunctionError(answer)
        return answer

    def stop(self) -> None:
        """The environment is gone."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def logs(self) -> str:
        """Everything that it, or the emulator, wrote."""
        return self.log.read_text()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self.artifact}:{self.runtime}",
            "LAMBDA_TASK_ROOT": str(self.artifact),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self.timeout_s),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            **self.variables,
        }

    def _post(self, event: Json) -> Json:
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/function/invocations"
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = httpx.post(url, content=dumps(event), timeout=PATIENCE_S)
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline, self.logs()
                time.sleep(0.02)
        try:
            return loads(answer.content)
        except NotJson:
            # What the emulator says when it ended an invocation is no JSON.
            raise FunctionError({"errorMessage": answer.text, "errorType": "Ended"}) from None
