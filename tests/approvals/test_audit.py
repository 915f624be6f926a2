"""Whatever is changed afterwards is found, and named."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.approvals.audit import GENESIS, AuditFault, Chain, check_chain, entry_hash
from app.approvals.audit_check import AuditReport, check_audit
from app.approvals.keyring import KeyRing
from app.approvals.store.interface import ApprovalStore
from app.approvals.store.sqlite import SqliteStore
from app.clock import from_ms
from tests.approvals.world import KEY, OLDER_KEY, World, open_world, ring


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """The file of a closed store: three approvals, all signed but the last one's entries."""
    world = await open_world(tmp_path / "approvals.sqlite3")
    await world.decide(await world.mint("token-1"), comment="Fine.")
    await world.decide(await world.mint("token-2"), "reject")
    await world.store.sign_entries(world.ring, world.clock(), 4)
    await world.store.sign_entries(world.ring, world.clock(), 4)
    await world.mint("token-3", expires_in=60)
    world.clock.advance(seconds=60)
    await world.settle()
    await world.close()
    return tmp_path / "approvals.sqlite3"


@contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """The database in the hands of somebody who may write everything."""
    connection = sqlite3.connect(path, isolation_level=None)
    for trigger in ("audit_unchanged", "audit_kept", "approvals_final", "approvals_decided"):
        connection.execute(f"DROP TRIGGER {trigger}")
    yield connection
    connection.close()


async def report(path: Path, keys: KeyRing | None = None) -> AuditReport:
    """What a check of the file finds."""
    store = SqliteStore.open(path)
    found = await check_audit(store, keys or ring())
    await store.close()
    return found


def names(connection: sqlite3.Connection, number: int) -> str:
    """The id of the approval that was minted as *number*."""
    row = connection.execute("SELECT id FROM approvals WHERE n = ?", (number,)).fetchone()
    return str(row[0])


async def test_an_untouched_audit_holds(path: Path) -> None:
    """Nothing is found where nothing was done."""
    found = await report(path)

    assert found == AuditReport(3, 8, 2, 6, None, ())
    assert found.holds


class Torn:
    """A store that reads an approval's row before a move, and its entries after it."""

    def __init__(self, store: ApprovalStore, torn: Chain) -> None:
        self._store = store
        self._torn = torn

    async def chains(self) -> AsyncIterator[Chain]:
        """The one approval there is."""
        yield self._torn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def torn_chain(world: World) -> Chain:
    """An audit whose row was read before a decision, and whose entries after it."""
    approval = await world.mint()
    before = await world.store.chain(approval.id)
    await world.decide(approval)
    after = await world.store.chain(approval.id)
    assert before is not None and after is not None
    torn = replace(before, entries=after.entries)
    assert check_chain(torn) is not None
    return torn


async def test_what_moves_on_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """A check beside a running service does not cry wolf."""
    world = await open_world(tmp_path / "approvals.sqlite3")
    torn = await torn_chain(world)

    found = await check_audit(Torn(world.store, torn), world.ring)
    await world.close()

    assert found.holds


async def test_an_audit_that_is_shown_is_read_again_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for one approval's audit just then is not told that it does not hold."""
    world = await open_world(tmp_path / "approvals.sqlite3")
    torn = await torn_chain(world)
    reads, read = [torn], world.store.chain

    async def torn_first(approval_id: str) -> Chain | None:
        return reads.pop() if reads else await read(approval_id)

    monkeypatch.setattr(world.store, "chain", torn_first)
    shown = await world.service.audit(torn.approval_id)
    await world.close()

    assert shown.verified


@pytest.mark.parametrize(
    ("change", "seq"),
    [
        ("UPDATE audit SET at = at + 1 WHERE approval = 1 AND seq = 2", 2),
        ("UPDATE audit SET event = 'REVOKED' WHERE approval = 1 AND seq = 2", 2),
        ("UPDATE audit SET event = 'NONSENSE' WHERE approval = 1 AND seq = 2", 2),
        ("UPDATE audit SET details = x'7b7d' WHERE approval = 1 AND seq = 2", 2),
        ("UPDATE audit SET details = x'ff' WHERE approval = 1 AND seq = 2", 2),
        ("UPDATE audit SET hash = zeroblob(32) WHERE approval = 1 AND seq = 1", 1),
        ("DELETE FROM audit WHERE approval = 1 AND seq = 1", 1),
        ("DELETE FROM audit WHERE approval = 1 AND seq = 2", 2),
        ("UPDATE audit SET seq = CASE seq WHEN 1 THEN -2 ELSE -1 END WHERE approval = 1 "
         "AND seq < 3; UPDATE audit SET seq = -seq WHERE seq < 0", 1),
    ],
)  # fmt: skip
async def test_a_changed_entry_is_named(path: Path, change: str, seq: int) -> None:
    """Edited, removed, swapped: the first entry that does not hold is found."""
    with tampering(path) as connection:
        connection.executescript(change)
        approval_id = names(connection, 1)

    found = (await report(path)).fault

    assert found is not None
    assert (found.approval_id, found.seq) == (approval_id, seq)


