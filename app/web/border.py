"""What stands around every application of a process."""

from dataclasses import dataclass

from app.logs import LogLines
from app.web.access_log import AccessLog
from app.web.limits import MAX_BODY_BYTES, AsgiApp, Limits, Wording, plain
from app.web.metrics import PrometheusMeter


@dataclass(frozen=True, slots=True)
class Border:
    """The limits, the counts and the access log of this process."""

    meter: PrometheusMeter
    lines: LogLines

    def around(
        self, app: AsgiApp, max_body_bytes: int = MAX_BODY_BYTES, wording: Wording = plain
    ) -> AsgiApp:
        """*app*, limited, counted and logged."""
        return AccessLog(Limits(app, max_body_bytes, wording), self.meter, self.lines)
