"""Objects in S3: what distributed Maps read and write. Blocking; for threads."""

import gzip
from collections.abc import Iterator, Mapping
from typing import IO, Any

from app.engine.failures import StateFailure
from app.engine.resources.clients import (
    AwsClients,
    InvalidParameters,
    NotAssumed,
    NotCalled,
    Refused,
)
from app.strict_json import Json


class Objects:
    """The objects that an engine can reach."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def open(self, arguments: Mapping[str, Json], error: str) -> IO[bytes]:
        """An object's content, as a stream; decompressed, if its name ends with ``.gz``.

        Raises:
            StateFailure: named *error*: it cannot be read.
        """
        body: IO[bytes] = self._call("GetObject", arguments, error)["Body"]
        zipped = str(arguments.get("Key", "")).endswith(".gz")
        return gzip.open(body, "rb") if zipped else body  # type: ignore[return-value]

    def list(self, arguments: Mapping[str, Json], error: str) -> Iterator[dict[str, Any]]:
        """The objects of a bucket, page by page.

        Raises:
            StateFailure: named *error*: they cannot be listed.
        """
        given = dict(arguments)
        while True:
            page = self._call("ListObjectsV2", given, error)
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            given["ContinuationToken"] = page["NextContinuationToken"]

    def put(self, bucket: str, key: str, body: bytes, error: str) -> None:
        """Write an object.

        Raises:
            StateFailure: named *error*: it cannot be written.
        """
        self._call("PutObject", {"Bucket": bucket, "Key": key, "Body": body}, error)

    def _call(self, operation: str, arguments: Mapping[str, Any], error: str) -> Any:
        try:
            return self._clients.ask("s3", operation, arguments, lambda _model, answer: answer)
        except Refused as exc:
            raise StateFailure(error, _cause(exc)) from exc
        except (InvalidParameters, NotCalled, NotAssumed) as exc:
            raise StateFailure(error, exc.message) from exc


def _cause(refused: Refused) -> str:
    """A refusal in the words of the SDK that Step Functions uses."""
    return (
        f"{refused.text} (Service: S3, Status Code: {refused.status}, "
        f"Request ID: {refused.request_id}, Extended Request ID: {refused.extended_id or ''})"
    )
