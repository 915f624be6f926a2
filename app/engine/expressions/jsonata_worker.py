"""A process that evaluates JSONata expressions which could take all of ours.

The parent (`queries.py`) asks [text, bindings, seed, seconds] and is told ["value", v],
["undefined"] or ["error", message].
"""

import orjson

from app.bounded_process import answer_lines
from app.engine.expressions.jsonata_library import QueryError, UndefinedResult, evaluate
from app.strict_json import Json

SECONDS = 1.0  #: for one expression


def main() -> None:
    """Answer until the parent is gone."""
    answer_lines(_answer, SECONDS)


def _answer(question: Json) -> Json:
    text, bindings, seed, seconds = question
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


if __name__ == "__main__":
    main()