async def test_a_cut_off_end_is_noticed(path: Path) -> None:
    """The approval's own row knows how long its audit is."""
    with tampering(path) as connection:
        connection.execute("DELETE FROM audit WHERE approval = 1 AND seq = 3")
        approval_id = names(connection, 1)

    assert (await report(path)).fault == AuditFault(
        "the end of the audit is missing from entry 3 on", approval_id
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("UPDATE approvals SET state = 'TOO_LATE' WHERE n = 1", "the record says TOO_LATE"),
        ("UPDATE approvals SET output = '{}' WHERE n = 1", "the answer to the workflow"),
        ("UPDATE requests SET document = x'7b7d' WHERE n = 1", "the request is not"),
    ],
)
async def test_a_record_that_contradicts_its_audit_is_noticed(
    path: Path, change: str, sentence: str
) -> None:
    """Audit and record tell the same, or one of them was changed."""
    with tampering(path) as connection:
        connection.execute(change)
        approval_id = names(connection, 1)

    found = (await report(path)).fault

    assert found is not None
    assert found.approval_id == approval_id
    assert found.sentence.startswith(sentence)


async def test_an_approval_without_any_audit_is_noticed(path: Path) -> None:
    """Even when its own row pretends that there never was one."""
    with tampering(path) as connection:
        connection.execute("DELETE FROM audit WHERE approval = 1")
        connection.execute("UPDATE approvals SET audit_seq = 0, audit_head = zeroblob(32)")
        approval_id = names(connection, 1)

    assert (await report(path)).fault == AuditFault("there is no entry", approval_id, 1)


async def test_a_removed_approval_is_noticed(path: Path) -> None:
    """An approval that went with all its entries is missing in the digest."""
    with tampering(path) as connection:
        for table in ("audit", "votes", "mails"):
            connection.execute(f"DELETE FROM {table} WHERE approval = 2")
        connection.execute("DELETE FROM requests WHERE n = 2")
        connection.execute("DELETE FROM approvals WHERE n = 2")

    assert (await report(path)).fault == AuditFault("entry number 4 was removed", number=4)


async def test_entries_whose_approval_was_removed_are_noticed(path: Path) -> None:
    """Entries do not lie around without their approval."""
    with tampering(path) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM requests WHERE n = 2")
        connection.execute("DELETE FROM approvals WHERE n = 2")

    found = (await report(path)).fault

    assert found is not None
    assert (found.number, found.seq) == (4, 1)


async def test_recomputed_hashes_do_not_pass_the_digest(path: Path) -> None:
    """Who recomputes a whole chain has not the key to sign it."""
    with tampering(path) as connection:
        approval_id, head = names(connection, 1), GENESIS
        rows = connection.execute("SELECT n, seq, at, event, details FROM audit WHERE approval = 1")
        for n, seq, at, event, details in rows.fetchall():
            lie = details.replace(b"marc@", b"lena@")
            head = entry_hash(head, approval_id, seq, from_ms(at), event, lie)
            connection.execute("UPDATE audit SET details = ?, hash = ? WHERE n = ?", (lie, head, n))
        connection.execute("UPDATE approvals SET audit_head = ? WHERE n = 1", (head,))

    assert (await report(path)).fault == AuditFault(
        "entries 1 to 4 are not those that digest 1 was signed over", number=1
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("UPDATE audit_digests SET root = zeroblob(32) WHERE number = 1", "entries 1 to 4 are not"),
        ("UPDATE audit_digests SET signature = zeroblob(32) WHERE number = 2", "the signature of"),
        ("UPDATE audit_digests SET signature = zeroblob(32) WHERE number = 1", "a digest before"),
        ("DELETE FROM audit_digests WHERE number = 1", "a digest before digest 2"),
        ("UPDATE audit_digests SET at = at + 1 WHERE number = 2", "the signature of digest 2"),
        ("UPDATE audit_digests SET last = 5 WHERE number = 2", "entries 5 to 5 are not"),
    ],
)
async def test_a_changed_digest_is_noticed(path: Path, change: str, sentence: str) -> None:
    """Digests are signed and chained themselves."""
    with tampering(path) as connection:
        connection.execute(change)

    found = (await report(path)).fault

    assert found is not None
    assert found.sentence.startswith(sentence)


async def test_digests_outlive_the_keys_that_signed_them(path: Path) -> None:
    """A newer digest vouches for those of removed keys; until there is one, that is noted."""
    unknown = await report(path, ring(OLDER_KEY))
    world = await open_world(path, keys=ring(OLDER_KEY, KEY))
    await world.store.sign_entries(world.ring, world.clock(), 10)
    await world.close()
    vouched = await report(path, ring(OLDER_KEY))

    assert unknown.holds
    assert unknown.notes == (
        "the last 2 digests were signed with a key that is not in the key ring",
    )
    assert vouched == AuditReport(3, 8, 3, 8, None, ())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET at = 0 WHERE n = 1",
        "DELETE FROM audit WHERE n = 1",
        "UPDATE approvals SET state = 'PENDING' WHERE n = 1",
        "UPDATE approvals SET decided_by = 1 WHERE n = 1",
    ],
)
async def test_the_database_itself_refuses_to_rewrite_the_past(path: Path, change: str) -> None:
    """Also a slip of an operator's hand does not change what was decided."""
    connection = sqlite3.connect(path)

    with pytest.raises(sqlite3.IntegrityError, match=r"never changes|only ever appended"):
        connection.execute(change)

    connection.close()
