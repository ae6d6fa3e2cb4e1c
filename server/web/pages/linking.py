"""A patient binds their account at an identity provider of patients to the own mailbox, and signs in there too.

It begins with a form on the account's page, a moment after a proof, and what comes back counts for that session alone:
a link of somebody else's, or an answer that their browser is made to open, binds nobody's account to a mailbox.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.base import clock
from server.base.limits import RECENT_SECONDS
from server.identity import holders
from server.identity.holders import Binding
from server.identity.local import alerts
from server.identity.local.alerts import Happened
from server.identity.local.model import Alert
from server.identity.local.seal import opened, seal
from server.mailbox.trouble import connection
from server.web.pages.account_proofs import own_account
from server.web.services import services
from server.web.visitor import NotSignedIn, NotTheirs, Visitor, form_of, signed_in

router = APIRouter(prefix="/compte/fournisseurs")

_COOKIE = "__Host-liaison"
_LABEL = "link"


@router.post("/{provider}")
async def begin(request: Request, provider: str, visitor: Visitor = Depends(own_account)) -> Response:
    """The page whose link leads to the provider: a form would not (form-action)."""
    await form_of(request, visitor.token)
    room = services(request)
    chosen = room.settings.identity.providers.get(provider)
    if chosen is None or chosen.kind != "patient":
        raise HTTPException(404)
    until = clock.now() + timedelta(seconds=RECENT_SECONDS)
    document = {"provider": provider, "until": until.timestamp()}
    sealed = seal(room.edge, _LABEL, visitor.session.person_id, document, visitor.token.encode())
    response = room.renderer.page(request, "liaison.html", room="compte", name=provider, label=chosen.label)
    # Lax: the provider's redirect, which comes from another site, must bring it.
    response.set_cookie(
        _COOKIE,
        base64.urlsafe_b64encode(sealed).decode(),
        max_age=RECENT_SECONDS,
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return response


async def bind_if_asked(request: Request, provider: str, person: str) -> None:
    """Bind whom the provider has just named (`holders`) to the visitor who asked for it in this session, if one did.

    Who holds a mailbox by this account already keeps that one.
    """
    cookie = request.cookies.get(_COOKIE, "")
    if not cookie:
        return
    try:
        visitor = await signed_in(request)
        sealed = base64.urlsafe_b64decode(cookie)
    except (NotSignedIn, NotTheirs, binascii.Error, ValueError):
        return
    room, owner_id, now = services(request), visitor.session.person_id, clock.now()
    document = opened(room.edge, _LABEL, owner_id, sealed, visitor.token.encode())
    if document is None or document["provider"] != provider or document["until"] <= now.timestamp():
        return
    if (await holders.held(room.pool, room.edge, person)).owner_ids:
        return
    label = room.settings.identity.providers[provider].label
    async with connection(room.pool) as acquired, acquired.transaction():
        binding = Binding(owner_id, visitor.identity.address, person)
        await holders.bind(acquired, room.edge, [binding], visitor.principal.actor)
        await alerts.add(acquired, room.edge, owner_id, Happened(Alert.PROOF, now, label, ""))
