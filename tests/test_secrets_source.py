"""Secret keys that are kept with AWS."""

from collections.abc import Iterator

import pytest

from app.errors import StartRefused
from app.secrets_source import read_secret_keys
from app.strict_json import dumps
from tests.test_aws_json import Service, serving

Answer = tuple[int, bytes, dict[str, str]]

FOUND: Answer = (200, dumps({"SecretString": "newer,older"}), {})


def refusal(code: str, status: int = 400) -> Answer:
    """What Secrets Manager says when it does not do it."""
    return status, dumps({"__type": code}), {}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Secrets Manager, which has nothing to say yet."""
    service = Service()
    with serving(service) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setattr("app.secrets_source.time.sleep", lambda _: None)
        yield service


@pytest.mark.parametrize(
    "hiccup", [refusal("ThrottlingException"), refusal("InternalServiceError", 500)]
)
def test_a_hiccup_is_no_reason_to_fail(service: Service, hiccup: Answer) -> None:
    """Workflows would end because too much was asked of Secrets Manager for a moment."""
    service.answers += [hiccup, hiccup, FOUND]

    assert read_secret_keys("secretsmanager:keys") == ("newer", "older")


def test_it_is_asked_no_more_than_three_times(service: Service) -> None:
    """Somebody waits for a page meanwhile."""
    service.answers += [refusal("ThrottlingException")] * 3

    with pytest.raises(StartRefused, match=r"secret that cannot be read \(ThrottlingException\)"):
        read_secret_keys("secretsmanager:keys")

    assert len(service.asked) == 3


def test_what_is_not_there_is_asked_for_once(service: Service) -> None:
    """A wrong name does not become right by itself."""
    service.answers += [refusal("ResourceNotFoundException"), FOUND]

    with pytest.raises(StartRefused, match="Check its name, the region and this process"):
        read_secret_keys("secretsmanager:keys")

    assert len(service.asked) == 1
