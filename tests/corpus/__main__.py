"""`python -m tests.corpus FOLDER`: replay cases recorded from AWS against a real engine.

Starts `signoff engine` and, where there is one beside the folder and moto is installed, a stand-in
for the other AWS services. Prints passed/total by area and each case that differs, with its excuse
from `excuses.toml`; ends with status 1 if one has none.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.corpus.cases import ACCOUNT, Case, Replayer, Verdict, read_cases
from tests.processes import HTTP, SignoffProcess, free_port, wait_for

AT_ONCE = 8
EXCUSES = Path(__file__).parent / "excuses.toml"


def main() -> int:
    """Replay; the exit status."""
    options = _options()
    if not (options.folder / "replay.py").exists():
        _say(f"corpus: skipped, there are no recorded cases in {options.folder} (CORPUS=...)")
        return 0
    cases = [c for c in read_cases(options.folder) if options.only in c.id]
    services = None if options.alone else _services_script(options.folder)
    with tempfile.TemporaryDirectory() as scratch:
        verdicts = _replay(cases, options.folder, services, Path(scratch))
    _print_table(verdicts)
    _print_skipped(cases, verdicts)
    return print_faults(verdicts, _excuses())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus")
    parser.add_argument("folder", type=Path, help="asl/AREA/*.json and replay.py")
    parser.add_argument("--only", default="", help="cases whose id has this text in it")
    parser.add_argument("--alone", action="store_true", help="only what needs no other service")
    return parser.parse_args()


def _say(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# Replaying


def _replay(
    cases: Sequence[Case], folder: Path, services: Path | None, scratch: Path
) -> list[Verdict]:
    chosen = [c for c in cases if c.comparable and (c.alone or services is not None)]
    first = [c for c in chosen if c.lists_all]
    others = [c for c in chosen if not c.lists_all]
    with _running(services, scratch) as (engine_url, services_url):
        replay = Replayer(folder, engine_url, services_url)
        done = [replay(case) for case in first]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            # The slow ones wait for other services: they start first.
            done += threads.map(replay, sorted(others, key=lambda case: case.alone))
    return done


@contextmanager
def _running(services: Path | None, scratch: Path) -> Iterator[tuple[str, str]]:
    """An engine, and the services it calls: their addresses."""
    port = free_port()
    services_url = f"http://127.0.0.1:{port}"
    engine = SignoffProcess(("engine", "--account", ACCOUNT), scratch / "engine")
    engine.environment = {
        "AWS_ENDPOINT_URL": services_url,
        "AWS_ENDPOINT_URL_SFN": engine.engine_url,
    }
    (scratch / "sfn_endpoint").write_text(engine.engine_url)
    neighbours = None if services is None else _started(services, port, scratch)
    try:
        engine.start()
        yield engine.engine_url, services_url
    finally:
        engine.kill()
        if neighbours is not None:
            neighbours.kill()
            neighbours.wait()


def _started(script: Path, port: int, scratch: Path) -> "subprocess.Popen[bytes]":
    with (scratch / "services.log").open("wb") as log:
        process = subprocess.Popen(  # the script beside the cases
            [sys.executable, str(script), str(port), str(scratch), ACCOUNT], stdout=log, stderr=log
        )
    wait_for(lambda: process.poll() is not None or _answers(port))
    return process


def _answers(port: int) -> bool:
    try:
        return HTTP.get(f"http://127.0.0.1:{port}/moto-api/").status_code == 200
    except httpx.HTTPError:
        time.sleep(0.1)
        return False


def _services_script(folder: Path) -> Path | None:
    script = folder.parent / "aws" / "services.py"
    return script if script.exists() and importlib.util.find_spec("moto.server") else None


# Telling


def _print_table(verdicts: Sequence[Verdict]) -> None:
    passed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total[verdict.case.area] += verdict.compared
        passed[verdict.case.area] += verdict.compared - len(verdict.faults)
    for area in sorted(total):
        _say(f"{area:34} {passed[area]:>4}/{total[area]}")
    _say(f"{'all':34} {passed.total():>4}/{total.total()}")


def _print_skipped(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> None:
    replayed = {verdict.case.id for verdict in verdicts}
    left = [case for case in cases if case.id not in replayed]
    _print_cases("recorded incompletely, cannot be compared", [c for c in left if not c.comparable])
    _print_cases(
        "need services beside Step Functions (--alone, or no services.py, or no moto[server])",
        [case for case in left if case.comparable],
    )


def _print_cases(why: str, cases: Sequence[Case]) -> None:
    if cases:
        _say(f"skipped: {len(cases)} {why}:")
    for case in cases:
        _say(f"    {case.id} {', '.join(case.record['services'])}")


def _excuses() -> Mapping[str, str]:
    """Why a case may differ, by its id."""
    groups = tomllib.loads(EXCUSES.read_text(encoding="utf-8"))["excuse"]
    return {case: group["reason"] for group in groups for case in group["cases"]}


def print_faults(verdicts: Sequence[Verdict], excuses: Mapping[str, str]) -> int:
    """Each case that differs, with its excuse if it has one; the exit status."""
    unexcused = 0
    for verdict in verdicts:
        excuse = excuses.get(verdict.case.id)
        for fault in verdict.faults:
            _say(f"{'differs' if excuse else 'FAILS'}: {verdict.case.id}: {fault}")
        if verdict.faults and excuse:
            _say(f"    excuse: {excuse}")
        elif verdict.faults:
            unexcused += 1
        elif excuse:
            _say(f"passes, and has an excuse: {verdict.case.id}")
    if unexcused:
        _say(f"{unexcused} cases fail without an excuse in {EXCUSES.name}")
    return 1 if unexcused else 0


if __name__ == "__main__":
    sys.exit(main())
