"""A disk without room: no false success, pages still open, and work goes on once there is room."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import HTTP, SignoffProcess

AS_JSON = {"Accept": "application/json"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB; only root may make one."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk; to run this test: sudo make test")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this system mounts no small disk (containers need CAP_SYS_ADMIN)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def service(small_disk: Path) -> Iterator[SignoffProcess]:
    """A service whose data and logs are on the small disk."""
    process = SignoffProcess(("serve",), small_disk / "data").start()
    yield process
    process.kill()


def mint(service: SignoffProcess, number: int) -> httpx.Response:
    """POST a mint that takes some room."""
    body = {
        "task_token": f"task-token-{number}-" + "x" * 60,
        "title": "May it go on?",
        "message": "m" * 5000,
        "recipients": ["marc@example.com"],
    }
    return service.api("POST", "/approvals", json=body)


def fill(disk: Path) -> Path:
    """Take all the room there is; the file that takes it."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return filler


def test_without_room_nothing_is_said_to_be_saved_and_nothing_is_lost(
    small_disk: Path, service: SignoffProcess
) -> None:
    """Refusals are 503 with a sentence; reading goes on; with room again, deciding works."""
    link = mint(service, 0).json()["links"][0]["url"]
    nonce = HTTP.get(link, headers=AS_JSON).json()["form"]["nonce"]
    form = {"decision": "approve", "nonce": nonce}
    filler = fill(small_disk)

    # The log that SQLite writes ahead may have room for a few more.
    statuses = [mint(service, number).status_code for number in range(1, 30)]
    page = HTTP.get(link)
    click = HTTP.post(link, data=form, headers=AS_JSON)
    ready = HTTP.get(f"{service.url}/readyz")

    assert statuses[-1] == 503 and set(statuses) <= {201, 503}
    assert page.status_code == 200
    assert (click.status_code, click.json()["code"]) == (503, "not_saved")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["store_unwritable"])

    filler.unlink()

    assert HTTP.get(f"{service.url}/readyz").status_code == 200
    assert mint(service, 100).status_code == 201
    decided = HTTP.post(link, data=form, headers=AS_JSON).json()["decision"]
    assert (decided["action"], decided["by_you"]) == ("approve", True)
