"""A child for `test_bounded_process.py`: does what it is told, good or bad."""

import os
from typing import Any

from app.bounded_process import answer_lines


def obey(order: Any) -> Any:
    """Echo, run forever, die, eat memory, or say nothing that can be read."""
    match order:
        case "forever":
            while True:
                pass
        case "die":
            os._exit(3)
        case "variables":
            return sorted(os.environ)
        case "eat":
            return len(bytearray(2**30))
    return order


if __name__ == "__main__":
    answer_lines(obey, 0.2)
