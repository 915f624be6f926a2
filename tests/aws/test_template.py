"""The template, translated as SAM does it, is sound; copies with faults are found out."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.approvals.store.dynamodb.definition import TTL_ATTRIBUTE, table_definition
from app.strict_json import Json, dumps
from tests.aws import rules, sar
from tests.aws.tools import REPOSITORY, lint, needs_tools, parse, run, translate

pytestmark = [pytest.mark.aws, needs_tools]

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.yaml"))


@pytest.fixture(scope="module")
def parsed() -> list[dict[str, Json]]:
    """The template as it is written, and what each broken copy has instead."""
    return parse(REPOSITORY / "template.yaml", *BROKEN)


@pytest.fixture(scope="module")
def faults(parsed: list[dict[str, Json]]) -> dict[str, dict[str, Json]]:
    """What each broken copy has instead, and what is found of it."""
    return {path.stem: fault for path, fault in zip(BROKEN, parsed[1:], strict=True)}


@pytest.fixture(scope="module")
def translated(
    parsed: list[dict[str, Json]], faults: dict[str, dict[str, Json]]
) -> dict[str, dict[str, Json]]:
    """The template ("") and its broken copies, as CloudFormation gets them."""
    template = parsed[0]
    copies = {name: merged(template, fault) for name, fault in faults.items()}
    whole = {"": template, **{name: without_open_ends(copy) for name, copy in copies.items()}}
    return dict(zip(whole, translate(*whole.values()), strict=True))


def merged(base: Json, change: Json) -> Json:
    """*base* with the members of *change* in it; lists and texts are replaced."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    whole = dict(base)
    for name, value in change.items():
        # Another type of resource is another resource.
        fresh = isinstance(value, dict) and value.get("Type") not in (
            None,
            base.get(name, {}).get("Type") if isinstance(base.get(name), dict) else None,
        )
        whole[name] = value if fresh or name not in base else merged(base[name], value)
    return whole


def without_open_ends(template: dict[str, Json]) -> dict[str, Json]:
    """*template* without the plain parts of an API that became a serverless one."""
    template = {name: value for name, value in template.items() if name != "finds"}
    api = template["Resources"]["HttpApi"]
    if api["Type"] != "AWS::Serverless::HttpApi":
        return template
    plain = ("Stage", "Route", "Integration", "IsCalled", "AreCalled")
    kept = {name: one for name, one in template["Resources"].items() if not name.endswith(plain)}
    return {**template, "Resources": kept}


def complaints(template: dict[str, Json]) -> list[str]:
    """What the rules of ours and of the repository hold against a translated template."""
    return [*rules.complaints(template), *sar.complaints(template)]


def test_nothing_is_held_against_the_template(
    translated: dict[str, dict[str, Json]], tmp_path: Path
) -> None:
    """No linter, no rule of ours and none of the repository complains."""
    assert complaints(translated[""]) == []
    assert lint(tmp_path, translated[""]) == []


@pytest.mark.parametrize("fault", [path.stem for path in BROKEN])
def test_a_broken_copy_is_found_out(
    fault: str,
    faults: dict[str, dict[str, Json]],
    translated: dict[str, dict[str, Json]],
    tmp_path: Path,
) -> None:
    """Each fault that somebody could write in is named: by a rule, or by the linter."""
    told = faults[fault]["finds"]
    linted = told[1:].isdigit()

    found = lint(tmp_path, translated[fault]) if linted else complaints(translated[fault])

    assert [one for one in found if one.startswith(told)], found


def test_sam_takes_the_template_as_it_is() -> None:
    """`sam validate` reads it: what the command line deploys is what was checked."""
    assert b"is a valid SAM Template" in run("sam", "validate", "--region", "us-east-1")


def test_the_table_is_the_one_that_the_store_expects(
    translated: dict[str, dict[str, Json]],
) -> None:
    """Keys, indexes and the attribute by which items are deleted."""
    table = rules.resources(translated[""], "AWS::DynamoDB::Table")["Table"]
    expected = table_definition("approvals")

    assert table["TimeToLiveSpecification"] == {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}
    for member in ("BillingMode", "KeySchema", "AttributeDefinitions"):
        assert table[member] == expected[member]
    assert table["GlobalSecondaryIndexes"] == expected["GlobalSecondaryIndexes"]


