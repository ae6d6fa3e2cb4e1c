"""The bytes of an attachment, or of the whole message as it came.

Nothing that arrives by mail may act as a page of this site: only kinds that hold no script are shown by the browser,
after a look at their first bytes; all else is downloaded. Every answer carries nosniff and a policy of its own.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from server.base.errors import Reason, Refused
from server.base.limits import WEB_INLINE_BYTES
from server.mail.sections import PartRow
from server.record.access import Act
from server.record.parts import PDF, is_pdf, looks_like_pdf, part_bytes
from server.web.pages.place import find
from server.web.parts import attachments, name_of
from server.web.renderer import words_of
from server.web.visitor import Visitor, signed_in

router = APIRouter()

# What a browser may show, and the bytes that it must begin with. No SVG, no HTML, no XML: they can hold script.
_IMAGES = {"image/jpeg": (b"\xff\xd8\xff",), "image/png": (b"\x89PNG\r\n\x1a\n",), "image/gif": (b"GIF87a", b"GIF89a")}
DOWNLOAD = "application/octet-stream"
# A sandbox keeps whatever it is from running or from reading our site. Chromium's PDF viewer does not start in one; it
# is a page of its own that embeds the file from here, so it is allowed that object and its own style, and nothing else.
_SANDBOX = "default-src 'none'; sandbox"
_VIEWER = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_UNFIT_FOR_NAMES = re.compile(r'[\x00-\x1f\x7f"\\/:*?<>|]')
_NAME_CHARACTERS = 120  # file systems take 255 octets


@router.get("/messages/{folder_id}/{uid}/original")
async def original(folder_id: int, uid: int, visitor: Visitor = Depends(signed_in)) -> Response:
    """The message as it came, to keep or to show to somebody who can check its signature."""
    visitor.may(Act.READ_MESSAGE).require()
    row, _ = await find(visitor, folder_id, uid)
    if row.size > WEB_INLINE_BYTES:
        raise Refused(Reason.TOO_LARGE, "The message is too large to be downloaded here.")
    await visitor.mailbox.content_read(visitor.principal.actor, [row.content_id], "web original")
    data = await visitor.mailbox.body(row.content_id)
    return file_answer(data, "message/rfc822", "message.eml", download=True)


@router.get("/messages/{folder_id}/{uid}/pieces/{path}")
async def attachment(
    request: Request,
    folder_id: int,
    uid: int,
    path: str,
    telecharger: str = "",
    visitor: Visitor = Depends(signed_in),
) -> Response:
    """One attachment by its part number ("2.1"); `telecharger` asks to keep it instead of opening it."""
    visitor.may(Act.READ_MESSAGE).require()
    row, summary = await find(visitor, folder_id, uid)
    part = next((part for part in attachments(summary) if part.path == path), None)
    if part is None:
        raise Refused(Reason.NO_SUCH_MESSAGE, "There is no such attachment.")
    await visitor.mailbox.content_read(visitor.principal.actor, [row.content_id], "web attachment")
    data = await part_bytes(visitor.mailbox, row.content_id, part)
    kind = PDF if looks_like_pdf(part) else part.content_type
    return file_answer(data, kind, name_of(part, words_of(request)), download=bool(telecharger))


def file_answer(data: bytes, media_type: str, name: str, *, download: bool) -> Response:
    """A file for the browser, shown only when it is of a kind that cannot act, and is what it says."""
    shown = not download and may_be_shown(media_type, data)
    if not may_be_shown(media_type, data):
        media_type = DOWNLOAD
    plain = _UNFIT_FOR_NAMES.sub("_", name).strip(". ")[:_NAME_CHARACTERS] or "document"
    ascii_name = plain.encode("ascii", "replace").decode().replace("?", "_")
    kept = "inline" if shown else "attachment"
    return Response(
        data,
        media_type=media_type,
        headers={
            # RFC 6266 §4.3 with RFC 8187: the name in UTF-8, and one in ASCII for what does not know that.
            "Content-Disposition": f"{kept}; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(plain, safe='')}",
            "Content-Security-Policy": _VIEWER if shown and media_type == PDF else _SANDBOX,
        },
    )


def may_be_shown(media_type: str, data: bytes) -> bool:
    """Whether a browser may show these bytes: of a kind on our list, and they begin as that kind does."""
    if media_type == PDF:
        return is_pdf(data)
    return data.startswith(_IMAGES.get(media_type, ())) if media_type in _IMAGES else False


def opens_here(part: PartRow) -> bool:
    """Whether the page offers to open it; the bytes are looked at when it is asked for."""
    return looks_like_pdf(part) or part.content_type in _IMAGES
