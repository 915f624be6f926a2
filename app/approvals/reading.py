"""Looking at approvals by their links: what a page needs before anybody decides."""

from typing import Protocol

from app.approvals.links import LinkSigner
from app.approvals.model import Approval, Holder
from app.approvals.protocol import as_of
from app.clock import Clock
from app.errors import UnknownLink


class Readable(Protocol):
    """The part of a store that is read from."""

    async def approval(self, approval_id: str) -> Approval | None:
        """The approval with this id."""


class Reading:
    """Links as holders, holders as approvals, and back."""

    def __init__(self, store: Readable, links: LinkSigner, clock: Clock) -> None:
        self._store = store
        self._links = links
        self._clock = clock

    def holder(self, link: str) -> Holder:
        """Who may do what, says *link* (the last path segment). No store is asked.

        Raises:
            UnknownLink: whatever is wrong with it.
        """
        return self._links.holder(link)

    def link(self, approval: Approval, recipient: int, action: int) -> str:
        """The address at which *recipient* can do *action*."""
        return self._links.url(Holder(approval.id, recipient, action))

    async def find(self, holder: Holder) -> Approval:
        """The approval of a link, as it is now.

        Raises:
            UnknownLink: there is no such approval, recipient or action.
        """
        approval = await self._store.approval(holder.approval_id)
        return as_of(_fitting(approval, holder), self._clock())


def _fitting(approval: Approval | None, holder: Holder) -> Approval:
    if (
        approval is None
        or holder.recipient >= max(1, len(approval.request.recipients))
        or holder.action >= len(approval.request.actions)
    ):
        raise UnknownLink()
    return approval
