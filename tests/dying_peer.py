"""Another operator's server that breaks: a scriptable SMTP peer with TLS, which dies or objects at a chosen point.

It keeps all it was told, in clear and under TLS apart, so that a test can say what a peer got before it was trusted.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from enum import StrEnum

SECONDS = 20  # no step of a test takes so long: a peer that waits longer has lost its other side


class Point(StrEnum):
    """Where it happens, in the order of the dialogue."""

    CONNECTED = "connected"
    GREETING = "greeting"
    HELLO = "hello"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    SECURED = "secured"
    HELLO_AGAIN = "hello again"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # before 354, or before the octets of BDAT
    CONTENT = "content"  # in the middle of it
    RECEIVED = "received"  # all of it is here, nothing was said
    ACCEPTED = "accepted"  # the positive reply has left


class Manner(StrEnum):
    """How it happens."""

    CLOSE = "close"
    RESET = "reset"
    HALF = "half"  # half a reply, then the end
    CLOSING = "421"
    TEMPORARY = "451"
    PERMANENT = "554"
    NONSENSE = "nonsense"
    FLOOD = "flood"  # talks on and on
    SILENT = "silent"  # says and reads nothing more, and stays


class _Ended(Exception):
    """The connection is over."""


@dataclass(frozen=True)
class Script:
    """What goes wrong, on the first `times` connections, once they took `after` messages; else nothing does."""

    point: Point | None = None
    manner: Manner = Manner.CLOSE
    times: int = 1
    after: int = 0
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES")
    starttls: bool = True
    injected: bytes = b""  # said in clear behind the reply to STARTTLS


@dataclass
class Told:
    """What one connection was told."""

    clear: list[bytes] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    content: bytes = b""  # of its last message
    accepted: list[bytes] = field(default_factory=list)


class DyingPeer:
    """Listens while the block runs."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, script: Script) -> None:
        self.connections: list[Told] = []
        self._tls, self._script, self._over = tls, script, threading.Event()
        self._listener = socket.create_server((host, port), backlog=20)
        self._threads: list[threading.Thread] = []
        self._main = threading.Thread(target=self._listen, name=f"peer-{host}")
        self._main.start()

    @property
    def accepted(self) -> list[bytes]:
        """The contents that were answered positively."""
        return [content for told in self.connections for content in told.accepted]

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._main.join()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            told = Told()
            self.connections.append(told)
            dies = len(self.connections) <= self._script.times
            thread = threading.Thread(target=self._serve, args=(connection, told, dies), name=self._main.name)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, told: Told, dies: bool) -> None:
        connection.settimeout(SECONDS)
        dialogue = _Dialogue(connection, self._tls, self._script, told, dies, self._over)
        with contextlib.suppress(_Ended, OSError):
            dialogue.play()
        dialogue.end()


class _Dialogue:
    def __init__(
        self,
        connection: socket.socket,
        tls: ssl.SSLContext,
        script: Script,
        told: Told,
        dies: bool,
        over: threading.Event,
    ) -> None:
        self._socket, self._tls, self._script, self._told = connection, tls, script, told
        self._dies, self._over = dies, over
        self._buffer = b""
        self._secure = False

    @property
    def _here(self) -> Point | None:
        """Where something goes wrong on this connection now."""
        return self._script.point if self._dies and len(self._told.accepted) >= self._script.after else None

    def play(self) -> None:
        self._at(Point.CONNECTED)
        self._reply(Point.GREETING, b"220 peer ESMTP")
        while True:
            line = self._line()
            (self._told.lines if self._secure else self._told.clear).append(line)
            verb = line.split(b" ")[0].split(b":")[0].upper()
            match verb:
                case b"EHLO":
                    self._hello()
                case b"STARTTLS":
                    self._start_tls()
                case b"MAIL":
                    self._reply(Point.MAIL, b"250 2.1.0 ok")
                case b"RCPT":
                    self._reply(Point.RCPT, b"250 2.1.5 ok")
                case b"DATA":
                    if self._reply(Point.DATA, b"354 go on"):
                        self._content(None)
                case b"BDAT":
                    self._at(Point.DATA)
                    self._content(int(re.split(rb" +", line)[1]))
                case b"QUIT":
                    self._say(b"221 bye")
                    return
                case _:
                    self._say(b"250 ok")

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _hello(self) -> None:
        words = ["peer", *self._script.extensions]
        if self._script.starttls and not self._secure:
            words.append("STARTTLS")
        lines = [f"250{'-' if n < len(words) - 1 else ' '}{word}" for n, word in enumerate(words)]
        self._reply(Point.HELLO_AGAIN if self._secure else Point.HELLO, "\r\n".join(lines).encode())

    def _start_tls(self) -> None:
        if not self._script.starttls:
            self._say(b"502 no")
            return
        self._at(Point.STARTTLS)
        self._socket.sendall(b"220 go on\r\n" + self._script.injected)
        self._at(Point.HANDSHAKE)
        self._socket = self._tls.wrap_socket(self._socket, server_side=True)
        self._secure = True
        self._at(Point.SECURED)

    def _content(self, size: int | None) -> None:
        if self._here is Point.CONTENT:
            self._take(lambda: len(self._buffer) >= 200)
            if self._script.manner is Manner.PERMANENT:
                self._say(b"552 5.3.4 too large")
                self._over.wait(1)  # what closes behind unread octets is a reset, which may overtake the reply
            self._at(Point.CONTENT)
        if size is None:
            self._take(lambda: b"\r\n.\r\n" in self._buffer)
            self._told.content, _, self._buffer = self._buffer.partition(b"\r\n.\r\n")
            self._told.content = (self._told.content + b"\r\n").replace(b"\r\n.", b"\r\n")
        else:
            self._take(lambda: len(self._buffer) >= size)
            self._told.content, self._buffer = self._buffer[:size], self._buffer[size:]
        if self._reply(Point.RECEIVED, b"250 2.0.0 taken"):
            self._told.accepted.append(self._told.content)
            self._at(Point.ACCEPTED)

    def _line(self) -> bytes:
        self._take(lambda: b"\r\n" in self._buffer)
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _take(self, enough) -> None:  # type: ignore[no-untyped-def]
        while not enough():
            received = self._socket.recv(65536)
            if not received:
                raise _Ended
            self._buffer += received

    def _say(self, reply: bytes) -> None:
        self._socket.sendall(reply + b"\r\n")

    def _reply(self, point: Point, reply: bytes) -> bool:
        """Say it, unless this is where something goes wrong; whether it was said."""
        script = self._script
        if self._here is not point:
            self._say(reply)
            return True
        match script.manner:
            case Manner.HALF:
                self._socket.sendall(reply[: max(2, len(reply) // 2)])
                raise _Ended
            case Manner.NONSENSE:
                self._say(b"\x00\xffHTTP/1.1 200 OK")
                raise _Ended
            case Manner.FLOOD:
                while True:  # until the other side has enough
                    self._say(reply)
            case Manner.CLOSING | Manner.TEMPORARY | Manner.PERMANENT:
                self._say(f"{script.manner} {script.manner[0]}.3.0 no".encode())
                if script.manner is Manner.CLOSING:
                    raise _Ended
            case _:
                self._at(point)
        return False

    def _at(self, point: Point) -> None:
        """Die here, if this is the place."""
        if self._here is not point:
            return
        if self._script.manner is Manner.SILENT:
            self._over.wait()
        if self._script.manner is Manner.RESET:
            # RFC 9293 §3.5.3: with no time to linger, closing sends a reset.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Ended
