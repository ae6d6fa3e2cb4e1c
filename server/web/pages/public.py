"""What anybody may ask without signing in: health, autoconfiguration, choice of language."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from server.web import autoconfig
from server.web.language import COOKIE, Language
from server.web.services import services

router = APIRouter()

_LANGUAGE_SECONDS = 365 * 24 * 3600


@router.get("/health")
async def health() -> Response:
    """Whether this worker answers; readiness is asked on the worker's own socket."""
    return JSONResponse({"status": "ok"})


@router.get(autoconfig.PATHS[0])
@router.get(autoconfig.PATHS[1])
async def autoconfiguration(request: Request) -> Response:
    """How a mail program is set up for this domain; `emailaddress` in the query changes nothing."""
    document = autoconfig.client_config(services(request).settings, autoconfig.ports_in_use())
    return Response(document, media_type="text/xml")


@router.get("/langue/{code}")
async def language(request: Request, code: str) -> Response:
    """Keep the visitor's language and go back to the page they came from."""
    if code not in set(Language):
        raise HTTPException(404)
    response = RedirectResponse(_came_from(request), 303)
    response.set_cookie(COOKIE, code, max_age=_LANGUAGE_SECONDS, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _came_from(request: Request) -> str:
    """The path of the page the link stood on; the front page when another site's page says it was there."""
    origin = urlsplit(request.headers.get("referer", ""))
    if (origin.scheme, origin.netloc) != ("https", request.headers["host"]) or not origin.path.startswith("/"):
        return "/"
    path = "/" + origin.path.lstrip("/\\")  # "//host" would lead elsewhere
    return f"{path}?{origin.query}" if origin.query else path


@router.get("/favicon.ico")
async def icon(request: Request) -> Response:
    """For browsers that ask without looking at the page."""
    return RedirectResponse("/static/caducee.svg", 308)
