"""Which mailbox is open: a person's own ones, and those of others that are shared with them, without a new sign-in."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.base import metrics
from server.base.errors import Reason, Refused
from server.identity import acting, holders
from server.identity.acting import Openable
from server.identity.model import Rights
from server.mailbox.model import Identity
from server.mailbox.trouble import connection
from server.web.renderer import words_of
from server.web.services import Services, services
from server.web.visitor import Visitor, form_of, signed_in

router = APIRouter(prefix="/boites")


@dataclass(frozen=True, slots=True)
class Choice:
    """One mailbox to open. `own`: the person's; else `writes` tells whether they may write as it."""

    owner_id: int
    identity: Identity
    own: bool
    writes: bool


@router.get("")
async def mailboxes(request: Request, fin: str = "", visitor: Visitor = Depends(signed_in)) -> Response:
    """The mailboxes to choose from; `fin`: the one that was open is closed to this person."""
    room = services(request)
    choices = [
        choice
        for one in await acting.openable(room.pool, room.edge, visitor.session)
        if (choice := await _choice(room, one)) is not None
    ]
    words = words_of(request)
    notice = words.say("Vous n’avez plus accès à la boîte qui était ouverte.") if fin else ""
    holder = visitor.session.holder
    missing = await holders.missing_since(room.pool, holder) if holder is not None else None
    warning = ""
    if missing is not None:
        warning = words.say(
            "Le registre national ne vous mentionne plus. Sans correction, vos boîtes se fermeront le %(date)s.",
            date=words.moment(missing + holders.WARNING),
        )
    return room.renderer.page(request, "boites.html", room="boites", choices=choices, notice=notice, warning=warning)


@router.post("")
async def open_another(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """Open one of them in this session."""
    fields = await form_of(request, visitor.token)
    room = services(request)
    wanted = fields.get("boite", "")
    found = [one for one in await acting.openable(room.pool, room.edge, visitor.session) if str(one.owner_id) == wanted]
    if not found:
        raise Refused(Reason.NOT_ALLOWED, "This mailbox is not theirs to open.")
    one = found[0]
    mailbox = await room.store.open(one.owner_id)
    await room.sessions.switch(visitor.token, visitor.session, one.owner_id, one.delegate_id)
    own = await room.store.open(one.delegate_id or one.owner_id)
    network = request.client.host if request.client else ""
    async with connection(room.pool) as acquired:
        actor = (await own.identity()).address
        await room.audit.signed_in(acquired, actor, one.owner_id, "web", visitor.session.how, network)
    metrics.CONNECTIONS.labels("web", mailbox.kind).inc()
    return RedirectResponse("/messages", 303)


async def _choice(room: Services, one: Openable) -> Choice | None:
    """None for a mailbox that was closed at this moment."""
    try:
        identity = await (await room.store.open(one.owner_id)).identity()
    except Refused:
        return None
    return Choice(one.owner_id, identity, one.delegate_id is None, Rights.SEND in one.rights)
