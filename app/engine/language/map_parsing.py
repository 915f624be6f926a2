"""Reading the Map state: inline, or distributed with a reader, a batcher and a writer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from app.engine.expressions.queries import Query
from app.engine.expressions.templates import Template
from app.engine.language.distributed_map import (
    DistributedMap,
    Field,
    ItemBatcher,
    ItemReader,
    Number,
    ResultWriter,
)
from app.engine.language.fields import Fields
from app.engine.language.iteration import Countable, Map
from app.engine.language.resource import parse_resource
from app.engine.language.states import MAX_SECONDS, State
from app.engine.payload import MAX_BYTES
from app.engine.requests import FORBIDDEN

#: reads a nested machine (a branch); gives the name of its first state
ReadBranch = Callable[[Fields], str | None]

INLINE, DISTRIBUTED = "INLINE", "DISTRIBUTED"
STANDARD, EXPRESS = "STANDARD", "EXPRESS"
MAX_LABEL_CHARS = 40
MAX_ITEMS = 100_000_000
_ACTIONS = ("getObject", "listObjectsV2")
_INPUT_TYPES = ("CSV", "JSON", "JSONL", "PARQUET", "MANIFEST")
_DELIMITERS: Mapping[str, str] = {
    "COMMA": ",",
    "PIPE": "|",
    "SEMICOLON": ";",
    "SPACE": " ",
    "TAB": "\t",
}

#: the fields that only distributed mode has
DISTRIBUTED_FIELDS = frozenset(
    {
        "ItemReader",
        "ItemBatcher",
        "ResultWriter",
        "Label",
        "ToleratedFailureCount",
        "ToleratedFailureCountPath",
        "ToleratedFailurePercentage",
        "ToleratedFailurePercentagePath",
    }
)
_CHOICES = (
    ("ItemProcessor", "Iterator"),
    ("ItemSelector", "Parameters"),
    ("MaxConcurrency", "MaxConcurrencyPath"),
    ("ToleratedFailureCount", "ToleratedFailureCountPath"),
    ("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
)


def read_map(fields: Fields, shared: dict[str, Any], read_branch: ReadBranch) -> State:
    """The Map that *fields* describe."""
    for names in _CHOICES:
        fields.at_most_one(*names)
    processor = fields.nested("Iterator" if "Iterator" in fields.values else "ItemProcessor")
    if processor is None:
        fields.require("ItemProcessor")
    kind = _execution_type(processor) if processor else None
    if processor is not None and kind == EXPRESS:
        # What an Express workflow must not hold, its children must not either.
        processor.rules = replace(processor.rules, express=True)
    shared |= {
        "start_at": (read_branch(processor) if processor else None) or "",
        "items": _items(fields, Map.countable if kind is None else DistributedMap.countable),
        "items_path": fields.unless_whole("ItemsPath", fields.path),
        "item_selector": fields.template("ItemSelector") or fields.template("Parameters"),
        "max_concurrency": fields.path("MaxConcurrencyPath")
        or fields.count("MaxConcurrency", 0, MAX_SECONDS)
        or 0,
    }
    if kind is None:
        for name in sorted(DISTRIBUTED_FIELDS & fields.values.keys()):
            fields.fault(f"The field '{name}' is not supported by Step Functions", name)
        return Map(**shared)
    return _distributed(fields, shared, kind)


def _execution_type(processor: Fields) -> str | None:
    """The type of a distributed Map's children; None if it is inline."""
    config = processor.nested("ProcessorConfig")
    if config is None:
        return None
    config.only({"Mode", "ExecutionType"})
    kind = config.one_of("ExecutionType", (STANDARD, EXPRESS))
    if config.one_of("Mode", (INLINE, DISTRIBUTED)) != DISTRIBUTED:
        return None
    config.require("ExecutionType")
    if processor.rules.express:
        config.fault("Express state machine does not support 'DISTRIBUTED' mode", "Mode")
    return kind or STANDARD


def _items(fields: Fields, countable: Countable) -> Template | None:
    items = fields.template("Items")
    literal = fields.values.get("Items", [])
    if not isinstance(items, Query) and not isinstance(literal, countable):
        fields.fault("Expected value of type Array", "Items")
    return items


def _distributed(fields: Fields, shared: dict[str, Any], kind: str) -> DistributedMap:
    name = "ToleratedFailurePercentage"
    percentage: Number = fields.path(name + "Path") or fields.query(name)
    if percentage is None:
        percentage = fields.number(name, 0, 100)
    return DistributedMap(
        **shared,
        express=kind == EXPRESS,
        label=_label(fields),
        reader=_reader(fields),
        batcher=_batcher(fields),
        writer=_writer(fields),
        tolerated_count=_counted(fields, "ToleratedFailureCount", 0, MAX_ITEMS),
        tolerated_percentage=Field(name, percentage),
    )


