"""Task tokens are sealed with a key that outlives the keys of the ring."""

from pathlib import Path

import pytest

from app.approvals.keyring import KeyRing
from app.approvals.seal import Sealer, open_sealer
from app.approvals.store.interface import Wraps
from app.approvals.store.sqlite import SqliteStore
from app.errors import StartRefused
from tests.approvals.world import KEY, OLDER_KEY, ring

NEWEST_KEY = "mB6_xN4-cV8zL2qW9eR7tY5uI3oP1aS0"


class MemoryWraps:
    """A `WrapStore` of one process."""

    def __init__(self) -> None:
        self.wraps: Wraps = {}

    async def keep_wraps(self, wraps: Wraps) -> Wraps:
        self.wraps = self.wraps or wraps
        return self.wraps

    async def replace_wraps(self, old: Wraps, new: Wraps) -> bool:
        if self.wraps != old:
            return False
        self.wraps = new
        return True


def ids(keys: KeyRing) -> set[str]:
    """The ids of all keys in the ring."""
    return {key.id for key in keys.keys}


def test_what_was_sealed_can_be_opened() -> None:
    """The token comes out as it went in, and twice sealed looks twice different."""
    sealer = Sealer(bytes(32))

    sealed = sealer.seal("AQB8\u00e9", "approval-1")

    assert sealer.open(sealed, "approval-1") == "AQB8\u00e9"
    assert b"AQB8" not in sealed
    assert sealer.seal("AQB8\u00e9", "approval-1") != sealed


@pytest.mark.parametrize("position", [0, 12, 15, -1])
def test_a_changed_seal_does_not_open(position: int) -> None:
    """One flipped bit anywhere is noticed."""
    sealer = Sealer(bytes(32))
    sealed = bytearray(sealer.seal("AQB8", "approval-1"))
    sealed[position] ^= 1

    with pytest.raises(ValueError, match="cannot be opened"):
        sealer.open(bytes(sealed), "approval-1")


def test_a_seal_belongs_to_its_approval() -> None:
    """Moving a sealed token to another row is noticed."""
    sealer = Sealer(bytes(32))

    with pytest.raises(ValueError, match="cannot be opened"):
        sealer.open(sealer.seal("AQB8", "approval-1"), "approval-2")


async def test_the_data_key_survives_the_rotation_of_all_keys() -> None:
    """Old, then old and new, then new alone: what was sealed stays readable."""
    store = MemoryWraps()
    sealed = (await open_sealer(ring(OLDER_KEY), store)).seal("AQB8", "approval-1")

    for keys in (ring(KEY, OLDER_KEY), ring(KEY), ring(NEWEST_KEY, KEY), ring(NEWEST_KEY)):
        sealer = await open_sealer(keys, store)
        assert sealer.open(sealed, "approval-1") == "AQB8"
        assert store.wraps.keys() == ids(keys)


async def test_other_keys_are_refused_and_change_nothing() -> None:
    """A wrong secret stops the start; putting the right one back is enough."""
    store = MemoryWraps()
    sealed = (await open_sealer(ring(OLDER_KEY), store)).seal("AQB8", "approval-1")

    with pytest.raises(StartRefused, match="Put the previous key back"):
        await open_sealer(ring(KEY), store)

    assert (await open_sealer(ring(OLDER_KEY), store)).open(sealed, "approval-1") == "AQB8"


async def test_a_damaged_wrap_is_not_a_key() -> None:
    """A wrap that was changed in the store does not open; another key's wrap still does."""
    store = MemoryWraps()
    keys = ring(KEY, OLDER_KEY)
    sealed = (await open_sealer(keys, store)).seal("AQB8", "approval-1")
    store.wraps = {**store.wraps, keys.newest.id: bytes(60)}

    assert (await open_sealer(keys, store)).open(sealed, "approval-1") == "AQB8"


async def test_two_processes_that_start_together_share_the_key(tmp_path: Path) -> None:
    """Whoever comes first makes the key, the other one finds it."""
    stores = [SqliteStore.open(tmp_path / "a.sqlite3") for _ in range(2)]

    first = await open_sealer(ring(KEY, OLDER_KEY), stores[0])
    second = await open_sealer(ring(KEY), stores[1])

    assert second.open(first.seal("AQB8", "approval-1"), "approval-1") == "AQB8"
    for store in stores:
        await store.close()
