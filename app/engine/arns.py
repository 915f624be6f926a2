"""The ARNs of this engine: built from its region and account, and taken apart."""

from dataclasses import dataclass

from app.errors import InvalidArn

STATE_MACHINE, EXECUTION, ACTIVITY = "stateMachine", "execution", "activity"
MAP_RUN, EXPRESS = "mapRun", "express"


@dataclass(frozen=True, slots=True)
class Arns:
    """ARNs in one account and region."""

    region: str
    account: str

    def state_machine(self, name: str) -> str:
        """A state machine's ARN."""
        return f"arn:aws:states:{self.region}:{self.account}:{STATE_MACHINE}:{name}"

    def execution(self, machine: str, name: str) -> str:
        """An execution's ARN."""
        return f"arn:aws:states:{self.region}:{self.account}:{EXECUTION}:{machine}:{name}"

    def express(self, machine: str, name: str, run: str) -> str:
        """An Express execution's ARN; *run* tells those of the same name apart."""
        return f"arn:aws:states:{self.region}:{self.account}:{EXPRESS}:{machine}:{name}:{run}"

    def child(self, machine: str, name: str, *, express: bool) -> str:
        """The ARN of a Map Run's child; *machine* has the run's label behind a slash."""
        return self.express(machine, name, name) if express else self.execution(machine, name)

    def map_run(self, machine: str, run: str) -> str:
        """A Map Run's ARN; *run* is its label, a colon and a UUID."""
        return f"arn:aws:states:{self.region}:{self.account}:{MAP_RUN}:{machine}/{run}"

    def map_run_name(self, arn: str) -> str | None:
        """What a Map Run's ARN ends with; None if such an ARN names nothing here.

        Raises:
            InvalidArn: it is no Map Run's ARN.
        """
        names = self._names(arn, MAP_RUN)
        if not names or len(names) != 2:
            return None
        return f"{names[0].partition('/')[2]}:{names[1]}"

    def activity(self, name: str) -> str:
        """An activity's ARN."""
        return f"arn:aws:states:{self.region}:{self.account}:{ACTIVITY}:{name}"

    def activity_name(self, arn: str) -> str | None:
        """The activity's name; None if such an ARN names nothing here.

        Raises:
            InvalidArn: it is no activity's ARN.
        """
        names = self._names(arn, ACTIVITY)
        return names[0] if names and len(names) == 1 else None

    def resource_type(self, arn: str) -> str:
        """What kind of resource an ARN names; empty if it is no ARN of Step Functions."""
        parts = arn.split(":")
        return parts[5] if len(parts) >= 7 and parts[2] == "states" else ""

    def machine_name(self, arn: str) -> str | None:
        """The machine's name; None if such an ARN names nothing here.

        Raises:
            InvalidArn: it is no state machine's ARN.
        """
        name, qualifier = self.qualified(arn)
        return name if qualifier is None else None

    def qualified(self, arn: str) -> tuple[str | None, str | None]:
        """The machine's name, and the version's number or the alias' name.

        Raises:
            InvalidArn: it is no state machine's ARN.
        """
        names = self._names(arn, STATE_MACHINE)
        if not names or len(names) > 2:
            return None, None
        return names[0], names[1] if len(names) == 2 else None

    def started_as(self, machine: str, version: int | None, alias: str | None) -> dict[str, str]:
        """The members that name what an execution was started through."""
        arn = self.state_machine(machine)
        shown = {} if version is None else {"stateMachineVersionArn": f"{arn}:{version}"}
        return shown if alias is None else shown | {"stateMachineAliasArn": f"{arn}:{alias}"}

    def execution_names(self, arn: str) -> tuple[str, str] | None:
        """The machine's and the execution's name; None if such an ARN names nothing here.

        Raises:
            InvalidArn: it is no execution's ARN.
        """
        names = self._names(arn, EXECUTION)
        return (names[0], names[1]) if names and len(names) == 2 else None

    def express_child_names(self, arn: str) -> tuple[str, str] | None:
        """The names in the ARN of a Map Run's Express child; None if it is no such ARN."""
        names = self._names(arn, EXPRESS) if self.resource_type(arn) == EXPRESS else None
        if not names or len(names) != 3 or "/" not in names[0]:
            return None
        return names[0], names[1]

    def _names(self, arn: str, kind: str) -> list[str] | None:
        parts = arn.split(":")
        if len(parts) < 7 or parts[0] != "arn" or not parts[1].startswith("aws"):
            raise InvalidArn(f"Invalid Arn: 'Invalid ARN prefix: {arn[:300]}'")
        if parts[2] != "states" or parts[5] != kind:
            shown = parts[5][:80]
            raise InvalidArn(f"Invalid Arn: 'Resource type not valid in this context: {shown}'")
        ours = parts[1] == "aws" and parts[3] == self.region and parts[4] == self.account
        return parts[6:] if ours else None


def version_number(qualifier: str | None) -> int | None:
    """The version that a qualifier numbers; None if it is none, or an alias' name."""
    if qualifier is None or len(qualifier) > 9:
        return None
    return int(qualifier) if qualifier.isascii() and qualifier.isdigit() else None


def is_role_arn(arn: str) -> bool:
    """Whether *arn* could name a role."""
    parts = arn.split(":")
    return len(parts) == 6 and parts[0] == "arn" and parts[2] == "iam" and bool(parts[5])
