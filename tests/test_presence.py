"""Presence: a process knows whether it is the only one in its data directory."""

import os
import subprocess
import sys
from pathlib import Path

from app.presence import Presence

STAYS = "import sys, pathlib; from app.presence import Presence; p = Presence(pathlib.Path(sys.argv[1])); print(p.alone, flush=True); sys.stdin.read()"  # noqa: E501


def test_the_first_process_is_alone_and_the_second_is_not(tmp_path: Path) -> None:
    """Two at once know of each other."""
    first = Presence(tmp_path)
    second = Presence(tmp_path)

    assert (first.alone, second.alone) == (True, False)

    first.leave()
    second.leave()


def test_a_killed_process_is_not_counted(tmp_path: Path) -> None:
    """The kernel lets go of a dead process's lock, so nobody waits for it."""
    other = subprocess.Popen(
        [sys.executable, "-c", STAYS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert other.stdout is not None and other.stdin is not None
    assert other.stdout.readline() == b"True\n"
    beside = Presence(tmp_path)
    beside.leave()

    other.kill()
    other.wait()
    after = Presence(tmp_path)

    assert (beside.alone, after.alone) == (False, True)
    after.leave()
    other.stdout.close()
    other.stdin.close()
