"""What stands before every page: the Host header, the size and time of a request, the headers of every answer.

Pure ASGI, so that it holds for whatever route comes later. Nothing unexpected passes it: an exception of ours becomes
"try again" on the wire and one private log line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.base.errors import ProtocolViolation, Reason, Refused, TryLater
from server.base.limits import WEB_BODY_BYTES, WEB_REQUEST_SECONDS

# Nothing inline, nothing from elsewhere, no frame around us; forms go only to us. Attachments bring their own policy.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The page a link was followed from is told to nobody else; the language switch needs it to come back.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_UNLESS_SAID = {
    "Content-Security-Policy": PAGE_POLICY,
    # Pages hold health data: neither a proxy nor the browser's disk keeps them.
    "Cache-Control": "no-store",
}

Failure = Callable[[Scope, BaseException], Awaitable[ASGIApp]]


class Guard:
    """ASGI middleware. `hosts` are the names (without port) that a browser may ask for; `failed` makes the answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], failed: Failure) -> None:
        self._app = app
        self._hosts = hosts
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served")
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _dress(MutableHeaders(scope=message))
            await send(message)

        try:
            async with asyncio.timeout(WEB_REQUEST_SECONDS):
                self._check(Headers(scope=scope))
                await self._app(scope, _bounded(receive), answer)
        except Exception as error:
            response = await self._failed(scope, _known(error))
            if not started:  # else the answer is cut short: the client sees that it is not whole
                await response(scope, receive, answer)

    def _check(self, headers: Headers) -> None:
        names = headers.getlist("host")
        # RFC 9112 §3.2: exactly one Host; and one of ours, so that no link of ours ever leads elsewhere.
        if len(names) != 1 or _host(names[0]) not in self._hosts:
            raise ProtocolViolation(Reason.MALFORMED, "This server has no such name.")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise ProtocolViolation(Reason.MALFORMED, "Content-Length is not a number.")
        if int(length) > WEB_BODY_BYTES:
            raise Refused(Reason.TOO_LARGE, "The request is too large.")


def same_origin(request: Request) -> None:
    """Raise Refused(NOT_ALLOWED) when the browser says that another site's page sent this (Fetch, §3.2 and §5)."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    ours = origin is None or urlsplit(origin)[:2] == ("https", request.headers["host"])
    if site not in ("same-origin", "none") or not ours:
        raise Refused(Reason.NOT_ALLOWED, "This request came from another site.")


def _host(value: str) -> str:
    """The name in a Host header, without its port, in lower case."""
    name = value.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


def _bounded(receive: Receive) -> Receive:
    """`receive` that refuses a body larger than WEB_BODY_BYTES, however it is sent."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > WEB_BODY_BYTES:
            raise Refused(Reason.TOO_LARGE, "The request is too large.")
        return message

    return bounded


def _dress(headers: MutableHeaders) -> None:
    for name, value in _ALWAYS.items():
        headers[name] = value
    for name, value in _UNLESS_SAID.items():
        headers.setdefault(name, value)


def _known(error: Exception) -> BaseException:
    if isinstance(error, TimeoutError):
        return TryLater(Reason.BUSY, "The server took too long.")
    return error
