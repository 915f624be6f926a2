"""Building random definitions: all state types, nested, with retries, catchers and variables."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from app.strict_json import Json

ERRORS = ("Busy", "Rejected", "States.ALL", "States.Timeout", "States.TaskFailed")
#: what each state is given has these members, whatever came before
GIVEN: dict[str, Json] = {"n": 2, "items": ["a", "b"]}

#: where the result of a distributed Map is placed
RUN_RESULT = "d"

PASS: dict[str, Json] = {"Type": "Pass", "End": True}


def passes(depth: int) -> list[dict[str, Json]]:
    """Pass states; each depth has variables of its own, for outer ones cannot be assigned."""
    kept, chance = f"kept{depth}", f"chance{depth}"
    return [
        {"Type": "Pass", "ResultPath": "$.p", "Result": 1},
        {
            "Type": "Pass",
            "Assign": {f"{kept}.$": "$.n", f"{chance}.$": "States.MathRandom(1, 1000)"},
        },
        {
            "Type": "Pass",
            "QueryLanguage": "JSONata",
            "Output": "{% $merge([$states.input, {'q': $random()}]) %}",
            "Assign": {kept: "{% $states.context.State.Name %}"},
        },
    ]


#: a task that fails before it is scheduled, and is tried again: no event tells of it
NEVER_SCHEDULED: dict[str, Json] = {
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": "echo", "Payload.$": "States.ArrayGetItem($.items, 5)"},
    "Retry": [{"ErrorEquals": ["States.IntrinsicFailure"], "MaxAttempts": 2}],
}


class Builder:
    """Builds a definition from choices, its state names unique."""

    def __init__(
        self,
        draw: Any,
        tasks: Sequence[Mapping[str, Json]],
        processors: Sequence[Json] = (),
    ) -> None:
        """*tasks* are the resources, and what they are given, that a Task may have.

        *processors* are the single states that the children of a distributed Map may have.
        """
        self.draw = draw
        self.tasks = tasks
        self.processors = processors
        self.count = 0

    def machine(self, depth: int) -> dict[str, Json]:
        length = self.draw(st.integers(1, 4))
        names = [self.name() for _ in range(length)]
        following = [*names[1:], None]
        states = {
            name: self.state(depth, after) for name, after in zip(names, following, strict=True)
        }
        states[names[-1]] = self.last(depth)
        return {"StartAt": names[0], "States": states}

    def name(self) -> str:
        self.count += 1
        return f"S{self.count}"

    def state(self, depth: int, after: str | None) -> dict[str, Json]:
        move: dict[str, Json] = {"End": True} if after is None else {"Next": after}
        kinds = ["Pass", "Wait", "Task", "Task", "Choice"] + (["Parallel", "Map"] if depth else [])
        kinds += ["Distributed"] if self.processors else []
        kind = self.draw(st.sampled_from(kinds))
        if kind == "Pass":
            chosen: dict[str, Json] = self.draw(st.sampled_from(passes(depth)))
            return chosen | move
        if kind == "Choice":
            rule = {"Variable": "$.n", "NumericGreaterThan": 1, "Next": after}
            return {"Type": "Choice", "Choices": [rule], "Default": after} if after else PASS
        if kind == "Wait":
            return {"Type": "Wait", "Seconds": self.draw(st.integers(0, 3)), **move}
        if kind == "Task":
            return self.task() | move | self.handlers(after)
        if kind == "Distributed":
            return self.distribution() | move | self.handlers(after)
        if kind == "Map":
            return self.iteration(depth) | move | self.handlers(after)
        branches = [self.machine(depth - 1) for _ in range(self.draw(st.integers(1, 3)))]
        shape = {"Type": "Parallel", "Branches": branches, "ResultPath": "$.b"}
        return shape | move | self.handlers(after)

    def iteration(self, depth: int) -> dict[str, Json]:
        return {
            "Type": "Map",
            "ItemProcessor": self.machine(depth - 1),
            "ItemSelector": {"n": 2, "items": ["a"], "item.$": "$$.Map.Item.Value"},
            "ItemsPath": "$.items",
            "MaxConcurrency": self.draw(st.integers(0, 2)),
            "ResultPath": "$.m",
        }

    def distribution(self) -> dict[str, Json]:
        name = self.name()
        return {
            "Type": "Map",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": name,
                "States": {name: self.draw(st.sampled_from(self.processors))},
            },
            "ItemsPath": "$.items",
            "ToleratedFailureCount": self.draw(st.integers(0, 2)),
            "ResultPath": f"$.{RUN_RESULT}",
        }

    def last(self, depth: int) -> dict[str, Json]:
        final: list[dict[str, Json]] = [
            PASS,
            {"Type": "Succeed"},
            {"Type": "Fail", "Error": "Busy"},
        ]
        return (
            self.draw(st.sampled_from(final))
            if self.draw(st.booleans())
            else self.state(depth, None)
        )

    def task(self) -> dict[str, Json]:
        task: dict[str, Json] = {"Type": "Task", "ResultPath": "$.t"}
        task |= self.draw(st.sampled_from(self.tasks))
        if self.draw(st.booleans()):
            task |= {"TimeoutSeconds": 9, "HeartbeatSeconds": 4}
        return task

    def handlers(self, after: str | None) -> dict[str, Json]:
        made: dict[str, Json] = {}
        if self.draw(st.booleans()):
            error = self.draw(st.sampled_from(ERRORS))
            attempts = self.draw(st.integers(0, 2))
            made["Retry"] = [
                {"ErrorEquals": [error], "MaxAttempts": attempts, "JitterStrategy": "FULL"}
            ]
        if after and self.draw(st.booleans()):
            error = self.draw(st.sampled_from(ERRORS))
            made["Catch"] = [{"ErrorEquals": [error], "Next": after, "ResultPath": "$.e"}]
        return made
