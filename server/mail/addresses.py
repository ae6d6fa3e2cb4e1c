"""Addresses: lists in header fields (RFC 5322 §3.4), paths of an envelope (RFC 5321 §4.1.2, RFC 6531 §3.3), look-up.

Header fields are read leniently and bounded, paths to the letter. `normalise` gives the one form that is compared and
looked up: two spellings of one mailbox give the same text, whether its domain is written in Unicode or in ASCII.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import NamedTuple

import idna

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import ADDRESS, MIME_ADDRESSES
from server.mail import headers

_LOCAL = 64  # octets, RFC 5321 §4.5.3.1.1
_DOMAIN = 255  # octets, RFC 5321 §4.5.3.1.2

_TOKEN_OF_LIST = re.compile(r'\s++|"(?:[^"\\]|\\.)*+"?+|\[[^\]\[]*+\]?+|[<>@,;:()\]]|[^\s<>@,;:"()\[\]]++', re.DOTALL)
# One address as nearly every message has it: atoms, then <dot-atom@dot-atom>.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_SIMPLE = re.compile(rf"(?:({_ATOM}(?: {_ATOM})*+) )?+<({_ATOM}(?:\.{_ATOM})*+)@({_ATOM}(?:\.{_ATOM})*+)>")
_COMMENT_STEP = re.compile(r"\\.|[()]", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# RFC 5321 §4.1.2 with RFC 6531 §3.3: atext and every character past ASCII.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]"
_DOT_STRING = re.compile(rf"{_ATEXT}++(?:\.{_ATEXT}++)*+")
_QUOTED_STRING = re.compile(r'"((?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*+)"')
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PATH = re.compile(r'((?:"(?:[^"\\]|\\.)*+"|[^"@\s]++))@(\S++)', re.DOTALL)


class Entry(NamedTuple):
    """One entry of an address list as ENVELOPE tells it (RFC 9051 §7.5.2), raw, octets as latin-1.

    A group begins with (None, its name, None) and ends with (None, None, None).
    """

    name: str | None
    local: str | None
    domain: str | None
    route: str | None = None  # obsolete (RFC 5322 §4.4), and told as it stands


class Mailbox(NamedTuple):
    """A mailbox: display name decoded ("" for none), local part without quotes, domain as written."""

    name: str
    local: str
    domain: str

    @classmethod
    def of(cls, name: str, address: str) -> Mailbox:
        """A mailbox with this display name at this address. Raises ProtocolViolation(BAD_ADDRESS)."""
        mailbox = parse_path(address)
        if mailbox is None:
            raise ProtocolViolation(Reason.BAD_ADDRESS, "an address is missing")
        return mailbox._replace(name=name)

    @property
    def address(self) -> str:
        """local@domain, quoted where it must be."""
        return f"{_quoted_local(self.local)}@{self.domain}"


def parse(value: str) -> list[Mailbox]:
    """The mailboxes of an unfolded address-list value (octets as latin-1), those in groups too; at most 1,000."""
    return mailboxes(entries(value))


def mailboxes(found: list[Entry]) -> list[Mailbox]:
    """The mailboxes among the entries of a list, decoded."""
    return [
        Mailbox(headers.decode(entry.name or ""), headers.utf8(entry.local or ""), headers.utf8(entry.domain))
        for entry in found
        if entry.domain
    ]


def entries(value: str) -> list[Entry]:
    """The entries of an unfolded address-list value, at most 1,000; what is no address has an empty domain."""
    simple = _SIMPLE.fullmatch(value)
    if simple is not None:
        return [Entry(simple[1], simple[2], simple[3])]
    return _List(value).read()


class _List:
    """Reads an address list in one pass. What it meets is gathered, and judged at the next comma."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.entries: list[Entry] = []
        self.in_group = False
        self.clear()

    def clear(self) -> None:
        self.words: list[str] = []  # with the space between them
        self.at = -1  # words before the last "@"
        self.comment = ""
        self.angle: list[str] | None = None
        self.angle_at = -1
        self.route: str | None = None
        self.in_angle = False

    def read(self) -> list[Entry]:
        value, at, end = self.value, 0, len(self.value)
        while at < end and len(self.entries) < MIME_ADDRESSES:
            match = _TOKEN_OF_LIST.match(value, at)
            if match is None:
                at += 1
                continue
            sign, start, at = match[0], at, match.end()
            if sign == "(":
                at = _comment_end(value, start)
                self.comment = self.comment or value[start + 1 : at - 1].strip()
            else:
                self.take(sign)
        if len(self.entries) < MIME_ADDRESSES:
            self.flush()
            if self.in_group:
                self.entries.append(Entry(None, None, None))
        return self.entries

    def take(self, sign: str) -> None:
        if self.in_angle and self.angle is not None:
            self.take_in_angle(sign, self.angle)
        elif sign == "<" and self.angle is None:
            self.angle, self.in_angle = [], True
        elif sign == ",":
            self.flush()
        elif sign == ";":
            self.flush()
            if self.in_group:
                self.entries.append(Entry(None, None, None))
                self.in_group = False
        elif sign == ":" and self.at < 0 and self.angle is None and not self.in_group:
            self.entries.append(Entry(None, _phrase(self.words), None))
            self.clear()
            self.in_group = True
        elif self.angle is None:
            if sign == "@":
                self.at = len(self.words)
            self.words.append(sign)

    def take_in_angle(self, sign: str, angle: list[str]) -> None:
        if sign == ">":
            self.in_angle = False
        elif sign == ":":
            # obs-route (RFC 5322 §4.4): what stood before is not the address.
            self.route = "".join(angle) or None
            angle.clear()
            self.angle_at = -1
        elif not sign.isspace():
            if sign == "@":
                self.angle_at = len(angle)
            angle.append(sign)

    def flush(self) -> None:
        """What was gathered is one entry, if it is any."""
        if self.angle is not None:
            local, domain = _split(self.angle, self.angle_at)
            self.entries.append(Entry(_phrase(self.words) or self.comment or None, local, domain, self.route))
        elif self.at >= 0:
            local, domain = _split(self.words, self.at)
            self.entries.append(Entry(self.comment or None, local, domain))
        elif phrase := _phrase(self.words):
            self.entries.append(Entry(self.comment or None, phrase, ""))
        self.clear()


