"""What the DynamoDB store keeps in memory: bounded, and right though many threads use it."""

from concurrent.futures import ThreadPoolExecutor

from app.approvals.store.dynamodb.rows import SEEN_ROWS, SeenRows
from app.approvals.store.parsed_requests import KEPT_BYTES, ParsedRequests


def test_the_last_rows_are_kept_and_no_more() -> None:
    """The one that was seen first goes first."""
    seen = SeenRows()
    for number in [*range(SEEN_ROWS), 0, SEEN_ROWS]:
        seen.keep({"pk": f"A#{number}", "number": number})

    assert seen.get("0") == {"pk": "A#0", "number": 0}
    assert seen.get("1") is None
    assert seen.get(str(SEEN_ROWS)) is not None


def test_many_threads_may_keep_at_once() -> None:
    """No thread stumbles over another's changes."""
    seen, requests = SeenRows(), ParsedRequests[int, int]()

    def keep(start: int) -> None:
        for number in range(start, start + 3_000):
            seen.keep({"pk": f"A#{number}"})
            requests.keep(number, number, 16_000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(keep, range(0, 24_000, 3_000)))

    kept = [number for number in range(24_000) if requests.get(number) is not None]
    assert len(kept) == KEPT_BYTES // 16_000
    assert sum(seen.get(str(number)) is not None for number in range(24_000)) == SEEN_ROWS
