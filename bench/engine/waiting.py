"""`python -m bench.engine.waiting`: a million waiting executions on our engine, and kill -9.

Starts executions over HTTP until a million wait for a task token, and prints the start rate of each
tenth, memory, threads and disk. SendTaskSuccess to SUCCEEDED is timed with 1,000 waiting and with
all. Then, many times: four clients start and complete executions until SIGKILL falls; the time from
the restart's begin to the first right answer is taken, and each acknowledged call is looked up.
"""

import argparse
import asyncio
import random
import sqlite3
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.engine.__main__ import until_succeeded
from bench.engine.servers import Server, Signoff, signoff_engine, wire_request
from bench.engine.workloads import PARK
from bench.load import run_load
from tests.processes import wait_for

BATCH = 10_000  #: executions whose start rate is taken together
FEW = 1_000  #: waiting executions that the resume time is compared with
SAMPLES = 200
CLIENTS = 4


class Tokens:
    """The task tokens that the local function wrote down, taken one after the other."""

    def __init__(self, path: Path) -> None:
        self._file = path.open()
        self._path = path
        self._lock = threading.Lock()

    def take(self, count: int) -> list[tuple[str, str]]:
        """The next task tokens and the ARNs of their executions."""
        with self._lock:
            lines = list(islice(self._file, count))
        return [(token, execution) for token, execution in map(str.split, lines)]

    def written(self) -> int:
        """How many there are by now."""
        with self._path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def start_waiting(engine: Signoff, machine: str, count: int) -> float:
    """Start *count* executions over 16 connections; how many per second."""
    request = wire_request("StartExecution", stateMachineArn=machine)
    load = asyncio.run(run_load(engine.port, [request] * count, 16))
    if set(load.statuses) != {200}:
        raise SystemExit(f"StartExecution answered {load.statuses}")
    return load.per_second


def resume_ms(engine: Server, tokens: Tokens) -> float:
    """Median milliseconds from SendTaskSuccess to SUCCEEDED."""
    taken = []
    for token, execution in tokens.take(SAMPLES):
        started = perf_counter()
        engine.ask("SendTaskSuccess", taskToken=token, output='{"ok": true}')
        until_succeeded(engine, execution)
        taken.append(perf_counter() - started)
    return median(taken) * 1000


def process_facts(engine: Signoff) -> str:
    """Memory and threads of the process now."""
    assert engine.process.process is not None
    status = Path(f"/proc/{engine.process.process.pid}/status").read_text().splitlines()
    rss_kb = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return f"{rss_kb / 1024:.0f} MiB resident, {engine.threads()} threads"


def disk_facts(directory: Path, waiting: int) -> str:
    """Bytes on disk per waiting execution, and how many of them are its history."""
    database = directory / "engine.sqlite3"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        (history,) = connection.execute(
            "SELECT sum(length(events)) + 8 * count(*) FROM history"
        ).fetchone()
    files = sum(path.stat().st_size for path in directory.glob("engine.sqlite3*"))
    rest = (files - history) / waiting
    return f"{files / waiting:.0f} bytes on disk each, {rest:.0f} of them beside history"


@dataclass
class Acknowledged:
    """What the engine confirmed before it was killed."""

    enough: int
    started: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)

    def note(self, execution_arn: str, confirmed: list[str]) -> None:
        """Remember it; tell when there are enough."""
        confirmed.append(execution_arn)
        if len(self.started) + len(self.completed) >= self.enough:
            self.reached.set()


def _work(port: int, machine: str, tokens: Tokens, seen: Acknowledged) -> None:
    client = Server("signoff", port)
    with suppress(OSError, HTTPException):
        while task := tokens.take(1):
            [(token, execution)] = task
            started = client.ask("StartExecution", stateMachineArn=machine)
            seen.note(str(started["executionArn"]), seen.started)
            client.ask("SendTaskSuccess", taskToken=token, output="{}")
            seen.note(execution, seen.completed)


def kill_once(engine: Signoff, machine: str, tokens: Tokens, enough: int) -> tuple[float, int]:
    """Kill it under load; seconds until it is right again, and how many calls were checked."""
    seen = Acknowledged(enough)
    clients = [
        threading.Thread(target=_work, args=(engine.port, machine, tokens, seen))
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    seen.reached.wait(60)
    engine.process.kill()
    for client in clients:
        client.join()
    started = perf_counter()
    engine.process.start()
    again = Signoff(engine.process, Path())
    if again.status(seen.started[0]) != "RUNNING":
        raise SystemExit("an execution that was started is not running")
    seconds = perf_counter() - started
    lost = [arn for arn in seen.started if again.status(arn) != "RUNNING"]
    lost += [arn for arn in seen.completed if again.status(arn) != "SUCCEEDED"]
    if lost:
        raise SystemExit(f"lost after kill -9: {lost}")
    return seconds, len(seen.started) + len(seen.completed)


def fill(engine: Signoff, machine: str, tokens: Tokens, executions: int) -> None:
    """Start executions until so many were started; print how it went."""
    rates = [start_waiting(engine, machine, FEW)]
    wait_for(lambda: tokens.written() >= FEW, 600)
    print(f"with {FEW:,} waiting: resume {resume_ms(engine, tokens):.2f} ms", flush=True)
    rates = []
    for number in range(executions // BATCH):
        rates.append(start_waiting(engine, machine, BATCH))
        if (number + 1) % max(1, executions // BATCH // 10) == 0:
            print(
                f"{(number + 1) * BATCH:,}: {rates[-1]:.0f}/s, {process_facts(engine)}", flush=True
            )
    wait_for(lambda: tokens.written() >= executions, 3_600)
    print(f"start rate of the last {BATCH:,}: {rates[-1] / rates[0]:.2f} of the first")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine.waiting", description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    # Beside this file, so that it is a real disk: /tmp may be memory.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path(__file__).parent.parent) as name:
        directory = Path(name)
        with signoff_engine(directory) as engine:
            tokens = Tokens(directory / "tokens")
            machine = engine.create("waits", PARK)
            fill(engine, machine, tokens, options.executions)
            print(disk_facts(directory / "data", options.executions))
            print(f"with all waiting: resume {resume_ms(engine, tokens):.2f} ms", flush=True)
            chance = random.Random(1)
            kills = [
                kill_once(engine, machine, tokens, chance.randint(20, 800))
                for _ in range(options.kills)
            ]
    seconds = [kill[0] for kill in kills]
    print(
        f"{len(kills)} kills: right again after {median(seconds):.2f} s (median), "
        f"{max(seconds):.2f} s (longest); {sum(kill[1] for kill in kills):,} acknowledged calls, "
        "none lost"
    )


if __name__ == "__main__":
    main()
