"""What a JSONata expression refers to outside of itself: variables, and members of `$states`."""

from collections.abc import Iterator
from typing import Any

from app.engine.expressions.jsonata_library import compiled, functions, nodes, parts

STATES = "states"  #: the reserved variable


def variables(text: str) -> tuple[str, ...]:
    """The variables that the expression reads and has not bound itself, sorted.

    A function that is called is none of them; a variable may have a function's name: ``$count``.

    Raises:
        QueryError: it is no expression.
    """
    return tuple(sorted(set(_read(compiled(text).ast)) - {STATES}))


def members_of_states(text: str) -> frozenset[str]:
    """The members of `$states` that the expression names: ``result`` in ``$states.result.x``.

    Raises:
        QueryError: it is no expression.
    """
    paths = (node.steps for node in nodes(compiled(text).ast) if node.type == "path")
    return frozenset(
        str(steps[1].value)
        for steps in paths
        if len(steps) > 1 and steps[0].type == "variable" and steps[0].value == STATES
    )


def _read(root: Any) -> Iterator[str]:
    """The names that are read where nothing has bound them, in the order of evaluation."""
    seen: set[int] = set()
    waiting: list[tuple[Any, set[str], bool]] = [(root, set(), False)]
    while waiting:
        node, bound, over = waiting.pop()
        if over:
            bound.update(_bound(node))
        elif id(node) not in seen:
            seen.add(id(node))
            if node.type == "variable" and node.value.isidentifier() and node.value not in bound:
                yield node.value
            waiting.append((node, bound, True))
            inner = _scope(node, bound)
            waiting.extend((part, inner, False) for part in reversed(_read_parts(node)))


def _bound(node: Any) -> set[str]:
    """What *node* binds for those that follow it."""
    if node.type == "bind":
        return {node.lhs.value}
    # ``@$name`` and ``#$name``, which is a stage of its own behind a predicate
    names = (node.focus, node.index, node.value if node.type == "index" else None)
    return {name for name in names if isinstance(name, str)}


def _scope(node: Any, bound: set[str]) -> set[str]:
    """What is bound within *node*; what is bound there is unbound behind it."""
    if node.type == "lambda":
        return bound | {argument.value for argument in node.arguments}
    return set(bound) if node.type in ("block", "path") else bound


def _read_parts(node: Any) -> list[Any]:
    """The parts of *node* that are evaluated, but for the name of a known function."""
    if node.type == "bind":
        return [node.rhs]
    if node.type == "lambda":
        return [node.body]
    return [part for part in parts(node) if not (part is node.procedure and _is_known(part))]


def _is_known(name: Any) -> bool:
    return name.type == "variable" and name.value in functions()
