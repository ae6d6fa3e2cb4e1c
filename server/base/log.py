"""Structured logs: one JSON line an event, control characters escaped, no health data.

Callers name the event and give facts; they format nothing. A patient's address holds the INS, so an address reaches a
log only through `Pseudonyms.of` (docs/security.md, Logs).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

Log = structlog.stdlib.BoundLogger


def configure(role: str, stream: TextIO | None = None, level: str = "INFO") -> Any:
    """Set up JSON lines on `stream` (standard error by default) and return the role's logger."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exception_without_values,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_LibraryFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    return structlog.get_logger(role=role)


def _exception_without_values(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace `error=exception` by its type and place: the text of an exception may quote what a person wrote."""
    error = event.get("error")
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        sqlstate = getattr(error, "sqlstate", None)
        if sqlstate:
            event["sqlstate"] = sqlstate
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        if frame is not None:
            event["at"] = f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}"
    return event


_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_PSEUDONYM = re.compile(r"p-([a-z2-7]{16})@\S+")
_LONG_NUMBER = re.compile(r"[0-9]{11}")  # an RPPS has 11 digits, an INS 13 and more


class _LibraryFormatter(logging.Formatter):
    """What a library logs: its name, the level, an exception's type and place. Its words may quote a person's."""

    def format(self, record: logging.LogRecord) -> str:
        event: MutableMapping[str, Any] = {"library": record.name, "level": record.levelname.lower()}
        if record.exc_info and record.exc_info[1] is not None:
            event["error"] = record.exc_info[1]
            event = _exception_without_values(None, "", event)
        return json.dumps(event)


class Pseudonyms:
    """Names of people for logs, metrics and reply texts: `p-<base32 of a keyed hash>@domain`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, address: str) -> str:
        """The pseudonym of an address; the domain stays, since it names an operator and not a person.

        What follows the last @ stays only when it can be a domain: a stranger may write anything there, an INS too.
        """
        _, at, domain = address.lower().rpartition("@")
        if not at or not _DOMAIN.fullmatch(domain) or _LONG_NUMBER.search(domain):
            domain = "-"
        return f"p-{base64.b32encode(self.octets(address)).decode().lower()}@{domain}"

    def octets(self, address: str) -> bytes:
        """The ten octets that a pseudonym shows."""
        name = address.lower().encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, b"pseudonym\0" + name, hashlib.sha256)[:10]


def octets_of(pseudonym: str) -> bytes | None:
    """The octets that a pseudonym shows; None when the text is none."""
    shown = _PSEUDONYM.fullmatch(pseudonym)
    return base64.b32decode(shown[1].upper()) if shown else None
