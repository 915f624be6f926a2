"""What is left of an execution that did not succeed: where each branch stood, so that it can be
taken up again there.

A branch is aborted, and forgotten, before the state around it knows whether it will retry, catch
or fail. So what is aborted is remembered until then.
"""

from collections.abc import Mapping

from app.engine.language.iteration import Map
from app.engine.language.states import State
from app.engine.steps.execution import ROOT, Frame, Phase
from app.engine.steps.tree import FrameTree


class Halting:
    """The frames of an execution as they stood when it failed."""

    def __init__(self, tree: FrameTree, states: Mapping[str, State]) -> None:
        self._tree = tree
        self._states = states
        self._aborted: list[Frame] = []

    def abort(self, branches: list[Frame]) -> None:
        """Remember branches that are about to be removed."""
        self._aborted += [branch.copy() for branch in branches]

    def recovered(self) -> None:
        """A state around them goes on without them."""
        self._aborted.clear()

    def frames(self) -> list[Frame]:
        """All frames, those that are left and those that were aborted."""
        found = {frame.id: frame for frame in [*self._aborted, *self._left(ROOT)]}
        for frame in found.values():
            if frame.phase is Phase.FORKED:
                self._count(frame, [f for f in found.values() if f.parent == frame.id])
        return list(found.values())

    def _left(self, frame_id: int) -> list[Frame]:
        frame = self._tree.get(frame_id)
        if frame is None:
            return []
        found, waiting = [frame.copy()], [frame]
        while waiting:
            branches = self._tree.children(waiting.pop())
            found += [branch.copy() for branch in branches]
            waiting += branches
        return found

    def _count(self, frame: Frame, branches: list[Frame]) -> None:
        frame.branches = len(branches)
        waiting = sum(branch.phase is Phase.WAITING for branch in branches)
        done = sum(branch.phase is Phase.DONE for branch in branches)
        frame.pending = len(branches) - waiting - done
        if isinstance(self._states[frame.state], Map):
            frame.iterations = len(branches) - waiting
