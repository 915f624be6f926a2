"""The approval service of the click function: everything in place, one event at a time."""

from app.approvals.keyring import KeyRing
from app.approvals.links import LinkSigner
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.dynamodb.in_place import InPlace
from app.approvals.store.dynamodb.store import DynamoStore
from app.approvals.store.dynamodb.table import Table
from app.aws_lambda.stepfunctions import TARGET, stepfunctions_target


async def approval_service(table: Table, links: LinkSigner, ring: KeyRing) -> ApprovalService:
    """A service over *table* that tells AWS Step Functions.

    Raises:
        StartRefused: none of the keys opens the store's data key.
    """
    store = DynamoStore(table, InPlace())
    return ApprovalService(
        store=store,
        targets={TARGET: stepfunctions_target()},
        links=links,
        sealer=await open_sealer(ring, store),
    )
