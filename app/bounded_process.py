"""Work that others wrote and that may never end, in a process of its own that can be killed.

Expressions, schemas and patterns come from workflows and from the web; some cost more than anyone
has. The parent writes a line of JSON and reads one; when its time is up it kills the process, and
the next question starts another. The child is limited in memory, ends by itself if its parent
cannot kill it any more, and is given nothing of its parent's that is secret: neither its variables
nor its log, where what it choked on would end up.
"""

import atexit
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import orjson

from app.errors import SignoffError
from app.strict_json import Json

log = logging.getLogger(__name__)

MEMORY_BYTES = 512 * 2**20
GRACE_S = 1.0  #: after which a child ends by itself: its parent may be gone, and cannot kill
_START_S = 10.0  # for a process to come up, once
#: variables that Python and its libraries need to start; all others stay with the parent
_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")


class GaveUp(SignoffError):
    """It took too long or too much; nothing is known of the answer."""


class BoundedProcess:
    """A module of ours, run with ``-m``: started when first asked, and again after a kill.

    It blocks its caller, and answers one at a time; callers in other threads wait.
    """

    def __init__(self, module: str, hello: Json, seconds: float) -> None:
        """*hello* is a question that *module* answers once it is ready; *seconds* is for each."""
        self._module = module
        self._hello = orjson.dumps(hello) + b"\n"
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        atexit.register(self.stop)

    def ask(self, question: Json) -> Json:
        """The child's answer.

        Raises:
            GaveUp: none came in time, or the child died of the question.
        """
        request = orjson.dumps(question) + b"\n"
        with self._turn:
            try:
                return _exchange(self._running(), request, self._seconds)
            except (OSError, TimeoutError, ValueError) as exc:
                self.stop()
                raise GaveUp() from exc

    @property
    def ready(self) -> bool:
        """Whether the process is up: otherwise the next question waits for its start."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Have the process up, if it can be."""
        with self._turn, suppress(OSError, TimeoutError, ValueError):
            self._running()

    def stop(self) -> None:
        """Kill the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            command = [sys.executable, "-m", self._module]
            process = subprocess.Popen(  # noqa: S603  # our own module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_environment(),
            )
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None  # noqa: S101  # asked for above
                os.set_blocking(pipe.fileno(), False)
            try:
                # Its start is not the question's time.
                _exchange(process, self._hello, _START_S)
            except BaseException:
                log.warning("a process did not start", extra={"runs": self._module})
                _end(process)
                raise
            self._process = process
        return self._process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None  # noqa: S101  # asked for at its start
        pipe.close()
    process.wait()


def answer_lines(answer: Callable[[Json], Json], seconds: float) -> None:
    """The child's side: answer each line until the parent is gone."""
    _limit_memory()
    for line in sys.stdin.buffer:
        _end_in(seconds + GRACE_S)
        reply = orjson.dumps(answer(orjson.loads(line)))
        _end_in(0)
        sys.stdout.buffer.write(reply + b"\n")
        sys.stdout.buffer.flush()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    # Whatever the parent could import, however it came to that.
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _exchange(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> Json:
    """Write a line, read a line.

    Raises:
        TimeoutError: not in time.
        OSError: the process is gone.
        ValueError: the answer is cut.
    """
    assert process.stdin is not None and process.stdout is not None  # noqa: S101  # pipes
    end, answer, unsent = time.monotonic() + seconds, b"", memoryview(request)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        while not answer.endswith(b"\n"):
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is process.stdout:
                    piece = os.read(key.fd, 2**20)
                    if not piece:
                        raise BrokenPipeError
                    answer += piece
                elif unsent:
                    unsent = unsent[os.write(key.fd, unsent[:65_536]) :]
                else:
                    selector.unregister(key.fileobj)
    return orjson.loads(answer)


def _end_in(seconds: float) -> None:
    """Have the system end this process, whatever it does then; 0: not at all."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  # is not there on Windows

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
