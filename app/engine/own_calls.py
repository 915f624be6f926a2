"""Calls to AWS services on the engine's own account: events and log lines, not tasks."""

import asyncio
from collections.abc import Mapping
from typing import Any

from app.engine.resources.clients import AwsClients, InvalidParameters, NotCalled, Refused
from app.errors import SignoffError
from app.strict_json import Json

CALL_S = 12.0  #: for one call; whoever makes it tries again later, when others had their turn


class CallFailed(SignoffError):
    """The service refused, or did not answer."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code  #: AWS's error code, or ``timeout``, ``unreachable``, ``invalid``


class OwnCalls:
    """One AWS service."""

    def __init__(self, clients: AwsClients, service: str) -> None:
        """*service* is boto3's name of it."""
        self._clients = clients
        self._service = service

    async def call(self, operation: str, parameters: Mapping[str, Json]) -> Any:
        """The service's answer to an operation such as ``PutEvents``.

        Raises:
            CallFailed
        """
        try:
            async with asyncio.timeout(CALL_S):
                return await self._clients.call(self._service, operation, parameters, _answer)
        except Refused as exc:
            raise CallFailed(exc.code) from exc
        except NotCalled as exc:
            raise CallFailed("unreachable") from exc
        except InvalidParameters as exc:
            raise CallFailed("invalid") from exc
        except TimeoutError as exc:
            raise CallFailed("timeout") from exc


def _answer(_model: Any, answer: Any) -> Any:
    return answer
