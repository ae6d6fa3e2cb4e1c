"""What the holder of a mailbox manages: who and what signs in to it, and from where.

What gives somebody more (an app password, a delegation) asks for a proof of a moment ago; what takes away asks for
none, so that a lost telephone is shut out at once. Each act is in the mailbox's trail, in the words of who did it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from server.base import clock
from server.base.errors import CaduceeError, ProtocolViolation, Reason, Refused
from server.base.limits import ADDRESS, APP_PASSWORDS_PER_OWNER
from server.identity import certificates, delegations
from server.identity.delegations import LONGEST_LOAN, PEOPLE, SHARED, Delegation
from server.identity.local import devices, passkeys, standing
from server.identity.local.model import LOCAL_KINDS
from server.identity.model import OWN, Rights
from server.mail.addresses import normalise
from server.mailbox.model import Identity
from server.mailbox.routes import routes
from server.mailbox.trouble import connection
from server.web.enrol import label_of
from server.web.renderer import words_of
from server.web.services import Services, services
from server.web.visitor import Visitor, form_of, recently, recently_proven, signed_in
from server.web.welcome import device_of

router = APIRouter(prefix="/compte")

_DAY = timedelta(days=1)
_NEW = timedelta(days=7)  # so long a browser is shown as new
_RIGHTS = {"lire": Rights.READ, "ecrire": Rights.SEND, "gerer": Rights.MANAGE | Rights.READ}


@dataclass(frozen=True, slots=True)
class Lent:
    """A delegation with whom it is to; `until` the last day, None without an end; `over`: that has passed."""

    delegate: Identity
    rights: Rights
    until: datetime | None
    over: bool


@router.get("")
async def account(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """All of it on one page."""
    return await account_page(request, visitor)


@router.post("/mots-de-passe")
async def make_app_password(request: Request, visitor: Visitor = Depends(recently_proven)) -> Response:
    """An app password, shown once: this is its answer."""
    fields = await form_of(request, visitor.token)
    _whole(visitor)
    room, owner_id = services(request), visitor.mailbox.owner_id
    label = label_of(fields.get("nom", "")) or words_of(request).say("Logiciel de messagerie")
    if len(await room.accounts.app_passwords(owner_id)) >= APP_PASSWORDS_PER_OWNER:
        raise Refused(Reason.LIMIT_REACHED, "There are too many app passwords.")
    secret = await room.accounts.new_app_password(owner_id, label, visitor.principal.actor)
    return room.renderer.page(
        request,
        "mot_de_passe_application.html",
        room="compte",
        secret=secret,
        label=label,
        address=visitor.identity.address,
    )


@router.post("/mots-de-passe/{number}/fin")
async def end_app_password(request: Request, number: int, visitor: Visitor = Depends(signed_in)) -> Response:
    """Nobody signs in with it any more."""
    await form_of(request, visitor.token)
    _whole(visitor)
    room = services(request)
    await room.accounts.revoke_app_password(visitor.mailbox.owner_id, number, visitor.principal.actor)
    return _back("applications")


@router.post("/appareils/{number}/fin")
async def forget_device(request: Request, number: int, visitor: Visitor = Depends(signed_in)) -> Response:
    """Know a browser no more: its next sign-in is told like that of a new one."""
    await form_of(request, visitor.token)
    room = services(request)
    async with connection(room.pool) as acquired:
        await devices.forget(acquired, room.edge, visitor.session.person_id, number, visitor.principal.actor)
    return _back("appareils")


@router.post("/delegations")
async def grant(request: Request, visitor: Visitor = Depends(recently_proven)) -> Response:
    """Let a colleague act for this mailbox."""
    fields = await form_of(request, visitor.token)
    room = services(request)
    address = normalise(fields.get("adresse", ""))
    try:
        given = _asked(visitor, fields)
        async with connection(room.pool) as acquired:
            route = (await routes(acquired, room.edge, [address])).get(address)
            if route is None:
                raise Refused(Reason.UNKNOWN_RECIPIENT, "There is no such mailbox.")
            person = route.owner_id, address
            part = Delegation(route.owner_id, given.rights, given.until)
            await delegations.grant(
                acquired, room.edge, visitor.mailbox.owner_id, person, part, visitor.principal.actor
            )
    except (Refused, ProtocolViolation) as error:
        return await account_page(request, visitor, _why_not(request, visitor, error), fields.get("adresse", ""))
    return _back("delegations")


@router.post("/delegations/fin")
async def revoke(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """End a colleague's part at once."""
    fields = await form_of(request, visitor.token)
    _manages(visitor)
    room, address = services(request), normalise(fields.get("adresse", ""))
    async with connection(room.pool) as acquired:
        route = (await routes(acquired, room.edge, [address])).get(address)
        if route is not None:
            person = route.owner_id, address
            await delegations.revoke(acquired, room.edge, visitor.mailbox.owner_id, person, visitor.principal.actor)
    return _back("delegations")


