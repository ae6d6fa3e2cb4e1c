"""Health of one process: what it says of itself, and the small HTTP answer on its unix socket.

`GET /health` the event loop turns; `GET /ready` it serves and all its checks pass (503 with their names otherwise);
`GET /metrics` Prometheus text. HTTP/1.0, one request a connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import generate_latest

REQUEST_BYTES = 4096  # a request line and the headers of curl or a probe
REQUEST_SECONDS = 2.0
CHECK_SECONDS = 2.0  # a check that takes longer has failed
ANSWER_BYTES = 1 << 20

Check = Callable[[], Awaitable[object]]


@dataclass
class Health:
    """`notes` are facts for `doctor` (how it is sealed, …); `checks` must all pass for the process to be ready."""

    serving: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)

    async def failing(self) -> list[str]:
        """The names of what keeps this process from being ready."""
        failed = [] if self.serving else ["serving"]
        for name, check in self.checks.items():
            try:
                await asyncio.wait_for(check(), CHECK_SECONDS)
            except Exception:  # whatever it is, this process is not ready; the one who uses the thing logs why
                failed.append(name)
        return failed

    async def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4", generate_latest()
        if path not in ("/health", "/ready"):
            return 404, "application/json", b'{"error": "not found"}'
        failed = await self.failing() if path == "/ready" else []
        body = json.dumps({"status": "failing" if failed else "ok", "failing": failed, "notes": self.notes})
        return 503 if failed else 200, "application/json", body.encode()


async def serve(health: Health, listener: socket.socket) -> asyncio.Server:
    """Answer on a bound unix socket until the server is closed."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_SECONDS)
            method, _, rest = head.partition(b" ")
            if method == b"GET":
                status, kind, body = await health.answer(rest.split(b" ", 1)[0].decode("ascii", "replace"))
            else:
                status, kind, body = 405, "application/json", b'{"error": "only GET"}'
            phrase = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}[status]
            writer.write(f"HTTP/1.0 {status} {phrase}\r\nContent-Type: {kind}\r\n".encode())
            writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a probe that went away or speaks no HTTP gets nothing more
        finally:
            writer.close()

    return await asyncio.start_unix_server(on_connection, sock=listener, limit=REQUEST_BYTES)


def bind(folder: Path, name: str) -> socket.socket:
    """A unix socket `folder`/`name`, replacing one that a killed process left; any length of path."""
    (folder / name).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with near(folder) as short:
        listener.bind(f"{short}/{name}")
    return listener


async def ask(folder: Path, name: str, path: str) -> tuple[int, bytes]:
    """Status and body of `GET path`. Raises OSError or TimeoutError when nobody answers properly."""
    with near(folder) as short:
        reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(f"{short}/{name}"), CHECK_SECONDS)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await asyncio.wait_for(_all(reader), 5 * CHECK_SECONDS)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if not status or not status[0].isdigit():
        raise ConnectionResetError("no answer")
    return int(status[0]), body


async def _all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes; one `read` gives what has come so far. At most ANSWER_BYTES."""
    answer = bytearray()
    while len(answer) < ANSWER_BYTES and (more := await reader.read(ANSWER_BYTES - len(answer))):
        answer += more
    return bytes(answer)


class near:  # noqa: N801 -- a context manager that reads as a function
    """A path to a folder that fits a socket address (unix(7): 107 bytes) however deep the folder lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        self._descriptor = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
