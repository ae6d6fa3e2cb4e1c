"""The one serializer of messages that we write ourselves: answers from the web, notifications (RFC 5322, RFC 2047).

Invariants:
1. A header value never carries CR, LF, NUL or another control: such a value is refused, so no field can be smuggled in.
2. The same `Outgoing` and signer give the same bytes: nothing is random, so a form sent twice is known as a repeat.
3. Lines end with CRLF and have at most 998 octets (RFC 5322 §2.1.1); ASCII but for addresses that are not (RFC 6532).
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from crypto.pki.issue import Issued
from crypto.smime.header import with_header
from crypto.smime.sign import signed_entity
from server.base.errors import Reason, Refused
from server.mail.addresses import Mailbox, ascii_domain

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,900}>")
_VERSION = b"MIME-Version: 1.0\r\n"
_LINE = 76  # RFC 2047 §2
_WORD_OCTETS = 42  # of UTF-8 in one encoded word: 56 of base64 and 12 around it stay below 75
_LONGEST_WORD = 900  # octets without a space that still fit a line
_FILE_NAME = 255  # octets, as file systems have it; three characters each in RFC 2231 still fit a line
_REFERENCES = 20  # identifiers told: the first, and the last ones (RFC 5322 §3.6.4 sets no limit)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file: the name proposed for it, "type/subtype", its octets."""

    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to write. `date` is aware; identifiers have their brackets; `extra` are more fields, name and value."""

    sender: Mailbox
    to: tuple[Mailbox, ...]
    subject: str
    text: str
    date: datetime
    message_id: str
    in_reply_to: str = ""
    references: Sequence[str] = ()
    cc: tuple[Mailbox, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


def compose(outgoing: Outgoing, signer: Issued | None = None) -> bytes:
    """The bytes of a message, by its `signer` signed at its Date, with its header (RFC 9788).

    Raises Refused(MALFORMED) for a control character in a header value or a bad name.
    """
    fields = header(outgoing)
    entity = text_part(outgoing.text)
    if outgoing.attachments:
        entity = multipart("mixed", [entity, *map(attachment_part, outgoing.attachments)], outgoing.message_id)
    if signer is not None:
        entity = signed_entity(with_header(entity, fields.removesuffix(_VERSION)), signer, outgoing.date)
    return fields + entity


def header(outgoing: Outgoing) -> bytes:
    """The header fields up to MIME-Version; those of the content follow. Raises Refused(MALFORMED)."""
    if not _MESSAGE_ID.fullmatch(checked(outgoing.message_id)):
        raise Refused(Reason.MALFORMED, "A Message-ID is <left@right>.")
    lines = [
        field("Date", email.utils.format_datetime(outgoing.date)),
        address_field("From", (outgoing.sender,)),
        address_field("To", outgoing.to),
        address_field("Cc", outgoing.cc),
        field("Subject", outgoing.subject),
        field("Message-ID", outgoing.message_id),
        _threading(outgoing),
        *(field(name, value) for name, value in outgoing.extra),
    ]
    return b"".join(lines) + _VERSION


def field(name: str, value: str) -> bytes:
    """One unstructured field, encoded and folded. Raises Refused(MALFORMED)."""
    if not _NAME.fullmatch(name):
        raise Refused(Reason.MALFORMED, "A field name is letters, digits and hyphens.")
    value = checked(value).strip()
    words = value.split(" ")
    plain = value.isascii() and "=?" not in value and all(len(word) <= _LONGEST_WORD for word in words)
    return _folded(name, words if plain else encoded_words(value))


def address_field(name: str, mailboxes: Iterable[Mailbox]) -> bytes:
    """A field of addresses, b"" for none of them. Raises Refused(MALFORMED)."""
    pieces: list[str] = []
    for mailbox in mailboxes:
        if pieces:
            pieces[-1] += ","
        domain = ascii_domain(checked(mailbox.domain)) or mailbox.domain
        address = checked(mailbox._replace(domain=domain).address)
        if len(address.encode()) > _LONGEST_WORD:
            raise Refused(Reason.MALFORMED, "An address is too long.")
        pieces += [*_phrase(checked(mailbox.name)), f"<{address}>"]
    return _folded(name, pieces) if pieces else b""


def checked(value: str) -> str:
    """The value itself. Raises Refused(MALFORMED): it holds a line end, NUL or another control character."""
    if _CONTROL.search(value):
        raise Refused(Reason.MALFORMED, "A header value must not hold control characters.")
    return value


def encoded_words(value: str) -> list[str]:
    """A text as RFC 2047 words, cut between characters (§5: each word stands for whole characters)."""
    words: list[str] = []
    octets = b""
    for character in value:
        more = character.encode("utf-8", "replace")
        if len(octets) + len(more) > _WORD_OCTETS:
            words.append(_encoded_word(octets))
            octets = b""
        octets += more
    return [*words, _encoded_word(octets)]


def text_part(text: str) -> bytes:
    """A text/plain part, header and body. Raises Refused(MALFORMED) for a NUL."""
    if "\0" in text:
        raise Refused(Reason.MALFORMED, "A text must not hold NUL.")
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if lines and not lines.endswith("\n"):
        lines += "\n"
    # RFC 2045 §6.7: quoted-printable leaves French legible and bounds the lines.
    body = binascii.b2a_qp(lines.encode("utf-8", "replace"), istext=True).replace(b"\n", b"\r\n")
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + body


def attachment_part(attachment: Attachment) -> bytes:
    """An attachment, header and body. Raises Refused(MALFORMED) for a bad name or type."""
    if not _TYPE.fullmatch(attachment.content_type):
        raise Refused(Reason.MALFORMED, "A content type is type/subtype.")
    name = checked(attachment.filename)
    if len(name.encode()) > _FILE_NAME:
        raise Refused(Reason.MALFORMED, "A file name is too long.")
    if name.isascii():
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        type_name, file_name = "", f"; filename={quoted}"
    else:
        # RFC 2231 §4; for readers that know only RFC 2047, encoded words as the name of the type.
        words = "\r\n ".join(encoded_words(name))
        type_name, file_name = f';\r\n name="{words}"', f";\r\n filename*=UTF-8''{quote(name, safe='')}"
    head = (
        f"Content-Type: {attachment.content_type}{type_name}\r\n"
        f"Content-Disposition: attachment{file_name}\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode() + base64.encodebytes(attachment.data).replace(b"\n", b"\r\n")


def multipart(subtype: str, parts: Sequence[bytes], seed: str, parameters: str = "") -> bytes:
    """A multipart of whole parts (header and body), its Content-Type first; `seed` makes the boundary."""
    count = 0
    while True:
        # "=_" cannot stand in quoted-printable or base64 (RFC 2045 §6.7); other content is searched for it.
        boundary = "=_" + hashlib.sha256(f"{count} {seed}".encode("utf-8", "replace")).hexdigest()[:32]
        if not any(boundary.encode() in part for part in parts):
            break
        count += 1
    head = f'Content-Type: multipart/{subtype}{parameters};\r\n boundary="{boundary}"\r\n\r\n'
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return head.encode() + body + f"--{boundary}--\r\n".encode()


def _threading(outgoing: Outgoing) -> bytes:
    """In-Reply-To and References (RFC 5322 §3.6.4). What is no identifier in the message answered is left out."""
    parent = outgoing.in_reply_to if _MESSAGE_ID.fullmatch(checked(outgoing.in_reply_to)) else ""
    known = [one for one in outgoing.references if _MESSAGE_ID.fullmatch(checked(one)) and one != parent]
    if parent:
        known.append(parent)
    if len(known) > _REFERENCES:
        known = [known[0], *known[1 - _REFERENCES :]]
    ids = _folded("In-Reply-To", [parent]) if parent else b""
    return ids + (_folded("References", known) if known else b"")


def _phrase(name: str) -> list[str]:
    name = " ".join(name.split())
    if not name:
        return []
    if not name.isascii() or "=?" in name or len(name) > _LINE:
        return encoded_words(name)
    if _ATOMS.fullmatch(name):
        return name.split(" ")
    return ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"']


def _encoded_word(octets: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(octets).decode()}?="


def _folded(name: str, words: Iterable[str]) -> bytes:
    """A field of words with spaces between, folded before a word that would pass the line (RFC 5322 §2.2.3)."""
    lines = [f"{name}:"]
    for word in words:
        # A line of white space alone is obsolete (§4.2): an empty word stays with the one before.
        if word and len(lines[-1]) + 1 + len(word) > _LINE and lines[-1] != f"{name}:" and lines[-1].strip():
            lines.append(f" {word}")
        else:
            lines[-1] += f" {word}"
    return ("\r\n".join(lines) + "\r\n").encode()
