"""One request to a server elsewhere, over HTTP or HTTPS: bounded in size and time, no redirect, no compression.

Sans-IO by h11. What is asked, and which answers are of use, is the caller's: `fetcher/http.py` takes documents,
`relying/provider.py` talks to identity providers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import h11

PORTS: Final = {"http": 80, "https": 443}
SECONDS: Final = 60.0  # the whole exchange: 8 MB over a line of 1 Mbit/s
PIECE: Final = 64 * 1024


class NotFetched(Exception):
    """Nothing came that can be used; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by name in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    data: bytes = field(repr=False)


async def ask(
    url: str,
    tls: ssl.SSLContext,
    largest: int,
    *,
    headers: Mapping[str, str] | None = None,
    post: tuple[str, bytes] | None = None,
    check: Callable[[int, Mapping[bytes, bytes]], None] | None = None,
    seconds: float = SECONDS,
) -> Answer:
    """GET, or POST of (content type, body). `check` may raise NotFetched before the body is read. Raises NotFetched."""
    try:
        place = urlsplit(url)
        host, port = place.hostname or "", place.port or PORTS.get(place.scheme, 0)
    except ValueError:
        host, port = "", 0
    if not host or not port or place.username is not None:
        raise NotFetched("this is no address of a document.")
    target = f"{place.path or '/'}{'?' + place.query if place.query else ''}"
    told = {"Host": place.netloc, "User-Agent": "Caducee", "Accept-Encoding": "identity", "Connection": "close"}
    told |= headers or {}
    if post is not None:
        told |= {"Content-Type": post[0], "Content-Length": str(len(post[1]))}
    try:
        request = h11.Request(method="GET" if post is None else "POST", target=target, headers=list(told.items()))
        async with asyncio.timeout(seconds):
            secure = tls if place.scheme == "https" else None
            reader, writer = await asyncio.open_connection(host, port, limit=PIECE, ssl=secure)
            try:
                return await _exchange(reader, writer, request, post[1] if post else b"", largest, check)
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


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: h11.Request,
    body: bytes,
    largest: int,
    check: Callable[[int, Mapping[bytes, bytes]], None] | None,
) -> Answer:
    wire = h11.Connection(h11.CLIENT)
    writer.write(wire.send(request) or b"")
    if body:
        writer.write(wire.send(h11.Data(data=body)) or b"")
    writer.write(wire.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    data, status, headers = bytearray(), 0, dict[bytes, bytes]()
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(PIECE))
        elif isinstance(event, h11.Response):
            status, headers = event.status_code, dict(event.headers)
            if check is not None:
                check(status, headers)
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise NotFetched("the document is compressed, which was not asked for.")
            if int(headers.get(b"content-length", b"0")) > largest:
                raise NotFetched("the document is too large.")
        elif isinstance(event, h11.Data):
            data += event.data
            if len(data) > largest:
                raise NotFetched("the document is too large.")
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, bytes(data))
        elif not isinstance(event, h11.InformationalResponse):
            raise NotFetched("the connection was lost.")
