"""Arguments of MAIL and RCPT: a path and its parameters (RFC 5321 §4.1.2, RFC 6531 §3.3); of BDAT: a chunk (RFC 3030
§2). Pure text, no policy.

    Reverse-path = "<" [ A-d-l ":" ] Mailbox ">"  /  "<>"
    Mail-parameters = esmtp-param *(SP esmtp-param)
    esmtp-param = esmtp-keyword ["=" esmtp-value]
    bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] CRLF ;  end-marker = "LAST"

Whether what stands between the brackets is an address is for server.mail.addresses; here only the brackets are found,
quotes and all. One deviation, as every server has it: space after the colon is taken.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import ADDRESS

# A quoted string may hold ">" and a space; nothing else may.
_PATH = re.compile(r' ?<((?:"(?:[^"\\]|\\.)*"|[^"<>\s])*)>(?: +(\S.*))?', re.DOTALL)
# RFC 5321 Appendix F.2: a source route must be taken and should be ignored.
_SOURCE_ROUTE = re.compile(r"@[^:\"]+:")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
_BURL = re.compile(r"([!-~]{1,2000}?)( LAST)?", re.IGNORECASE)
_SUBMITS = re.compile(r";URLAUTH=submit\+([^:/;?#]+):INTERNAL:[0-9a-f]+\Z", re.IGNORECASE)
_CHUNK = re.compile(r"([0-9]{1,20})( LAST)?", re.IGNORECASE)


class Path(NamedTuple):
    """What MAIL or RCPT names: the address between the brackets ("" for <>), parameters by upper-case keyword."""

    address: str
    parameters: dict[str, str]


class Chunk(NamedTuple):
    """What BDAT announces: so many octets follow its line, and whether the message ends with them."""

    octets: int
    last: bool


class Burl(NamedTuple):
    """A URL to be sent; `holder` is whose submission may use it, "" for nobody's."""

    url: bytes
    holder: str
    last: bool


def parse(argument: str, keyword: str) -> Path:
    """Parse the argument of MAIL (`keyword` "FROM:") or RCPT ("TO:"), its stray octets as surrogates (PEP 383).

    Raises ProtocolViolation: MALFORMED for the form, BAD_ADDRESS for an address too long or no UTF-8.
    """
    head, rest = argument[: len(keyword)], argument[len(keyword) :]
    match = _PATH.fullmatch(rest)
    if head.upper() != keyword or match is None:
        raise ProtocolViolation(Reason.MALFORMED, f"form is {keyword}<address>")
    address = match[1]
    if route := _SOURCE_ROUTE.match(address):
        address = address[route.end() :]
    try:
        octets = len(address.encode())
    except UnicodeEncodeError:
        raise ProtocolViolation(Reason.BAD_ADDRESS, "address is not UTF-8") from None
    if octets > ADDRESS:
        raise ProtocolViolation(Reason.BAD_ADDRESS, "address too long")
    return Path(address, _parameters(match[2] or ""))


def chunk(argument: str) -> Chunk:
    """Parse the argument of BDAT. Raises ProtocolViolation MALFORMED: then nobody knows where the next command is."""
    match = _CHUNK.fullmatch(argument)
    if match is None:
        raise ProtocolViolation(Reason.MALFORMED, "form is BDAT octets [LAST]")
    return Chunk(int(match[1]), match[2] is not None)


def burl(argument: str) -> Burl:
    """Parse the argument of BURL (RFC 4468 §3.1). Raises ProtocolViolation MALFORMED."""
    match = _BURL.fullmatch(argument)
    if match is None:
        raise ProtocolViolation(Reason.MALFORMED, "form is BURL url [LAST]")
    # RFC 4467 §3: who may use it stands before the mechanism and the token.
    access = _SUBMITS.search(match[1])
    return Burl(match[1].encode(), unquote(access[1]).lower() if access else "", match[2] is not None)


def _parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in parameters:
            raise ProtocolViolation(Reason.MALFORMED, "parameters malformed")
        parameters[match[1].upper()] = match[2] or ""
    return parameters
