"""The three processes there are: the service, the demo, the engine alone."""

import errno
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from app.demo import demo_settings, start_example, welcome
from app.engine.functions import LocalFunction, load_function
from app.errors import StartRefused
from app.inbox import Inbox
from app.logs import LogLines, configure_logs
from app.main import Functions, Running, engine_alone, service
from app.server import Site, Stop, serve
from app.settings import Settings

log = logging.getLogger(__name__)

#: builds and starts what one process consists of, and stops it at the end
Process = Callable[[Settings, Functions, Stop, LogLines], AbstractAsyncContextManager[Running]]


async def run_service(settings: Settings, functions: Iterable[str]) -> int:
    """The production process; its exit status."""
    return await _run(service, settings, functions)


async def run_engine(settings: Settings, functions: Iterable[str]) -> int:
    """The engine alone; its exit status."""
    return await _run(engine_alone, settings, functions)


async def run_demo(settings: Settings, functions: Iterable[str]) -> int:
    """Service, engine, mailbox and the example in one process; its exit status."""
    _prepare(settings.data_dir)
    settings, stop = demo_settings(settings), Stop()
    # The terminal is for the person who tries it.
    with (settings.data_dir / "demo.log").open("a") as log:
        lines = configure_logs(settings.log_level, log)
        async with (
            Inbox.running(settings.data_dir, settings.host, settings.inbox_port) as inbox,
            service(settings, _load(functions), stop, lines, inbox) as running,
        ):
            await serve(running.sites, stop, partial(_begin_demo, settings, running))
        lines.flush()
    return int(stop.failed)


async def _run(process: Process, settings: Settings, functions: Iterable[str]) -> int:
    _prepare(settings.data_dir)
    lines = configure_logs(settings.log_level, sys.stderr)
    stop = Stop()
    async with process(settings, _load(functions), stop, lines) as running:
        await serve(running.sites, stop, partial(_begin, running.sites))
    lines.flush()
    return int(stop.failed)


def _prepare(directory: Path) -> None:
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
    await _settle()
    log.info("listening", extra={"addresses": [f"{site.host}:{site.port}" for site in sites]})


async def _begin_demo(settings: Settings, running: Running) -> None:
    await _settle()
    if settings.demo_autostart and running.engine is not None:
        await start_example(running.engine, settings)
    sys.stdout.write(welcome(settings))
    sys.stdout.flush()


async def _settle() -> None:
    """What is loaded by now stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _load(functions: Iterable[str]) -> dict[str, LocalFunction]:
    loaded = {}
    for text in functions:
        name, equals, reference = text.partition("=")
        if not name or not equals:
            raise StartRefused("A function is given as --function NAME=module:callable.")
        loaded[name] = load_function(reference)
    return loaded
