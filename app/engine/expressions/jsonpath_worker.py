"""A process that searches by JSONPaths which could take all of ours.

The parent (`paths.py`) asks [path, data] and is told ["found", values] or ["error", message].
"""

from app.bounded_process import answer_lines
from app.engine.expressions.jsonpath_library import SearchError, search
from app.strict_json import Json

SECONDS = 1.0  #: for one search


def main() -> None:
    """Answer until the parent is gone."""
    answer_lines(_answer, SECONDS)


def _answer(question: Json) -> Json:
    text, data = question
    try:
        return ["found", search(text, data)]
    except SearchError as exc:
        return ["error", exc.message]
    except (MemoryError, RecursionError) as exc:
        return ["error", str(exc)]


if __name__ == "__main__":
    main()
