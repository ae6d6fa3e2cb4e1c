"""Understand once: structure and verdict of a message, before it is encrypted and nobody can read it again here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from crypto.smime.anchors import TrustAnchors
from crypto.smime.identity import Registration
from crypto.smime.signed_data import Kind, SignedData
from crypto.smime.verdict import UNSIGNED, Status, SubReason, Verdict
from crypto.smime.verify import verify
from server.mail import addresses, headers
from server.mail.addresses import Mailbox
from server.mail.passing import PassingScanner
from server.mail.scan import scan
from server.mail.signed import Signed, signed_data
from server.mail.structure import Message, Octets
from server.mail.summary import Summary, summarise
from server.mail.trace import strip
from server.mailbox.sender import beside_header

# Signed, and stored by its owner where no anchors are known.
NOT_JUDGED = Verdict(Status.INDETERMINATE, SubReason.UNTRUSTED)


@dataclass(frozen=True, slots=True)
class Understood:
    """A message's octets (or what was kept of them), its structure and the verdict on its signature."""

    data: Octets = field(repr=False)
    message: Message = field(repr=False)
    verdict: Verdict

    @property
    def header_size(self) -> int:
        return self.message.root.body_start

    @property
    def message_id(self) -> str:
        """The Message-ID without brackets, "" where there is none."""
        block = self.data[: self.header_size]
        return headers.bare_id(headers.first(block, "message-id", self.message.headers) or "")

    def summary(self) -> Summary:
        """What readers need without the body."""
        return summarise(self.message, self.data, self.verdict.to_json())

    def marked(self, trace: bytes, authserv_id: str) -> tuple[bytes, Message]:
        """The top header with `trace` above it and without Authentication-Results that claim to be ours (RFC 8601 §5),
        and the structure of the message under it."""
        header = trace + strip(self.message, self.data, authserv_id)
        return header, self.message.shifted(len(header) - self.header_size, header)


class Understanding:
    """`understand` for a message that passes: `feed` its octets, and `finish`. Memory does not follow its size."""

    def __init__(self) -> None:
        self._scanner = PassingScanner()

    @property
    def header_size(self) -> int:
        """Octets of the top header with its empty line, 0 while its end has not come."""
        return self._scanner.header_size

    def feed(self, data: bytes) -> None:
        self._scanner.feed(data)

    def finish(
        self, anchors: TrustAnchors | None, now: datetime, registration: Registration | None = None
    ) -> Understood:
        message = self._scanner.finish()
        kept = self._scanner.kept
        return _understood(
            message, kept, signed_data(message, kept, self._scanner.passed()), anchors, now, registration
        )


def understand(
    data: bytes, anchors: TrustAnchors | None, now: datetime, registration: Registration | None = None
) -> Understood:
    """Scan the bytes and judge the signature; never raises, whatever the bytes are. `registration`: what the directory
    says of From, None when it was not asked."""
    message = scan(data)
    return _understood(message, data, signed_data(message, data), anchors, now, registration)


def _understood(
    message: Message,
    data: Octets,
    signed: Signed | None,
    anchors: TrustAnchors | None,
    now: datetime,
    registration: Registration | None,
) -> Understood:
    if signed is None:
        return Understood(data, message, UNSIGNED)
    if anchors is None:
        return Understood(data, message, NOT_JUDGED)
    authors = _authors(message, data)
    verdict = _judge(signed, [one.address for one in authors], anchors, now)
    if verdict.status is Status.PASSED:
        verdict = beside_header(verdict, signed, message, data, authors, registration)
    return Understood(data, message, verdict)


def _judge(signed: Signed, from_addresses: list[str], anchors: TrustAnchors, now: datetime) -> Verdict:
    """The verdict on what mail found; a good signature counts only where all readers see what was signed."""
    at_top = signed.at_top and not signed.outside
    if signed.cut:
        return Verdict(Status.INDETERMINATE, SubReason.TOO_LARGE, covers="whole" if at_top else "part")
    found = SignedData(Kind(signed.kind), signed.content, signed.cms, signed.micalg, at_top)
    verdict = verify(found, from_addresses, anchors, now)
    if verdict.status is Status.PASSED and signed.several:
        return replace(verdict, status=Status.INDETERMINATE, reason=SubReason.SEVERAL_SIGNERS)
    if verdict.status is Status.PASSED and signed.ambiguous:
        return replace(verdict, status=Status.INDETERMINATE, reason=SubReason.AMBIGUOUS)
    return verdict


def _authors(message: Message, data: Octets) -> list[Mailbox]:
    """Every address of every From field: all of them have to be the signer's."""
    block = data[: message.root.body_start]
    found: list[Mailbox] = []
    for one in message.headers:
        if one.name == "from":
            found += addresses.parse(headers.raw(block, one))
    return found
