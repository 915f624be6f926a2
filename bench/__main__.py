"""`make bench`: the product and a bare FastAPI route, in turns, in one run; medians and ratios.

Each round starts workflows that wait (not measured) and then measures, with the same load
generator: H, mint (two recipients), the decision page, and the decision itself with its delivery to
the embedded engine. What is measured is durable (WAL, synchronous=FULL) and has authentication,
audit, encryption and outbox; the mail server is down meanwhile, so that mail is measured alone:
`bench/mail.py` sends from a filled outbox to aiosmtpd in another process.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlencode, urlsplit

import httpx
import uvloop

from app.strict_json import dumps, loads
from bench.engine.workloads import PARK
from bench.load import Load, http_request, run_load
from bench.mail import mails_per_second
from tests.processes import ROLE, SignoffProcess, free_port, wait_for

NONCE = re.compile(rb'name="nonce" value="([^"]+)"')
GOALS = {"mint": 0.12, "page": 0.35, "decide": 0.15}

Figures = dict[str, list[Load]]


class Bench:
    """A service and a bare route, and the measured rounds over both."""

    def __init__(self, directory: Path) -> None:
        self.tokens = directory / "tokens"
        self.tokens.touch()
        self.service = SignoffProcess(
            ("serve", "--function", "park=bench.functions:park"),
            directory / "data",
            environment={"BENCH_TOKENS": str(self.tokens), "SIGNOFF_LOG_LEVEL": "INFO"},
        )
        self.bare_port = free_port()
        self.figures: Figures = defaultdict(list)

    async def round(self, count: int, connections: int) -> None:
        """Measure *count* requests of each kind over *connections* connections."""
        tokens = await self._waiting_tokens(count)
        suffix = f"@{connections}"
        bare = [http_request("GET", "/")] * count
        self.figures["H" + suffix].append(await run_load(self.bare_port, bare, connections))
        minted = await self._measure("mint" + suffix, map(self._mint, tokens), connections)
        links = [
            urlsplit(link["url"]).path
            for body in minted.bodies
            for link in loads(body)["links"]
            if link["recipient"] == "marc@example.com" and link["action"] == "approve"
        ]
        pages = await self._measure(
            "page" + suffix, (http_request("GET", link) for link in links), connections
        )
        forms = map(_decision, links, pages.bodies)
        decided = await self._measure("decide" + suffix, forms, connections)
        self._expect(decided, count)

    async def _measure(self, name: str, requests: Iterator[bytes], connections: int) -> Load:
        load = await run_load(self.service.port, requests, connections, keep_bodies=True)
        if set(load.statuses) - {200, 201}:
            raise SystemExit(f"{name}: unexpected answers {load.statuses}: {load.bodies[0]!r}")
        self.figures[name].append(load)
        return load

    def _expect(self, decided: Load, count: int) -> None:
        told = sum(b"The workflow has been told" in body for body in decided.bodies)
        if told < count:
            print(f"  ({count - told} of {count} decisions were told to the workflow later)")

    async def _waiting_tokens(self, count: int) -> list[tuple[str, str]]:
        seen = len(self.tokens.read_text().splitlines())
        arn = self.service.states(
            "CreateStateMachine", name="bench", definition=PARK, roleArn=ROLE
        )["stateMachineArn"]
        start = http_request(
            "POST",
            "/",
            dumps({"stateMachineArn": arn}),
            content_type="application/x-amz-json-1.0",
            x_amz_target="AWSStepFunctions.StartExecution",
        )
        await run_load(self.service.engine_port, [start] * count, 16)
        wait_for(lambda: len(self.tokens.read_text().splitlines()) == seen + count, 120)
        pairs = [line.split() for line in self.tokens.read_text().splitlines()[seen:]]
        return [(token, execution) for token, execution in pairs]

    def _mint(self, token: tuple[str, str]) -> bytes:
        body = {
            "task_token": token[0],
            "execution_arn": token[1],
            "title": "Deploy billing 4.2 to production",
            "message": "All checks passed on staging. Release notes are in CHG-1182.",
            "facts": {"Change": "CHG-1182", "Service": "billing", "Risk": "medium"},
            "requester": {"name": "Ana Ruiz", "email": "ana@example.com"},
            "recipients": [
                {"email": "marc@example.com", "name": "Marc", "time_zone": "Europe/Berlin"},
                {"email": "lena@example.com", "name": "Lena"},
            ],
        }
        return http_request(
            "POST",
            "/approvals",
            dumps(body),
            content_type="application/json",
            authorization=f"Bearer {self.service.api_key}",
        )


def _decision(link: str, page: bytes) -> bytes:
    match = NONCE.search(page)
    if match is None:
        raise SystemExit(f"no form on the page: {page!r}")
    form = {"decision": "approve", "nonce": match[1].decode(), "comment": "Looks good to me."}
    body = urlencode(form).encode()
    return http_request("POST", link, body, content_type="application/x-www-form-urlencoded")


@contextmanager
def running(bench: Bench) -> Iterator[None]:
    """Both servers, until the block ends."""
    bare = subprocess.Popen([sys.executable, "-m", "bench.bare", str(bench.bare_port)])
    try:
        bench.service.start()
        wait_for(lambda: _answers(bench.bare_port))
        yield
    finally:
        bare.terminate()
        bare.wait()
        bench.service.stop()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
    except httpx.HTTPError:
        return False


def peak_memory_mb(pid: int) -> float:
    """The largest resident size the process has had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


def report(figures: Figures) -> None:
    """Print medians over the rounds, and ratios to H of the same rounds."""
    print(
        f"\n{'':10} {'connections':>11} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'of H':>7}  goal"
    )
    for name, loads_ in figures.items():
        kind, connections = name.split("@")
        base = figures[f"H@{connections}"]
        ratio = median(a.per_second / b.per_second for a, b in zip(loads_, base, strict=True))
        goal = f">= {GOALS[kind]}" if kind in GOALS and connections != "1" else ""
        print(
            f"{kind:10} {connections:>11} {median(x.per_second for x in loads_):8.0f} "
            f"{median(x.median_ms for x in loads_):8.2f} "
            f"{median(x.percentile_ms(0.99) for x in loads_):8.2f} {ratio:7.3f}  {goal}"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=3000, help="of each kind in a round")
    options = parser.parse_args()
    # Beside this file, so that it is a real disk: /tmp may be memory.
    with tempfile.TemporaryDirectory(
        prefix=".bench-", dir=Path(__file__).parent.parent
    ) as directory:
        bench = Bench(Path(directory))
        with running(bench):
            assert bench.service.process is not None
            httpx.get(f"{bench.service.url}/healthz")
            memory_mb = peak_memory_mb(bench.service.process.pid)
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", flush=True)
                uvloop.run(bench.round(options.requests, 16))
                uvloop.run(bench.round(options.requests // 5, 1))
        report(bench.figures)
        print(f"\npeak memory of `signoff serve` at rest: {memory_mb:.0f} MB (goal: below 120)")
        rates = [uvloop.run(mails_per_second(Path(directory) / f"mail{n}")) for n in range(3)]
        print(f"mails/s into aiosmtpd, kept connections: {median(rates):.0f} (goal: 850)")


if __name__ == "__main__":
    main()
