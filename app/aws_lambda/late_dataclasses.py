"""Dataclasses whose methods are written when the first of them is made.

`dataclasses` writes and compiles the methods of each class when it is defined: half a millisecond,
fifty times, of which a look at a page uses ten. Here that waits for the first instance. What comes
out is the same class with the same methods, but for ``slots``, which would be another class.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_write = dataclasses.dataclass
_waiting: dict[type, dict[str, Any]] = {}  #: options by class


def install() -> None:
    """Let whoever imports `dataclass` from now on have this one."""
    dataclasses.dataclass = dataclass  # type: ignore[assignment]


def dataclass(
    cls: type[T] | None = None, /, *, slots: bool = False, **options: Any
) -> type[T] | Callable[[type[T]], type[T]]:
    """A dataclass by the standard options; *slots* is not heeded."""
    if cls is None:
        return lambda one: _postponed(one, options)
    return _postponed(cls, options)


def _postponed(cls: type[T], options: dict[str, Any]) -> type[T]:
    def first(self: T, *args: Any, **kwargs: Any) -> None:
        _finish(cls)
        cls.__init__(self, *args, **kwargs)

    _waiting[cls] = options
    cls.__init__ = first  # type: ignore[method-assign,assignment]
    return cls


def _finish(cls: type) -> None:
    """Write the methods of *cls*, and before that those of what it inherits from."""
    for one in reversed(cls.__mro__):
        options = _waiting.pop(one, None)
        if options is not None:
            delattr(one, "__init__")  # or it would be taken for its own
            _write(**options)(one)
