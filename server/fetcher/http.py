"""One request to a server elsewhere, over HTTP or HTTPS: bounded in size and time, no redirect, no compression.

Sans-IO by h11. The server's certificate leads to the trust space's own anchors and has the name that was asked for;
over plain HTTP come only documents that are signed themselves (RFC 5280 §8: lists are published so).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import h11

from server.trust.sources import WEB_PORTS

SECONDS: Final = 60.0  # the whole exchange: 8 MB over a line of 1 Mbit/s
PIECE: Final = 64 * 1024
VALIDATOR: Final = 300  # characters of an ETag worth keeping
ETAG, DATE = "etag ", "date "


class NotFetched(Exception):
    """Nothing came that can be used; the text says why, for the operator."""


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
    try:
        place = urlsplit(url)
        host, port = place.hostname or "", place.port or WEB_PORTS.get(place.scheme, 0)
    except ValueError:
        host, port = "", 0
    if not host or not port or place.username is not None:
        raise NotFetched("this is no address of a document.")
    target = f"{place.path or '/'}{'?' + place.query if place.query else ''}"
    headers = [("Host", place.netloc), ("User-Agent", "Caducee"), ("Accept-Encoding", "identity")]
    headers += [("Connection", "close"), *_condition(validator)]
    if post is not None:
        headers += [("Content-Type", post[0]), ("Content-Length", str(len(post[1])))]
    try:
        request = h11.Request(method="GET" if post is None else "POST", target=target, headers=headers)
        async with asyncio.timeout(seconds):
            secure = tls if place.scheme == "https" else None
            reader, writer = await asyncio.open_connection(host, port, limit=PIECE, ssl=secure)
            try:
                return await _exchange(reader, writer, request, post[1] if post else b"", largest, bool(validator))
            finally:
                writer.close()
                with contextlib.suppress(OSError, ssl.SSLError):
                    await writer.wait_closed()
    except TimeoutError:
        raise NotFetched(f"the server did not answer within {seconds:g} seconds.") from None
    except ssl.SSLCertVerificationError as error:
        raise NotFetched(f"the server's certificate does not hold: {error.verify_message}.") from None
    except (OSError, ssl.SSLError) as error:
        raise NotFetched(f"the server cannot be reached ({error.strerror or type(error).__name__}).") from None
    except (h11.ProtocolError, UnicodeError):
        raise NotFetched("the server speaks no HTTP.") from None


def _condition(validator: str) -> list[tuple[str, str]]:
    # RFC 9110 §13.1.2, §13.1.3
    if validator.startswith(ETAG):
        return [("If-None-Match", validator.removeprefix(ETAG))]
    return [("If-Modified-Since", validator.removeprefix(DATE))] if validator else []


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: h11.Request,
    body: bytes,
    largest: int,
    conditional: bool,
) -> Fetched:
    wire = h11.Connection(h11.CLIENT)
    writer.write(wire.send(request) or b"")
    if body:
        writer.write(wire.send(h11.Data(data=body)) or b"")
    writer.write(wire.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    data, found = bytearray(), ""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(PIECE))
        elif isinstance(event, h11.Response):
            found = _validator(event)
            if event.status_code == 304 and conditional:
                return Fetched(None, found)
            _check(event, largest)
        elif isinstance(event, h11.Data):
            data += event.data
            if len(data) > largest:
                raise NotFetched("the document is too large.")
        elif isinstance(event, h11.EndOfMessage):
            return Fetched(bytes(data), found)
        elif not isinstance(event, h11.InformationalResponse):
            raise NotFetched("the connection was lost.")


def _check(response: h11.Response, largest: int) -> None:
    """Raises NotFetched for what is not simply a document of a size that fits."""
    if 300 <= response.status_code < 400:
        raise NotFetched(f"the server answers {response.status_code}: redirects are not followed, correct the address.")
    if response.status_code != 200:
        raise NotFetched(f"the server answers {response.status_code}.")
    headers = dict(response.headers)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise NotFetched("the document is compressed, which was not asked for.")
    if int(headers.get(b"content-length", b"0")) > largest:
        raise NotFetched("the document is too large.")


def _validator(response: h11.Response) -> str:
    """What to ask with the next time: the ETag, else the date of the last change."""
    headers = dict(response.headers)
    for kind, name in ((ETAG, b"etag"), (DATE, b"last-modified")):
        value = headers.get(name, b"").decode("latin-1")
        if value and value.isascii() and value.isprintable() and len(value) <= VALIDATOR:
            return kind + value
    return ""
