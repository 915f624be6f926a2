"""The results of a Map Run: put together for its state, or for files in S3."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from app.clock import from_ms, iso
from app.engine.failures import SizeFailure
from app.engine.language.distribution import Writing
from app.engine.map_runs.rows import MapRun, items_of
from app.engine.payload import MAX_BYTES, Payload
from app.engine.steps.execution import Status
from app.engine.store import STATUSES, Query
from app.sqlite import Row
from app.strict_json import Json

FILE_BYTES = 8 * 2**20  #: about how large a file of results gets
PAGE = 500  #: children read at once

_CHILDREN = """SELECT i.key, i.input, e.name, e.status, e.started_ms, e.stopped_ms, e.input,
    e.output, e.error, e.cause, e.redrives FROM map_items i
    LEFT JOIN executions e ON e.id = i.execution WHERE i.key BETWEEN ? AND ? ORDER BY i.key
    LIMIT ?"""
_SIZE = """SELECT total(length(e.output)) FROM map_items i JOIN executions e ON e.id = i.execution
    WHERE i.key BETWEEN ? AND ?"""

#: ``SUCCEEDED``, ``FAILED`` (all that did not succeed) and ``PENDING``, as files are named
KINDS = ("SUCCEEDED", "FAILED", "PENDING")


@dataclass(frozen=True, slots=True)
class Names:
    """How a run's children are called."""

    machine_arn: str
    child_arn: Callable[[str], str]


def state_output(query: Query, run: MapRun, names: Names) -> Payload:
    """The Map's result: what its children gave, in the order of the items.

    Raises:
        SizeFailure: it is too large.
    """
    ((size,),) = query(_SIZE, items_of(run.id))
    if size > MAX_BYTES:
        raise SizeFailure(run.plan.state)
    writing = run.plan.writing or Writing(transformation="COMPACT")
    texts: list[str] = []
    for page in pages(query, run):
        texts += [text for row in page for text in _result(row, writing, names)]
    output = Payload.of_text(f"[{','.join(texts)}]")
    if output.too_large:  # in bytes, and with what stands between the texts
        raise SizeFailure(run.plan.state)
    return output


def pages(query: Query, run: MapRun) -> Iterator[list[Row]]:
    """What a run's children were, are or will be, by position."""
    first, last = items_of(run.id)
    while rows := query(_CHILDREN, (first, last, PAGE)):
        yield rows
        first = rows[-1][0] + 1


def kind_of(row: Row) -> str:
    """In which of the files a child is."""
    if row[3] is None:
        return "PENDING"
    return "SUCCEEDED" if STATUSES[row[3]] is Status.SUCCEEDED else "FAILED"


def _result(row: Row, writing: Writing, names: Names) -> Iterator[str]:
    """What a child adds to the state's output: only what succeeded gave something."""
    if writing.transformation == "NONE":
        if kind_of(row) != "PENDING":
            yield orjson.dumps(entry(row, names)).decode()
    elif kind_of(row) == "SUCCEEDED":
        yield from _shaped(str(row[7]), writing)


def _shaped(output: str, writing: Writing) -> Iterator[str]:
    value = orjson.loads(output) if writing.transformation == "FLATTEN" else None
    if isinstance(value, list):
        yield from (orjson.dumps(item).decode() for item in value)
    else:
        yield output


def entry(row: Row, names: Names) -> dict[str, Json]:
    """A child as files show it."""
    _, waiting, name, status, started_ms, stopped_ms, given, output, error, cause, redrives = row
    shown: dict[str, Json] = {}
    if name is None:
        return {"Input": waiting, "InputDetails": {"Included": True}, "Status": "PENDING"}
    if cause is not None:
        shown["Cause"] = cause
    if error is not None:
        shown["Error"] = error
    shown |= {"ExecutionArn": names.child_arn(name), "Input": given}
    shown |= {"InputDetails": {"Included": True}, "Name": name}
    succeeded = STATUSES[status] is Status.SUCCEEDED
    if succeeded:
        shown |= {"Output": output, "OutputDetails": {"Included": True}}
        reason = "Execution is SUCCEEDED and cannot be redriven"
        shown |= {"RedriveCount": redrives, "RedriveStatus": "NOT_REDRIVABLE"}
        shown["RedriveStatusReason"] = reason
    else:
        shown |= {"RedriveCount": redrives, "RedriveStatus": "REDRIVABLE_BY_MAP_RUN"}
    shown |= {
        "StartDate": iso(from_ms(started_ms)),
        "StateMachineArn": names.machine_arn,
        "Status": STATUSES[status].value,
    }
    return shown if stopped_ms is None else shown | {"StopDate": iso(from_ms(stopped_ms))}


# Files


class ResultFiles:
    """The files of a run, made one after the other as they get large enough."""

    def __init__(self, writing: Writing, names: Names, prefix: str) -> None:
        self._writing = writing
        self._names = names
        self._prefix = prefix
        self._texts: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._sizes = dict.fromkeys(KINDS, 0)
        self._made: dict[str, list[dict[str, Json]]] = {kind: [] for kind in KINDS}

    def take(self, rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
        """The files (key, content) that these children make full."""
        for row in rows:
            kind = kind_of(row)
            for text in self._lines(kind, row):
                self._texts[kind].append(text)
                self._sizes[kind] += len(text)
            if self._sizes[kind] > FILE_BYTES:
                yield self._file(kind)

    def rest(self) -> Iterator[tuple[str, bytes]]:
        """The files that are not full."""
        for kind in KINDS:
            if self._texts[kind]:
                yield self._file(kind)

    def manifest(self, bucket: str, map_run_arn: str) -> bytes:
        """The file that lists the others."""
        made = {"DestinationBucket": bucket, "MapRunArn": map_run_arn}
        return orjson.dumps(made | {"ResultFiles": {kind: self._made[kind] for kind in KINDS}})

    def _lines(self, kind: str, row: Row) -> Iterator[str]:
        # Only what succeeded has an output to be shaped.
        if kind != "SUCCEEDED" or self._writing.transformation == "NONE":
            yield orjson.dumps(entry(row, self._names)).decode()
        else:
            yield from _shaped(str(row[7]), self._writing)

    def _file(self, kind: str) -> tuple[str, bytes]:
        texts, made = self._texts[kind], self._made[kind]
        lines = self._writing.output_type == "JSONL"
        text = "\n".join(texts) + "\n" if lines else f"[{','.join(texts)}]"
        body = text.encode()
        key = f"{self._prefix}{kind}_{len(made)}.{'jsonl' if lines else 'json'}"
        made.append({"Key": key, "Size": len(body)})
        self._texts[kind], self._sizes[kind] = [], 0
        return key, body
