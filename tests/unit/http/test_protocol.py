"""The time that a client has to send a request header, with a clock that tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.base.limits import WEB_HEADER_SECONDS
from server.http.protocol import BoundedProtocol


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call, self.cancelled = call, False

    def cancel(self) -> None:
        self.cancelled = True


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def write(self, data: Any) -> None:
        pass


async def no_page(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    made: list[Timer] = []

    def call_later(seconds: float, call: Callable[[], None]) -> Timer:
        assert seconds == WEB_HEADER_SECONDS
        made.append(Timer(call))
        return made[-1]

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    return made


def connected() -> tuple[BoundedProtocol, Transport]:
    config = uvicorn.Config(no_page, log_config=None, access_log=False, ws="none")
    config.load()
    protocol, transport = BoundedProtocol(config, ServerState(), {}), Transport()
    protocol.connection_made(transport)
    return protocol, transport


async def test_a_header_that_never_ends_is_cut(timers: list[Timer]) -> None:
    protocol, transport = connected()
    for octet in b"GET / HTTP/1.1\r\nHost: lo":
        protocol.data_received(bytes([octet]))
    (timer,) = timers  # octets that trickle in do not start it again
    assert not timer.cancelled
    timer.call()
    assert transport.closed


async def test_a_whole_header_stops_the_time(timers: list[Timer]) -> None:
    protocol, transport = connected()
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [timer.cancelled for timer in timers] == [True]
    assert not transport.closed
    for task in protocol.tasks:
        task.cancel()
