"""`make bench-engine`: the bundled engine and moto's server, in turns, in one run.

Each round measures, with one client and the same requests for both: executions of a chain of ten
Pass states over 16 connections; one loop of 1,000 rounds; a Map of 1,000 items; a Parallel of 1,000
branches. Then 1,000 executions wait on each for a task token, and the time from SendTaskSuccess to
SUCCEEDED, as a client sees it, is taken. Ours is durable (WAL, synchronous=FULL, histories stored);
moto keeps everything in memory. Medians over the rounds, and the ratio of the medians.
"""

import argparse
import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

import uvloop

from bench.engine.servers import Server, moto_server, signoff_engine, wire_request
from bench.engine.workloads import CHAIN, LOOP, LOOP_INPUT, MAP, MAP_INPUT, PARALLEL
from bench.load import run_load

Figures = dict[str, dict[str, list[float]]]  #: measure -> server -> seconds


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table."""

    title: str
    goal: float  #: how many times moto
    shown: Callable[[float], str]


MEASURES = {
    "chain": Measure("10-Pass chain, executions/s", 20, lambda s: f"{1 / s:,.0f}"),
    "loop": Measure("loop of 1,000 rounds", 14, lambda s: f"{s * 1000:,.0f} ms"),
    "map": Measure("Map of 1,000 items", 10, lambda s: f"{s * 1000:,.0f} ms"),
    "parallel": Measure("Parallel of 1,000 branches", 15, lambda s: f"{s * 1000:,.0f} ms"),
    "resume": Measure("SendTaskSuccess to SUCCEEDED", 4, lambda s: f"{s * 1000:.2f} ms"),
}
NAMES = count(1)


def run_once(server: Server, definition: str, given: str) -> float:
    """Seconds from StartExecution until a client sees that the execution SUCCEEDED."""
    machine = server.create(f"bench-{next(NAMES)}", definition)
    started = perf_counter()
    execution = server.start(machine, given)
    until_succeeded(server, execution)
    return perf_counter() - started


def until_succeeded(server: Server, execution_arn: str) -> None:
    """Ask until it is; anything else than RUNNING before that ends the benchmark."""
    while (status := server.status(execution_arn)) != "SUCCEEDED":
        if status != "RUNNING":
            raise SystemExit(f"{server.name}: {execution_arn} is {status}")


def run_chains(server: Server, executions: int) -> float:
    """Seconds per execution, from the first StartExecution until none is RUNNING."""
    machine = server.create(f"bench-{next(NAMES)}", CHAIN)
    requests = [
        wire_request("StartExecution", stateMachineArn=machine, name=f"chain-{number}")
        for number in range(executions)
    ]
    started = perf_counter()
    load = asyncio.run(run_load(server.port, requests, 16))
    if set(load.statuses) != {200}:
        raise SystemExit(f"{server.name}: StartExecution answered {load.statuses}")
    while server.ask("ListExecutions", stateMachineArn=machine, statusFilter="RUNNING")[
        "executions"
    ]:
        pass
    return (perf_counter() - started) / executions


def resume(server: Server, waiting: int, samples: int) -> list[float]:
    """Seconds from SendTaskSuccess to SUCCEEDED, with *waiting* executions around."""
    tasks = list(server.waiting(waiting))
    taken = []
    for token, execution in tasks[:samples]:
        started = perf_counter()
        server.ask("SendTaskSuccess", taskToken=token, output='{"ok": true}')
        until_succeeded(server, execution)
        taken.append(perf_counter() - started)
    return taken


def measure(servers: tuple[Server, ...], rounds: int, waiting: int) -> Figures:
    """All figures; the servers take turns."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for server in servers:
            executions = 200 if server.name == "moto" else 2_000
            figures["chain"][server.name].append(run_chains(server, executions))
            figures["loop"][server.name].append(run_once(server, LOOP, LOOP_INPUT))
            figures["map"][server.name].append(run_once(server, MAP, MAP_INPUT))
            figures["parallel"][server.name].append(run_once(server, PARALLEL, "{}"))
    print(f"{waiting:,} executions wait on each", flush=True)
    for server in servers:
        figures["resume"][server.name] = resume(server, waiting, samples=200)
        print(f"  threads of {server.name}: {server.threads()}", flush=True)
    return figures


def report(figures: Figures) -> None:
    """Print the table."""
    print(f"\n{'':32}{'moto':>12}{'signoff':>12}{'times':>8}  reach")
    for name, line in MEASURES.items():
        moto, ours = median(figures[name]["moto"]), median(figures[name]["signoff"])
        shown = f"{line.shown(moto):>12}{line.shown(ours):>12}{moto / ours:>8.1f}"
        print(f"{line.title:32}{shown}  {line.goal:.0f}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--waiting", type=int, default=1_000)
    options = parser.parse_args()
    uvloop.install()
    # Beside this file, so that it is a real disk: /tmp may be memory.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path(__file__).parent.parent) as name:
        directory = Path(name)
        with moto_server(directory) as moto, signoff_engine(directory) as ours:
            report(measure((moto, ours), options.rounds, options.waiting))


if __name__ == "__main__":
    main()
