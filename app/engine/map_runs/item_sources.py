"""The items of a distributed Map, read from S3: JSON, JSON lines, CSV, manifests and listings.

Everything here blocks, and is for a thread. Lines and rows are read as they come, so that a file of
millions of items is never held whole; a JSON array is.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import IO
from urllib.parse import unquote_plus

from app.engine.failures import ITEM_READER_FAILED, StateFailure
from app.engine.language.distribution import Reading
from app.engine.map_runs.s3 import Objects
from app.strict_json import Json, NotJson, loads

MAX_JSON_BYTES = 64 * 2**20  #: of a file that has to be held whole
MAX_LINE_BYTES = 10 * 2**20  #: of JSON lines or CSV; AWS's limit of a CSV row
STATE_DATA = "STATE_DATA"  #: the source of items that come from the state's input

#: an item, and where it comes from, as ``$$.Map.Item.Source`` says it
Sourced = tuple[Json, str]


def failed(cause: str) -> StateFailure:
    """A failure to read items."""
    return StateFailure(ITEM_READER_FAILED, cause)


def read_items(objects: Objects, reading: Reading) -> Iterator[Sourced]:
    """The items that a reading names.

    Raises:
        StateFailure: they cannot be read.
    """
    if reading.refusal is not None:
        raise failed(reading.refusal)
    lists = reading.action == "listObjectsV2"
    found = _listed(objects, reading) if lists else _read_object(objects, reading)
    try:
        yield from islice(found, reading.max_items or None)
    except StateFailure:
        raise
    except Exception as exc:
        # A stream that breaks off raises what its layers raise: botocore's, urllib3's, gzip's.
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise failed(f"The item source cannot be read to its end: {reason}") from exc


def _listed(objects: Objects, reading: Reading) -> Iterator[Sourced]:
    bucket = str(reading.arguments.get("Bucket", ""))
    for entry in objects.list(reading.arguments, ITEM_READER_FAILED):
        if not reading.flatten:
            yield _entry(entry), f"S3://{bucket}"
        elif entry["Size"]:
            one = replace(reading, arguments={"Bucket": bucket, "Key": entry["Key"]})
            yield from _read_object(objects, one)


def _entry(entry: Mapping[str, Json]) -> Json:
    return {
        "Etag": entry["ETag"],
        "LastModified": int(entry["LastModified"].timestamp()),
        "Key": entry["Key"],
        "Size": entry["Size"],
        "StorageClass": entry.get("StorageClass", "STANDARD"),
    }


def _read_object(objects: Objects, reading: Reading) -> Iterator[Sourced]:
    arguments = reading.arguments
    source = f"S3://{arguments.get('Bucket')}/{arguments.get('Key')}"
    if reading.manifest_type == "ATHENA_DATA":
        yield from _athena(objects, reading)
        return
    if reading.input_type == "MANIFEST":
        yield from _inventory(objects, reading)
        return
    read = _READERS.get(reading.input_type)
    if read is None:
        raise failed(
            f"Items of type {reading.input_type} cannot be read here. Supported types: "
            f"[{', '.join([*_READERS, 'MANIFEST'])}]"
        )
    with objects.open(arguments, ITEM_READER_FAILED) as body:
        for item in read(body, reading):
            yield item, source


def given_items(content: bytes, reading: Reading) -> list[Json]:
    """The items in what a reading would have read: an object's content, or a JSON array.

    Raises:
        StateFailure: there are none.
    """
    read = _READERS.get(reading.input_type, _json) if reading.action == "getObject" else _json
    return list(islice(read(io.BytesIO(content), reading), reading.max_items or None))


# Formats


def _json(body: IO[bytes], reading: Reading) -> Iterator[Json]:
    text = body.read(MAX_JSON_BYTES + 1)
    if len(text) > MAX_JSON_BYTES:
        raise failed(f"A JSON file has {MAX_JSON_BYTES} bytes at most; JSON lines have no limit.")
    found = _parsed(text)
    if reading.pointer:
        found = pointed(found, reading.pointer)
    # A whole file that is an object is refused in AWS's recorded histories.
    if isinstance(found, dict) and reading.pointer:
        return iter([{"Key": key, "Value": value} for key, value in found.items()])
    if not isinstance(found, list):
        raise failed("Attempting to map over non-iterable node.")
    return iter(found)


def _json_lines(body: IO[bytes], _reading: Reading) -> Iterator[Json]:
    for line in _lines(body):
        if line.strip():
            yield _parsed(line.encode())


def _parsed(text: bytes) -> Json:
    try:
        return loads(text)
    except NotJson as exc:
        raise failed(f"The item source is not valid JSON: {exc.message}") from exc


def pointed(value: Json, pointer: str) -> Json:
    """What a JSON pointer (RFC 6901) leads to.

    Raises:
        StateFailure: nothing is there.
    """
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            raise failed(f"The ItemsPointer '{pointer}' leads to nothing in the JSON data.")
    return value


def _csv(body: IO[bytes], reading: Reading) -> Iterator[Json]:
    rows = csv.reader(_lines(body), delimiter=reading.csv_delimiter)
    given = reading.csv_header_location == "GIVEN"
    try:
        headers = reading.csv_headers if given else next(rows, [])
        if len(set(headers)) < len(headers):
            raise failed("CSV headers cannot contain duplicates.")
        order = hashed_order(headers)
        for row in rows:
            if row:
                yield {headers[n]: row[n] if n < len(row) else "" for n in order}
    except csv.Error as exc:
        raise failed(f"The item source is not valid CSV: {exc}") from exc


def hashed_order(names: Sequence[str]) -> list[int]:
    """The positions of *names* in the order in which AWS shows a row's fields.

    It is that of a Java HashMap: AWS's documentation turns the columns userId, movieId, rating and
    timestamp into rating, movieId, userId, timestamp.
    """
    buckets = 16
    while len(names) > buckets * 3 // 4:
        buckets *= 2
    return sorted(range(len(names)), key=lambda n: _hash(names[n]) & (buckets - 1))


def _hash(text: str) -> int:
    units, found = text.encode("utf-16-be"), 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        found = (found * 31 + (high << 8 | low)) & 0xFFFFFFFF
    return found ^ found >> 16


def _lines(body: IO[bytes]) -> Iterator[str]:
    # Not a TextIOWrapper: botocore's bodies are streams only in part.
    rest = b""
    try:
        while piece := body.read(65_536):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode("utf-8-sig") + "\n" for line in lines)
            if len(rest) > MAX_LINE_BYTES:
                raise failed(f"A line of the item source has more than {MAX_LINE_BYTES} bytes.")
        if rest:
            yield rest.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise failed("The item source is not text in UTF-8.") from exc


_READERS: Mapping[str, Callable[[IO[bytes], Reading], Iterator[Json]]] = {
    "JSON": _json,
    "JSONL": _json_lines,
    "CSV": _csv,
}


# Manifests


def _inventory(objects: Objects, reading: Reading) -> Iterator[Sourced]:
    """The objects that an S3 inventory names: its manifest lists files of CSV without headers."""
    with objects.open(reading.arguments, ITEM_READER_FAILED) as body:
        manifest = _parsed(body.read())
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        raise failed("The manifest is no S3 inventory manifest.")
    if manifest.get("fileFormat") != "CSV":
        raise failed(f"The inventory's format {manifest.get('fileFormat')} cannot be read here.")
    headers = [name.strip() for name in str(manifest.get("fileSchema", "")).split(",")]
    bucket = reading.arguments.get("Bucket")
    for file in manifest["files"]:
        one = replace(
            reading,
            arguments={"Bucket": bucket, "Key": file["key"]},
            csv_header_location="GIVEN",
            csv_headers=headers,
            csv_delimiter=",",
        )
        source = f"S3://{bucket}/{file['key']}"
        with objects.open(one.arguments, ITEM_READER_FAILED) as body:
            for item in _csv(body, one):
                yield _unquoted(item), source


def _unquoted(item: Json) -> Json:
    """An inventory writes keys as URLs do."""
    return item | {"Key": unquote_plus(item["Key"])} if "Key" in item else item


def _athena(objects: Objects, reading: Reading) -> Iterator[Sourced]:
    """The items of the files that an Athena manifest lists, one ``s3://bucket/key`` a line."""
    with objects.open(reading.arguments, ITEM_READER_FAILED) as body:
        listed = [line.strip().strip('"') for line in io.StringIO(body.read().decode())]
    for place in filter(None, listed):
        bucket, _, key = place.removeprefix("s3://").partition("/")
        arguments: dict[str, Json] = {"Bucket": bucket, "Key": key}
        kind = "CSV" if reading.input_type == "MANIFEST" else reading.input_type
        one = replace(reading, arguments=arguments, manifest_type="", input_type=kind)
        yield from _read_object(objects, one)
