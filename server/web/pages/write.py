"""Writing a new message. Whether it may go to each recipient is the policy's to say, for patients as for professionals.

The page works without a script. Who is chosen is a ticked box of the form (`a`). What is typed for one more (`qui`)
is an address, or words that the directory is asked for, and its answers are buttons of the form: so a draft stays in
the form, and no address stands in a URL but those of professionals that a link of the directory brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from server.base.errors import NoSuchMailbox, Refused, TryLater
from server.base.limits import WEB_RECIPIENTS, WEB_REPLY_CHARACTERS, WEB_SUBJECT_CHARACTERS
from server.mail.addresses import normalise, parse, valid
from server.record.access import Act
from server.web.found import Entry
from server.web.pages.directory import look_up
from server.web.plain_text import clean, clean_line
from server.web.problems import problem_of
from server.web.renderer import words_of
from server.web.sending import NotTo, Written, is_sending, new_sending, send
from server.web.services import services
from server.web.visitor import Visitor, form_of, signed_in

router = APIRouter()


@dataclass(frozen=True)
class Draft:
    """The form as it stands: what was written, what the directory answered, what is wrong (each a sentence)."""

    sending: str
    to: Sequence[str] = ()
    typed: str = ""
    subject: str = ""
    text: str = ""
    found: Sequence[Entry] | None = None
    errors: Sequence[str] = field(default=())
    status: int = 200


@router.get("/ecrire")
async def write(request: Request, a: list[str] = Query(default=[]), visitor: Visitor = Depends(signed_in)) -> Response:
    """The empty form, to professionals that a link names. A patient's address is never taken from a URL."""
    visitor.may(Act.WRITE_MESSAGE).require()
    patients = services(request).settings.patient_domains
    named = [address for address in _addresses(a) if address.rpartition("@")[2] not in patients]
    return _form(request, visitor, Draft(new_sending(), named[:WEB_RECIPIENTS]))


@router.post("/ecrire")
async def post(request: Request, visitor: Visitor = Depends(signed_in)) -> Response:
    """One step of the form: one more recipient, or the message leaves and a copy stays in the sent folder."""
    visitor.may(Act.WRITE_MESSAGE).require()
    fields = await form_of(request, visitor.token)
    sending = fields.get("envoi", "")
    draft = Draft(
        sending if is_sending(sending) else new_sending(),
        _addresses([*fields.getlist("a"), *fields.getlist("choisir")]),
        "" if "choisir" in fields else clean_line(fields.get("qui", "")),
        clean_line(fields.get("objet", "")),
        clean(fields.get("texte", "")),
    )
    draft = await _with_typed(request, visitor, draft)
    if "envoyer" not in fields or draft.errors:
        return _form(request, visitor, draft)
    draft = _judged(request, draft)
    if draft.errors:
        return _form(request, visitor, draft)
    say = words_of(request).say
    try:
        await send(request, visitor, Written(draft.to, draft.subject, draft.text, draft.sending))
    except NotTo as refused:
        errors = [f"{address} : {say(problem_of(error).sentence)}" for address, error in refused.objections]
        nearest = [one for _, error in refused.objections if isinstance(error, NoSuchMailbox) for one in error.nearest]
        errors += [say("Vouliez-vous écrire à %(address)s ?", address=one) for one in nearest]
        return _form(request, visitor, replace(draft, errors=errors, status=422))
    except (Refused, TryLater) as refusal:
        problem = problem_of(refusal)
        return _form(request, visitor, replace(draft, errors=[say(problem.sentence)], status=problem.status))
    return RedirectResponse("/messages?envoye=1", 303)


async def _with_typed(request: Request, visitor: Visitor, draft: Draft) -> Draft:
    """What was typed for one more recipient becomes recipients, or a question to the directory."""
    say = words_of(request).say
    if not draft.typed:
        return draft
    if "@" not in draft.typed:
        if visitor.is_patient:
            error = say("« %(typed)s » n’est pas une adresse.", typed=draft.typed)
            return replace(draft, errors=[error], status=422)
        return replace(draft, found=await look_up(request, visitor, draft.typed))
    # The list parser reads octets as latin-1, as header fields come.
    named = parse(draft.typed.replace(";", ",").encode().decode("latin-1"))
    wrong = [one.address for one in named if not valid(one.address)]
    if wrong or not named:
        error = say("« %(typed)s » n’est pas une adresse.", typed=clean_line((wrong or [draft.typed])[0]))
        return replace(draft, errors=[error], status=422)
    return replace(draft, to=_addresses([*draft.to, *(one.address for one in named)]), typed="")


def _judged(request: Request, draft: Draft) -> Draft:
    """The draft with what keeps it from leaving."""
    say, errors = words_of(request).say, []
    if draft.typed:
        errors.append(say("Choisissez un destinataire parmi les résultats, ou effacez ce que vous cherchez."))
    elif not draft.to:
        errors.append(say("Choisissez au moins un destinataire."))
    if len(draft.to) > WEB_RECIPIENTS:
        errors.append(say("Il y a trop de destinataires."))
    if not draft.subject:
        errors.append(say("Écrivez un objet."))
    if not draft.text.strip():
        errors.append(say("Écrivez votre message avant de l’envoyer."))
    if len(draft.text) > WEB_REPLY_CHARACTERS or len(draft.subject) > WEB_SUBJECT_CHARACTERS:
        errors.append(say("Votre message est trop long. Raccourcissez-le, puis recommencez."))
    return replace(draft, errors=errors, status=422 if errors else 200)


def _addresses(given: Sequence[str]) -> list[str]:
    """Those that are addresses, normalised, each once."""
    return list(dict.fromkeys(normalise(address) for address in given if valid(address)))


def _form(request: Request, visitor: Visitor, draft: Draft) -> Response:
    return services(request).renderer.page(
        request,
        "ecrire.html",
        status=draft.status,
        room="ecrire",
        draft=draft,
        limit=WEB_REPLY_CHARACTERS,
        subject_limit=WEB_SUBJECT_CHARACTERS,
    )
