"""IMAP BODY and BODYSTRUCTURE of a scanned message (RFC 3501 §7.4.2, RFC 9051 §7.5.2).

Types and parameters are told as the message gives them (RFC 2231 pieces are not joined); types, encodings and parameter
names in upper case, which compare equal in any. BODY is the same without extension data.
"""

from __future__ import annotations

from functools import lru_cache

from server.base.limits import MIME_HEADER_BYTES
from server.mail.envelope import NIL, envelope, nstring, string
from server.mail.parameters import Parameters
from server.mail.structure import Message, Octets, Part


def body_and_bodystructure(message: Message, data: Octets) -> tuple[bytes, bytes]:
    """FETCH BODY and FETCH BODYSTRUCTURE, which is the same with extension data. `data`: the whole message."""
    return _part(message.root, data)


def _part(part: Part, data: Octets) -> tuple[bytes, bytes]:
    if part.type == "multipart":
        # body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
        children = [_part(child, data) for child in part.children]
        subtype = _upper(part.subtype)
        short = b"(%b %b)" % (b"".join(child[0] for child in children), subtype)
        long = b"".join(child[1] for child in children)
        return short, b"(%b %b %b%b)" % (long, subtype, _parameters(part.params), _tail(part))
    described = b"%b %b %b %b %b %b %d" % (
        _upper(part.type),
        _upper(part.subtype),
        _parameters(part.params),
        nstring(part.content_id),
        nstring(part.description),
        _upper(part.encoding),
        part.size,
    )
    # body-ext-1part = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]]
    extension = b" %b%b" % (nstring(part.md5), _tail(part))
    if part.message is not None:
        # body-type-msg = media-message SP body-fields SP envelope SP body SP body-fld-lines
        inner = part.message
        block = data[inner.header_start : min(inner.body_start, inner.header_start + MIME_HEADER_BYTES)]
        told = envelope(block)
        short, long = _part(inner, data)
        return (
            b"(%b %b %b %d)" % (described, told, short, part.lines),
            b"(%b %b %b %d%b)" % (described, told, long, part.lines, extension),
        )
    if part.type == "text":
        described += b" %d" % part.lines
    return b"(%b)" % described, b"(%b%b)" % (described, extension)


def _tail(part: Part) -> bytes:
    """body-fld-dsp, body-fld-lang and body-fld-loc."""
    if not (part.disposition or part.language or part.location):
        return b" NIL NIL NIL"
    disposition = NIL
    if part.disposition:
        disposition = b"(%b %b)" % (_upper(part.disposition), _parameters(part.disposition_params))
    if len(part.language) > 1:
        language = b"(%b)" % b" ".join(string(tag) for tag in part.language)
    else:
        language = nstring(part.language[0] if part.language else None)
    return b" %b %b %b" % (disposition, language, nstring(part.location))


def _parameters(parameters: Parameters) -> bytes:
    # body-fld-param = "(" string SP string *(SP string SP string) ")" / nil
    if not parameters:
        return NIL
    return b"(%b)" % b" ".join(b"%b %b" % (_upper(name), string(value)) for name, value in parameters)


@lru_cache(maxsize=256)
def _upper(word: str) -> bytes:
    return string(word.upper() if word.isascii() else word)
