"""The template, deployed on this machine: its table, its secret, its functions and its routes."""

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from app.strict_json import Json
from tests.aws.cloud import Cloud
from tests.aws.functions import Function, runtime_client
from tests.aws.intrinsics import ACCOUNT, REGION, Resolver
from tests.aws.rights import Rights
from tests.aws.rules import resources

BASE_URL = "https://signoff.example.com"
FROM = "signoff@example.com"
CREDENTIALS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEXAMPLE",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}
CALLER = f"arn:aws:iam::{ACCOUNT}:user/operator"


@dataclass
class Response:
    """What API Gateway sends back."""

    status: int
    headers: Mapping[str, str]
    text: str


class Stack:
    """What CloudFormation makes of a translated template, as far as functions can tell."""

    def __init__(self, template: dict[str, Json], build: Path, cloud: Cloud, place: Path) -> None:
        self.template = template
        self.cloud = cloud
        self.session: Any = boto3.session.Session(
            "AKIAIOSFODNN7EXAMPLE", CREDENTIALS["AWS_SECRET_ACCESS_KEY"], None, REGION
        )
        self.names = self._made()
        self.resolver = Resolver(
            template, {"MailFrom": FROM, "BaseUrl": BASE_URL, "LogLevel": "DEBUG"}, self.names
        )
        runtime = runtime_client(place / "runtime")
        self.functions = {
            name: self._function(name, properties, build / name, runtime, place)
            for name, properties in resources(template, "AWS::Lambda::Function").items()
        }
        cloud.rights = {name: Rights(list(self._statements(name))) for name in self.functions}
        cloud.invoke = lambda name, event: self.functions[name].invoke(event)

    def client(self, service: str) -> Any:
        """boto3's client of a service."""
        return self.session.client(service, endpoint_url=self.cloud.url)

    def close(self) -> None:
        """All environments are gone."""
        for function in self.functions.values():
            function.stop()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: str = "",
        headers: Mapping[str, str] | None = None,
        caller: str | None = None,
    ) -> Response:
        """API Gateway's answer, by the routes of the template; *caller*: who signed for IAM."""
        route = self._route(method, path)
        if route is None:
            return Response(404, {}, '{"message":"Not Found"}')
        if route.get("AuthorizationType") == "AWS_IAM" and caller is None:
            return Response(403, {}, '{"message":"Forbidden"}')
        event = _event(method, path, query, body, headers or {}, route, caller)
        answer = self.functions[self._target(route)].invoke(event)
        return Response(answer["statusCode"], answer["headers"], answer["body"])

    def _made(self) -> dict[str, str]:
        table = resources(self.template, "AWS::DynamoDB::Table")["Table"]
        own = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
        self.client("dynamodb").create_table(
            TableName="signoff-Table", **{member: table[member] for member in own}
        )
        length = resources(self.template, "AWS::SecretsManager::Secret")["SecretKeys"][
            "GenerateSecretString"
        ]["PasswordLength"]
        secret = self.client("secretsmanager").create_secret(
            Name="signoff-SecretKeys", SecretString=secrets.token_hex(length)[:length]
        )
        self.client("ses").verify_email_identity(EmailAddress=FROM)
        return {
            "Table": "signoff-Table",
            "Table.Arn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/signoff-Table",
            "SecretKeys": secret["ARN"],
            "HttpApi": "a1b2c3d4",
        }

    def _function(
        self, name: str, properties: dict[str, Any], artifact: Path, runtime: Path, place: Path
    ) -> Function:
        variables = self.resolver(properties["Environment"]["Variables"])
        endpoint = {"AWS_ENDPOINT_URL": self.cloud.url}
        return Function(
            name=name,
            handler=properties["Handler"],
            artifact=artifact,
            runtime=runtime,
            timeout_s=properties["Timeout"],
            variables={
                **{key: str(one) for key, one in variables.items()},
                **CREDENTIALS,
                "AWS_ACCESS_KEY_ID": name,  # by which the cloud knows whose rights count
                **endpoint,
            },
            log=place / f"{name}.log",
        )

    def _statements(self, function: str) -> Iterator[dict[str, Any]]:
        role = resources(self.template, "AWS::IAM::Role")[f"{function}Role"]
        for policy in role["Policies"]:
            yield from self.resolver(policy["PolicyDocument"]["Statement"])

    def _route(self, method: str, path: str) -> dict[str, Any] | None:
        """The route that API Gateway takes: the longest that fits, greedy ones last."""
        routes = resources(self.template, "AWS::ApiGatewayV2::Route").values()
        fitting = [one for one in routes if _fits(one["RouteKey"], method, path)]
        return min(fitting, key=lambda one: "+" in one["RouteKey"], default=None)

    def _target(self, route: dict[str, Any]) -> str:
        name = re.sub(r"integrations/\$\{(\w+)\}", r"\1", route["Target"]["Fn::Sub"])
        integration = self.template["Resources"][name]["Properties"]
        assert integration["PayloadFormatVersion"] == "2.0"
        function: str = integration["IntegrationUri"]["Fn::GetAtt"][0]
        return function


def _fits(key: str, method: str, path: str) -> bool:
    wanted, _, pattern = key.partition(" ")
    parts = [
        ".+" if part.endswith("+}") else "[^/]+" if part.startswith("{") else re.escape(part)
        for part in pattern.split("/")
    ]
    return wanted in ("ANY", method) and re.fullmatch("/".join(parts), path) is not None


def _event(
    method: str,
    path: str,
    query: str,
    body: str,
    headers: Mapping[str, str],
    route: dict[str, Any],
    caller: str | None,
) -> Json:
    """Payload format 2.0, as in AWS's documentation of it."""
    context: dict[str, Any] = {
        "accountId": ACCOUNT,
        "apiId": "a1b2c3d4",
        "domainName": "signoff.example.com",
        "domainPrefix": "signoff",
        "http": {
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.1",
            "userAgent": "agent",
        },
        "requestId": secrets.token_hex(8),
        "routeKey": route["RouteKey"],
        "stage": "$default",
        "time": "22/Nov/2026:12:00:00 +0000",
        "timeEpoch": int(time.time() * 1000),
    }
    if caller is not None:
        context["authorizer"] = {"iam": {"accountId": ACCOUNT, "userArn": caller}}
    event = {
        "version": "2.0",
        "routeKey": route["RouteKey"],
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "signoff.example.com", "user-agent": "agent", **headers},
        "requestContext": context,
        "isBase64Encoded": False,
    }
    return {**event, "body": body} if body else event
