"""Local functions that the tests' workflows call."""

from typing import Any


def park(event: Any, context: Any) -> None:
    """Take the task token and do nothing: somebody will decide."""
