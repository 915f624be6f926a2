"""The mock file: read whole, or refused with the place of its first fault."""

from pathlib import Path

import orjson
import pytest

from app.engine.failures import StateFailure
from app.engine.mock_file import read_mock_file
from app.engine.payload import Payload
from app.errors import StartRefused
from app.strict_json import Json


def written(directory: Path, value: Json) -> Path:
    """A mock file that holds *value*."""
    path = directory / "MockConfigFile.json"
    path.write_bytes(orjson.dumps(value))
    return path


def with_response(response: Json) -> Json:
    """A mock file with one response."""
    return {"MockedResponses": {"R": response}}


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    """Single calls and ranges, results and errors, found by machine and test case."""
    found = read_mock_file(
        written(
            tmp_path,
            {
                "StateMachines": {
                    "LambdaSQSIntegration": {
                        "TestCases": {"RetryPath": {"LambdaState": "R"}, "Nothing": {}}
                    },
                    "Other": {},
                },
                "MockedResponses": {
                    "R": {
                        "1-2": {"Throw": {"Error": "Lambda.TimeoutException", "Cause": "slow"}},
                        "0": {"Throw": {"Error": "Lambda.ResourceNotReadyException"}},
                        "3": {"Return": {"StatusCode": 200}},
                    }
                },
            },
        )
    )

    case = found.find("LambdaSQSIntegration", "RetryPath")
    assert case is not None
    shown = [
        (first, last, given.value if isinstance(given, Payload) else (given.error, given.cause))
        for first, last, given in case.responses["LambdaState"]
    ]
    assert shown == [
        (0, 0, ("Lambda.ResourceNotReadyException", None)),
        (1, 2, ("Lambda.TimeoutException", "slow")),
        (3, 3, {"StatusCode": 200}),
    ]
    assert found.find("LambdaSQSIntegration", "Nothing") is not None
    assert found.find("LambdaSQSIntegration", "Unknown") is None
    assert found.find("Other", "Nothing") is None
    assert isinstance(case.responses["LambdaState"][0][2], StateFailure)


RETURN = {"Return": 1}
WRONG: dict[str, tuple[Json, str]] = {
    "a list": ([], "at the file: a JSON object"),
    "responses that are none": ({"MockedResponses": []}, "at MockedResponses: a JSON object"),
    "a machine that is none": ({"StateMachines": {"M": 1}}, "at StateMachines.M: a JSON object"),
    "cases that are none": (
        {"StateMachines": {"M": {"TestCases": []}}},
        "at StateMachines.M.TestCases: a JSON object",
    ),
    "an unknown response": (
        {"StateMachines": {"M": {"TestCases": {"C": {"S": "R"}}}}},
        "at StateMachines.M.TestCases.C.S: there is no response 'R'",
    ),
    "a response in place": (
        {"StateMachines": {"M": {"TestCases": {"C": {"S": {"0": RETURN}}}}}},
        "at StateMachines.M.TestCases.C.S: the name of a mocked response",
    ),
    "no call": (with_response({}), 'at MockedResponses.R: an answer to the first call, "0"'),
    "a start at 1": (with_response({"1": RETURN}), "at MockedResponses.R: calls are numbered"),
    "a gap": (with_response({"0": RETURN, "2": RETURN}), "gap or overlap; see 2"),
    "an overlap": (with_response({"0-2": RETURN, "2": RETURN}), "gap or overlap; see 2"),
    "a range backwards": (with_response({"2-0": RETURN}), "at MockedResponses.R.2-0: a call"),
    "a call in words": (with_response({"first": RETURN}), "at MockedResponses.R.first: a call"),
    "both": (
        with_response({"0": {"Return": 1, "Throw": {"Error": "E"}}}),
        "at MockedResponses.R.0: either Return or Throw",
    ),
    "neither": (with_response({"0": {}}), "at MockedResponses.R.0: either Return or Throw"),
    "an error without a name": (
        with_response({"0": {"Throw": {"Cause": "C"}}}),
        "at MockedResponses.R.0.Throw: Error",
    ),
    "an error that is no text": (
        with_response({"0": {"Throw": {"Error": 1}}}),
        "at MockedResponses.R.0.Throw: Error",
    ),
}


@pytest.mark.parametrize(("value", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, value: Json, sentence: str) -> None:
    """The sentence names the file and where in it the fault is."""
    path = written(tmp_path, value)

    with pytest.raises(StartRefused) as refused:
        read_mock_file(path)

    assert refused.value.message.startswith(f"The mock file {path} is wrong ")
    assert sentence in refused.value.message


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"a": 1, "a": 2}', b"[" * 10_000])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    """So is a file that repeats a key: nobody knows which one was meant."""
    path = tmp_path / "MockConfigFile.json"
    path.write_bytes(content)

    with pytest.raises(StartRefused, match="cannot be used: "):
        read_mock_file(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """Its tests would otherwise call real services."""
    with pytest.raises(StartRefused, match="cannot be read"):
        read_mock_file(tmp_path / "MockConfigFile.json")
