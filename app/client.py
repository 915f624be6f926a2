"""The operator's side of the JSON API: what the command line uses."""

from pathlib import Path
from typing import Any

import httpx

from app.errors import SignoffError
from app.strict_json import Json

KEY_FILE = "api-key"


class ServiceRefused(SignoffError):
    """The service refused the request."""


class ServiceUnreachable(SignoffError):
    """The service does not answer."""


class Client:
    """Calls one running Signoff service."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=15
        )

    def get(self, path: str, **query: Any) -> Json:
        """The JSON answer to a GET."""
        return self._call("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: Json = None) -> Json:
        """The JSON answer to a POST."""
        return self._call("POST", path, json=body if body is not None else {})

    def _call(self, method: str, path: str, **rest: Any) -> Json:
        try:
            response = self._http.request(method, path, **rest)
        except httpx.HTTPError as exc:
            raise ServiceUnreachable(
                f"No Signoff service answers at {self.url}. Start one (signoff serve), or set "
                "SIGNOFF_BASE_URL."
            ) from exc
        if not response.is_success:
            raise ServiceRefused(_sentence(response))
        try:
            return response.json()
        except ValueError as exc:
            raise ServiceUnreachable(
                f"What answers at {self.url} is no Signoff service. Set SIGNOFF_BASE_URL."
            ) from exc


def find_api_key(data_dir: Path, given: str | None) -> str:
    """The API key to use: the one given, else the one that the service left in its directory."""
    if given:
        if not (given.isascii() and given.isprintable()):
            raise SignoffError("The API key has characters that no key has. Copy it once more.")
        return given.strip()
    try:
        return (data_dir / KEY_FILE).read_text().strip()
    except OSError as exc:
        raise SignoffError(
            f"No API key: set SIGNOFF_API_KEY, or run this where {data_dir / KEY_FILE} is."
        ) from exc


def _sentence(response: httpx.Response) -> str:
    try:
        body = response.json()
        message, fields = body["message"], body.get("fields", {})
        faults = [f"{name}: {text}" for name, text in fields.items() if text != message]
        # The message names the first faults itself; they are not said twice.
        return "\n  ".join([message, *(fault for fault in faults if fault not in message)])
    except (ValueError, KeyError, AttributeError, TypeError):
        return f"The service answered {response.status_code}."
