"""The mock file of Step Functions Local: what tasks answer in a test case instead of being called.

```json
{
  "StateMachines": {"Orders": {"TestCases": {"Paid": {"Charge": "ChargeOnSecondTry"}}}},
  "MockedResponses": {
    "ChargeOnSecondTry": {
      "0": {"Throw": {"Error": "Lambda.TooManyRequestsException", "Cause": "slow down"}},
      "1-2": {"Return": {"StatusCode": 200, "Payload": {"paid": true}}}
    }
  }
}
```

A test case names states; a response has an answer for each call of its state, numbered from 0
without gaps. The file is read whole when the engine starts; one that cannot mean what it says is
refused with the place of its first fault.

Source: AWS Step Functions Developer Guide, "Mocked service integrations", "Configuration file".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from app.engine.failures import StateFailure
from app.engine.payload import Payload
from app.errors import StartRefused
from app.strict_json import Json, NotJson, loads

MAX_CALLS = 100_000  #: the highest number that a response may give an answer for

#: what a call gave: the task's raw result, or its failure
Answer = Payload | StateFailure
#: (first call, last call, what they give), ascending and without gaps
Response = tuple[tuple[int, int, Answer], ...]

_CALLS = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class MockedCase:
    """The responses of one test case, by the names of states."""

    name: str
    responses: Mapping[str, Response]


@dataclass(frozen=True, slots=True)
class MockFile:
    """All test cases of a mock file: by the machine's name, then by their own."""

    cases: Mapping[str, Mapping[str, MockedCase]] = field(default_factory=dict)

    def find(self, machine: str, case: str) -> MockedCase | None:
        """A test case, or None."""
        return self.cases.get(machine, {}).get(case)


def read_mock_file(path: Path) -> MockFile:
    """The test cases in a file.

    Raises:
        StartRefused: it cannot be read, or is wrong; the sentence names the place.
    """
    try:
        return _Reader(str(path)).read(loads(path.read_bytes()))
    except OSError as exc:
        raise StartRefused(f"The mock file {path} cannot be read ({exc.strerror}).") from exc
    except NotJson as exc:
        raise StartRefused(f"The mock file {path} cannot be used: {exc.message}") from exc


class _Reader:
    """Reads one file; keeps its name for the sentence about a fault."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, value: Json) -> MockFile:
        """The whole file. Members beside the two are for people."""
        top = self._object(value, "the file")
        responses = {
            name: self._response(given, f"MockedResponses.{name}")
            for name, given in self._member(top, "MockedResponses", "MockedResponses").items()
        }
        machines = self._member(top, "StateMachines", "StateMachines")
        return MockFile({name: self._machine(name, machines[name], responses) for name in machines})

    def _machine(
        self, machine: str, value: Json, responses: Mapping[str, Response]
    ) -> dict[str, MockedCase]:
        place = f"StateMachines.{machine}"
        given = self._object(value, place)
        cases = self._member(given, "TestCases", f"{place}.TestCases")
        return {
            name: self._case(name, cases[name], f"{place}.TestCases.{name}", responses)
            for name in cases
        }

    def _case(
        self, name: str, value: Json, place: str, responses: Mapping[str, Response]
    ) -> MockedCase:
        states = self._object(value, place)
        for state, response in states.items():
            if not isinstance(response, str):
                self._refuse(f"{place}.{state}", "the name of a mocked response is needed")
            if response not in responses:
                self._refuse(f"{place}.{state}", f"there is no response {response!r:.100}")
        return MockedCase(name, {state: responses[states[state]] for state in states})

    def _response(self, value: Json, place: str) -> Response:
        found = []
        for key, given in self._object(value, place).items():
            first, last = self._calls(key, place)
            found.append((first, last, self._answer(given, f"{place}.{key}")))
        found.sort(key=lambda entry: entry[0])
        following = 0
        for first, last, _ in found:
            if first != following:
                self._refuse(
                    place, f"calls are numbered from 0 without gap or overlap; see {first}"
                )
            following = last + 1
        if not found:
            self._refuse(place, 'an answer to the first call, "0", is needed')
        return tuple(found)

    def _calls(self, key: str, place: str) -> tuple[int, int]:
        match = _CALLS.fullmatch(key)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_CALLS:
            self._refuse(f"{place}.{key:.100}", 'a call such as "0", or calls such as "1-2"')
        return first, last

    def _answer(self, value: Json, place: str) -> Answer:
        given = self._object(value, place)
        if len(given) != 1 or not given.keys() <= {"Return", "Throw"}:
            self._refuse(place, "either Return or Throw is needed, and nothing else")
        if "Return" in given:
            return Payload(given["Return"])
        thrown = self._object(given["Throw"], f"{place}.Throw")
        fine = thrown.keys() <= {"Error", "Cause"} and "Error" in thrown
        if not fine or not all(isinstance(text, str) for text in thrown.values()):
            self._refuse(f"{place}.Throw", "Error, and maybe Cause, are needed as texts")
        return StateFailure(thrown["Error"], thrown.get("Cause"))

    def _member(self, value: Mapping[str, Json], name: str, place: str) -> Mapping[str, Json]:
        return self._object(value.get(name, {}), place)

    def _object(self, value: Json, place: str) -> Mapping[str, Json]:
        if not isinstance(value, dict):
            self._refuse(place, "a JSON object is needed")
        return value

    def _refuse(self, place: str, sentence: str) -> NoReturn:
        raise StartRefused(f"The mock file {self._path} is wrong at {place}: {sentence}.")
