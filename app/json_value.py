"""What JSON holds. Apart from `strict_json.py`, for those who pass it on and read or write none."""

from typing import Any, TypeAlias

#: dict, list, str, int, float, bool, None. Checked at the borders, so no recursive type.
Json: TypeAlias = Any
