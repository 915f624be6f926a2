"""The application, built by `sam build` and deployed on this machine: once for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.cloud import Cloud
from tests.aws.functions import runs_here
from tests.aws.stack import Stack
from tests.aws.tools import REPOSITORY, TOOLS, parse, run, translate
from tests.processes import SignoffProcess


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `sam build` makes, a directory for each function."""
    if not (TOOLS / "sam").exists() or not runs_here:
        pytest.skip("what is built for Lambda runs on x86_64 with Python 3.11 and the AWS tools")
    directory = tmp_path_factory.mktemp("aws") / "build"
    run("sam", "build", "--build-dir", str(directory))
    return directory


@pytest.fixture(scope="session")
def stack(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The deployed application, with the bundled engine as Step Functions."""
    cloud = Cloud()
    [template] = translate(*parse(REPOSITORY / "template.yaml"))
    place = tmp_path_factory.mktemp("stack")
    engine = SignoffProcess(
        ("engine",), place / "engine", environment={"AWS_ENDPOINT_URL_LAMBDA": cloud.url}
    )
    stack = Stack(template, artifacts, cloud, place)
    try:
        cloud.engine_url = engine.start().engine_url
        yield stack
    finally:
        stack.close()
        engine.kill()
        cloud.close()
