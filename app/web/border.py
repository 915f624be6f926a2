"""What stands around every application of a process."""

from dataclasses import dataclass

from app.logs import LogLines
from app.web.access_log import AccessLog
from app.web.limits import AsgiApp, Limits
from app.web.metrics import PrometheusMeter


@dataclass(frozen=True, slots=True)
class Border:
    """The limits, the counts and the access log of this process."""

    meter: PrometheusMeter
    lines: LogLines

    def around(self, app: AsgiApp) -> AsgiApp:
        """*app*, limited, counted and logged."""
        return AccessLog(Limits(app), self.meter, self.lines)
