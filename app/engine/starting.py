"""New executions: what they are before their first step."""

import secrets
import uuid

from app.engine.arns import Arns
from app.engine.payload import Payload
from app.engine.state_machines.machines import Chosen, Revision
from app.engine.steps.execution import Execution

MAX_DURATION_MS = 365 * 86_400_000  #: of a Standard execution
MAX_EXPRESS_MS = 300_000  #: of an Express one


def duration_ms(revision: Revision) -> int:
    """How long an execution of a revision may take."""
    longest_ms = MAX_EXPRESS_MS if revision.express else MAX_DURATION_MS
    seconds = revision.machine.timeout_s
    return longest_ms if seconds is None else min(seconds * 1000, longest_ms)


def new_execution(
    arns: Arns, chosen: Chosen, name: str, payload: Payload, now_ms: int
) -> Execution:
    """An execution of what was chosen; the store gives it its id."""
    revision = chosen.revision
    machine = revision.machine_name
    arn = arns.execution(machine, name)
    return Execution(
        id=0,
        arn=arns.express(machine, name, str(uuid.uuid4())) if revision.express else arn,
        name=name,
        machine_arn=arns.state_machine(machine),
        machine_name=machine,
        role_arn=revision.role_arn,
        input=payload,
        started_ms=now_ms,
        seed=secrets.randbits(62),
        timeout_ms=now_ms + duration_ms(revision),
        region=arns.region,
        started_as=arns.started_as(machine, chosen.version, chosen.alias),
    )
