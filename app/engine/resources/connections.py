"""EventBridge connections: how HTTP tasks prove who they are.

The connection says how (API key, Basic, OAuth client credentials) and what is added to each
request; its secret, in Secrets Manager, holds the values. Neither is kept longer than one call, and
neither is ever logged.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.engine.failures import StateFailure
from app.engine.resources.clients import AwsClients, NotCalled
from app.engine.resources.outbound import Outbound, Pairs, text_value
from app.engine.resources.services import Service, ServiceNames
from app.engine.steps.execution import Dispatch
from app.strict_json import Json

_EVENTS = ServiceNames("events", "EventBridge", "AmazonEventBridge")
_SECRETS = ServiceNames("secretsmanager", "SecretsManager", "AWSSecretsManager")
INVALID = "Events.ConnectionResource.InvalidConnectionState"


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a connection adds to a request."""

    headers: Pairs = ()
    query: Pairs = ()
    body: Mapping[str, Json] = field(default_factory=dict)


class Connections:
    """Reads connections."""

    def __init__(self, clients: AwsClients, outbound: Outbound) -> None:
        self._events = Service(_EVENTS, clients)
        self._secrets = Service(_SECRETS, clients)
        self._outbound = outbound

    async def authorize(self, arn: str, dispatch: Dispatch) -> Authorization:
        """What the connection adds.

        Raises:
            StateFailure: there is none, it is not ready, or its secret cannot be read.
        """
        name = arn.split(":connection/")[-1].split("/")[0]
        described = await self._events.call("DescribeConnection", {"Name": name}, dispatch)
        if described.get("ConnectionState") not in ("AUTHORIZED", "ACTIVE"):
            raise StateFailure(INVALID, f"The connection {arn} is not in an authorized state.")
        found = await self._secrets.call(
            "GetSecretValue", {"SecretId": described["SecretArn"]}, dispatch
        )
        secret = orjson.loads(found["SecretString"])
        added = await self._added(described["AuthorizationType"], secret)
        invocation = secret.get("invocation_http_parameters") or {}
        return Authorization(
            headers=[*_parameters(invocation, "header_parameters"), *added],
            query=_parameters(invocation, "query_string_parameters"),
            body=dict(_parameters(invocation, "body_parameters")),
        )

    async def _added(self, kind: str, secret: Mapping[str, Any]) -> list[tuple[str, str]]:
        if kind == "API_KEY":
            return [(secret["api_key_name"], secret["api_key_value"])]
        if kind == "BASIC":
            pair = f"{secret['username']}:{secret['password']}"
            return [("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())]
        return [("Authorization", "Bearer " + await self._bearer(secret))]

    async def _bearer(self, secret: Mapping[str, Any]) -> str:
        """An access token for the connection's OAuth client."""
        client = secret.get("client_parameters") or secret
        more = secret.get("oauth_http_parameters") or secret.get("o_auth_http_parameters") or {}
        form = {
            "grant_type": "client_credentials",
            "client_id": client["client_id"],
            "client_secret": client["client_secret"],
            **dict(_parameters(more, "body_parameters")),
        }
        headers = [("Content-Type", "application/json"), *_parameters(more, "header_parameters")]
        try:
            answer = await self._outbound.send(
                secret.get("http_method", "POST"),
                secret["authorization_endpoint"],
                headers,
                _parameters(more, "query_string_parameters"),
                orjson.dumps(form),
            )
            token = orjson.loads(answer.text).get("access_token") if answer.well else None
        except (NotCalled, orjson.JSONDecodeError, AttributeError) as exc:
            raise _not_authorized() from exc
        if not isinstance(token, str):
            raise _not_authorized()
        return token


def _not_authorized() -> StateFailure:
    return StateFailure(INVALID, "The connection's authorization endpoint gave no access token.")


def _parameters(given: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    return [(one["key"], text_value(one["value"])) for one in given.get(name) or []]
