"""Callers of the JSON API by their API keys."""

from starlette.requests import Request

from app.approvals.api_keys import ApiKeys
from app.errors import Unauthorized


class BearerKeys:
    """Lets in whoever sends ``Authorization: Bearer`` and a key that is known."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    def check(self, request: Request) -> str:
        """The id of the API key that the request carries.

        Raises:
            Unauthorized: it carries none, or not one of ours.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized()
        return self._keys.check(key.strip())
