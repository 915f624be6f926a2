"""Where templates come from: a directory of the operator's first, then the ones shipped.

Templates are compiled once per process and trusted; what workflows say is only ever a value in
them. Whatever does not end in ``.txt`` is escaped for HTML.
"""

from collections.abc import Iterator
from pathlib import Path

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    select_autoescape,
)

from app.errors import StartRefused


def shipped_directory() -> Path:
    """The templates that come with the package, or lie beside it in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "templates"
    return packaged if packaged.is_dir() else here.parent / "templates"


def directories(override: Path | None) -> tuple[Path, ...]:
    """The directories to look into, in that order.

    Raises:
        StartRefused: *override* is not a directory.
    """
    if override is None:
        return (shipped_directory(),)
    if not override.is_dir():
        raise StartRefused(
            "SIGNOFF_TEMPLATES_DIR is not a directory: make it, or unset the setting."
        )
    return (override, shipped_directory())


def environment(override: Path | None = None) -> Environment:
    """A Jinja2 environment over the shipped templates and those that *override* replaces."""
    return Environment(
        loader=ChoiceLoader([FileSystemLoader(path) for path in directories(override)]),
        autoescape=select_autoescape(default=True, disabled_extensions=("txt",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
    )


def find(override: Path | None, pattern: str) -> Iterator[Path]:
    """The files that match *pattern*, one per name, the operator's before ours."""
    seen: set[str] = set()
    for directory in directories(override):
        for path in sorted(directory.glob(pattern)):
            if path.name not in seen:
                seen.add(path.name)
                yield path
