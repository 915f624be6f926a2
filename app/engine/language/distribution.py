"""What a Map Run is to do, all of it evaluated: values that are stored with the run."""

from dataclasses import dataclass, field, replace

import orjson

from app.engine.failures import StateFailure
from app.engine.payload import MAX_BYTES
from app.strict_json import Json

MOST_AT_ONCE = 10_000  #: children at a time where MaxConcurrency sets no limit


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many items may fail before the Map Run does."""

    count: int | None = None
    percentage: float | None = None

    def exceeded(self, failed: int, total: int) -> bool:
        """Whether so many failed items of all are too many; without any limit, one is.

        AWS lets the run fail as soon as one of the two limits is exceeded.
        """
        if self.count is None and self.percentage is None:
            return failed > 0
        if self.count is not None and failed > self.count:
            return True
        return self.percentage is not None and failed * 100 > self.percentage * total


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the items come from, if not from the state's input."""

    action: str  #: ``getObject`` or ``listObjectsV2``
    arguments: dict[str, Json]  #: Bucket, Key, Prefix...
    input_type: str = "JSON"
    manifest_type: str = "S3_INVENTORY"
    csv_header_location: str = "FIRST_ROW"
    csv_headers: list[str] = field(default_factory=list)
    csv_delimiter: str = ","
    max_items: int = 0  #: 0: all
    pointer: str = ""  #: a JSON pointer to the array within a JSON object
    flatten: bool = False  #: read each of the listed objects, too
    refusal: str | None = None  #: why it cannot be read


@dataclass(frozen=True, slots=True)
class Batching:
    """How items are put together for one child."""

    max_items: int | None = None
    max_bytes: int | None = None
    batch_input: Json = None
    has_input: bool = False

    @property
    def limit_bytes(self) -> int:
        """How large a child's input may be."""
        return min(self.max_bytes or MAX_BYTES, MAX_BYTES)


@dataclass(frozen=True, slots=True)
class Writing:
    """Where the results go, and in which form."""

    arguments: dict[str, Json] | None = None  #: Bucket and Prefix; None: into the state's output
    transformation: str = "NONE"
    output_type: str = "JSON"


@dataclass(frozen=True, slots=True)
class Plan:
    """A Map Run before it begins."""

    state: str  #: the Map state's name
    label: str | None = None
    express: bool = False
    max_concurrency: int = 0
    tolerance: Tolerance = Tolerance()
    items: Json = None  #: an array or an object; None where they are read
    reading: Reading | None = None
    batching: Batching | None = None
    writing: Writing | None = None

    def tolerating(self, tolerance: Tolerance) -> "Plan":
        """The plan with a tolerance."""
        return replace(self, tolerance=tolerance)

    @property
    def text(self) -> str:
        """The plan as stored."""
        return orjson.dumps(self).decode()

    @classmethod
    def of(cls, text: str) -> "Plan":
        """The plan that was stored."""
        values = orjson.loads(text)
        parts = {"reading": Reading, "batching": Batching, "writing": Writing}
        for name, part in parts.items():
            if values[name] is not None:
                values[name] = part(**values[name])
        return cls(**values | {"tolerance": Tolerance(**values["tolerance"])})


@dataclass(frozen=True, slots=True)
class Distribute:
    """Run the state's processor as child executions of a Map Run, and wait for it."""

    length: int  #: how many items are known by now
    plan: Plan
    refused: StateFailure | None = None  #: what AWS finds only once the state has started


@dataclass(frozen=True, slots=True)
class BegunRun:
    """A Map Run that a step began: to be stored with it."""

    frame: int
    name: str
    plan: Plan
