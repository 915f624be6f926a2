"""Modules that are imported when somebody first needs something of them.

On a cold decision page half of the time goes into modules that are imported by others and never
used: `inspect` by `dataclasses`, `asyncio` by what only a decision needs. A stand-in is put in
their place that becomes the module at the first access to one of its names. A package's stand-in
lets its submodules be imported, and stays what it is.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module until it is used."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        # Submodules that were imported meanwhile are attributes of the stand-in only; and whoever
        # holds the stand-in finds everything in it from now on.
        submodules = {k: v for k, v in vars(self).items() if isinstance(v, ModuleType)}
        vars(module).update(submodules)
        vars(self).update(vars(module))
        return getattr(module, name)


def defer(*names: str) -> None:
    """Put off the import of the modules *names*, as far as they are not imported yet."""
    for name in names:
        if name not in sys.modules:
            sys.modules[name] = _Deferred(name)


def defer_package(name: str) -> None:
    """Put off the content of the package *name*, but not its submodules."""
    parent, _, last = name.rpartition(".")
    defer(name)
    sys.modules[name].__path__ = [f"{path}/{last}" for path in import_module(parent).__path__]
