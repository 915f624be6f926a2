"""The frames of one execution while a step changes them: read once, kept, written at the end."""

from app.engine.payload import Payload
from app.engine.steps.execution import Execution, Frame, Frames

MAX_FRAMES = 130_000  #: an execution may have; more would not fit into their keys


class TooManyFrames(Exception):
    """The next frame would be one too many."""


class FrameTree:
    """The frames that a step loads, makes and removes."""

    def __init__(self, execution: Execution, stored: Frames) -> None:
        self.touched: dict[int, Frame] = {}  #: what was loaded or made, and is still there
        self.removed: set[int] = set()  #: what the store has to remove
        self._execution = execution
        self._stored = stored
        self._branches: dict[int, list[Frame]] = {}  # those among the touched, by parent
        self._new: set[int] = set()  # made in this step: no store knows them

    def get(self, frame_id: int) -> Frame | None:
        """The frame, to be changed; None if it is gone."""
        frame = self.touched.get(frame_id)
        if frame is None:
            frame = self._stored.get(frame_id)
            if frame is not None:
                self._touch(frame)
        return frame

    def parent(self, frame: Frame) -> Frame:
        """The frame that forked *frame*."""
        parent = self.get(frame.parent)
        assert parent is not None  # noqa: S101  # a branch lives no longer than what forked it
        return parent

    def children(self, frame: Frame) -> list[Frame]:
        """The branches of *frame*, by index."""
        here = self._branches.get(frame.id, [])
        if len(here) < frame.branches:
            known = {branch.id for branch in here}
            stored = [b for b in self._stored.children(frame.id) if b.id not in known]
            here = here + stored
        return sorted(here, key=lambda branch: branch.index)

    def add(self, parent: int, index: int, state: str, given: Payload, last_event: int) -> Frame:
        """A new frame.

        Raises:
            TooManyFrames
        """
        if self._execution.frames >= MAX_FRAMES:
            raise TooManyFrames
        self._execution.frames += 1
        frame = Frame(self._execution.frames, parent, index, state, given, last_event)
        self._new.add(frame.id)
        self._touch(frame)
        return frame

    def remove(self, branches: list[Frame]) -> set[int]:
        """Remove all branches of a frame, and theirs; the ids of those that are gone."""
        gone: set[int] = set()
        for branch in branches:
            if branch.branches:
                gone |= self.remove(self.children(branch))
            self.touched.pop(branch.id, None)
            gone.add(branch.id)
        if branches:
            self._branches.pop(branches[0].parent, None)
        self.removed |= gone - self._new
        # The newest numbers are given again, or retries of a wide Map would use them up. Tokens and
        # answers name the attempt, too, which is never the same.
        while self._execution.frames in gone:
            self._execution.frames -= 1
        return gone

    def activity(self, arn: str) -> int | None:
        """The id of an activity, or None."""
        return self._stored.activity(arn)

    def _touch(self, frame: Frame) -> None:
        self.touched[frame.id] = frame
        self._branches.setdefault(frame.parent, []).append(frame)
