"""Work that may never end, in a process that can be killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.bounded_process import BoundedProcess, GaveUp
from tests.processes import PATIENCE_S

CHILD = "tests.bounded_child"


@pytest.fixture
def child() -> Iterator[BoundedProcess]:
    """A process that was not started yet, and that is given all the time it needs."""
    process = BoundedProcess(CHILD, "ready", PATIENCE_S)
    yield process
    process.stop()


def test_a_question_is_answered(child: BoundedProcess) -> None:
    """Whatever is JSON goes there and back, longer than a pipe holds too."""
    long = ["é" * 100_000, {"a": None}]

    assert child.ask(long) == long
    assert child.ask("again") == "again"


def test_a_child_has_no_secrets(child: BoundedProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ours nor AWS's are among its variables."""
    monkeypatch.setenv("SIGNOFF_SECRET_KEYS", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    names = set(child.ask("variables"))

    assert "PYTHONPATH" in names
    assert not {name for name in names if name.startswith(("SIGNOFF", "AWS"))}


def test_threads_take_turns(child: BoundedProcess) -> None:
    """Each gets its own answer."""
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(child.ask, range(200))) == list(range(200))


@pytest.mark.parametrize("order", ["die", "eat"])
def test_what_takes_too_much_is_given_up_and_the_next_is_answered(
    child: BoundedProcess, order: str
) -> None:
    """Memory or life: the caller gets an error, and another process for the next."""
    with pytest.raises(GaveUp):
        child.ask(order)

    assert child.ask("next") == "next"


def test_what_takes_too_long_is_given_up_and_the_next_is_answered(
    child: BoundedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for time."""
    with monkeypatch.context() as hurry:
        hurry.setattr(child, "_seconds", 0.3)
        with pytest.raises(GaveUp):
            child.ask("forever")

    assert child.ask("next") == "next"


def test_a_module_that_cannot_start_is_given_up() -> None:
    """The caller gets an error, not a hang."""
    with pytest.raises(GaveUp):
        BoundedProcess("tests.no_such_module", "ready", 0.3).ask("anything")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no alarm")
def test_an_orphan_ends_by_itself() -> None:
    """A child whose parent cannot kill it any more does not go on forever."""
    command = [sys.executable, "-m", CHILD]

    done = subprocess.run(command, input=b'"forever"\n', timeout=PATIENCE_S, check=False)

    assert done.returncode == -signal.SIGALRM
