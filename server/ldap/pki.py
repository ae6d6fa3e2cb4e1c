"""What our own authority publishes, over plain HTTP as validators expect it (RFC 5280 §4.2.1.13).

    GET /root.crl, /root.cer      the revocation list and the authority's certificate, DER
    POST /ocsp, GET /ocsp/…       answers of the responder (RFC 6960 Appendix A, RFC 5019 §5)

One request a connection, bounded in octets and in time; everything said is signed, so TLS would add nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import email.utils
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import h11
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.errors import CryptoError
from crypto.pki.authority import issued_file, list_file
from crypto.pki.issue import Issued
from crypto.pki.responder import REQUEST_BYTES, Responder
from server.base import clock
from server.base.limits import PKI_CONNECTIONS, PKI_SECONDS

_READ_BYTES: Final = 4_096
_HEADER_BYTES: Final = 16 * 1024  # an OCSP request stands in the path of a GET
_RESPONSE: Final = "application/ocsp-response"
_GONE: Final = (ConnectionError, TimeoutError)

Answer = tuple[HTTPStatus, str, bytes, datetime | None]
_NOTHING: Answer = (HTTPStatus.NOT_FOUND, "text/plain", b"", None)


class Publisher:
    """Answers to requests, without sockets. A folder without an authority or a responder gives 404."""

    def __init__(self, folder: Path, now: Callable[[], datetime] = clock.now) -> None:
        self._list = list_file(folder)
        self._now = now
        self._authority: x509.Certificate | None = None
        self._responder: Responder | None = None
        with suppress(OSError, ValueError):
            self._authority = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
        with suppress(CryptoError):
            if self._authority is not None:
                signer = Issued.load(folder, "responder")
                self._responder = Responder(self._authority, signer, self._list, issued_file(folder))

    def answer(self, method: bytes, path: bytes, body: bytes) -> Answer:
        """Status, type, octets, and until when they may be kept."""
        if method in (b"GET", b"HEAD"):
            if path == b"/root.crl":
                return self._crl()
            if path == b"/root.cer" and self._authority is not None:
                der = self._authority.public_bytes(Encoding.DER)
                return HTTPStatus.OK, "application/pkix-cert", der, None
            if path.startswith(b"/ocsp/"):
                try:
                    body = base64.b64decode(unquote_to_bytes(path.removeprefix(b"/ocsp/")), validate=True)
                except binascii.Error:
                    body = b""
                return self._ocsp(body)
            return _NOTHING
        if method == b"POST":
            return self._ocsp(body) if path == b"/ocsp" else _NOTHING
        return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"", None

    def _crl(self) -> Answer:
        try:
            return HTTPStatus.OK, "application/pkix-crl", self._list.read_bytes(), None
        except OSError:
            return _NOTHING

    def _ocsp(self, request: bytes) -> Answer:
        if self._responder is None:
            return _NOTHING
        answered = self._responder.answer(request, self._now())
        return HTTPStatus.OK, _RESPONSE, answered.response, answered.keep_until


class PkiServer:
    """The sockets around a Publisher."""

    def __init__(self, publisher: Publisher, log: Any) -> None:
        self._publisher = publisher
        self._log = log
        self._open = 0

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if self._open >= PKI_CONNECTIONS:
            writer.close()
            return
        self._open += 1
        try:
            async with asyncio.timeout(PKI_SECONDS):
                await self._serve(reader, writer)
        except _GONE:
            pass
        except Exception as error:
            self._log.error("pki_connection_failed", error=error)
        finally:
            self._open -= 1
            writer.close()
            with suppress(*_GONE):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        request: h11.Request | None = None
        body = b""
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(await reader.read(_READ_BYTES))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > REQUEST_BYTES:
                        answer: Answer = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain", b"", None)
                        break
                elif isinstance(event, h11.EndOfMessage) and request is not None:
                    answer = self._publisher.answer(request.method, request.target.partition(b"?")[0], body)
                    break
                else:
                    return
        except h11.RemoteProtocolError as error:
            answer = (HTTPStatus(error.error_status_hint), "text/plain", b"", None)
        if http.our_state in (h11.SEND_RESPONSE, h11.IDLE):
            writer.write(_written(http, *answer))
            await writer.drain()


def _written(http: h11.Connection, status: HTTPStatus, kind: str, body: bytes, until: datetime | None) -> bytes:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
    now = clock.now()
    headers.append(("Date", email.utils.format_datetime(now, usegmt=True)))
    if until is not None:
        # RFC 5019 §6.2: caches keep an answer no longer than it holds.
        seconds = max(0, int((until - now).total_seconds()))
        headers.append(("Expires", email.utils.format_datetime(until, usegmt=True)))
        headers.append(("Cache-Control", f"max-age={seconds}, public, no-transform, must-revalidate"))
    elif kind == _RESPONSE:
        headers.append(("Cache-Control", "no-store"))
    parts = [http.send(h11.Response(status_code=status, headers=headers))]
    parts += [http.send(h11.Data(data=body)), http.send(h11.EndOfMessage())]
    return b"".join(part for part in parts if part)
