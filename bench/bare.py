"""The yardstick H: a FastAPI route that returns a plain Response, under the product's server."""

import sys

from fastapi import FastAPI
from starlette.responses import Response

from app.server import Site, Stop, run, serve


async def bare() -> Response:
    """The least that a FastAPI route can do."""
    return Response(b"ok", media_type="text/plain")


async def main(port: int) -> int:
    """Serve it until told to stop."""
    app = FastAPI(openapi_url=None)
    app.add_api_route("/", bare)
    await serve([Site(app, "127.0.0.1", port, "the port")], Stop())
    return 0


if __name__ == "__main__":
    sys.exit(run(main(int(sys.argv[1]))))
