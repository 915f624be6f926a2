"""Every minute: owed answers, owed mails, expiry, audit digests; and figures for the alarms.

The rounds of the server's sweeper, for as long as there is more to do and time to do it. What is
cut off by the end of the invocation is due again in a minute: each step is a compare-and-set.
"""

import asyncio
import sys
from contextlib import suppress
from time import time
from typing import Any

from app.approvals.store.interface import Backlog
from app.aws_lambda.parts import SPARE_S, Invocations, Parts, left_s, send_mails
from app.clock import utc_now
from app.strict_json import Json, dumps

#: a round that cannot end within this many seconds is not begun
ROUND_S = 10.0

_invocations = Invocations()


def handler(_event: Any, context: Any) -> Json:
    """Do what is due; what is still owed afterwards."""

    async def sweep(parts: Parts) -> Json:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left_s(context) - SPARE_S, 0)):
                    await _rounds(parts, context)
        finally:
            # Of a sweep that fails (no way out for mails) the alarms want to know them too.
            told = figures(await parts.store.backlog(), context.function_name)
            sys.stdout.write(dumps(told).decode() + "\n")
        return {name: told[name] for name in METRICS}

    return _invocations.run(sweep, context)


async def _rounds(parts: Parts, context: Any) -> None:
    while True:
        await parts.sweeper.sweep()
        await parts.service.delivery.idle()
        await send_mails(parts, max(left_s(context) - SPARE_S, 0))
        if not parts.sweeper.behind or left_s(context) < ROUND_S:
            return


METRICS = {
    "OwedAnswers": "Count",
    "OldestOwedSeconds": "Seconds",
    "NeedsOperator": "Count",
    "QueuedMails": "Count",
}


def figures(backlog: Backlog, function: str) -> dict[str, Json]:
    """A log line that CloudWatch reads as metrics (embedded metric format)."""
    oldest = backlog.oldest_answer_at
    metrics = [{"Name": name, "Unit": unit} for name, unit in METRICS.items()]
    return {
        "_aws": {
            "Timestamp": int(time() * 1000),
            "CloudWatchMetrics": [
                {"Namespace": "Signoff", "Dimensions": [["Function"]], "Metrics": metrics}
            ],
        },
        "Function": function,
        "OwedAnswers": backlog.answers,
        "OldestOwedSeconds": round((utc_now() - oldest).total_seconds()) if oldest else 0,
        "NeedsOperator": backlog.needs_operator,
        "QueuedMails": backlog.mails,
    }