def _label(fields: Fields) -> str | None:
    label = fields.text("Label")
    if label is None:
        return None
    found = FORBIDDEN.search(label)
    if not label:
        fields.fault("Label cannot be empty", "Label")
    elif found is not None:
        shown = found[0].encode("unicode-escape").decode()
        fields.fault(f"Label contains invalid character: '{shown}'", "Label")
    elif len(label) > MAX_LABEL_CHARS:
        fields.fault(f"Label cannot exceed {MAX_LABEL_CHARS} characters", "Label")
    key = f"Label {label}"  # no state's name: those are not told apart from labels otherwise
    if key in fields.seen:
        fields.fault(f"The Label '{label}' is used by another Map state", "Label")
    fields.seen[key] = fields.location
    return label


def _counted(fields: Fields, name: str, least: int, most: int) -> Field:
    """A number that the field, its expression or its path gives."""
    fields.at_most_one(name, name + "Path")
    return Field(name, fields.path(name + "Path") or fields.count(name, least, most))


def _arguments(fields: Fields) -> Template | None:
    return fields.template("Arguments" if fields.jsonata else "Parameters")


def _argument_names(fields: Fields) -> set[str]:
    return {"Arguments"} if fields.jsonata else {"Parameters"}


def _reader(fields: Fields) -> ItemReader | None:
    reader = fields.nested("ItemReader")
    if reader is None:
        return None
    reader.only({"Resource", "ReaderConfig"} | _argument_names(fields))
    action = _action(reader, _ACTIONS)
    config = reader.nested("ReaderConfig") or reader.child({}, reader.at("ReaderConfig"))
    config.only(_CONFIG if fields.jsonata else _CONFIG | {"MaxItemsPath", "ItemsPointerPath"})
    return ItemReader(
        action,
        _arguments(reader),
        _reader_constants(config),
        _counted(config, "MaxItems", 0, MAX_ITEMS),
        Field(
            "ItemsPointer",
            config.path("ItemsPointerPath")
            or config.query("ItemsPointer")
            or config.text("ItemsPointer"),
        ),
    )


_CONFIG = {
    "InputType",
    "ManifestType",
    "Transformation",
    "CSVHeaderLocation",
    "CSVHeaders",
    "CSVDelimiter",
    "MaxItems",
    "ItemsPointer",
}


def _reader_constants(config: Fields) -> dict[str, Any]:
    """What of the ReaderConfig is written in the definition itself."""
    input_type = config.one_of("InputType", _INPUT_TYPES)
    manifest = config.one_of("ManifestType", ("S3_INVENTORY", "ATHENA_DATA"))
    location = config.one_of("CSVHeaderLocation", ("FIRST_ROW", "GIVEN"))
    delimiter = config.one_of("CSVDelimiter", tuple(_DELIMITERS))
    transformation = config.one_of("Transformation", ("NONE", "LOAD_AND_FLATTEN"))
    if input_type == "CSV" and "CSVHeaderLocation" not in config.values:
        config.require("CSVHeaderLocation")
    if location == "GIVEN":
        config.require("CSVHeaders")
    return {
        "input_type": input_type or "JSON",
        "manifest_type": manifest or ("" if input_type != "MANIFEST" else "S3_INVENTORY"),
        "csv_header_location": location or "FIRST_ROW",
        "csv_headers": list(config.texts("CSVHeaders")),
        "csv_delimiter": _DELIMITERS[delimiter or "COMMA"],
        "flatten": transformation == "LOAD_AND_FLATTEN",
    }


def _action(part: Fields, actions: tuple[str, ...]) -> str:
    part.require("Resource")
    arn = part.text("Resource")
    resource = parse_resource(arn) if arn is not None else None
    found = resource.action if resource and resource.service == "s3" else ""
    if arn is not None and found not in actions:
        part.fault(
            f"The resource provided {arn} is not recognized. The value is not a valid resource "
            "ARN, or the resource is not available in this region.",
            "Resource",
        )
    return found


def _batcher(fields: Fields) -> ItemBatcher | None:
    batcher = fields.nested("ItemBatcher")
    if batcher is None:
        return None
    sizes = ("MaxItemsPerBatch", "MaxInputBytesPerBatch")
    paths = tuple(f"{name}Path" for name in sizes)
    batcher.only({*sizes, "BatchInput"} | (set() if fields.jsonata else set(paths)))
    if not any(name in batcher.values for name in (*sizes, *paths)):
        batcher.fault(f"At least one of these fields is required: [{', '.join(sizes)}]")
    return ItemBatcher(
        _counted(batcher, sizes[0], 1, MAX_ITEMS),
        _counted(batcher, sizes[1], 1, MAX_BYTES),
        batcher.template("BatchInput"),
    )


def _writer(fields: Fields) -> ResultWriter | None:
    writer = fields.nested("ResultWriter")
    if writer is None:
        return None
    writer.only({"Resource", "WriterConfig"} | _argument_names(fields))
    exports = "Resource" in writer.values
    if exports:
        _action(writer, ("putObject",))
    elif "WriterConfig" not in writer.values:
        writer.require("Resource")
    config = writer.nested("WriterConfig") or writer.child({}, writer.at("WriterConfig"))
    config.only({"Transformation", "OutputType"})
    return ResultWriter(
        _arguments(writer),
        exports,
        config.one_of("Transformation", ("NONE", "COMPACT", "FLATTEN")) or "NONE",
        config.one_of("OutputType", ("JSON", "JSONL")) or "JSON",
    )
