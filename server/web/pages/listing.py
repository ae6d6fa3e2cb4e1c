"""The list of a folder's messages, the newest first, by pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from server.base.errors import Reason, Refused
from server.base.limits import WEB_PAGE_MESSAGES
from server.mail.summary import Summary
from server.mailbox.model import INBOX_ID, Flag, Folder, Row
from server.record.access import Act
from server.web.language import Words
from server.web.plain_text import clean_line
from server.web.renderer import words_of
from server.web.services import services
from server.web.visitor import Visitor, signed_in
from server.web.wording import Said, say_verdict

router = APIRouter()

# Special uses in words (RFC 6154); a folder that a person made keeps its name.
LABELS = {
    "\\Inbox": "Messages reçus",
    "\\Sent": "Messages envoyés",
    "\\Drafts": "Brouillons",
    "\\Archive": "Archives",
    "\\Junk": "Indésirables",
    "\\Trash": "Corbeille",
}


@dataclass(frozen=True, slots=True)
class Tab:
    """One folder in the row of folders."""

    folder_id: int
    label: str
    unseen: int


@dataclass(frozen=True, slots=True)
class Line:
    """One message in the list. `correspondent` is who wrote, or whom it was written to in the sent folder."""

    uid: int
    seen: bool
    answered: bool
    correspondent: str
    date: datetime
    subject: str
    preview: str
    attachments: bool
    readable: bool
    verdict: Said


@router.get("/messages")
async def inbox(
    request: Request, avant: int | None = None, envoye: str = "", visitor: Visitor = Depends(signed_in)
) -> Response:
    """The inbox; `envoye`: a message has just left."""
    return await _list(request, visitor, INBOX_ID, avant, sent=bool(envoye))


@router.get("/messages/{folder_id}")
async def folder(
    request: Request, folder_id: int, avant: int | None = None, visitor: Visitor = Depends(signed_in)
) -> Response:
    """Any folder; `avant` is the uid below which the page begins."""
    return await _list(request, visitor, folder_id, avant)


async def _list(
    request: Request, visitor: Visitor, folder_id: int, before: int | None, *, sent: bool = False
) -> Response:
    visitor.may(Act.LIST_MESSAGES).require()
    mailbox = visitor.mailbox
    folders = {folder.folder_id: folder for folder in await mailbox.folders()}
    if folder_id not in folders:
        raise Refused(Reason.NO_SUCH_FOLDER, "There is no such folder.")
    words = words_of(request)
    states = await mailbox.states()
    tabs = {
        one.folder_id: Tab(one.folder_id, label(one, words), states[one.folder_id].unseen)
        for one in sorted(folders.values(), key=_place)
        if one.folder_id in states
    }
    view = await mailbox.view(folder_id)
    rows = [row for row in reversed(view.rows) if before is None or row.uid < before]
    shown, rest = rows[:WEB_PAGE_MESSAGES], rows[WEB_PAGE_MESSAGES:]
    if shown:
        await mailbox.content_read(visitor.principal.actor, [row.content_id for row in shown], "web list")
    summaries = await mailbox.summaries([row.content_id for row in shown])
    outgoing = folders[folder_id].special_use in ("\\Sent", "\\Drafts")
    return services(request).renderer.page(
        request,
        "boite.html",
        room="messages",
        sent=sent,
        folder=tabs[folder_id],
        folders=list(tabs.values()),
        messages=[_line(row, summaries.get(row.content_id), outgoing, words) for row in shown],
        newer=before is not None,
        older=shown[-1].uid if rest else None,
    )


def label(folder: Folder, words: Words) -> str:
    """A folder's name for people."""
    known = LABELS.get(folder.special_use or "")
    return words.say(known) if known else clean_line(folder.name)


def _place(folder: Folder) -> tuple[int, str]:
    """Where a folder stands in the row: those with a use first, in the order of LABELS."""
    uses = list(LABELS)
    return (uses.index(folder.special_use) if folder.special_use in uses else len(uses), folder.name)


def _line(row: Row, summary: Summary | None, outgoing: bool, words: Words) -> Line:
    seen, answered = bool(row.flags & Flag.SEEN), bool(row.flags & Flag.ANSWERED)
    if summary is None:  # damaged: shown as such, and it never hides the others
        subject = words.say("Ce message est endommagé et ne peut pas être lu.")
        nobody = words.say("Inconnu")
        return Line(
            row.uid, seen, answered, nobody, row.internaldate, subject, "", False, False, say_verdict({}, words)
        )
    people = summary.to if outgoing else summary.from_
    names = ", ".join(clean_line(person.name or person.address) for person in people[:3])
    return Line(
        row.uid,
        seen,
        answered,
        names or words.say("Inconnu"),
        row.internaldate,
        clean_line(summary.subject),
        clean_line(summary.preview),
        summary.has_attachments,
        summary.readable,
        say_verdict(summary.verdict, words),
    )
