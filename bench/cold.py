"""Cold starts in CPU time, beside a bare handler that imports boto3 and makes the same calls.

    python -m bench.cold [ROUNDS]

Each sample is a fresh process with nothing but the built package on its path (as in /var/task):
import the handler, answer one event. Its user and system time is what counts, because a wall
clock on a busy machine measures its neighbours. AWS is moto behind TLS on loopback.

Bare handlers trust the bundle that botocore ships, ours the five roots that the package ships, each
with the certificate of this run's server added.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import certifi

from app.https import ROOTS
from bench.cold_aws import Account, open_account
from tools.lambda_package import build

ROUNDS = 15
SITE_PACKAGES = str(Path(certifi.__file__).parent.parent)

#: what the article "bare" in the table stands for
BARE = """
import os, boto3
def handler(event, context):
    boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["SECRET"])
    table = boto3.client("dynamodb")
    table.query(
        TableName="approvals", ConsistentRead=True, KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "A#" + event["id"]}},
    )
    if event["post"]:
        table.transact_write_items(TransactItems=[
            {"Put": {"TableName": "approvals", "Item": {"pk": {"S": "bare"}, "sk": {"S": "a"}}}},
            {"Put": {"TableName": "approvals", "Item": {"pk": {"S": "bare"}, "sk": {"S": "b"}}}},
        ])
        boto3.client("stepfunctions").send_task_success(taskToken="t", output="{}")
"""

RUN = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
from {module} import handler
class Context:
    aws_request_id = function_name = "bench"
    get_remaining_time_in_millis = staticmethod(lambda: 20000)
answer = handler(json.loads(sys.argv[2]), Context())
assert answer is None or answer["statusCode"] == 200, answer
os._exit(0)  # Lambda freezes a process, and takes nothing down
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """A handler and the event it gets."""

    name: str
    module: str
    path: Sequence[str]
    bundle: str
    event: Mapping[str, object]


def main() -> None:
    """Measure, and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as place, open_account(Path(place)) as account:
        variants = _variants(account, Path(place))
        samples: dict[str, list[float]] = {variant.name: [] for variant in variants}
        for _ in range(rounds):
            for variant in variants:
                samples[variant.name].append(_cpu_ms(variant, account))
    medians = {name: statistics.median(times) for name, times in samples.items()}
    print(f"CPU of a cold start, medians of {rounds}; ratio to bare boto3 with the same calls\n")
    for variant in variants:
        bare = medians["bare, decides" if "decides" in variant.name else "bare, looks"]
        ms = medians[variant.name]
        print(f"{variant.name:32} {ms:6.0f} ms  {ms / bare:5.2f}")


def _variants(account: Account, place: Path) -> list[Variant]:
    for kind in ("click", "api"):
        build(kind, place / kind)
    (place / "bare").mkdir()
    (place / "bare" / "bare.py").write_text(BARE)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(place / "bare")], check=True)
    whole = _bundle(place / "whole.pem", Path(certifi.where()), account.certificate)
    small = _bundle(place / "small.pem", Path(ROOTS), account.certificate)
    bare = [str(place / "bare"), SITE_PACKAGES]
    click, api = [str(place / "click")], [str(place / "api")]
    looks, decides = account.look(), account.decide()
    return [
        Variant("bare, looks", "bare", bare, whole, {"id": account.approval_id, "post": False}),
        Variant("bare, decides", "bare", bare, whole, {"id": account.approval_id, "post": True}),
        Variant("click function, looks", "app.aws_lambda.click", click, small, looks),
        Variant("click function, decides", "app.aws_lambda.click", click, small, decides),
        Variant("FastAPI function, looks", "app.aws_lambda.api", api, small, account.show()),
    ]


def _bundle(target: Path, *parts: Path) -> str:
    target.write_bytes(b"\n".join(part.read_bytes() for part in parts))
    return str(target)


def _cpu_ms(variant: Variant, account: Account) -> float:
    event = account.decide() if variant.name.endswith("function, decides") else variant.event
    code = RUN.format(module=variant.module)
    process = subprocess.Popen(
        [sys.executable, "-S", "-B", "-c", code, json.dumps(variant.path), json.dumps(event)],
        env={**account.environment, "AWS_CA_BUNDLE": variant.bundle, "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{variant.name} failed")
    return (usage.ru_utime + usage.ru_stime) * 1000


if __name__ == "__main__":
    main()
