"""What the verbs of versions and of aliases share: both are kept by machine, and listed alike."""

from collections.abc import Callable, Sequence

from app.clock import Clock
from app.engine.arns import Arns
from app.engine.requests import page_size
from app.engine.state_machines.machines import Machines
from app.engine.tokens import PageTokens
from app.sqlite import Database
from app.strict_json import Json

_NEWEST = 2**62  #: above all numbers

#: those below a number, newest first, at most so many: each with its number
Newest = Callable[[int, int], Sequence[tuple[int, Json]]]


class Qualified:
    """What qualified ARNs of an engine's state machines lead to."""

    def __init__(
        self, database: Database, arns: Arns, machines: Machines, pages: PageTokens, clock: Clock
    ) -> None:
        self._database = database
        self._arns = arns
        self._machines = machines
        self._pages = pages
        self._clock = clock

    def _page(
        self, member: str, purpose: str, max_results: int | None, token: str | None, newest: Newest
    ) -> dict[str, Json]:
        """A page of a list, and the token of the next if there is one."""
        before = self._pages.open(purpose, token) if token else _NEWEST
        size = page_size(max_results)
        found = newest(before, size + 1)
        shown: dict[str, Json] = {member: [one for _, one in found[:size]]}
        if len(found) > size:
            shown["nextToken"] = self._pages.make(purpose, found[size - 1][0])
        return shown
