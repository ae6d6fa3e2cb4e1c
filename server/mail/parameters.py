"""Content-Type, Content-Disposition and their parameters (RFC 2045 §5.1, RFC 2183 §2, RFC 2231).

Values stay as they stand, octets as latin-1, so that BODYSTRUCTURE can pass them on; `decoded` reads one for a person.
Comments are dropped. The first of two equal parameters counts, and that there were two is told.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from server.base.limits import MIME_PARAMETERS
from server.mail import headers

Parameters = tuple[tuple[str, str], ...]

_ATOM = r"[^\s\x00-\x1f()<>@,;:\\\"/\[\]?=]++"
_TYPE = re.compile(rf"\s*+({_ATOM})\s*+/\s*+({_ATOM})\s*+(?=;|$)")
_WORD = re.compile(rf"\s*+({_ATOM})\s*+(?=;|$)")
_PARAMETER = re.compile(
    rf'\s*+;\s*+(?:({_ATOM})\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)(?:"|$)|([^\s;"]++))\s*+(?=;|$))?+', re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COMMENT_STEP = re.compile(r'"(?:[^"\\]|\\.)*+"?+|\\.|[()]', re.DOTALL)
_SECTION = re.compile(r"\*([0-9]{1,2})(\*?)")


class Fault(Enum):
    """What is wrong with a value that could still be read."""

    BAD = auto()
    TWICE = auto()
    TOO_MANY = auto()


class Parsed(NamedTuple):
    """A value before its parameters ("text/plain", "attachment", "" when it cannot be read), and those."""

    value: str
    parameters: Parameters
    faults: frozenset[Fault]


_NONE: frozenset[Fault] = frozenset()


def content_type(value: str) -> Parsed:
    """A Content-Type: value is "type/subtype" in lower case."""
    if "(" in value:
        value = _without_comments(value)
    match = _TYPE.match(value)
    if match is None:
        return Parsed("", (), frozenset({Fault.BAD}))
    return _parameters(f"{match[1]}/{match[2]}".lower(), value, match.end())


def disposition(value: str) -> Parsed:
    """A Content-Disposition: value is the disposition in lower case."""
    if "(" in value:
        value = _without_comments(value)
    match = _WORD.match(value)
    if match is None:
        return Parsed("", (), frozenset({Fault.BAD}))
    return _parameters(match[1].lower(), value, match.end())


def _parameters(word: str, value: str, at: int) -> Parsed:
    found: dict[str, str] = {}
    faults: set[Fault] = set()
    end = len(value)
    read = 0
    while at < end:
        match = _PARAMETER.match(value, at)
        read += 1
        if read > MIME_PARAMETERS:
            faults.add(Fault.TOO_MANY)
            break
        if match is None or (match[1] is None and value[match.end() : match.end() + 1] not in ("", ";")):
            # Not a parameter: go on behind the next semicolon, as readers do.
            faults.add(Fault.BAD)
            at = value.find(";", at + 1)
            if at < 0:
                break
            continue
        at = match.end()
        if match[1] is None:
            continue
        name = match[1].lower()
        if name in found:
            faults.add(Fault.TWICE)
            continue
        quoted = match[2]
        if quoted is not None and value[match.end(2) : match.end(2) + 1] != '"':
            faults.add(Fault.BAD)
        found[name] = match[3] if quoted is None else _ESCAPE.sub(r"\1", quoted) if "\\" in quoted else quoted
    return Parsed(word, tuple(found.items()), frozenset(faults) if faults else _NONE)


def _without_comments(value: str) -> str:
    """RFC 822 §3.4.3: comments nest, and stand for white space; inside quotes a parenthesis is one."""
    kept: list[str] = []
    depth = at = 0
    for match in _COMMENT_STEP.finditer(value):
        sign = match[0]
        if sign == "(":
            if depth == 0:
                kept.append(value[at : match.start()])
            depth += 1
        elif sign == ")" and depth:
            depth -= 1
            at = match.end()
    if depth == 0:
        kept.append(value[at:])
    return " ".join(kept)


def get(parameters: Parameters, name: str) -> str | None:
    """The value of the plain parameter `name`, as it stands."""
    for key, value in parameters:
        if key == name:
            return value
    return None


def encoded(parameters: Parameters, name: str) -> bool:
    """Whether `name` is given in pieces or with a charset (RFC 2231)."""
    return any(key.startswith(name + "*") for key, _ in parameters)


def decoded(parameters: Parameters, name: str) -> str | None:
    """The text of the parameter `name`: RFC 2231 pieces joined and decoded, else RFC 2047 words as many still send."""
    pieces: dict[int, tuple[bool, str]] = {}
    for key, value in parameters:
        if key == f"{name}*":
            return headers.printable(_charset_text([(True, value)]))
        if key.startswith(f"{name}*") and (match := _SECTION.fullmatch(key, len(name))):
            pieces.setdefault(int(match[1]), (bool(match[2]), value))
    if 0 in pieces:
        # RFC 2231 §3: from 0 on without a gap.
        run: list[tuple[bool, str]] = []
        while len(run) in pieces:
            run.append(pieces[len(run)])
        return headers.printable(_charset_text(run))
    plain = get(parameters, name)
    return None if plain is None else headers.decode(plain)


def _charset_text(pieces: list[tuple[bool, str]]) -> str:
    # RFC 2231 §4: charset'language'%-encoded octets; only the first piece names the charset.
    label = ""
    octets = bytearray()
    for number, (is_encoded, value) in enumerate(pieces):
        if is_encoded and number == 0 and value.count("'") >= 2:
            label, _, value = value.split("'", 2)
        octets += (
            unquote_to_bytes(value.encode("latin-1", "replace")) if is_encoded else value.encode("latin-1", "replace")
        )
    return headers.text(bytes(octets), label or "utf-8")
