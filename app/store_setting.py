"""The store of approvals that the settings name."""

from collections.abc import Callable

from app.approvals.store.dynamodb.running import InThreads
from app.approvals.store.dynamodb.store import DynamoStore
from app.approvals.store.interface import ApprovalStore
from app.approvals.store.sqlite import SqliteStore
from app.errors import StartRefused, StoreError
from app.settings import Settings

APPROVALS_FILE = "approvals.sqlite3"


async def open_store(
    settings: Settings, on_failed: Callable[[], None] | None = None
) -> ApprovalStore:
    """The store, opened, made or migrated where needed; it takes writes.

    *on_failed* is told when this process can write the store no more, and should restart.

    Raises:
        StartRefused: it cannot be opened or written.
    """
    if settings.table is None:
        file = SqliteStore.open(settings.data_dir / APPROVALS_FILE)
        if on_failed is not None:
            file.database.on_failed = on_failed
        return file
    store = DynamoStore.open(settings.table, InThreads())
    try:
        await store.probe()
    except StoreError as exc:
        await store.close()
        raise StartRefused(
            f"The DynamoDB table {settings.table} takes no writes. Check its name, AWS_REGION and "
            "this process's permissions; signoff doctor says more."
        ) from exc
    return store


def open_to_read(settings: Settings) -> ApprovalStore:
    """The store that is there, for a check that writes nothing.

    Raises:
        StartRefused: there is none, or it cannot be opened.
    """
    if settings.table is not None:
        return DynamoStore.open(settings.table, InThreads())
    path = settings.data_dir / APPROVALS_FILE
    if not path.exists():
        raise StartRefused(f"There is no store at {path}. Set SIGNOFF_DATA_DIR.")
    return SqliteStore.open(path)
