"""The routes of the service as one FastAPI application, whatever server it runs in."""

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute

from app.errors import SignoffError
from app.web.errors import (
    on_client_gone,
    on_http_exception,
    on_signoff_error,
    on_unexpected,
)


def application(routers: Iterable[APIRouter], routes: Iterable[BaseRoute] = ()) -> FastAPI:
    """An application with *routers* and *routes*, and errors in the JSON API's shape."""
    # FastAPI's own pages would tell strangers what there is to try.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in routers:
        app.include_router(router)
    app.router.routes.extend(routes)
    app.add_exception_handler(SignoffError, on_signoff_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(ClientDisconnect, on_client_gone)
    app.add_exception_handler(Exception, on_unexpected)
    return app