def _comment_end(value: str, start: int) -> int:
    """Offset past the comment that begins at `start`; they nest (RFC 5322 §3.2.2). Unended: the end of the value."""
    depth = 0
    for match in _COMMENT_STEP.finditer(value, start):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if depth == 0:
                return match.end()
    return len(value)


def _phrase(words: list[str]) -> str:
    return "".join(" " if word.isspace() else _unquoted(word) for word in words).strip()


def _split(words: list[str], at: int) -> tuple[str, str]:
    if at < 0:
        return _phrase(words), ""
    local = "".join(_unquoted(word) for word in words[:at] if not word.isspace())
    return local, "".join(word for word in words[at + 1 :] if not word.isspace())


def _unquoted(word: str) -> str:
    if not word.startswith('"'):
        return word
    word = word[1:-1] if len(word) > 1 and word.endswith('"') else word[1:]
    return _ESCAPE.sub(r"\1", word) if "\\" in word else word


def _quoted_local(local: str) -> str:
    if _DOT_STRING.fullmatch(local):
        return local
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_path(path: str) -> Mailbox | None:
    """The mailbox of MAIL or RCPT, with or without its brackets; None for the null path <>.

    Raises ProtocolViolation(BAD_ADDRESS): not the grammar of RFC 5321 §4.1.2, or longer than §4.5.3.1 allows.
    """
    if path.startswith("<") and path.endswith(">"):
        path = path[1:-1]
    if not path:
        return None
    match = _PATH.fullmatch(path)
    if match is None or len(path.encode("utf-8", "replace")) > ADDRESS:
        raise ProtocolViolation(Reason.BAD_ADDRESS, "not an address")
    local, domain = match[1], match[2]
    if quoted := _QUOTED_STRING.fullmatch(local):
        plain = _ESCAPE.sub(r"\1", quoted[1])
    elif _DOT_STRING.fullmatch(local):
        plain = local
    else:
        raise ProtocolViolation(Reason.BAD_ADDRESS, "the part before the @ is malformed")
    if len(local.encode("utf-8", "replace")) > _LOCAL:
        raise ProtocolViolation(Reason.BAD_ADDRESS, "the part before the @ is too long")
    if not (_is_literal(domain) or _is_domain(domain)):
        raise ProtocolViolation(Reason.BAD_ADDRESS, "the domain is malformed")
    return Mailbox("", plain, domain)


def valid(address: str) -> bool:
    """Whether this is an address by the grammar of RFC 5321 and RFC 6531."""
    try:
        return parse_path(address) is not None and not address.startswith("<")
    except ProtocolViolation:
        return False


def _is_literal(domain: str) -> bool:
    # RFC 5321 §4.1.3; general address literals have no tag that is standardised.
    if not (domain.startswith("[") and domain.endswith("]")):
        return False
    inner = domain[1:-1]
    try:
        if inner[:5].upper() == "IPV6:":
            return ipaddress.IPv6Address(inner[5:]).scope_id is None
        ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return True


def _is_domain(domain: str) -> bool:
    ascii_form = ascii_domain(domain)
    if ascii_form is None or len(ascii_form) > _DOMAIN:
        return False
    return all(_LABEL.fullmatch(label) for label in ascii_form.split("."))


def ascii_domain(domain: str) -> str | None:
    """The domain in lower-case ASCII (IDNA 2008: RFC 5891, mapped by UTS #46); None where it has no such form."""
    if domain.isascii():
        return domain.lower()
    if len(domain) > _DOMAIN:
        return None
    try:
        return idna.encode(domain, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return None


def normalise(address: str) -> str:
    """The one form of an address that is compared and looked up. Never raises: what is no address is only folded.

    The domain becomes ASCII in lower case; the local part NFC (RFC 6532 §3.1), lower case, without needless quotes: two
    mailboxes must not differ by case alone, though RFC 5321 §2.4 would let them.
    """
    address = address.strip()
    match = _PATH.fullmatch(address)
    if match is None:
        return _folded(address)
    local, domain = match[1], match[2]
    if quoted := _QUOTED_STRING.fullmatch(local):
        local = _quoted_local(_folded(_ESCAPE.sub(r"\1", quoted[1])))
    else:
        local = _folded(local)
    return f"{local}@{ascii_domain(domain) or _folded(domain)}"


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
