"""Running a process of ours: what the service, the engine alone and the demo have in common."""

import errno
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.engine.functions import LocalFunction, load_function
from app.engine.runtime import Engine
from app.errors import StartRefused
from app.logs import LogLines, configure_logs
from app.server import Site, Stop, serve
from app.settings import Settings

log = logging.getLogger(__name__)

Functions = Mapping[str, LocalFunction]


@dataclass(frozen=True, slots=True)
class Running:
    """A process that is built and started, but not yet served."""

    sites: tuple[Site, ...]
    engine: Engine | None


#: builds and starts what one process consists of, and stops it at the end
Process = Callable[[Settings, Functions, Stop, LogLines], AbstractAsyncContextManager[Running]]


async def run_process(process: Process, settings: Settings, functions: Iterable[str]) -> int:
    """Serve what *process* builds until it is stopped; the exit status."""
    prepare(settings.data_dir)
    lines = configure_logs(settings.log_level, sys.stderr)
    stop = Stop()
    async with process(settings, load_functions(functions), stop, lines) as running:
        await serve(running.sites, stop, partial(_begin, running.sites))
    lines.flush()
    return int(stop.failed)


def prepare(directory: Path) -> None:
    """Make the data directory, if it is not there.

    Raises:
        StartRefused: it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as exc:
        raise StartRefused(
            f"The data directory {directory} cannot be written ({exc.strerror}). "
            "Give it to the user who runs this, or name another with SIGNOFF_DATA_DIR."
        ) from exc


async def _begin(sites: Sequence[Site]) -> None:
    await settle()
    log.info("listening", extra={"addresses": [f"{site.host}:{site.port}" for site in sites]})


async def settle() -> None:
    """What is loaded by now stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def load_functions(functions: Iterable[str]) -> dict[str, LocalFunction]:
    """The local functions that options name, each NAME=MODULE:CALLABLE.

    Raises:
        StartRefused: one cannot be understood or loaded.
    """
    loaded = {}
    for text in functions:
        name, equals, reference = text.partition("=")
        if not name or not equals:
            raise StartRefused("A function is given as --function NAME=module:callable.")
        loaded[name] = load_function(reference)
    return loaded
