"""The names that AWS's SDKs give to services, members and errors."""

import pytest
from botocore.loaders import create_loader

from app.engine.resources.naming import (
    boto_service,
    described,
    first_sdk_error,
    pascal_case,
    second_sdk_error,
    second_sdk_member,
)


@pytest.mark.parametrize(
    ("service_id", "name"),
    [
        ("DynamoDB", "DynamoDb"),
        ("Secrets Manager", "SecretsManager"),
        ("SFN", "Sfn"),
        ("S3", "S3"),
        ("SESv2", "SesV2"),
        ("WAFV2", "Wafv2"),
        ("IoT", "Iot"),
        ("MTurk", "MTurk"),
        ("CloudWatch Logs", "CloudWatchLogs"),
    ],
)
def test_classes_are_named_after_service_ids(service_id: str, name: str) -> None:
    """As the second SDK for Java does."""
    assert pascal_case(service_id) == name


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ("ETag", "ETag"),
        ("executionArn", "ExecutionArn"),
        ("MD5OfMessageBody", "Md5OfMessageBody"),
        ("SSEKMSKeyId", "SsekmsKeyId"),
        ("ChecksumCRC32", "ChecksumCRC32"),
        ("BOOL", "Bool"),
        ("S", "S"),
        ("NULL", "Nul"),
    ],
)
def test_members_are_named_as_the_second_sdk_does(member: str, shown: str) -> None:
    """Runs of capitals at the beginning become one."""
    assert second_sdk_member(member) == shown


def test_errors_end_with_exception() -> None:
    """In both SDKs, each in its way."""
    assert first_sdk_error("QueueDoesNotExist") == "QueueDoesNotExistException"
    assert second_sdk_error("NoSuchKey") == "NoSuchKeyException"
    assert second_sdk_error("CacheClusterNotFoundFault") == "CacheClusterNotFoundException"
    assert second_sdk_error("ResourceNotFoundException") == "ResourceNotFoundException"


def test_all_services_of_boto3_can_be_named() -> None:
    """By the second SDK's name, which is made of the id that the service's model gives."""
    for service in create_loader().list_available_services("service-2"):
        if service.startswith(("e", "i", "l", "m", "s", "c", "d")):  # where the exceptions are
            name = pascal_case(described(service)[0]).lower()
            assert boto_service(name) == service
