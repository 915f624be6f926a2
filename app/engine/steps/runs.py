"""Map Runs while a step is under way: a distributed Map begins one and waits for its end.

A run is known here by its name alone; its children, their number and their items are no concern of
the execution that waits for them.
"""

import uuid

from app.engine.failures import StateFailure
from app.engine.language.distribution import BegunRun, Distribute
from app.engine.payload import Payload
from app.engine.steps.execution import Frame, MapRunEnded, Phase, StaleSignal
from app.engine.steps.history import failed
from app.engine.steps.stepping import Stepping

#: what came of it: the Map's result, or its failure
Made = Payload | StateFailure


class Runs:
    """The Map Runs of the execution that is stepped."""

    def __init__(self, stepping: Stepping) -> None:
        self._stepping = stepping

    def begin(self, frame: Frame, want: Distribute) -> StateFailure | None:
        """Begin a run."""
        stepping = self._stepping
        started = stepping.emit("MapStateStarted", {"length": want.length}, frame.last_event)
        if want.refused is not None:
            return want.refused  # AWS lets it follow the entered event
        frame.last_event = started
        random = stepping.scope(frame, stepping.state(frame)).random
        label = want.plan.label or str(uuid.UUID(int=random.getrandbits(128), version=4))
        frame.run = f"{label}:{uuid.UUID(int=random.getrandbits(128), version=4)}"
        frame.run_redrives = 0
        frame.phase = Phase.MAPPING
        stepping.note(frame, "MapRunStarted", {"mapRunArn": self._arn(frame)})
        stepping.made.begun.append(BegunRun(frame.id, frame.run, want.plan))
        return None

    def awaited(self, signal: MapRunEnded) -> Frame:
        """The frame that waits for the run.

        Raises:
            StaleSignal: none does.
        """
        frame = self._stepping.tree.get(signal.frame)
        if frame is None or frame.phase is not Phase.MAPPING or frame.run != signal.run:
            raise StaleSignal()
        return frame

    def ended(self, frame: Frame, signal: MapRunEnded) -> Made:
        """What the end of a run makes of the state that waits for it."""
        stepping, started = self._stepping, frame.last_event
        if signal.output is None:
            details = failed(signal.error, signal.cause)
            stepping.note(frame, "MapRunFailed", details)
            return StateFailure(signal.error, signal.cause)
        frame.phase = Phase.READY
        stepping.note(frame, "MapRunSucceeded", None)
        stepping.emit("MapStateSucceeded", None, frame.last_event)
        if frame.entered_event == _OF_SECOND_STATE:
            # So it is in every recorded history, and in no other place.
            frame.last_event = started
        return signal.output

    def redriven(self, frame: Frame) -> None:
        """The run goes on."""
        frame.run_redrives += 1
        details = {"mapRunArn": self._arn(frame), "redriveCount": frame.run_redrives}
        self._stepping.note(frame, "MapRunRedriven", details)
        self._stepping.made.redriven.append(frame.run or "")

    def _arn(self, frame: Frame) -> str:
        return map_run_arn(self._stepping.execution.machine_arn, frame.run or "")


_OF_SECOND_STATE = 4  # the entered event of a state that follows the first one


def map_run_arn(machine_arn: str, run: str) -> str:
    """The ARN of a Map Run of an execution of *machine_arn*; a child's has a label, which goes."""
    base = machine_arn.split("/", 1)[0].replace(":stateMachine:", ":mapRun:", 1)
    return f"{base}/{run}"
