"""`python -m bench.engine.steps`: what one state costs with 2 KB of data, and where the time goes.

In process and without a store: `step` takes an execution from its first state to its end. The least
of many runs, since whatever else the machine does only adds. `--profile` prints the functions that
take most of it.
"""

import argparse
import cProfile
import pstats
from collections.abc import Callable
from time import perf_counter

from app.engine.language.definition import parse
from app.engine.language.states import StateMachine
from app.engine.payload import Payload
from app.engine.state_machines.validation import STANDARD, rules_of
from app.engine.steps.execution import Execution, Start, StoredFrames
from app.engine.steps.step import step
from app.strict_json import Json, dumps

STATES = 100
LINES = [{"sku": f"AB-{number:05}", "count": number, "price": 9.5} for number in range(43)]
GIVEN: Json = {"order": 4711, "customer": {"name": "Ana Ruiz", "vip": True}, "lines": LINES}

KINDS: dict[str, Callable[[str], Json]] = {
    "Pass": lambda next_: {"Type": "Pass", "Next": next_},
    "Pass with ResultPath": lambda next_: {
        "Type": "Pass",
        "Result": {"checked": True},
        "ResultPath": "$.check",
        "Next": next_,
    },
    "Pass with Parameters": lambda next_: {
        "Type": "Pass",
        "Parameters": {
            "order.$": "$.order",
            "customer.$": "$.customer",
            "lines.$": "$.lines",
            "at.$": "$$.State.EnteredTime",
        },
        "Next": next_,
    },
    "Choice": lambda next_: {
        "Type": "Choice",
        "Choices": [
            {"Variable": "$.order", "NumericLessThan": 10, "Next": next_},
            {"Variable": "$.customer.vip", "BooleanEquals": True, "Next": next_},
        ],
    },
    "Pass with Assign": lambda next_: {
        "Type": "Pass",
        "Assign": {"customer.$": "$.customer.name"},
        "Next": next_,
    },
}


def machine(state: Callable[[str], Json]) -> StateMachine:
    """A chain of *state*, and Succeed at its end."""
    states = {f"S{number}": state(f"S{number + 1}") for number in range(STATES)}
    states[f"S{STATES}"] = {"Type": "Succeed"}
    parsed = parse(dumps({"StartAt": "S0", "States": states}).decode(), rules_of(STANDARD)).machine
    assert parsed is not None
    return parsed


def run(chain: StateMachine) -> None:
    """One execution, from its start to its end."""
    execution = Execution(
        1, "arn", "name", "machine", "machine", "role", Payload(GIVEN), 0, 1, 10**15
    )
    made = step(chain, execution, StoredFrames(), Start(), 1, lambda *_: "token")
    assert made.ended


def microseconds(chain: StateMachine, runs: int) -> float:
    """The least that one state cost in *runs* executions."""
    least = float("inf")
    for _ in range(runs):
        started = perf_counter()
        run(chain)
        least = min(least, perf_counter() - started)
    return least / STATES * 1e6


def main() -> None:
    """Print a line for each kind of state."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine.steps", description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    print(f"{len(dumps(GIVEN)):,} bytes of data; microseconds for each state")
    for name, state in KINDS.items():
        print(f"{name:24}{microseconds(machine(state), options.runs):8.1f}")
    if options.profile:
        with cProfile.Profile() as profile:
            for state in KINDS.values():
                microseconds(machine(state), options.runs)
        pstats.Stats(profile).sort_stats("tottime").print_stats(16)


if __name__ == "__main__":
    main()
