"""A process that evaluates JSONata expressions which could take all of ours.

The parent writes a line of JSON (text, bindings, seed, seconds) and reads one: ["value", v],
["undefined"] or ["error", message]. Memory is limited, and time by the parent, who kills.
"""

import signal
import sys

import orjson

from app.engine.jsonata_library import QueryError, UndefinedResult, evaluate
from app.strict_json import Json

MEMORY_BYTES = 512 * 2**20
GRACE_SECONDS = 1.0  #: after which it ends by itself: its parent may be gone, and cannot kill


def main() -> None:
    """Answer until the parent is gone."""
    _limit_memory()
    for line in sys.stdin.buffer:
        text, bindings, seed, seconds = orjson.loads(line)
        _end_in(seconds + GRACE_SECONDS)
        answer = _answer(text, bindings, seed, seconds)
        _end_in(0)
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


def _answer(text: str, bindings: dict[str, Json], seed: float, seconds: float) -> Json:
    try:
        value = evaluate(text, bindings, seed, seconds)
        orjson.dumps(value)
        return ["value", value]
    except UndefinedResult:
        return ["undefined"]
    except QueryError as exc:
        return ["error", exc.message]
    except (MemoryError, RecursionError, TypeError) as exc:
        return ["error", f"D1011: {exc}"]


def _end_in(seconds: float) -> None:
    """Have the system end this process, whatever it does then; 0: not at all."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  # is not there on Windows

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    main()
