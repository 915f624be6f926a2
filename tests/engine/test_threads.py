"""Threads for calls that block."""

import asyncio
import subprocess
import sys
import threading

import pytest

from app.engine.threads import Threads
from tests.processes import PATIENCE_S

HANGING = """
import asyncio, threading
from app.engine.threads import Threads

async def main():
    task = asyncio.ensure_future(Threads(1, "hangs").run(threading.Event().wait))
    await asyncio.sleep(0)
    task.cancel()

asyncio.run(main())
"""


async def test_no_more_than_so_many_run_at_once() -> None:
    """The others wait for a thread to be free; none is lost."""
    threads, running, most, lock = Threads(3, "test"), 0, 0, threading.Lock()
    together = threading.Barrier(3)

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(PATIENCE_S)
        with lock:
            running -= 1
        return number

    results = await asyncio.gather(*(threads.run(work, number) for number in range(9)))

    assert results == list(range(9))
    assert most == 3


async def test_one_thread_serves_what_comes_one_after_the_other() -> None:
    """A new one is made only when all are busy."""
    threads = Threads(8, "test")

    idents = [await threads.run(threading.get_ident) for _ in range(20)]

    assert len(set(idents)) == 1


async def test_a_system_without_threads_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call without any thread is refused, and not made later; one with some waits for those."""
    threads, go_on, done = Threads(2, "test"), threading.Event(), list[str]()

    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:  # what a limit of the system does
        patched.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError):
            await threads.run(done.append, "refused")
    first = asyncio.ensure_future(threads.run(go_on.wait, PATIENCE_S))
    await asyncio.sleep(0)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        second = asyncio.ensure_future(threads.run(done.append, "second"))
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, second)

    assert done == ["second"]


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), SystemExit(3)])
async def test_an_error_is_the_callers(error: BaseException) -> None:
    """And the thread goes on."""
    threads = Threads(1, "test")

    def fail() -> None:
        raise error

    with pytest.raises((ValueError, RuntimeError)):
        await threads.run(fail)
    assert await threads.run(lambda: 1) == 1


def test_a_thread_that_hangs_does_not_hold_up_the_end() -> None:
    """The process ends while a handler waits for ever."""
    done = subprocess.run([sys.executable, "-c", HANGING], timeout=PATIENCE_S, check=False)

    assert done.returncode == 0
