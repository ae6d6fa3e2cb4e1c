"""What is said to another operator's server for one message, and what its replies mean; sans-IO.

Invariants:
- What the message needs and the server does not offer is a final no of ours, said before anything is sent: nothing is
  converted (a signature would break), left out or sent in clear.
- No value reaches a command that could end it: a control character in an address or parameter is a final no.
- Only 2xx is success; a positive reply to a question that was not asked is none (`Link` ends the connection).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.sender.replies import Reply
from server.transport.envelope import Body, Returned
from server.transport.queued import Addressee, Queued

HOPS: Final = 50  # Received lines; RFC 5321 §6.3 asks for a large number, and no way between operators has ten
_RECEIVED = re.compile(rb"^received:", re.IGNORECASE | re.MULTILINE)
# RFC 5321 §4.1.2: no command holds a control character; outside quotes a space or bracket would begin something else.
_SAFE_ADDRESS = re.compile(r'[^\x00-\x20\x7f<>"]*|"[^\x00-\x1f\x7f]*"@[^\x00-\x20\x7f<>"]+')
_SAFE_PARAMETER = re.compile(r"[^\x00-\x20\x7f]*")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: delivered, or why not, for good or for now.

    `status` (RFC 3463); `text` filtered, `theirs` when the peer said it; `relayed`: delivered to a server that sends no
    notification of delivery; `unsure`: it may have been taken without our hearing it.
    """

    delivered: bool
    permanent: bool
    status: str
    text: str
    theirs: bool = False
    relayed: bool = False
    unsure: bool = False

    @property
    def final(self) -> bool:
        return self.delivered or self.permanent


def refused(status: str, text: str) -> Outcome:
    """A final no of our own."""
    return Outcome(False, True, status, text)


def postponed(status: str, text: str, *, unsure: bool = False) -> Outcome:
    """To be tried again."""
    return Outcome(False, False, status, text, unsure=unsure)


def extensions(reply: Reply) -> dict[str, str]:
    """What EHLO offers: keyword in capitals → its parameters (RFC 5321 §4.1.1.1)."""
    words = (line.partition(" ") for line in reply.lines[1:])
    return {name.upper(): parameters for name, _, parameters in words}


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message for recipients of one domain.

    `header`: its top header; `size`: octets as it leaves; `ascii`: whether its beginning is, where 8-bit content shows.
    """

    envelope: Queued
    recipients: Sequence[Addressee]
    header: bytes
    size: int
    ascii: bool

    def objection(self, offered: Mapping[str, str]) -> Outcome | None:
        """Why it cannot go to a server that offers this, None when it can."""
        envelope = self.envelope
        addresses = self._addresses()
        parameters = [envelope.envelope_id, *(one.original for one in self.recipients)]
        if not all(map(_SAFE_ADDRESS.fullmatch, addresses)) or not all(map(_SAFE_PARAMETER.fullmatch, parameters)):
            return refused("5.1.3", "an address or parameter that no command can carry")
        if len(_RECEIVED.findall(self.header)) > HOPS:
            return refused("5.4.6", "this message goes in circles: it has passed too many servers")
        if self._international(addresses) and "SMTPUTF8" not in offered:
            return refused("5.6.7", "the recipient's server takes no international addresses")
        if envelope.require_tls and "REQUIRETLS" not in offered:
            return refused("5.7.30", "the recipient's server does not support REQUIRETLS")
        if envelope.body is Body.BINARY and not {"BINARYMIME", "CHUNKING"} <= offered.keys():
            return refused("5.6.1", "the recipient's server takes no binary content")
        # RFC 6152 §3: convert or refuse.
        if not self.ascii and "8BITMIME" not in offered and "SMTPUTF8" not in offered:
            return refused("5.6.3", "the recipient's server takes no 8-bit content")
        limit = offered.get("SIZE", "")
        if limit.isdigit() and 0 < int(limit[:20]) < self.size:
            return refused("5.3.4", f"the recipient's server takes messages of at most {int(limit[:20])} octets")
        return None

    def _international(self, addresses: Sequence[str]) -> bool:
        # RFC 6531 §3.1: an address, or a header that was given as internationalised.
        return not all(map(str.isascii, addresses)) or (self.envelope.utf8 and not self.header.isascii())

    def commands(self, offered: Mapping[str, str]) -> list[bytes]:
        """MAIL and one RCPT a recipient. `objection` comes first."""
        return [self._mail(offered), *(_rcpt(one, offered) for one in self.recipients)]

    def _mail(self, offered: Mapping[str, str]) -> bytes:
        envelope = self.envelope
        words = [f"MAIL FROM:<{envelope.reverse_path}>"]
        if "SIZE" in offered:
            words.append(f"SIZE={self.size}")
        if envelope.body is Body.BINARY:
            words.append("BODY=BINARYMIME")
        elif "8BITMIME" in offered:
            words.append("BODY=8BITMIME")
        if "SMTPUTF8" in offered and (envelope.utf8 or not all(map(str.isascii, self._addresses()))):
            words.append("SMTPUTF8")
        if envelope.require_tls:
            words.append("REQUIRETLS")
        if "DSN" in offered:
            # Content is health data: a notification that does not carry it is asked for, whatever was not said.
            words.append(f"RET={envelope.returned or Returned.HEADERS}")
            words += [f"ENVID={envelope.envelope_id}"] if envelope.envelope_id else []
        return f"{' '.join(words)}\r\n".encode()

    def _addresses(self) -> list[str]:
        return [self.envelope.reverse_path, *(one.address for one in self.recipients)]

    def judged(self, replies: Sequence[Reply]) -> list[Outcome | None]:
        """The outcome of each recipient after MAIL and RCPT, None for those taken; `replies` may end after MAIL."""
        sender, *others = replies
        if not sender.positive:
            return [answer(sender, {})] * len(self.recipients)
        return [None if reply.positive else _refusal(reply) for reply in others]


def _rcpt(recipient: Addressee, offered: Mapping[str, str]) -> bytes:
    words = [f"RCPT TO:<{recipient.address}>"]
    if "DSN" in offered:
        words += [f"NOTIFY={','.join(sorted(recipient.notify))}"] if recipient.notify else []
        words += [f"ORCPT={recipient.original}"] if recipient.original else []
    return f"{' '.join(words)}\r\n".encode()


def _refusal(reply: Reply) -> Outcome:
    # RFC 5321 §4.5.3.1.10: to RCPT, 552 without more says "too many recipients" and means 452.
    if reply.code == 552 and reply.status in ("5.0.0", "5.5.3"):
        return Outcome(False, False, "4.5.3", reply.text, theirs=True)
    return answer(reply, {})


def answer(reply: Reply, offered: Mapping[str, str]) -> Outcome:
    """What a reply says of the recipients that it is for."""
    relayed = reply.positive and "DSN" not in offered
    return Outcome(reply.positive, reply.permanent, reply.status, reply.text, theirs=True, relayed=relayed)


class DotStuffing:
    """RFC 5321 §4.5.2, piece by piece: a leading dot is doubled, and the end is CRLF "." CRLF."""

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def update(self, piece: bytes) -> bytes:
        joined = self._tail + piece
        stuffed = joined.replace(b"\r\n.", b"\r\n..")[len(self._tail) :]
        self._tail = joined[-2:]
        return stuffed

    def end(self) -> bytes:
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"
