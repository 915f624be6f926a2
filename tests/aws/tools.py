"""The AWS tools in `.venv-aws` (`make test` installs them): translation, linting, building."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.strict_json import Json, dumps, loads

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TOOLS = REPOSITORY / ".venv-aws" / "bin"

needs_tools = pytest.mark.skipif(
    not (TOOLS / "sam").exists(),
    reason="the AWS tools are not installed: make .venv-aws/.installed (it needs a network)",
)

_TRANSLATE = """
import json, sys
from samtranslator.translator.transform import transform
class NoManagedPolicies:
    def load(self):
        return {}
json.dump([transform(one, {}, NoManagedPolicies()) for one in json.load(sys.stdin)], sys.stdout)
"""

_PARSE = """
import json, sys
from samtranslator.yaml_helper import yaml_parse
json.dump([yaml_parse(open(path).read()) for path in sys.argv[1:]], sys.stdout)
"""

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.environ.get("HOME", "/"),
    "AWS_DEFAULT_REGION": "us-east-1",
    "SAM_CLI_TELEMETRY": "0",
    "PYTHONWARNINGS": "ignore",
}


def run(*command: str, stdin: bytes | None = None, **environment: str) -> bytes:
    """What a tool prints; its complaint as an AssertionError."""
    done = subprocess.run(
        [str(TOOLS / command[0]), *command[1:]],
        input=stdin,
        capture_output=True,
        cwd=REPOSITORY,
        env={**_ENVIRONMENT, **environment},
        timeout=900,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout


def parse(*paths: Path) -> list[dict[str, Json]]:
    """Templates as SAM reads them: short forms of intrinsic functions written out."""
    templates: list[dict[str, Json]] = loads(run("python", "-c", _PARSE, *map(str, paths)))
    return templates


def translate(*templates: dict[str, Json]) -> list[dict[str, Json]]:
    """What CloudFormation gets when SAM's transform has run, for each of *templates*."""
    packaged = [{**one, "Globals": _with_code(one.get("Globals", {}))} for one in templates]
    translated: list[dict[str, Json]] = loads(
        run("python", "-c", _TRANSLATE, stdin=dumps(packaged))
    )
    return translated


def lint(directory: Path, template: dict[str, Json]) -> list[str]:
    """What cfn-lint finds in a translated template: rule and place."""
    path = directory / "translated.json"
    path.write_bytes(dumps(template))
    done = subprocess.run(
        [str(TOOLS / "cfn-lint"), "--format", "json", "--template", str(path)],
        capture_output=True,
        env=_ENVIRONMENT,
        timeout=900,
    )
    found: list[dict[str, Any]] = loads(done.stdout)
    return [f"{one['Rule']['Id']} {one['Message']}" for one in found]


def _with_code(globals_: dict[str, Json]) -> dict[str, Json]:
    # `sam package` does this; the translator takes no local path.
    function = {**globals_.get("Function", {}), "CodeUri": "s3://bucket/key"}
    return {**globals_, "Function": function}
