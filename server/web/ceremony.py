"""Passkeys in a page: where the ceremony takes place, as WebAuthn wants it named."""

from __future__ import annotations

from starlette.requests import Request

from server.base import clock
from server.identity.local import ceremonies
from server.identity.local.ceremonies import Place
from server.web.services import services

SIGN_IN, ENROL = "sign-in", "enrol"


def place_of(request: Request, browser: str, purpose: str) -> Place:
    """This page as a place of ceremonies; `browser` is the secret of its cookie. The guard has checked the host."""
    host = request.headers["host"].lower()
    name = host.partition(":")[0]
    domain = services(request).settings.domain
    # §5.1.2: passkeys are for the domain where the page is below it, so that they serve on all its hosts.
    rp_id = domain if name == domain or name.endswith(f".{domain}") else name
    return Place(rp_id, f"https://{host}", browser, purpose)


def request_options(request: Request, browser: str) -> str:
    """What the browser needs to show a passkey, as JSON."""
    place = place_of(request, browser, SIGN_IN)
    return ceremonies.request_options(place, ceremonies.challenge(services(request).edge, place, clock.now()))