async def account_page(request: Request, visitor: Visitor, error: str = "", address: str = "") -> Response:
    """The page, with what went wrong in a form of it."""
    room, now = services(request), clock.now()
    owner_id, person, kind = visitor.mailbox.owner_id, visitor.session.person_id, visitor.mailbox.kind
    local = kind in LOCAL_KINDS and visitor.delegate is None
    whole, manages = visitor.principal.rights == OWN, Rights.MANAGE in visitor.principal.rights
    shared = manages and kind in (*SHARED, *PEOPLE)
    async with connection(room.pool) as acquired:
        kept = await standing.of_mailbox(acquired, person)
        keys = await passkeys.of_mailbox(acquired, room.edge, person) if local else []
        known = await devices.of_mailbox(acquired, room.edge, person, now, device_of(request))
        lent = await delegations.of_mailbox(acquired, room.edge, owner_id) if shared else []
        bound = await certificates.of_mailbox(acquired, owner_id) if manages else []
    return room.renderer.page(
        request,
        "compte.html",
        status=422 if error else 200,
        room="compte",
        error=error,
        address=address[:ADDRESS],
        recent=recently(visitor),
        local=local,
        standing=kept,
        passkeys=keys,
        devices=known,
        sessions=await room.sessions.of(person),
        whole=whole,
        app_passwords=await room.accounts.app_passwords(owner_id) if whole else [],
        shared=shared,
        ends=kind in PEOPLE,
        first_day=now.date(),
        last_day=(now + LONGEST_LOAN - _DAY).date(),
        lent=[one for part in lent if (one := await _lent(room, part, now)) is not None],
        certificates=bound,
        providers={name: one for name, one in room.settings.identity.providers.items() if one.kind == "patient"},
        rights=Rights,
        now=now,
        new_since=now - _NEW,
    )


async def _lent(room: Services, part: Delegation, now: datetime) -> Lent | None:
    """None for a delegate whose mailbox is closed: it gives nothing."""
    try:
        delegate = await (await room.store.open(part.delegate_id)).identity()
    except Refused:
        return None
    over = part.until is not None and part.until <= now
    return Lent(delegate, part.rights, part.until - _DAY if part.until else None, over)


def _asked(visitor: Visitor, fields: Mapping[str, str]) -> Delegation:
    """What a form asks to give: nobody gives more than they have. Raises Refused, ProtocolViolation."""
    _manages(visitor)
    rights = Rights(0)
    for name, right in _RIGHTS.items():
        rights |= right if name in fields else Rights(0)
    if not rights or rights & ~visitor.principal.rights:
        raise Refused(Reason.NOT_ALLOWED, "These rights are not theirs to give.")
    until = fields.get("jusquau", "").strip()
    if not until:
        return Delegation(0, rights, None)
    for form in ("%Y-%m-%d", "%d/%m/%Y"):  # of a date field, and of who types into a browser without one
        try:
            return Delegation(0, rights, datetime.strptime(until, form).replace(tzinfo=UTC) + _DAY)
        except (ValueError, OverflowError):
            continue
    raise ProtocolViolation(Reason.MALFORMED, "This is no day.")


def _why_not(request: Request, visitor: Visitor, error: CaduceeError) -> str:
    say = words_of(request).say
    if error.reason is Reason.UNKNOWN_RECIPIENT:
        return say("Aucune boîte ouverte n’a cette adresse ici.")
    if visitor.mailbox.kind in PEOPLE:
        return say(
            "Cela n’est pas possible : donnez l’adresse personnelle d’un autre professionnel d’ici, au moins un droit, "
            "et un dernier jour dans l’année qui vient."
        )
    return say("Cela n’est pas possible : donnez l’adresse personnelle d’un professionnel d’ici et au moins un droit.")


def _whole(visitor: Visitor) -> None:
    """An app password opens all of the mailbox: only who has all of it makes one, or ends one."""
    if visitor.principal.rights != OWN:
        raise Refused(Reason.NOT_ALLOWED, "Only the holder manages app passwords.")


def _manages(visitor: Visitor) -> None:
    if Rights.MANAGE not in visitor.principal.rights:
        raise Refused(Reason.NOT_ALLOWED, "This is for who manages the mailbox.")


def _back(part: str) -> Response:
    return RedirectResponse(f"/compte#{part}", 303)
