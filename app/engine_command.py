"""`signoff engine`: the engine alone, with the options of AWS Step Functions Local.

A parameter is named after the setting it gives; its variable is read by typer, so that an option
goes before its variable. Both spellings of Step Functions Local's documentation are understood.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.errors import StartRefused
from app.local_settings import read_env_file
from app.settings import load_settings

LOCAL = "Step Functions Local"
#: unknown options come to us, for a sentence that names them whole
CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True}

Functions = Annotated[
    list[str] | None,
    typer.Option(
        "--function",
        metavar="NAME=MODULE:CALLABLE",
        help="A local function that answers for Lambda. May be repeated.",
    ),
]


def _take_env_file(path: Path | None) -> None:
    # Credentials among them are boto3's to find, so they go where it looks.
    if path is not None:
        os.environ.update(read_env_file(path))


EnvFile = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        metavar="FILE",
        callback=_take_env_file,
        help="Variables, such as aws-stepfunctions-local-credentials.txt has them; "
        "they go before the environment.",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        envvar="SIGNOFF_ENGINE_HOST",
        help="Where to listen. Default: 127.0.0.1; others need SIGNOFF_ENGINE_OPEN=1 too.",
    ),
]
Port = Annotated[
    str | None,
    typer.Option("--port", metavar="PORT", envvar="SIGNOFF_ENGINE_PORT", help="Default: 8083."),
]

Retention = Annotated[
    str | None,
    typer.Option(
        "--retention",
        metavar="SECONDS",
        envvar="SIGNOFF_ENGINE_RETENTION",
        help="How long closed executions are kept. Default: 7776000, 90 days.",
    ),
]


def _option(*names: str, variables: list[str], metavar: str, meaning: str) -> Any:
    return typer.Option(
        *names, envvar=variables, metavar=metavar, help=meaning, rich_help_panel=LOCAL
    )


def _endpoint(service: str, camel: str, *kebab: str) -> Any:
    """The option of a service's endpoint; its variable is spelled like the last of *kebab*."""
    names = [f"--{each}-endpoint" for each in kebab] + [f"-{camel}Endpoint"]
    variable = kebab[-1].upper().replace("-", "_") + "_ENDPOINT"
    return _option(*names, variables=[variable], metavar="URL", meaning=f"Where {service} answers.")


Account = Annotated[
    str | None,
    _option(
        "--aws-account",
        "-account",
        "--account",
        variables=["SIGNOFF_ACCOUNT", "AWS_ACCOUNT_ID"],
        metavar="ID",
        meaning="The account in ARNs. Default: 123456789012.",
    ),
]
Region = Annotated[
    str | None,
    _option(
        "--aws-region",
        "-region",
        "--region",
        variables=["SIGNOFF_REGION", "AWS_DEFAULT_REGION"],
        metavar="NAME",
        meaning="The region in ARNs. Default: us-east-1.",
    ),
]
Scale = Annotated[
    str | None,
    _option(
        "--wait-time-scale",
        "-waitTimeScale",
        variables=["WAIT_TIME_SCALE"],
        metavar="FACTOR",
        meaning="Wait states and pauses before retries take this times as long: "
        "0.1 is ten times faster.",
    ),
]
Mocks = Annotated[
    str | None,
    _option(
        "--mock-config",
        variables=["SFN_MOCK_CONFIG"],
        metavar="FILE",
        meaning="Mocked answers of tasks, for executions started with ARN#TestCase.",
    ),
]
Lambda = Annotated[str | None, _endpoint("AWS Lambda", "lambda", "lambda")]
Batch = Annotated[str | None, _endpoint("AWS Batch", "batch", "batch")]
DynamoDb = Annotated[str | None, _endpoint("DynamoDB", "dynamoDB", "dynamodb")]
Ecs = Annotated[str | None, _endpoint("Amazon ECS", "ecs", "ecs")]
Glue = Annotated[str | None, _endpoint("AWS Glue", "glue", "glue")]
SageMaker = Annotated[str | None, _endpoint("SageMaker", "sageMaker", "sagemaker", "sage-maker")]
Sqs = Annotated[str | None, _endpoint("Amazon SQS", "sqs", "sqs")]
Sns = Annotated[str | None, _endpoint("Amazon SNS", "sns", "sns")]
StepFunctions = Annotated[
    str | None,
    _endpoint("Step Functions, for nested executions,", "stepFunctions", "step-functions"),
]


def engine(
    context: typer.Context,
    function: Functions = None,
    engine_host: Host = None,
    engine_port: Port = None,
    engine_retention: Retention = None,
    env_file: EnvFile = None,
    account: Account = None,
    region: Region = None,
    wait_time_scale: Scale = None,
    sfn_mock_config: Mocks = None,
    lambda_endpoint: Lambda = None,
    batch_endpoint: Batch = None,
    dynamodb_endpoint: DynamoDb = None,
    ecs_endpoint: Ecs = None,
    glue_endpoint: Glue = None,
    sage_maker_endpoint: SageMaker = None,
    sqs_endpoint: Sqs = None,
    sns_endpoint: Sns = None,
    step_functions_endpoint: StepFunctions = None,
) -> None:
    """Start the engine alone: the Step Functions API on one port.

    Takes the place of AWS Step Functions Local: the same port, options, variables and mock file.
    Endpoints of other services come from AWS_ENDPOINT_URL_<SERVICE>.
    """
    if context.args:
        unknown = context.args[0].partition("=")[0]
        raise StartRefused(
            f"{unknown} is not understood by signoff engine. "
            "signoff engine --help lists its options."
        )
    # Not above: `signoff` itself, and each of its other commands, does without the engine.
    from app.engine_process import engine_alone
    from app.run import run_process
    from app.server import run

    given = {name: value for name, value in context.params.items() if value is not None}
    sys.exit(run(run_process(engine_alone, load_settings(given), function or ())))
