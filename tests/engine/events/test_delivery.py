"""From the log to a destination: at least once, with backoff, bounded, and given up in the end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.engine import loops
from app.engine.events import log
from app.engine.events.log import EventBacklog
from app.errors import StoreUnavailable
from tests.engine.events.recording import Recorder, Shelf


@pytest.fixture
async def shelf() -> Shelf:
    """A destination."""
    return Shelf()


@pytest.fixture
async def recorder(tmp_path: Path, shelf: Shelf) -> AsyncIterator[Recorder]:
    """A log whose destination it is."""
    recorder = await Recorder.over(tmp_path, shelf)
    yield recorder
    await recorder.database.close()


async def test_what_is_taken_is_owed_no_more(recorder: Recorder, shelf: Shelf) -> None:
    """Events go out in their order, a batch at a time, each once."""
    await recorder.begin(5)

    delivered = [await recorder.delivery.deliver_due() for _ in range(3)]

    assert delivered == [3, 2, 0]
    assert shelf.given == [1, 2, 3, 4, 5]
    assert recorder.changes.backlog() == {}
    assert recorder.meter.counts == {"events_delivered": 5}


async def test_only_what_was_refused_is_given_again(recorder: Recorder, shelf: Shelf) -> None:
    """Each event has attempts of its own, later each time: 2, 4, 8 seconds."""
    shelf.refuses = {2}
    await recorder.begin(3)
    tried = []
    for second in range(16):
        if await recorder.delivery.deliver_due():
            tried.append(second)
        recorder.clock.now += recorder.second

    assert shelf.given == [1, 2, 3, 2, 2, 2]
    assert tried == [0, 2, 6, 14]


async def test_what_stays_refused_is_given_up_visibly(recorder: Recorder, shelf: Shelf) -> None:
    """After the time that is set it is not tried again, but counted and kept."""
    shelf.refuses = {1}
    await recorder.begin()
    await recorder.delivery.deliver_due()
    recorder.clock.now += 600 * recorder.second

    last = await recorder.delivery.deliver_due()
    recorder.clock.now += 600 * recorder.second
    after = await recorder.delivery.deliver_due()

    assert (last, after) == (1, 0)
    assert recorder.changes.backlog() == {shelf.number: EventBacklog(0, 1, None)}
    assert recorder.meter.counts == {"events_refused": 1, "events_given_up": 1}


async def test_what_waits_goes_out_when_the_destination_is_back(
    recorder: Recorder, shelf: Shelf
) -> None:
    """The first event that is taken again brings the others forward."""
    shelf.refuses, shelf.batch = {1, 2}, 2
    await recorder.begin(2)
    for _ in range(3):
        await recorder.delivery.deliver_due()
        recorder.clock.now += 5 * recorder.second
    shelf.refuses, shelf.given = set(), []
    await recorder.begin()

    await recorder.delivery.deliver_due()
    await recorder.delivery.deliver_due()

    assert shelf.given == [3, 1, 2]
    assert recorder.owed == 0


async def test_a_fault_in_a_destination_loses_nothing(recorder: Recorder, shelf: Shelf) -> None:
    """Events that met a bug of ours are tried again like others."""
    shelf.given = None  # type: ignore[assignment]
    await recorder.begin()
    await recorder.delivery.deliver_due()
    shelf.given = []
    recorder.clock.now += 2 * recorder.second

    await recorder.delivery.deliver_due()

    assert shelf.given == [1]


async def test_what_is_owed_survives_a_restart(recorder: Recorder, tmp_path: Path) -> None:
    """Another process over the same file delivers what the first one recorded."""
    await recorder.begin(2)
    await recorder.database.close()
    again = Shelf()
    second = await Recorder.over(tmp_path, again)

    await second.delivery.deliver_due()
    await second.database.close()

    assert again.given == [1, 2]


async def test_the_delivery_outlives_a_store_that_cannot_be_read(
    recorder: Recorder, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again after a pause, whatever it was doing."""
    monkeypatch.setattr(loops, "PAUSE_S", 0.01)  # a second is for people
    next_due_ms, asked = recorder.changes.next_due_ms, asyncio.Event()

    def unreadable(destination: int) -> int | None:
        if asked.is_set():
            return next_due_ms(destination)
        asked.set()
        raise StoreUnavailable()

    monkeypatch.setattr(recorder.changes, "next_due_ms", unreadable)
    recorder.delivery.start()
    await asked.wait()
    await recorder.begin()
    while not shelf.given:
        await asyncio.sleep(0)
    await recorder.delivery.stop()

    assert shelf.given == [1]


async def test_the_owed_are_bounded(
    recorder: Recorder, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the oldest are given up, and of those the oldest forgotten."""
    monkeypatch.setattr(log, "MAX_OWED", 40)
    monkeypatch.setattr(log, "MAX_GIVEN_UP", 16)

    await recorder.begin(128)

    backlog = recorder.changes.backlog()[shelf.number]
    assert (backlog.owed, backlog.given_up) == (40, 16)


async def test_the_log_is_bounded(
    recorder: Recorder, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is delivered and older than the newest ones is removed; what is owed is not."""
    monkeypatch.setattr(log, "KEPT", 100)
    shelf.refuses, shelf.batch = {1}, 1_000
    for _ in range(4):
        await recorder.begin(64)
        await recorder.delivery.deliver_due()

    shelf.refuses = set()
    held = [number for number, _ in recorder.changes.page(0, None, 1_000)]
    recorder.clock.now += 10 * recorder.second
    await recorder.delivery.deliver_due()
    kept = [number for number, _ in recorder.changes.page(0, None, 1_000)]

    assert held == [1, *range(157, 257)]
    assert kept == [*range(157, 257)]


async def test_without_anybody_nothing_is_written(tmp_path: Path) -> None:
    """No destination and no listener: no rows."""
    recorder = await Recorder.over(tmp_path, None)

    await recorder.begin(3)

    assert recorder.changes.page(-1, None, 10) == []
    await recorder.database.close()


async def test_a_listener_has_changes_recorded_for_a_while(tmp_path: Path) -> None:
    """While it is there and a quarter of an hour longer, restarts included."""
    recorder = await Recorder.over(tmp_path, None)
    await recorder.changes.listen()
    await recorder.begin()
    await recorder.database.close()
    second = await Recorder.over(tmp_path, None)
    await second.begin()
    second.clock.now += 900 * recorder.second
    await second.begin()

    assert second.changes.newest() == 2
    assert second.changes.wanted is False
    await second.database.close()


async def test_a_gap_in_the_recording_is_known(tmp_path: Path) -> None:
    """Whoever comes back after recording had ended is not told that nothing happened."""
    recorder = await Recorder.over(tmp_path, None)
    await recorder.changes.listen()
    await recorder.begin(2)
    before = recorder.changes.complete_after()
    recorder.clock.now += 900 * recorder.second
    await recorder.begin(1)
    await recorder.changes.listen()

    assert (before, recorder.changes.complete_after()) == (0, 3)
    await recorder.database.close()


async def test_destinations_that_were_taken_away_leave_a_gap(tmp_path: Path) -> None:
    """Recording for destinations never ends; without them it does."""
    first = await Recorder.over(tmp_path, Shelf())
    await first.begin()
    await first.database.close()
    second = await Recorder.over(tmp_path, None)
    await second.begin()
    await second.changes.listen()

    assert [number for number, _ in second.changes.page(0, None, 10)] == [1]
    assert second.changes.complete_after() == 2
    await second.database.close()
