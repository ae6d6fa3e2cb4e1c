"""What the edges ask the role `identity`, and how: one question a connection to the Unix socket run/identity.sock.

A question and its answer are each four octets of length and an object of JSON, no longer than LARGEST. An answer is
what was asked for, or {"fault": …} (NotProven), or {"away": true} when the provider does not answer in time. Whatever
happens to the role, an edge waits no longer than SECONDS.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from server.base import health
from server.base.errors import Reason, TryLater
from server.base.settings import Settings
from server.identity.oidc.faults import Fault, NotProven

SOCKET: Final = "identity.sock"
LARGEST: Final = 128 * 1024
SECONDS: Final = 12.0  # for an edge; the role gives up before
AT_ONCE: Final = 200  # questions that are open in the role: more means that a provider is slow
_LENGTH: Final = struct.Struct(">I")

log = structlog.get_logger()

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who signed in at a provider. `hint` is the ID token, for the sign-out there."""

    subject: str = field(repr=False)
    national_id: str = field(repr=False)
    acr: str
    at: datetime
    sid: str = field(repr=False)
    hint: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """Whose access token this is; `provider` by its name in the settings."""

    provider: str
    subject: str = field(repr=False)
    national_id: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """A provider says that a session, or all of somebody's, are over. `jti` counts once, and may be forgotten then."""

    sid: str = field(repr=False)
    subject: str = field(repr=False)
    jti: str
    until: datetime


class Asker:
    """An edge's end. Each method raises NotProven, and TryLater(PROVIDER_AWAY)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def begin(self, provider: str, **asked: str) -> str:
        """The address at the provider where a sign-in begins; `asked` as `oidc.flow.address`."""
        return str((await self._ask("begin", provider=provider, asked=asked))["address"])

    async def exchange(
        self, provider: str, code: str, *, iss: str | None, redirect_uri: str, verifier: str, nonce: str, again: bool
    ) -> SignedIn:
        """Who came back with this code; `again`: they had to prove it anew."""
        given = {"code": code, "iss": iss, "redirect_uri": redirect_uri, "verifier": verifier, "nonce": nonce}
        found = await self._ask("exchange", provider=provider, again=again, **given)
        return SignedIn(**{**found, "at": datetime.fromtimestamp(found["at"], UTC)})

    async def token(self, token: str) -> Token:
        """Whose access token of practice software this is."""
        return Token(**await self._ask("token", token=token))

    async def ended(self, provider: str, logout_token: str) -> Ended:
        """What a logout token says."""
        found = await self._ask("ended", provider=provider, token=logout_token)
        return Ended(**{**found, "until": datetime.fromtimestamp(found["until"], UTC)})

    async def sign_out(self, provider: str) -> str:
        """The address at the provider where its own session ends; "" where it has none."""
        return str((await self._ask("sign-out", provider=provider))["address"])

    async def _ask(self, name: str, **question: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(SECONDS):
                with health.near(self._folder) as short:
                    reader, writer = await asyncio.open_unix_connection(f"{short}/{SOCKET}")
                try:
                    writer.write(_packed({"ask": name, **question}))
                    found = await _read(reader)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            raise away() from None
        if "away" in found:
            raise away()
        if "fault" in found:
            raise NotProven(Fault(found["fault"]))
        return found


def asker(settings: Settings) -> Asker | None:
    """The way to the role; None where no provider is configured."""
    return Asker(settings.home / "run") if settings.identity.providers else None


def away() -> TryLater:
    """What is said when a provider, or the role, does not answer."""
    return TryLater(Reason.PROVIDER_AWAY, "The identity provider does not answer; try again later.")


async def serve(listener: socket.socket, answer: Answer) -> asyncio.Server:
    """The role's end. `answer` may raise NotProven and TryLater."""
    open_now = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            async with asyncio.timeout(SECONDS):
                found = await answer(await _read(reader)) if open_now <= AT_ONCE else {"away": True}
        except NotProven as refused:
            found = {"fault": refused.fault.value}
        except (TryLater, TimeoutError):
            found = {"away": True}
        except Exception as error:  # of any kind: who asked is answered, and goes on
            log.error("question_failed", error=error)
            found = {"away": True}
        finally:
            open_now -= 1
        try:
            writer.write(_packed(found))
            await writer.drain()
        except OSError:
            pass  # the edge waits no more
        finally:
            writer.close()

    return await asyncio.start_unix_server(on_connection, sock=listener, limit=LARGEST)


def _packed(content: Mapping[str, Any]) -> bytes:
    data = json.dumps(content).encode()
    if len(data) > LARGEST:
        raise ValueError("too long")
    return _LENGTH.pack(len(data)) + data


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > LARGEST:
        raise ValueError("too long")
    found = json.loads(await reader.readexactly(length))
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found
