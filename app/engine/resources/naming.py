"""What AWS calls services, actions, members and errors: in boto3, in its two SDKs for Java, and so
in Step Functions.

Step Functions is written with these SDKs, and their names show. Optimized integrations speak the
first (``SQS.AmazonSQSException``, ``MD5OfMessageBody``), ``aws-sdk`` integrations the second
(``Sqs.SqsException``, ``Md5OfMessageBody``). The rules below are those of the SDKs' generators.
"""

import gzip
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

#: services whose name in boto3 is not the one that ``aws-sdk`` resources have, less its hyphens
_BOTO_NAMES: Mapping[str, str] = {
    "applicationdiscoveryservice": "discovery",
    "cloudwatchlogs": "logs",
    "cognitoidentityprovider": "cognito-idp",
    "configservice": "config",
    "costandusagereportservice": "cur",
    "costexplorer": "ce",
    "databasemigrationservice": "dms",
    "directoryservice": "ds",
    "directoryservicedata": "ds-data",
    "elasticloadbalancing": "elb",
    "elasticloadbalancingv2": "elbv2",
    "elasticsearchservice": "es",
    "eventbridge": "events",
    "iotdataplane": "iot-data",
    "iotjobsdataplane": "iot-jobs-data",
    "lexmodelbuildingservice": "lex-models",
    "lexmodelsv2": "lexv2-models",
    "lexruntimeservice": "lex-runtime",
    "lexruntimev2": "lexv2-runtime",
    "marketplaceentitlementservice": "marketplace-entitlement",
    "marketplacemetering": "meteringmarketplace",
    "migrationhub": "mgh",
    "pinpointsmsvoice": "sms-voice",
    "serverlessapplicationrepository": "serverlessrepo",
    "sfn": "stepfunctions",
    "simpledb": "sdb",
}


def boto_service(sdk_name: str) -> str | None:
    """boto3's name of the service in ``aws-sdk:<sdk_name>``; None if there is none."""
    if sdk_name in _BOTO_NAMES:
        return _BOTO_NAMES[sdk_name]
    if sdk_name in _BOTO_NAMES.values():
        return None  # boto3's name, which Step Functions does not know
    return _unhyphenated().get(sdk_name)


@lru_cache(maxsize=1)
def _unhyphenated() -> dict[str, str]:
    from botocore.loaders import create_loader  # noqa: PLC0415  # as in clients.py

    names = create_loader().list_available_services("service-2")
    return {name.replace("-", ""): name for name in names}


@lru_cache(maxsize=256)
def described(service: str) -> tuple[str, Mapping[str, str]]:
    """A service of boto3: its id (``Secrets Manager``), and its operations by what Step Functions
    calls them (``createSecret`` -> ``CreateSecret``)."""
    # Only this is kept: the models of some services take tens of megabytes.
    model = _model(service)
    operations = {name[:1].lower() + name[1:]: name for name in model["operations"]}
    return model["metadata"].get("serviceId", service), operations


_NONE: Mapping[str, Any] = {"operations": {}, "metadata": {}}


def _model(service: str) -> Any:
    from botocore.exceptions import (  # noqa: PLC0415  # as in clients.py
        DataNotFoundError,
        UnknownServiceError,
    )
    from botocore.loaders import create_loader  # noqa: PLC0415

    loader = create_loader()
    try:
        version = loader.determine_latest_version(service, "service-2")
    except (UnknownServiceError, DataNotFoundError):
        return _NONE
    for directory in loader.search_paths:
        path = f"{directory}/{service}/{version}/service-2.json"
        for name, read in ((path + ".gz", gzip.open), (path, open)):
            try:
                with read(name, "rb") as file:
                    return orjson.loads(file.read())
            except FileNotFoundError:
                continue
    return _NONE


def pascal_case(name: str) -> str:
    """A service's id as the second SDK's classes are named: ``DynamoDB`` -> ``DynamoDb``."""
    return "".join(word.lower().capitalize() for word in _words(name))


def _words(name: str) -> list[str]:
    text = re.sub(r"[^A-Za-z0-9]+", " ", name)
    text = re.sub(r"([^a-z]{2,})v([0-9]+)", r"\1 v\2 ", text)
    text = re.sub(r"([^A-Z]{2,})V([0-9]+)", r"\1 V\2 ", text)
    text = " ".join(re.split(r"(?<=[a-z])(?=[A-Z][a-zA-Z0-9])", text))
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", text)
    return re.sub(r"([0-9])([a-zA-Z])", r"\1 \2", text).split()


def first_sdk_member(name: str) -> str:
    """A member as optimized integrations show it: ``taskArn`` -> ``TaskArn``."""
    return name[:1].upper() + name[1:]


def second_sdk_member(name: str) -> str:
    """A member as ``aws-sdk`` integrations show it: ``MD5OfBody`` -> ``Md5OfBody``."""
    if name == "NULL":
        return "Nul"  # DynamoDB's: a word that Java keeps for itself
    end = 1
    while name[end : end + 1].isupper() and not name[end + 1 : end + 2].islower():
        end += 1
    return name[:1].upper() + name[1:end].lower() + name[end:]


def first_sdk_error(shape: str) -> str:
    """An error of a service's model: ``StateMachineDoesNotExist`` -> ``...Exception``."""
    return shape if shape.endswith("Exception") else shape + "Exception"


def second_sdk_error(shape: str) -> str:
    """An error of a service's model: ``NoSuchKey`` -> ``NoSuchKeyException``."""
    for ending in ("Fault", "Error"):
        if shape.endswith(ending):
            return shape.removesuffix(ending) + "Exception"
    return shape if shape.endswith("Exception") else shape + "Exception"
