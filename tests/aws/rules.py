"""What no linter knows: who may call what, with which rights, and what is written down.

Each rule takes a translated template and gives its complaints, as sentences.
"""

from collections.abc import Callable, Iterator
from typing import Any

from app.strict_json import Json, dumps

Template = dict[str, Json]

#: the routes that anybody may call: both show a page to whoever has a link
PUBLIC = frozenset({"ANY /d/{link+}", "ANY /respond"})
#: of an access log; whatever else there is may hold a link or a query
LOGGED = frozenset(
    "$context." + name
    for name in (
        "requestId",
        "requestTime",
        "identity.sourceIp",
        "routeKey",
        "status",
        "responseLength",
        "responseLatency",
        "identity.userArn",
        "error.responseType",
    )
)
_KEYS = {"secretsmanager:GetSecretValue", "kms:Decrypt", "kms:GenerateDataKey"}
_ITEMS = {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem"}
_TELLING = {"states:SendTaskSuccess", "states:SendTaskFailure"}
_MAILING = {"ses:SendEmail", "ses:SendRawEmail"}
_CLICK = _KEYS | _ITEMS | _TELLING | {"states:GetExecutionHistory"}
_API = _KEYS | _ITEMS | {"dynamodb:BatchGetItem"} | _MAILING
#: what each function may do, at most
ALLOWED = {
    "ClickFunction": _CLICK,
    "RespondFunction": _KEYS | _ITEMS | _TELLING | {"states:SendTaskHeartbeat"},
    "ApiFunction": _API,
    "SignoffFunction": _API | {"sqs:SendMessage"},
    "SweepFunction": _CLICK | _API | {"states:SendTaskHeartbeat", "sqs:SendMessage"},
}


def resources(template: Template, kind: str) -> dict[str, Any]:
    """The properties of all resources of one type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def routes_are_guarded(template: Template) -> Iterator[str]:
    """Whatever is not a page for people asks for IAM."""
    for name, route in resources(template, "AWS::ApiGatewayV2::Route").items():
        kind = route.get("AuthorizationType", "NONE")
        if kind == "NONE" and route["RouteKey"] not in PUBLIC:
            yield f"{name}: anybody may call {route['RouteKey']}"
    for name, api in resources(template, "AWS::ApiGatewayV2::Api").items():
        for path, methods in api.get("Body", {}).get("paths", {}).items():
            for method, operation in methods.items():
                if not operation.get("security"):
                    yield f"{name}: anybody may call {method} {path}"


def permissions_name_their_caller(template: Template) -> Iterator[str]:
    """A service may call a function for one API, rule or queue of ours only."""
    for name, permission in resources(template, "AWS::Lambda::Permission").items():
        if "SourceArn" not in permission:
            yield f"{name}: any {permission['Principal']} of any account may call"
    for name, url in resources(template, "AWS::Lambda::Url").items():
        yield f"{name}: a function URL has no throttling ({url.get('AuthType')})"


def rights_are_small(template: Template) -> Iterator[str]:
    """Each function does what it is listed for; nothing on every resource."""
    for name, role in resources(template, "AWS::IAM::Role").items():
        function = name.removesuffix("Role")
        for statement in _statements(role):
            for action in _list(statement["Action"]):
                if action not in ALLOWED.get(function, ()):
                    yield f"{name}: {action} is not among what {function} needs"
            if "*" in _list(statement["Resource"]):
                yield f"{name}: {statement['Action']} on every resource"


def answers_go_to_named_workflows(template: Template) -> Iterator[str]:
    """SendTask... reaches the state machines and activities that the parameters name."""
    for name, role in resources(template, "AWS::IAM::Role").items():
        for statement in _statements(role):
            if not any(action.startswith("states:Send") for action in _list(statement["Action"])):
                continue
            where = dumps(statement["Resource"]).decode()
            if "NamePattern}" not in where or "${AWS::AccountId}" not in where:
                yield f"{name}: SendTask... on {where}"


def access_logs_hold_no_links(template: Template) -> Iterator[str]:
    """An access log names the route, never the path or the query."""
    for name, stage in resources(template, "AWS::ApiGatewayV2::Stage").items():
        log_format = stage.get("AccessLogSettings", {}).get("Format", "")
        for word in log_format.replace('"', " ").replace(",", " ").split():
            if word.startswith("$") and word not in LOGGED:
                yield f"{name}: the access log holds {word}"


def secrets_are_references(template: Template) -> Iterator[str]:
    """Variables name secrets; CloudFormation writes none of them out."""
    if "{{resolve:" in dumps(template).decode():
        yield "a secret is written out by a dynamic reference"
    for name, function in resources(template, "AWS::Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        told = dumps(variables.get("SIGNOFF_SECRET_KEYS")).decode()
        if "secretsmanager:" not in told:
            yield f"{name}: SIGNOFF_SECRET_KEYS is not a reference"


def what_is_kept_is_kept_safe(template: Template) -> Iterator[str]:
    """The table survives mistakes and the stack; logs end some day."""
    for name, resource in template["Resources"].items():
        kind, properties = resource["Type"], resource.get("Properties", {})
        if kind == "AWS::DynamoDB::Table":
            recovery = properties.get("PointInTimeRecoverySpecification", {})
            if resource.get("DeletionPolicy") != "Retain":
                yield f"{name}: it goes with the stack"
            if not recovery.get("PointInTimeRecoveryEnabled"):
                yield f"{name}: no point-in-time recovery"
        if kind == "AWS::Logs::LogGroup" and "RetentionInDays" not in properties:
            yield f"{name}: logs are kept for ever"
        if kind == "AWS::Lambda::Function" and "LoggingConfig" not in properties:
            yield f"{name}: it writes to a log group of nobody's"


RULES: tuple[Callable[[Template], Iterator[str]], ...] = (
    routes_are_guarded,
    permissions_name_their_caller,
    rights_are_small,
    answers_go_to_named_workflows,
    access_logs_hold_no_links,
    secrets_are_references,
    what_is_kept_is_kept_safe,
)


def complaints(template: Template) -> list[str]:
    """All complaints of all rules."""
    return [sentence for rule in RULES for sentence in rule(template)]


def _statements(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in role.get("Policies", ()):
        for statement in policy["PolicyDocument"]["Statement"]:
            branches = statement.get("Fn::If", (None, statement))[1:]
            yield from (one for one in branches if "Effect" in one)


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
