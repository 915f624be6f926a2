"""The image's recipe, as far as it can be held to without Docker."""

import json
import re
import subprocess
import sys
from pathlib import Path

from app.settings import PREFIX, Settings
from tests.processes import SignoffProcess, free_port

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: one instruction a line, without comments
STEPS = [
    line
    for line in re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
    if line
]


def arguments(instruction: str) -> list[str]:
    """What follows an instruction, for each time it is given."""
    return [step.partition(" ")[2] for step in STEPS if step.startswith(instruction + " ")]


def variables() -> dict[str, str]:
    """The environment that the image sets."""
    return dict(pair.split("=", 1) for line in arguments("ENV") for pair in line.split())


def test_everything_that_is_copied_is_there_and_sent_to_the_builder() -> None:
    """Every source of COPY exists, and .dockerignore, which keeps out all else, lets it in."""
    sources = [
        source
        for line in arguments("COPY")
        if not line.startswith("--from=")
        for source in line.split()[:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert sources
    assert all((ROOT / source).exists() for source in sources)
    assert {line[1:] for line in ignored if line.startswith("!")} == set(sources)
    assert "*" in ignored


def test_the_image_runs_the_engine_with_what_follows_its_name() -> None:
    """Exec form: options are appended, and signals reach the engine itself."""
    assert json.loads(arguments("ENTRYPOINT")[0]) == ["signoff", "engine"]
    assert arguments("STOPSIGNAL") == ["SIGTERM"]
    assert arguments("CMD") == []


def test_the_image_does_not_run_as_root() -> None:
    """Its data directory is a volume that belongs to its user."""
    assert arguments("USER") == ["signoff"]
    assert arguments("VOLUME") == [variables()["SIGNOFF_DATA_DIR"]] == ["/data"]
    assert "--owner=signoff --group=signoff" in arguments("RUN")[-1]


def test_the_images_variables_are_settings() -> None:
    """Each has a meaning, and the port that is shown is the default."""
    mine = {name.removeprefix(PREFIX).lower() for name in variables() if name.startswith(PREFIX)}

    assert mine <= Settings.model_fields.keys()
    assert arguments("EXPOSE") == [str(Settings.model_fields["engine_port"].default)]


def test_dependencies_come_from_the_lock_file_by_hash() -> None:
    """Nothing is resolved while the image is built."""
    installs = [step for step in arguments("RUN") if "pip install" in step]

    assert len(installs) == 2
    assert "--require-hashes" in installs[0] and "-r locks/run.txt" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]


def test_the_health_check_sees_whether_the_engine_answers(tmp_path: Path) -> None:
    """The command of HEALTHCHECK, run beside an engine, and where there is none."""
    command = json.loads(arguments("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert command[0] == "python"
    engine = SignoffProcess(("engine",), tmp_path / "data").start()

    def healthy(port: int) -> bool:
        environment = {"SIGNOFF_ENGINE_PORT": str(port)}
        done = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True)
        return done.returncode == 0

    assert healthy(engine.engine_port)
    assert not healthy(free_port())
    assert engine.stop() == 0
