"""What the engines are asked to run. Plain definitions, as any user would write them."""

from app.strict_json import Json, dumps

ROUNDS = 1_000  #: of the loop; items of the Map; branches of the Parallel


def _text(start_at: str, states: Json) -> str:
    return dumps({"StartAt": start_at, "States": states}).decode()


def _passes(count: int) -> dict[str, Json]:
    return {
        f"Pass{index}": {"Type": "Pass", "Next": f"Pass{index + 1}"}
        if index < count
        else {"Type": "Pass", "End": True}
        for index in range(1, count + 1)
    }


CHAIN = _text("Pass1", _passes(10))
LOOP = _text(
    "More",
    {
        "More": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.count", "NumericLessThan": ROUNDS, "Next": "Count"}],
            "Default": "Done",
        },
        "Count": {
            "Type": "Pass",
            "Parameters": {"count.$": "States.MathAdd($.count, 1)"},
            "Next": "More",
        },
        "Done": {"Type": "Succeed"},
    },
)


def _one_pass(name: str) -> Json:
    return {"StartAt": name, "States": {name: {"Type": "Pass", "End": True}}}


MAP = _text(
    "Each",
    {
        "Each": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ItemProcessor": _one_pass("One"),
            "End": True,
        }
    },
)
PARALLEL = _text(
    "All",
    {
        "All": {
            "Type": "Parallel",
            "Branches": [_one_pass(f"Branch{index}") for index in range(ROUNDS)],
            "End": True,
        }
    },
)

#: one wait for a task token; a local function of Signoff takes the token
PARK = _text(
    "Ask",
    {
        "Ask": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": "park",
                "Payload": {"token.$": "$$.Task.Token", "execution.$": "$$.Execution.Id"},
            },
            "End": True,
        }
    },
)


def queue_and_wait(queue_url: str) -> str:
    """The same with a queue that takes the token: moto has no local functions."""
    message = {"token.$": "$$.Task.Token", "execution.$": "$$.Execution.Id"}
    ask = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue_url, "MessageBody": message},
        "End": True,
    }
    return _text("Ask", {"Ask": ask})


LOOP_INPUT = dumps({"count": 0}).decode()
MAP_INPUT = dumps({"items": list(range(ROUNDS))}).decode()
