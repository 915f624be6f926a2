"""moto's DynamoDB (and SES) behind a socket of this process."""

import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class OneAtATime:
    """moto's application, taken by one request at a time: its transactions know no threads."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        with self._lock:
            return list(self._app(environ, start_response))


@cache
def moto_url() -> str:
    """The address of moto, started the first time; it ends with this process."""
    server = make_server("127.0.0.1", 0, OneAtATime(), threaded=True)
    threading.Thread(target=server.serve_forever, name="moto", daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
