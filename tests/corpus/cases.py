"""Recorded cases: which there are, what each needs, and how one is replayed.

A folder of cases is `FOLDER/asl/AREA/*.json` and a `replay.py` that replays and compares one; see
its README. The answers were recorded from AWS; nothing here knows what a right one is.
"""

import importlib.util
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3

ACCOUNT = "000000000000"  #: that the cases name
REGION = "us-east-1"
PATIENCE_S = 40  #: for one execution to end
PATIENCE_TO_STOP_S = 5  #: for one that is stopped before it ends
_INTEGRATION = re.compile(r"arn:aws:states:::(?:aws-sdk:)?([a-z0-9-]+)")
_OWN = {"sfn", "states", "activity", "map"}  #: integrations with Step Functions itself
#: they answer with all there is in the account: replayed first, one by one
_WHOLE_ACCOUNT = {"list_activities", "list_state_machines"}


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded test."""

    id: str
    area: str
    record: dict[str, Any]

    @property
    def alone(self) -> bool:
        """Whether it needs Step Functions only, in its calls and in its tasks."""
        calls = self.record["calls"]
        runs = any(call["op"] == "start_execution" for call in calls)
        called = set(_INTEGRATION.findall(json.dumps(calls))) if runs else set()
        return not self.record["services"] and called <= _OWN

    @property
    def patience_s(self) -> int:
        """How long to wait for an execution of it to end."""
        stops = any(call["op"] == "stop_execution" for call in self.record["calls"])
        return PATIENCE_TO_STOP_S if stops else PATIENCE_S

    @property
    def lists_all(self) -> bool:
        """Whether its answers depend on what else is in the account."""
        return any(call["op"] in _WHOLE_ACCOUNT for call in self.record["calls"])

    @property
    def pairs(self) -> list[dict[str, Any]] | None:
        """Inputs and outputs, where those are all that was recorded."""
        pairs: list[dict[str, Any]] | None = self.record["expected"].get("cases")
        return pairs if self.area == "choice_operators" else None

    @property
    def comparable(self) -> bool:
        """Whether the recording holds all that is needed to compare."""
        complete = self.record["complete"] and not self.record["order_free"]
        return bool(complete) or self.pairs is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a case went."""

    case: Case
    #: what differs first, one text for each comparison that failed
    faults: tuple[str, ...]
    compared: int = 1  #: how many comparisons there were


def read_cases(folder: Path) -> list[Case]:
    """All cases, by area and name."""
    files = sorted((folder / "asl").rglob("*.json"))
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return [Case(record["id"], record["area"], record) for record in records]


class Replayer:
    """Replays cases against a running engine."""

    def __init__(self, folder: Path, engine_url: str, services_url: str) -> None:
        self._library = _replay_library(folder)
        self._library.boto3 = _Clients()
        self._urls = engine_url, services_url

    def __call__(self, case: Case) -> Verdict:
        """Make the case's calls, compare the answers."""
        try:
            got, answers = self._library.replay(
                case.record, *self._urls, ACCOUNT, REGION, case.patience_s
            )
            if case.pairs is not None:
                faults = list(_differing_pairs(case.pairs, case.record["calls"], answers))
                return Verdict(case, tuple(faults), len(case.pairs))
            return Verdict(case, tuple(self._differences(case, got, answers)))
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            # An answer without what the next call needs.
            return Verdict(case, (f"{type(exc).__name__}: {exc}"[:200],), len(case.pairs or [{}]))

    def _differences(self, case: Case, got: Any, answers: list[Any]) -> Iterator[str]:
        match = self._library.Match(case.record, got, ACCOUNT, REGION)
        for pair in case.record["matches"]:
            answer = answers[pair["call"]]
            answer = self._library.plain(answer.get("$error", answer))
            expected = case.record["expected"][pair["expected"]]
            place = match(expected, answer, "$." + pair["expected"])
            if place:
                yield place
                return


def _differing_pairs(
    pairs: list[dict[str, Any]], calls: list[dict[str, Any]], answers: list[Any]
) -> Iterator[str]:
    """Each execution's output has to be the one recorded at its place."""
    histories = [
        answer["events"]
        for call, answer in zip(calls, answers, strict=True)
        if call["op"] == "get_execution_history"
    ]
    for number, (pair, events) in enumerate(zip(pairs, histories, strict=True)):
        ended = events[-1].get("executionSucceededEventDetails", {})
        if json.loads(ended.get("output", "null")) != pair["output"]:
            yield f"{re.sub(r'[{}]', '', str(pair['input']))} (number {number})"


def _replay_library(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("replay", folder / "replay.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # It looks again every tenth of a second; an engine on the same machine is faster.
    module.time = SimpleNamespace(time=time.time, sleep=lambda _seconds: time.sleep(0.03))
    return module


class _Clients:
    """Makes each boto3 client once: that takes longer than a case does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Any] = {}

    def client(self, service: str, *, endpoint_url: str, **options: Any) -> Any:
        """The client of a service."""
        key = service, endpoint_url
        with self._lock:
            if key not in self._made:
                made = boto3.client(service, endpoint_url=endpoint_url, **options)  # type: ignore[call-overload]
                if service == "lambda":
                    hook = partial(_make_role, endpoint_url)
                    made.meta.events.register("provide-client-params.lambda.CreateFunction", hook)
                self._made[key] = made
            return self._made[key]


def _make_role(url: str, params: dict[str, Any], **_: Any) -> None:
    """Make a function's role, which is only a name to the cases: the stand-in wants it to exist."""
    session = boto3.Session("test", "test", region_name=REGION)
    iam = session.client("iam", endpoint_url=url)
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=params["Role"].rpartition("/")[2], AssumeRolePolicyDocument="{}")
