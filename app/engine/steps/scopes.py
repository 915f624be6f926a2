"""What the expressions of a state see besides their data: made for each state that is stepped."""

from collections.abc import Mapping
from functools import partial

from app.engine.language.flow import Scope
from app.engine.language.states import State
from app.engine.steps.context import Mint, context_object
from app.engine.steps.execution import Execution, Frame
from app.engine.steps.tree import FrameTree
from app.strict_json import Json

Item = Mapping[str, Json]


class Scopes:
    """Makes the scopes of one execution's states. What is not asked for is not made."""

    def __init__(self, execution: Execution, tree: FrameTree, mint: Mint) -> None:
        self._execution = execution
        self._tree = tree
        self._mint = mint

    def of(self, frame: Frame, state: State, now_ms: int, item: Item | None = None) -> Scope:
        """The scope of *state* in *frame*; with *item*, that of an iteration about to start."""
        run = self._execution
        seed = f"{run.seed}:{frame.id}:{frame.iterations}:{run.events}"
        make_context = partial(self._context, frame, state, item)
        return Scope(now_ms, seed, make_context, partial(self._variables, frame))

    def _variables(self, frame: Frame) -> Mapping[str, Json]:
        """The branch's own, and those of the branches around it, which it cannot change."""
        variables = frame.variables
        while frame.parent:
            frame = self._tree.parent(frame)
            if frame.variables:
                variables = {**frame.variables, **variables}
        return variables

    def _context(self, frame: Frame, state: State, item: Item | None) -> Json:
        if item is None:
            item = self._item_of(frame)
        return context_object(self._execution, frame, state, self._mint, item)

    def _item_of(self, frame: Frame) -> Item | None:
        """The item of the innermost iteration that *frame* is in."""
        while frame.item is None:
            if not frame.parent:
                return None
            frame = self._tree.parent(frame)
        item: Item = frame.item.value
        return item
