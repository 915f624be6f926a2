"""Amazon CloudWatch Logs, or whatever answers its API (AWS_ENDPOINT_URL_CLOUDWATCH_LOGS)."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import uuid4

from app.clock import Clock, to_ms
from app.engine.logs.configuration import LogGroup, not_found
from app.engine.logs.lines import Line
from app.engine.own_calls import CallFailed, OwnCalls
from app.engine.resources.clients import AwsClients

MAX_LINES = 10_000  #: of one request
MAX_REQUEST_BYTES = 1_048_576
MAX_SPAN_MS = 24 * 3_600_000  #: between the first and the last line of a request
STREAM_LIFE = timedelta(hours=1)  #: then a machine's lines go to a new stream
MAX_STREAMS = 1_000  #: remembered
#: what AWS creates to find out whether it may write
PROBE = "log_stream_created_by_aws_to_validate_log_delivery_subscriptions"


class CloudWatchLogs:
    """Writes lines to log groups."""

    def __init__(self, clients: AwsClients, region: str, clock: Clock) -> None:
        self._service = OwnCalls(clients, "logs")
        self._region = region
        self._clock = clock
        self._streams: dict[tuple[LogGroup, str], tuple[str, int]] = {}  # name, since when

    async def check(self, group: LogGroup) -> None:
        """Find out whether lines may be written to a group, as AWS does.

        Raises:
            InvalidLoggingConfiguration: it is not there, or does not let us in.
        """
        if group.region != self._region:
            raise not_found()  # AWS writes to groups of the machine's region only
        try:
            await self._create(group, PROBE)
        except CallFailed as exc:
            raise not_found() from exc

    async def put(self, group: LogGroup, machine: str, lines: Sequence[Line]) -> None:
        """Write lines of a machine's executions.

        Raises:
            CallFailed: some may have been written.
        """
        if not lines:
            return
        stream = await self._stream(group, machine)
        try:
            for some in requests_of(lines):
                events = [{"timestamp": line.at_ms, "message": line.text} for line in some]
                names = {"logGroupName": group.name, "logStreamName": stream}
                await self._service.call("PutLogEvents", {**names, "logEvents": events})
        except CallFailed:
            # The group may have been deleted and made again: then the stream is gone.
            self._streams.pop((group, machine), None)
            raise

    async def _stream(self, group: LogGroup, machine: str) -> str:
        now = self._clock()
        name, since_ms = self._streams.get((group, machine), ("", 0))
        if to_ms(now - STREAM_LIFE) < since_ms:
            return name
        name = f"states/{machine}/{now:%Y-%m-%d-%H-%M}/{uuid4().hex[:8]}"
        await self._create(group, name)
        if len(self._streams) >= MAX_STREAMS:
            self._streams.clear()
        self._streams[group, machine] = name, to_ms(now)
        return name

    async def _create(self, group: LogGroup, stream: str) -> None:
        names = {"logGroupName": group.name, "logStreamName": stream}
        try:
            await self._service.call("CreateLogStream", names)
        except CallFailed as exc:
            if exc.code != "ResourceAlreadyExistsException":
                raise


def requests_of(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Lines by their time, in portions that one request may have."""
    some: list[Line] = []
    size = 0
    for line in sorted(lines, key=lambda line: line.at_ms):
        full = len(some) == MAX_LINES or size + line.size > MAX_REQUEST_BYTES
        if some and (full or line.at_ms - some[0].at_ms >= MAX_SPAN_MS):
            yield some
            some, size = [], 0
        some.append(line)
        size += line.size
    if some:
        yield some