def test_every_route_leads_to_a_function_that_may_be_called_by_it(
    translated: dict[str, dict[str, Json]],
) -> None:
    """Each function behind the API lets the API call it, and nobody else."""
    resources: dict[str, Any] = translated[""]["Resources"]
    called = set()
    for route in rules.resources(translated[""], "AWS::ApiGatewayV2::Route").values():
        integration = route["Target"]["Fn::Sub"].removeprefix("integrations/${").rstrip("}")
        uri = resources[integration]["Properties"]["IntegrationUri"]
        called.add(uri["Fn::GetAtt"][0])

    permissions = rules.resources(translated[""], "AWS::Lambda::Permission").values()
    permitted = {
        one["FunctionName"]["Ref"]
        for one in permissions
        if one["Principal"] == "apigateway.amazonaws.com"
    }
    assert called == permitted == {"ClickFunction", "RespondFunction", "ApiFunction"}


@pytest.mark.parametrize(
    ("parameter", "taken", "refused"),
    [
        ("MailFrom", ["signoff@example.com"], ["", "Signoff <a@example.com>", "a@localhost"]),
        ("SenderIdentity", ["", "example.com", "a+b@example.com", "*"], ["*.com", "a b"]),
        (
            "BaseUrl",
            ["", "https://example.com", "https://example.com/approve"],
            ["http://example.com", "https://", "https://example.com?a=1"],
        ),
        ("StateMachineNamePattern", ["*", "deploy-*"], ["", "a b", "arn:aws:states"]),
        ("ActivityNamePattern", ["", "deploy-*"], ["a b"]),
        ("SecretArn", ["", "arn:aws-cn:secretsmanager:x:y:secret:z"], ["keys", "arn:aws:ssm:x"]),
    ],
)
def test_parameters_take_what_works_and_nothing_else(
    parsed: list[dict[str, Json]], parameter: str, taken: list[str], refused: list[str]
) -> None:
    """A wrong one stops the deployment, not the first mail."""
    pattern = re.compile(parsed[0]["Parameters"][parameter]["AllowedPattern"])

    assert [one for one in taken if not pattern.fullmatch(one)] == []
    assert [one for one in refused if pattern.fullmatch(one)] == []


def test_every_parameter_is_used_and_shown_in_a_group(
    parsed: list[dict[str, Json]], translated: dict[str, dict[str, Json]]
) -> None:
    """The console shows them in groups; one that nothing reads would promise something."""
    names = set(parsed[0]["Parameters"])
    groups = parsed[0]["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    text = dumps(translated[""]).decode()

    assert {name for group in groups for name in group["Parameters"]} == names
    assert {name for name in names if f'"Ref":"{name}"' in text or f"${{{name}}}" in text} == names


def test_the_outputs_are_what_larger_stacks_build_on(
    translated: dict[str, dict[str, Json]],
) -> None:
    """Their names are an interface: nobody's stack breaks because one was renamed."""
    assert set(translated[""]["Outputs"]) == {
        "SignoffFunctionArn",
        "SignoffFunctionName",
        "CallerPolicyArn",
        "ApiUrl",
        "ApiPolicyArn",
        "TableName",
        "SecretKeysArn",
        "DeadLettersUrl",
    }


def test_the_examples_build_on_the_outputs(tmp_path: Path) -> None:
    """Both can be deployed: sound when translated, and every output they ask for is there."""
    examples = REPOSITORY / "examples"
    outputs = set(parse(REPOSITORY / "template.yaml")[0]["Outputs"])
    templates = parse(*(examples / name / "template.yaml" for name in ("nested", "approval")))
    for template, name in zip(templates, ("nested", "approval"), strict=True):
        for machine in rules.resources(template, "AWS::Serverless::StateMachine").values():
            path = examples / name / machine["DefinitionUri"]
            assert "${SignoffFunction}" in path.read_text()
            assert set(machine["DefinitionSubstitutions"]) == {"SignoffFunction"}
            machine["DefinitionUri"] = "s3://bucket/definition"
        for nested in rules.resources(template, "AWS::Serverless::Application").values():
            assert (examples / name / nested["Location"]).resolve() == REPOSITORY / "template.yaml"
            parameters = parse(REPOSITORY / "template.yaml")[0]["Parameters"]
            assert set(nested["Parameters"]) <= set(parameters)
            nested["Location"] = "https://bucket.s3.amazonaws.com/template.yaml"

    for translated in translate(*templates):
        assert lint(tmp_path, translated) == []
        asked = set(re.findall(r"\bOutputs\.(\w+)", dumps(translated).decode()))
        assert asked <= outputs
