"""What a scan gives: the parts of a message as offsets into its bytes, and what was ambiguous about them.

Part numbers are IMAP's (RFC 9051 §6.4.5.1). The root has path "" (and answers to "1" when it is no multipart); the root
of a message inside message/rfc822 part "2" has path "2.1", or "2.TEXT" when it is a multipart, which has no number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from server.base.limits import MIME_HEADER_BYTES
from server.mail import headers, parameters
from server.mail.headers import Field
from server.mail.parameters import Parameters


class Octets(Protocol):
    """Octets by their place in a message: the message itself, or what was kept of one that has passed."""

    def __getitem__(self, place: slice, /) -> bytes: ...


class Finding(StrEnum):
    """Something two readers may understand in two ways, or that could not be read to its end."""

    # borders
    DUPLICATE_BOUNDARY = "duplicate-boundary"  # a multipart has the boundary of one around it
    PREFIX_BOUNDARY = "prefix-boundary"  # one boundary begins with another
    ENCODED_BOUNDARY = "encoded-boundary"  # RFC 2231 or RFC 2047 in a boundary
    NO_BOUNDARY = "no-boundary"  # none, or one that no line can hold
    BAD_BOUNDARY = "bad-boundary"  # over 70 characters, or of characters RFC 2046 does not allow; all follow it
    DELIMITER_LIKE = "delimiter-like"  # a line that begins as a delimiter and ends otherwise
    AFTER_CLOSE = "after-close"  # a delimiter after the closing one
    UNTERMINATED = "unterminated"
    NO_PARTS = "no-parts"
    # headers
    NO_HEADER = "no-header"
    UNENDED_HEADER = "unended-header"  # no empty line behind it
    BAD_HEADER_LINE = "bad-header-line"
    EIGHT_BIT_HEADER = "eight-bit-header"  # not ASCII and not UTF-8
    TWO_CONTENT_TYPES = "two-content-types"
    TWO_ENCODINGS = "two-encodings"
    TWO_DISPOSITIONS = "two-dispositions"
    BAD_CONTENT_TYPE = "bad-content-type"
    BAD_PARAMETER = "bad-parameter"
    DUPLICATE_PARAMETER = "duplicate-parameter"
    UNKNOWN_ENCODING = "unknown-encoding"
    ENCODED_CONTAINER = "encoded-container"  # base64 or quoted-printable on a multipart or a message
    DUPLICATE_FROM = "duplicate-from"
    DUPLICATE_SENDER = "duplicate-sender"
    DUPLICATE_REPLY_TO = "duplicate-reply-to"
    DUPLICATE_TO = "duplicate-to"
    DUPLICATE_CC = "duplicate-cc"
    DUPLICATE_SUBJECT = "duplicate-subject"
    DUPLICATE_DATE = "duplicate-date"
    DUPLICATE_MESSAGE_ID = "duplicate-message-id"
    # octets
    NUL = "nul"
    BARE_CR = "bare-cr"
    BARE_LF = "bare-lf"
    # limits
    TOO_DEEP = "too-deep"
    TOO_MANY_PARTS = "too-many-parts"
    TOO_MANY_HEADERS = "too-many-headers"
    TOO_MANY_PARAMETERS = "too-many-parameters"
    HEADER_TOO_LARGE = "header-too-large"


# With one of these a part of the message stays unread: it is kept whole and shown as such.
UNREADABLE = frozenset(
    {
        Finding.NO_HEADER,
        Finding.TOO_DEEP,
        Finding.TOO_MANY_PARTS,
        Finding.TOO_MANY_HEADERS,
        Finding.HEADER_TOO_LARGE,
    }
)

# By one of these, another reader may see other parts, or another sender, than we do.
AMBIGUOUS = UNREADABLE | {
    Finding.DUPLICATE_BOUNDARY,
    Finding.PREFIX_BOUNDARY,
    Finding.ENCODED_BOUNDARY,
    Finding.NO_BOUNDARY,
    Finding.DELIMITER_LIKE,
    Finding.AFTER_CLOSE,
    Finding.UNTERMINATED,
    Finding.NO_PARTS,
    Finding.UNENDED_HEADER,
    Finding.BAD_HEADER_LINE,
    Finding.TWO_CONTENT_TYPES,
    Finding.TWO_ENCODINGS,
    Finding.DUPLICATE_PARAMETER,
    Finding.ENCODED_CONTAINER,
    Finding.DUPLICATE_FROM,
    Finding.DUPLICATE_SENDER,
    Finding.NUL,
    Finding.BARE_CR,
    Finding.BARE_LF,
}

# RFC 5322 §3.6: at most one of each.
ONLY_ONE = {
    "from": Finding.DUPLICATE_FROM,
    "sender": Finding.DUPLICATE_SENDER,
    "reply-to": Finding.DUPLICATE_REPLY_TO,
    "to": Finding.DUPLICATE_TO,
    "cc": Finding.DUPLICATE_CC,
    "subject": Finding.DUPLICATE_SUBJECT,
    "date": Finding.DUPLICATE_DATE,
    "message-id": Finding.DUPLICATE_MESSAGE_ID,
}


@dataclass(slots=True)
class Part:
    """A part: its MIME header is [header_start, body_start), its body [body_start, body_end), in octets of the message.

    Texts are raw header values, octets as latin-1; `type`, `subtype`, `encoding`, `disposition` and the names of
    parameters in lower case. `lines` counts line ends of the body of text and message parts (RFC 9051 §7.5.2).
    `message` is the root of the message inside a message/rfc822. `opaque`: it says that it holds parts, but is kept as
    a leaf (a limit, no usable boundary, a transfer encoding that a container must not have); its type is then what it
    can be shown as, text/plain or application/octet-stream.
    """

    path: str
    header_start: int
    body_start: int = 0
    body_end: int = 0
    type: str = "text"
    subtype: str = "plain"
    params: Parameters = ()
    encoding: str = "7bit"
    disposition: str = ""
    disposition_params: Parameters = ()
    content_id: str | None = None
    description: str | None = None
    language: tuple[str, ...] = ()
    location: str | None = None
    md5: str | None = None
    lines: int = 0
    children: list[Part] = field(default_factory=list)
    message: Part | None = None
    opaque: bool = False

    @property
    def size(self) -> int:
        """Octets of the body, in its transfer encoding."""
        return self.body_end - self.body_start

    @property
    def content_type(self) -> str:
        return f"{self.type}/{self.subtype}"

    @property
    def multipart(self) -> bool:
        return self.type == "multipart"

    @property
    def charset(self) -> str:
        """The charset of a text, lower case; "us-ascii" where none is named (RFC 2045 §5.2)."""
        return (parameters.decoded(self.params, "charset") or "us-ascii").lower() if self.type == "text" else ""

    @property
    def filename(self) -> str | None:
        """The name a sender proposes, decoded, without any folder; never a name to write to without more care."""
        name = parameters.decoded(self.disposition_params, "filename") or parameters.decoded(self.params, "name")
        return name.replace("\\", "/").rpartition("/")[2].strip() or None if name else None

    def inner(self) -> list[Part]:
        """Parts directly inside."""
        return self.children if self.message is None else [self.message]


@dataclass(slots=True)
class Message:
    """A scanned message of `size` octets; `headers` are the fields of its top header, in order."""

    size: int
    root: Part
    headers: list[Field]
    findings: tuple[Finding, ...]

    @property
    def readable(self) -> bool:
        """False: some of it could not be understood, the whole is kept and shown as such."""
        return UNREADABLE.isdisjoint(self.findings)

    def parts(self) -> Iterator[Part]:
        """All parts in document order, the root first, a multipart before what it holds."""
        waiting = [self.root]
        while waiting:
            part = waiting.pop()
            yield part
            waiting += reversed(part.inner())

    def part(self, path: str) -> Part | None:
        """The part with this number, None where there is none."""
        if path == "1" and not self.root.multipart:
            return self.root
        return next((part for part in self.parts() if part.path == path), None)

    def shifted(self, delta: int, header: bytes) -> Message:
        """The same message under another top header, `delta` octets longer: trace added, forged fields removed.

        `header` goes up to and with the empty line. Only it is read; the offsets of all else move. Raises ValueError
        when `delta` and the length of `header` do not agree.
        """
        if self.root.body_start + delta != len(header):
            raise ValueError(f"header of {len(header)} octets, expected {self.root.body_start + delta}")
        root = _moved(self.root, delta)
        root.header_start = 0
        return Message(self.size + delta, root, headers.read(header[:MIME_HEADER_BYTES]).fields, self.findings)


def _moved(part: Part, delta: int) -> Part:
    # By hand: dataclasses.replace takes three times as long, and each message that is accepted is moved.
    return Part(
        part.path,
        part.header_start + delta,
        part.body_start + delta,
        part.body_end + delta,
        part.type,
        part.subtype,
        part.params,
        part.encoding,
        part.disposition,
        part.disposition_params,
        part.content_id,
        part.description,
        part.language,
        part.location,
        part.md5,
        part.lines,
        [_moved(child, delta) for child in part.children],
        None if part.message is None else _moved(part.message, delta),
        part.opaque,
    )
