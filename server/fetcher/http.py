"""A document of the trust space from elsewhere: only when it changed, and nothing but a document.

The server's certificate leads to the trust space's own anchors and has the name that was asked for; over plain HTTP
come only documents that are signed themselves (RFC 5280 §8: lists are published so).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from server.base.https import SECONDS, NotFetched, ask

VALIDATOR: Final = 300  # characters of an ETag worth keeping
ETAG, DATE = "etag ", "date "


@dataclass(frozen=True, slots=True)
class Fetched:
    """`data` is None where the server says that nothing changed. `validator` asks for that the next time."""

    data: bytes | None = field(repr=False)
    validator: str


async def fetch(
    url: str,
    tls: ssl.SSLContext,
    largest: int,
    *,
    validator: str = "",
    post: tuple[str, bytes] | None = None,
    seconds: float = SECONDS,
) -> Fetched:
    """GET, or POST of (content type, body). Raises NotFetched."""

    def check(status: int, headers: Mapping[bytes, bytes]) -> None:
        if status == 304 and validator:
            return
        if 300 <= status < 400:
            raise NotFetched(f"the server answers {status}: redirects are not followed, correct the address.")
        if status != 200:
            raise NotFetched(f"the server answers {status}.")

    answer = await ask(url, tls, largest, headers=_condition(validator), post=post, check=check, seconds=seconds)
    return Fetched(None if answer.status == 304 else answer.data, _validator(answer.headers))


def _condition(validator: str) -> dict[str, str]:
    # RFC 9110 §13.1.2, §13.1.3
    if validator.startswith(ETAG):
        return {"If-None-Match": validator.removeprefix(ETAG)}
    return {"If-Modified-Since": validator.removeprefix(DATE)} if validator else {}


def _validator(headers: Mapping[bytes, bytes]) -> str:
    """What to ask with the next time: the ETag, else the date of the last change."""
    for kind, name in ((ETAG, b"etag"), (DATE, b"last-modified")):
        value = headers.get(name, b"").decode("latin-1")
        if value and value.isascii() and value.isprintable() and len(value) <= VALIDATOR:
            return kind + value
    return ""
