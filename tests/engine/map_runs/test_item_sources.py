"""Items in what was read: what a file may hold, and how much of it at once."""

import pytest

from app.engine.failures import StateFailure
from app.engine.language.distribution import Reading
from app.engine.map_runs import item_sources
from app.engine.map_runs.item_sources import given_items


@pytest.mark.parametrize("kind", ["JSONL", "CSV"])
def test_a_line_without_end_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not gathered until there is no memory left."""
    monkeypatch.setattr(item_sources, "MAX_LINE_BYTES", 100_000)
    reading = Reading("getObject", {}, input_type=kind)

    with pytest.raises(StateFailure) as caught:
        given_items(b"1" * 200_000, reading)

    assert (caught.value.error, caught.value.cause) == (
        "States.ItemReaderFailed",
        "A line of the item source has more than 100000 bytes.",
    )
